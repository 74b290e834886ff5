package netcfg

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/sorting"
)

// DefaultDevices names the devices of the main table's default routes of both
// families, those of the best metric first, each once; our own tunnels never.
func (n *Net) DefaultDevices() ([]string, error) {
	var hops []hop
	for _, f := range []Family{IPv4, IPv6} {
		routes, err := retryDump(func() ([]netlink.Route, error) { return defaultRoutes(f) })
		if err != nil && !absentFamily(err) {
			return nil, fmt.Errorf("list %s default routes: %w", f, err)
		}
		for _, r := range routes {
			hops = append(hops, hopsOf(r)...)
		}
	}
	sorting.By(hops, func(a, b hop) int { return cmp.Compare(a.metric, b.metric) })
	var names []string
	for _, h := range hops {
		name := linkName(h.link)
		if name != "" && !owned.IsDevice(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// hop is one way out that a route names.
type hop struct{ metric, link int }

func hopsOf(r netlink.Route) []hop {
	if r.LinkIndex != 0 {
		return []hop{{r.Priority, r.LinkIndex}}
	}
	var out []hop
	for _, m := range r.MultiPath {
		out = append(out, hop{r.Priority, m.LinkIndex})
	}
	return out
}

func defaultRoutes(f Family) ([]netlink.Route, error) {
	var out []netlink.Route
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	err := netlink.RouteListFilteredIter(int(f), filter, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		if isDefault(r) && r.Type == unix.RTN_UNICAST {
			out = append(out, r)
		}
		return true
	})
	return out, err
}

// OwnAddresses gives the machine's own addresses, loopback's included, and the
// networks that it is connected to: prefixes of its addresses that hold more
// than the address itself, and the far ends of point-to-point links.
func (n *Net) OwnAddresses() ([]netip.Addr, []netip.Prefix, error) {
	list, err := retryDump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, nil, fmt.Errorf("list addresses: %w", err)
	}
	var own []netip.Addr
	var networks []netip.Prefix
	for _, a := range list {
		p, ok := toPrefix(a.IPNet)
		if !ok {
			continue
		}
		own = append(own, p.Addr())
		if far, ok := toPrefix(a.Peer); ok && far.Addr() != p.Addr() {
			networks = append(networks, far.Masked())
		} else if p.Bits() > 0 && !p.IsSingleIP() {
			networks = append(networks, p.Masked())
		}
	}
	sorting.By(own, netip.Addr.Compare)
	sorting.By(networks, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(own), slices.Compact(networks), nil
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), ones), true
}
