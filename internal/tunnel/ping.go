package tunnel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// pinger finds out whether hosts are there at all, beside what tunnels make of
// it: that tells a blocked handshake from a dead peer. It is safe for concurrent
// use.
type pinger struct {
	clock func() time.Time

	mu    sync.Mutex
	hosts map[netip.Addr]pinged // guarded by mu

	ctx  context.Context // of the pings under way
	stop context.CancelFunc
	wait sync.WaitGroup // for them
}

// pinged is what is known of a host.
type pinged struct {
	asked, answered time.Time
}

const (
	pingEvery = 15 * time.Second
	pingWait  = 2 * time.Second
	// pingHolds is how long an answer counts.
	pingHolds = 2 * pingEvery
	// pingMost is how many hosts are remembered: an endpoint's name may have another
	// address at each lookup.
	pingMost = 64
)

func newPinger(clock func() time.Time) *pinger {
	ctx, stop := context.WithCancel(context.Background())
	return &pinger{clock: clock, hosts: map[netip.Addr]pinged{}, ctx: ctx, stop: stop}
}

// answers says whether a host has answered lately, and asks it again when that is
// due. It does not wait.
func (p *pinger) answers(host netip.Addr, m owned.Mark) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, h := p.clock(), p.hosts[host]
	if now.Sub(h.asked) >= pingEvery {
		if len(p.hosts) >= pingMost {
			clear(p.hosts)
		}
		h.asked = now
		p.hosts[host] = h
		p.wait.Add(1)
		go func() { // ends after pingWait, or with close
			defer p.wait.Done()
			if ping(p.ctx, host, m) == nil {
				p.mu.Lock()
				defer p.mu.Unlock()
				h := p.hosts[host]
				h.answered = p.clock()
				p.hosts[host] = h
			}
		}()
	}
	return !h.answered.IsZero() && now.Sub(h.answered) < pingHolds
}

// close ends the pings that are under way.
func (p *pinger) close() {
	p.stop()
	p.wait.Wait()
}

// ping sends one echo request (RFC 792, RFC 4443) with a mark and waits for its
// answer.
func ping(ctx context.Context, host netip.Addr, m owned.Mark) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if host.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	d := net.Dialer{Timeout: pingWait, Control: func(_, _ string, c syscall.RawConn) error { return setMark(c, m) }}
	c, err := d.DialContext(ctx, network, host.String())
	if err != nil {
		return fmt.Errorf("ping %s: %w", host, err)
	}
	defer c.Close()
	in, ok := c.(net.PacketConn) // which, unlike Read, takes the IPv4 header off
	if !ok {
		return fmt.Errorf("ping %s: a raw socket of another kind", host)
	}
	_ = c.SetDeadline(time.Now().Add(pingWait))
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	// It only has to be unlike the number of others that run now.
	id := uint16(time.Now().UnixNano() >> 10)
	if _, err := c.Write(echo(request, id)); err != nil {
		return fmt.Errorf("ping %s: %w", host, err)
	}
	return await(in, reply, id)
}

func setMark(c syscall.RawConn, m owned.Mark) error {
	var serr error
	err := c.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(m)) })
	if err != nil {
		return err
	}
	return serr
}

// await reads until the answer with a number is there.
func await(in net.PacketConn, reply byte, id uint16) error {
	buf := make([]byte, 256)
	for {
		n, _, err := in.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("wait for an echo: %w", err)
		}
		if n >= 8 && buf[0] == reply && binary.BigEndian.Uint16(buf[4:]) == id {
			return nil
		}
	}
}

// echo is an echo request with 56 octets, as ping(8) sends.
func echo(kind byte, id uint16) []byte {
	b := make([]byte, 64)
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], 1)
	for i := range b[8:] {
		b[8+i] = byte(i)
	}
	// The kernel sums ICMPv6, which a pseudo header belongs to.
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}
