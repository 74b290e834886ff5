// Package device makes a small OpenWrt of the lab's router: a root directory with
// busybox, stand-ins for procd, rc.common and uci, and a package manager that goes
// through opkg's and apk's steps. Packages are installed into it and run in the
// router's own namespaces, with its network, kernel state and dnsmasq.
package device
