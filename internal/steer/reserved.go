package steer

import "net/netip"

// Reserved lists the ranges that no DNS answer makes known, whatever it says:
// private, loopback, link-local, multicast and reserved (IANA special-purpose
// registries, RFC 6890). 64:ff9b::/96 is not among them: with NAT64 a listed
// service has its address there, and must not slip out that way.
func Reserved() []netip.Prefix {
	text := [...]string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
		"192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
		"::/96", "100::/64", "fc00::/7", "fe80::/9", "ff00::/8", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	}
	out := make([]netip.Prefix, len(text))
	for i, t := range text {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}
