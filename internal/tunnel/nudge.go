package tunnel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// nudge sends one empty datagram into a tunnel. WireGuard obliges the peer to
// answer data within KEEPALIVE_TIMEOUT, if only with an empty keepalive, so that
// nothing behind the peer has to answer and no ping has to be allowed. The
// hop limit of 1 keeps the datagram from going further than the peer.
func nudge(device string, to netip.Addr) error {
	c, err := question(device, to)
	if err != nil {
		return err
	}
	return c.Close()
}

// question is nudge for one who wants to know of an answer: see refused.
func question(device string, to netip.Addr) (*net.UDPConn, error) {
	d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) { serr = bindForNudge(int(fd), device, to.Is6()) })
		if err != nil {
			return err
		}
		return serr
	}}
	host := to
	if to.IsMulticast() {
		host = to.WithZone(device)
	}
	const discard = 9 // RFC 863
	c, err := d.DialContext(context.Background(), "udp", netip.AddrPortFrom(host, discard).String())
	if err != nil {
		return nil, fmt.Errorf("nudge peer through %s: %w", device, err)
	}
	if _, err := c.Write([]byte{0}); err != nil {
		c.Close()
		return nil, fmt.Errorf("nudge peer through %s: %w", device, err)
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("nudge peer through %s: a socket of another kind", device)
	}
	return udp, nil
}

// refused says whether an ICMP error has come to a question: the peer is a router
// that says when a hop limit is over, or has no such address.
func refused(c *net.UDPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	got := false
	err = raw.Control(func(fd uintptr) {
		_, _, _, _, rerr := unix.Recvmsg(int(fd), nil, make([]byte, 512), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		got = rerr == nil
	})
	return err == nil && got
}

func bindForNudge(fd int, device string, v6 bool) error {
	if err := unix.BindToDevice(fd, device); err != nil {
		return err
	}
	if err := receiveErrors(fd, v6); err != nil {
		return err
	}
	if v6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 1); err != nil {
			return err
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 1)
}

// receiveErrors makes the kernel keep ICMP errors for the socket (ip(7)).
func receiveErrors(fd int, v6 bool) error {
	if v6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
}

// nudgeTarget picks an address that WireGuard sends to a peer: a neighbour of
// the device's own address where the peer takes that, else the first of what it
// takes. It is not valid where nothing suits: then only keepalives tell.
func nudgeTarget(addresses, allowed []netip.Prefix) netip.Addr {
	takes := func(a netip.Addr) bool {
		return a.IsValid() && slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for _, own := range addresses {
		if neighbour := neighbourOf(own); takes(neighbour) {
			return neighbour
		}
	}
	if slices.ContainsFunc(addresses, isIPv4) {
		for _, p := range allowed {
			if first := firstOf(p); first.IsValid() && !isOwn(addresses, first) {
				return first
			}
		}
	}
	// Every device has a route to all its neighbours, of which the peer is one.
	if all := netip.MustParseAddr("ff02::1"); takes(all) && slices.ContainsFunc(addresses, isIPv6) {
		return all
	}
	return netip.Addr{}
}

// firstOf is the first host of an IPv4 network that is smaller than a class A.
func firstOf(p netip.Prefix) netip.Addr {
	switch {
	case isIPv6(p) || p.Bits() <= 8:
		return netip.Addr{}
	case p.Bits() == 32:
		return p.Addr()
	}
	return p.Addr().Next()
}

func isOwn(addresses []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(addresses, func(own netip.Prefix) bool { return own.Addr() == a })
}

// neighbourOf is another address of the smallest network around an own IPv4
// address. In IPv6 the kernel wants a route, which a /128 has not.
func neighbourOf(own netip.Prefix) netip.Addr {
	if isIPv4(own) {
		// Network and broadcast addresses take no datagram.
		host := uint32(1)<<(32-min(own.Bits(), 31)) - 1
		for flip := uint32(1); flip <= 3; flip++ {
			raw := own.Addr().As4()
			n := binary.BigEndian.Uint32(raw[:]) ^ flip
			if own.Bits() < 31 && (n&host == 0 || n&host == host) {
				continue
			}
			binary.BigEndian.PutUint32(raw[:], n)
			return netip.AddrFrom4(raw)
		}
	}
	if own.Bits() == 128 {
		return netip.Addr{}
	}
	raw := own.Addr().As16()
	raw[15] ^= 1
	return netip.AddrFrom16(raw)
}
