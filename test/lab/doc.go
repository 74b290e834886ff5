// Package lab raises a small internet out of network namespaces on one Linux
// machine: a LAN with two clients behind an OpenWrt-like router, a provider,
// servers, a public resolver and two WireGuard exits. Tests and people use it
// to see real packets take real paths.
//
// Every host is one process tree in namespaces of its own (network, mount, PID,
// UTS, IPC). Its first process, the holder, is PID 1 inside: when it dies, the
// kernel removes everything of the host. Nothing is ever connected to the
// machine's own network, and nothing is written outside the hosts' private
// file systems but one state file a lab.
//
// The lab needs root and the programs that Tools names.
package lab
