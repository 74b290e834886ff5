package upstream

import (
	"net/netip"
	"strings"
)

// KnownResolver is a public resolver that answers over HTTPS on port 443.
type KnownResolver struct {
	Name  string       // of the host, as it stands in its URL
	Addrs []netip.Addr // as its operator publishes them; both families where it has them
}

// KnownDoH are public resolvers over HTTPS by their published addresses, for
// telling who asks one instead of the router. It is no complete list: whoever
// runs a resolver may do so anywhere. An address may be that of several names.
// Each call makes a value of its own.
func KnownDoH() []KnownResolver {
	var out []KnownResolver
	eachKnown(func(host, addrs string) bool {
		out = append(out, KnownResolver{Name: host, Addrs: parseAddrs(addrs)})
		return true
	})
	return out
}

// wellKnown are the published addresses of public resolvers, so that their
// names may be used as they are written everywhere.
func wellKnown(host string) []netip.Addr {
	var out []netip.Addr
	eachKnown(func(name, addrs string) bool {
		if name == host {
			out = parseAddrs(addrs)
		}
		return name != host
	})
	return out
}

// eachKnown goes through the lines of knownResolvers until one is not to be passed.
func eachKnown(pass func(host, addrs string) bool) {
	for line := range strings.Lines(knownResolvers) {
		host, addrs, ok := strings.Cut(line, " ")
		if ok && host != "#" && !pass(host, addrs) {
			return
		}
	}
}

func parseAddrs(text string) []netip.Addr {
	var out []netip.Addr
	for _, a := range strings.Fields(text) {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// knownResolvers stands by operator: a line is a host and its addresses, in order of
// preference. It has what the operators publish, or what their names have had for
// years; a host that changes its addresses by place and time (a content network's)
// cannot be here. As text it is a third of what it is as Go values.
const knownResolvers = `
# Cloudflare; browsers have names and addresses of their own there
one.one.one.one 1.1.1.1 1.0.0.1 2606:4700:4700::1111 2606:4700:4700::1001
cloudflare-dns.com 1.1.1.1 1.0.0.1 2606:4700:4700::1111 2606:4700:4700::1001 104.16.248.249 104.16.249.249 2606:4700::6810:f8f9 2606:4700::6810:f9f9
security.cloudflare-dns.com 1.1.1.2 1.0.0.2 2606:4700:4700::1112 2606:4700:4700::1002
family.cloudflare-dns.com 1.1.1.3 1.0.0.3 2606:4700:4700::1113 2606:4700:4700::1003
chrome.cloudflare-dns.com 162.159.61.3 172.64.41.3 2803:f800:53::3 2a06:98c1:52::3
mozilla.cloudflare-dns.com 162.159.61.4 172.64.41.4 2803:f800:53::4 2a06:98c1:52::4
# Google
dns.google 8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844
# Quad9: filtered, unfiltered, and with the client's subnet
dns.quad9.net 9.9.9.9 149.112.112.112 2620:fe::fe 2620:fe::9
dns10.quad9.net 9.9.9.10 149.112.112.10 2620:fe::10 2620:fe::fe:10
dns11.quad9.net 9.9.9.11 149.112.112.11 2620:fe::11 2620:fe::fe:11
dns12.quad9.net 9.9.9.12 149.112.112.12 2620:fe::12 2620:fe::fe:12
# AdGuard
dns.adguard-dns.com 94.140.14.14 94.140.15.15 2a10:50c0::ad1:ff 2a10:50c0::ad2:ff
family.adguard-dns.com 94.140.14.15 94.140.15.16 2a10:50c0::bad1:ff 2a10:50c0::bad2:ff
unfiltered.adguard-dns.com 94.140.14.140 94.140.14.141 2a10:50c0::1:ff 2a10:50c0::2:ff
# NextDNS: the anycast addresses; it sends some to servers near them
dns.nextdns.io 45.90.28.0 45.90.30.0 2a07:a8c0:: 2a07:a8c1::
# Cisco
doh.opendns.com 146.112.41.2 2620:119:fc::2
doh.familyshield.opendns.com 146.112.41.3 2620:119:fc::3
dns.opendns.com 208.67.222.222 208.67.220.220 2620:119:35::35 2620:119:53::53
# Mullvad
dns.mullvad.net 194.242.2.2 2a07:e340::2
adblock.dns.mullvad.net 194.242.2.3 2a07:e340::3
base.dns.mullvad.net 194.242.2.4 2a07:e340::4
family.dns.mullvad.net 194.242.2.6 2a07:e340::6
all.dns.mullvad.net 194.242.2.9 2a07:e340::9
# CleanBrowsing
doh.cleanbrowsing.org 185.228.168.10 185.228.168.168 2a0d:2a00:1:: 2a0d:2a00:2::
family-filter-dns.cleanbrowsing.org 185.228.168.168 185.228.169.168 2a0d:2a00:1:: 2a0d:2a00:2::
security-filter-dns.cleanbrowsing.org 185.228.168.9 185.228.169.9 2a0d:2a00:1::2 2a0d:2a00:2::2
# Control D: free, and for customers
freedns.controld.com 76.76.2.11 76.76.10.11 2606:1a40::11 2606:1a40:1::11
dns.controld.com 76.76.2.22 76.76.10.22 2606:1a40::22 2606:1a40:1::22
# Yandex
common.dot.dns.yandex.net 77.88.8.8 77.88.8.1 2a02:6b8::feed:ff 2a02:6b8:0:1::feed:ff
safe.dot.dns.yandex.net 77.88.8.88 77.88.8.2 2a02:6b8::feed:bad 2a02:6b8:0:1::feed:bad
family.dot.dns.yandex.net 77.88.8.7 77.88.8.3 2a02:6b8::feed:a11 2a02:6b8:0:1::feed:a11
# Alibaba, Tencent (DNSPod)
dns.alidns.com 223.5.5.5 223.6.6.6 2400:3200::1 2400:3200:baba::1
doh.pub 1.12.12.12 120.53.53.53
# smaller ones
doh.dns.sb 185.222.222.222 45.11.45.11 2a09:: 2a11::
doh.libredns.gr 116.202.176.26
wikimedia-dns.org 185.71.138.138 2001:67c:930::1
dns.digitale-gesellschaft.ch 185.95.218.42 185.95.218.43 2a05:fc84::42 2a05:fc84::43
private.canadianshield.cira.ca 149.112.121.10 149.112.122.10 2620:10a:80bb::10 2620:10a:80bc::10
ordns.he.net 74.82.42.42 2001:470:20::2
unfiltered.joindns4.eu 86.54.11.100 86.54.11.200 2a13:1001::86:54:11:100 2a13:1001::86:54:11:200
protective.joindns4.eu 86.54.11.1 86.54.11.201 2a13:1001::86:54:11:1 2a13:1001::86:54:11:201
`
