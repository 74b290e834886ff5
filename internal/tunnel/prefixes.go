package tunnel

import (
	"cmp"
	"net/netip"
)

func isIPv6(p netip.Prefix) bool { return p.Addr().Is6() }

func isIPv4(p netip.Prefix) bool { return p.Addr().Is4() }

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return cmp.Compare(a.Bits(), b.Bits())
}
