package netcfg

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// Metrics of the two routes of a path's table: the end counts only when the
// device's route is gone.
const (
	deviceMetric = 1
	endMetric    = 1 << 30
)

// route is one default route of a path's table.
type route struct {
	family Family
	table  int
	kind   int    // RTN_UNICAST, RTN_UNREACHABLE, RTN_PROHIBIT
	link   int    // index of the device of RTN_UNICAST, else 0
	device string // its name, for people
	metric int
}

func (r route) String() string {
	switch r.kind {
	case unix.RTN_UNICAST:
		return fmt.Sprintf("%s default dev %s table %d", r.family, r.device, r.table)
	case unix.RTN_PROHIBIT:
		return fmt.Sprintf("%s prohibit default table %d", r.family, r.table)
	}
	return fmt.Sprintf("%s unreachable default table %d", r.family, r.table)
}

// key leaves out what does not tell routes apart.
func (r route) key() route {
	r.device = ""
	return r
}

// event is the notification that adding or removing the route makes.
func (r route) event(kind uint16) event {
	return event{kind: kind, family: r.family, table: r.table, link: r.link}
}

// netlink is the route as the library takes it.
func (r route) netlink() *netlink.Route {
	dst := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if r.family == IPv6 {
		dst = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	out := &netlink.Route{
		Family: int(r.family), Table: r.table, Type: r.kind, Dst: dst,
		Protocol: owned.RouteProtocol, Priority: r.metric, LinkIndex: r.link,
	}
	if r.kind == unix.RTN_UNICAST && r.family == IPv4 {
		out.Scope = netlink.SCOPE_LINK
	}
	return out
}

// wantedRoutes are the routes of the desired state: for every path but direct
// its end, and its device where that can take packets now.
func wantedRoutes(d Desired, links linkTable) []route {
	var out []route
	for _, f := range d.families() {
		for _, p := range d.Paths {
			if p.Index == owned.PathDirect {
				continue
			}
			out = append(out, p.end(f))
			if l, ok := links[p.Device]; ok && p.Up && p.carries(f) {
				out = append(out, route{
					family: f, table: owned.Table(p.Index), kind: unix.RTN_UNICAST,
					link: l.index, device: p.Device, metric: deviceMetric,
				})
			}
		}
	}
	return out
}

// end is how a path's table ends when no device takes the packet: ICMP administratively
// prohibited. "Unreachable" would be a soft error, which UDP sockets keep to themselves
// (RFC 1122 section 4.2.3.9): QUIC clients would wait.
func (p Path) end(f Family) route {
	return route{family: f, table: owned.Table(p.Index), kind: unix.RTN_PROHIBIT, metric: endMetric}
}

func (p Path) carries(f Family) bool {
	if f == IPv6 {
		return p.IPv6
	}
	return p.IPv4
}

// listOurRoutes lists the routes of our tables; foreign ones are told by their
// protocol and left alone.
func listOurRoutes(f Family) (ours, foreign []netlink.Route, err error) {
	all, err := retryDump(func() ([]netlink.Route, error) {
		var out []netlink.Route
		filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		err := netlink.RouteListFilteredIter(int(f), filter, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			if ourTable(r.Table) {
				out = append(out, r)
			}
			return true
		})
		return out, err
	})
	if err != nil && !absentFamily(err) {
		return nil, nil, fmt.Errorf("list %s routes: %w", f, err)
	}
	for _, r := range all {
		if r.Protocol == owned.RouteProtocol {
			ours = append(ours, r)
		} else {
			foreign = append(foreign, r)
		}
	}
	return ours, foreign, nil
}

// asRoute is the inverse of netlink. A route that we never make has a key that
// no wanted route has.
func asRoute(f Family, k netlink.Route) route {
	r := route{family: f, table: k.Table, kind: k.Type, metric: k.Priority}
	if k.Type == unix.RTN_UNICAST {
		r.link = k.LinkIndex
	}
	if !isDefault(k) || len(k.MultiPath) > 0 || len(k.Gw) > 0 {
		r.kind = -1
	}
	return r
}

func isDefault(k netlink.Route) bool {
	if k.Dst == nil {
		return true
	}
	ones, _ := k.Dst.Mask.Size()
	return ones == 0
}

// syncRoutes makes our tables what want says: it adds first and removes then,
// so that a table is never without its end.
func (n *Net) syncRoutes(want []route) (report, error) {
	var rep report
	for _, f := range []Family{IPv4, IPv6} {
		have, _, err := listOurRoutes(f)
		if err != nil {
			return rep, err
		}
		if err := n.syncFamily(&rep, f, have, want); err != nil {
			return rep, err
		}
	}
	return rep, nil
}

func (n *Net) syncFamily(rep *report, f Family, have []netlink.Route, want []route) error {
	there := map[route]bool{}
	for _, k := range have {
		there[asRoute(f, k)] = true
	}
	wanted := map[route]bool{}
	for _, w := range want {
		if w.family != f {
			continue
		}
		wanted[w.key()] = true
		if there[w.key()] {
			continue
		}
		if err := n.addRoute(rep, w); err != nil {
			return err
		}
	}
	for _, k := range have {
		r := asRoute(f, k)
		if wanted[r] {
			continue
		}
		err := n.expected.during(r.event(unix.RTM_DELROUTE), func() error { return netlink.RouteDel(&k) })
		if errors.Is(err, syscall.ESRCH) {
			continue // replaced above
		}
		if err != nil {
			return fmt.Errorf("remove %s route of table %d: %w", f, k.Table, err)
		}
		rep.note("remove %s", r)
	}
	return nil
}

// addRoute adds a route. A device that cannot take it now, or a kernel without
// the family, is a warning: the table's end holds the packets meanwhile.
func (n *Net) addRoute(rep *report, w route) error {
	// Replacing also moves a path to another device with no moment between.
	err := n.expected.during(w.event(unix.RTM_NEWROUTE), func() error {
		return netlink.RouteReplace(w.netlink())
	})
	switch {
	case err == nil:
		rep.note("add %s", w)
	case w.kind == unix.RTN_UNICAST || absentFamily(err):
		rep.warn("add %s: %v", w, err)
	default:
		return fmt.Errorf("add %s: %w", w, err)
	}
	return nil
}
