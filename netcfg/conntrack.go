package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

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

// freedWithin bounds how long the kernel may take to take connections out of a
// flowtable that is gone: some turns of RCU, in the background.
const freedWithin = time.Second

// DropConntrack lets the kernel forget the connections that match, so that
// their next packet is judged and translated anew, and counts them. The kernel
// keeps connections that a flowtable forwards: ours is flushed for it. What the
// user's own has, in software or hardware, is an error, and Reset is what ends it.
func (n *Net) DropConntrack(ctx context.Context, match FlowMatch) (int, error) {
	total, err := dropConntrack(ctx, match)
	if err == nil {
		return total, nil
	}
	if flushed, flushErr := n.flushOffload(ctx); !flushed {
		return total, errors.Join(err, flushErr)
	}
	for deadline := time.Now().Add(freedWithin); err != nil && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return total, err
		case <-time.After(freedWithin / 50):
		}
		var more int
		more, err = dropConntrack(ctx, match)
		total += more
	}
	return total, err
}

func dropConntrack(ctx context.Context, match FlowMatch) (int, error) {
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
