package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// udpBind is wireguard-go's way to the network: one UDP socket a family, one
// packet a call. conn.StdNetBind handles 128 at once and for that keeps tens of
// megabytes of buffers.
type udpBind struct {
	in, out *gate

	mu   sync.RWMutex
	v4   *net.UDPConn // guarded by mu; nil when closed or the kernel lacks the family
	v6   *net.UDPConn // guarded by mu
	mark uint32       // guarded by mu; SO_MARK of both sockets
}

// udpEndpoint is the address of a peer. The kernel chooses the source address
// of every packet anew, which is right after the WAN changed, too.
type udpEndpoint struct{ dst netip.AddrPort }

var (
	_ conn.Bind     = (*udpBind)(nil)
	_ conn.Endpoint = udpEndpoint{}
)

// The handshake messages that are taken: enough for many peers, too few to fill
// wireguard-go's queue of 1,024 buffers with forged ones.
const (
	handshakesPerSecond = 50
	handshakeBurst      = 32
)

func newBind(in, out *gate) *udpBind { return &udpBind{in: in, out: out} }

// Open listens on a port, of both families where there are two.
func (b *udpBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.v4 != nil || b.v6 != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	var err error
	// Any port that is free for IPv4 may be taken for IPv6.
	for range 100 {
		if err = b.listen(port); port != 0 || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return nil, 0, err
	}
	var fns []conn.ReceiveFunc
	for _, c := range []*net.UDPConn{b.v4, b.v6} {
		if c != nil {
			fns = append(fns, b.receiver(c))
			port = localPort(c)
		}
	}
	if len(fns) == 0 {
		return nil, 0, unix.EAFNOSUPPORT
	}
	return fns, port, nil
}

// listen opens both sockets or none. The caller holds mu.
func (b *udpBind) listen(port uint16) (err error) {
	if b.v4, err = b.socket("udp4", port); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return err
	}
	if b.v4 != nil {
		port = localPort(b.v4)
	}
	if b.v6, err = b.socket("udp6", port); err == nil || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	if b.v4 != nil {
		b.v4.Close()
		b.v4 = nil
	}
	return err
}

// socket opens one socket with the mark set before it can send anything.
func (b *udpBind) socket(network string, port uint16) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var serr error
		if err := c.Control(func(fd uintptr) { serr = b.prepare(int(fd), network) }); err != nil {
			return err
		}
		return serr
	}}
	pc, err := lc.ListenPacket(context.Background(), network, ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// prepare sets a socket's options. As in the kernel's WireGuard, outer packets
// may be fragmented: a path that swallows "fragmentation needed" would swallow
// the tunnel.
func (b *udpBind) prepare(fd int, network string) error {
	if network == "udp4" {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
	}
	if b.mark == 0 {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(b.mark))
}

func localPort(c *net.UDPConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// receiver reads one socket. Errors other than that of a closed socket belong
// to single packets (an ICMP error, no memory), so that only many in a row end
// the reading.
func (b *udpBind) receiver(c *net.UDPConn) conn.ReceiveFunc {
	handshakes := rate.NewLimiter(handshakesPerSecond, handshakeBurst)
	failures := 0
	return func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		b.in.wait()
		n, from, err := c.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			if failures++; errors.Is(err, net.ErrClosed) || failures > 100 {
				return 0, err
			}
			sizes[0] = 0
			return 1, nil
		}
		failures = 0
		sizes[0] = n
		eps[0] = udpEndpoint{netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
		if n < device.MinMessageSize {
			return 1, nil
		}
		if binary.LittleEndian.Uint32(packets[0]) == device.MessageTransportType {
			b.in.enter()
		} else if !handshakes.Allow() {
			sizes[0] = 0
		}
		return 1, nil
	}
}

// Close ends every ReceiveFunc with net.ErrClosed.
func (b *udpBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, c := range []**net.UDPConn{&b.v4, &b.v6} {
		if *c != nil {
			errs = append(errs, (*c).Close())
			*c = nil
		}
	}
	return errors.Join(errs...)
}

// SetMark sets SO_MARK, now and for sockets opened later.
func (b *udpBind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mark = mark
	for _, c := range []*net.UDPConn{b.v4, b.v6} {
		if c == nil {
			continue
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		var serr error
		err = raw.Control(func(fd uintptr) {
			serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
		})
		if err := errors.Join(err, serr); err != nil {
			return err
		}
	}
	return nil
}

// Send writes packets to one endpoint.
func (b *udpBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(udpEndpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.mu.RLock()
	c := b.v4
	if to.dst.Addr().Is6() {
		c = b.v6
	}
	b.mu.RUnlock()
	for _, buf := range bufs {
		if len(buf) > device.MessageKeepaliveSize && binary.LittleEndian.Uint32(buf) == device.MessageTransportType {
			b.out.leave()
		}
		if c == nil {
			return unix.EAFNOSUPPORT
		}
		if _, err := c.WriteToUDPAddrPort(buf, to.dst); err != nil {
			return err
		}
	}
	return nil
}

// ParseEndpoint reads address:port.
func (b *udpBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return udpEndpoint{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, nil
}

// BatchSize is one: see udpBind.
func (b *udpBind) BatchSize() int { return 1 }

// ClearSrc does nothing: no source address is kept.
func (e udpEndpoint) ClearSrc() {}

// SrcToString is empty: no source address is kept.
func (e udpEndpoint) SrcToString() string { return "" }

// SrcIP is not valid: no source address is kept.
func (e udpEndpoint) SrcIP() netip.Addr { return netip.Addr{} }

// DstToString is address:port.
func (e udpEndpoint) DstToString() string { return e.dst.String() }

// DstToBytes is what cookies are bound to.
func (e udpEndpoint) DstToBytes() []byte {
	b, _ := e.dst.MarshalBinary()
	return b
}

// DstIP is the address.
func (e udpEndpoint) DstIP() netip.Addr { return e.dst.Addr() }
