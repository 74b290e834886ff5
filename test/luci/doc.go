// Package luci serves LuCI's pages of routerd without OpenWrt: the pages of
// openwrt/luci-app-routerd, LuCI's real client files from a checkout or a small
// stand-in of what the pages use of them, and ubus over HTTP, where the object
// routerd is answered by the real rpcd plugin under the real access lists.
package luci
