package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// FlowMatch says whether a tracked connection is one to forget: its first
// packet's source and destination, its protocol number, and the address that
// its answers go to, which is another than the source's where it is translated.
type FlowMatch func(src, dst netip.AddrPort, proto uint8, replyDst netip.Addr) bool

// MatchConntrackFlow makes a FlowMatch a filter of the library.
func (m FlowMatch) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	src, ok1 := flowAddr(f.Forward.SrcIP, f.Forward.SrcPort)
	dst, ok2 := flowAddr(f.Forward.DstIP, f.Forward.DstPort)
	reply, ok3 := flowAddr(f.Reverse.DstIP, f.Reverse.DstPort)
	return ok1 && ok2 && ok3 && m(src, dst, f.Forward.Protocol, reply.Addr())
}

func flowAddr(ip net.IP, port uint16) (netip.AddrPort, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port), ok
}

// DropConntrack lets the kernel forget the connections that match, so that
// their next packet is judged and translated anew, and counts them. The kernel
// keeps connections in hardware or software offload until they end: those are
// an error, and Reset is what ends them.
func (n *Net) DropConntrack(ctx context.Context, match FlowMatch) (int, error) {
	var total int
	var errs []error
	for _, f := range []Family{IPv4, IPv6} {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		dropped, err := netlink.ConntrackDeleteFilters(
			netlink.ConntrackTable, netlink.InetFamily(f), match)
		total += int(dropped)
		if err != nil && !absentFamily(err) {
			errs = append(errs, fmt.Errorf("drop tracked %s connections: %w", f, err))
		}
	}
	return total, errors.Join(errs...)
}
