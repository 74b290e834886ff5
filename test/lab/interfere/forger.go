package interfere

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// dnsWait bounds the wait for the provider's resolver.
const dnsWait = 5 * time.Second

// forgedTTL is that of forged records, in seconds: short, so that undoing it is
// soon seen.
const forgedTTL = 5

// maxUDP is more than any DNS message over UDP here has.
const maxUDP = 8192

// forgery is one interference with lookups.
type forgery struct {
	x       Interference
	answers []netip.Addr
	hits    *hits
}

// applies says whether a query to a server is to be forged.
func (f *forgery) applies(server netip.Addr, q dnsmessage.Question) bool {
	if len(f.x.Servers) > 0 && !slices.Contains(f.x.Servers, server) {
		return false
	}
	if len(f.x.Names) > 0 && !f.x.covers(q.Name.String()) {
		return false
	}
	switch f.x.Family {
	case 4:
		return q.Type == dnsmessage.TypeA
	case 6:
		return q.Type == dnsmessage.TypeAAAA
	}
	return true
}

// forge makes the false answer to a query.
func (f *forgery) forge(h dnsmessage.Header, q dnsmessage.Question) ([]byte, error) {
	head := dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}
	if f.x.Answer == AnswerNXDomain {
		head.RCode = dnsmessage.RCodeNameError
	}
	m := dnsmessage.Message{Header: head, Questions: []dnsmessage.Question{q}}
	for _, a := range f.answers {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: forgedTTL}}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			r.Body = &dnsmessage.AResource{A: a.As4()}
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue // the name without a record of this type
		}
		m.Answers = append(m.Answers, r)
	}
	raw, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("forge answer: %w", err)
	}
	return raw, nil
}

// forger answers the queries that tproxy rules bring to it, whatever server they
// were sent to: some falsely, the rest as the provider's resolver does.
type forger struct {
	upstream string // address:port of the provider's resolver

	mu        sync.RWMutex // guards forgeries
	forgeries []*forgery
}

func (f *forger) add(x *forgery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgeries = append(f.forgeries, x)
}

func (f *forger) remove(x *forgery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgeries = slices.DeleteFunc(f.forgeries, func(y *forgery) bool { return x == y })
}

// answer is what to say to a query, over network.
func (f *forger) answer(ctx context.Context, network string, server netip.Addr, query []byte) ([]byte, error) {
	if h, q, ok := question(query); ok {
		if x := f.find(server, q); x != nil {
			x.hits.add(1)
			return x.forge(h, q)
		}
	}
	return ask(ctx, network, f.upstream, query)
}

func (f *forger) find(server netip.Addr, q dnsmessage.Question) *forgery {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, x := range f.forgeries {
		if x.x.Kind == DNSForge && x.applies(server, q) {
			return x
		}
	}
	return nil
}

// ask sends a query on and gives the answer as it came.
func ask(ctx context.Context, network, server string, query []byte) ([]byte, error) {
	c, err := (&net.Dialer{Timeout: dnsWait}).DialContext(ctx, network, server)
	if err != nil {
		return nil, fmt.Errorf("ask provider's resolver: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dnsWait))
	if network == "tcp" {
		if err := writeMessage(c, query); err != nil {
			return nil, err
		}
		return readMessage(c)
	}
	if _, err := c.Write(query); err != nil {
		return nil, fmt.Errorf("ask provider's resolver: %w", err)
	}
	answer := make([]byte, maxUDP)
	n, err := c.Read(answer)
	if err != nil {
		return nil, fmt.Errorf("read answer of provider's resolver: %w", err)
	}
	return answer[:n], nil
}

func readMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("read DNS message: %w", err)
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, fmt.Errorf("read DNS message: %w", err)
	}
	return message, nil
}

func writeMessage(w io.Writer, message []byte) error {
	if _, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
		return fmt.Errorf("write DNS message: %w", err)
	}
	return nil
}

// listen serves UDP and TCP over both families until ctx ends.
func (f *forger) listen(ctx context.Context) error {
	for _, family := range []string{"4", "6"} {
		config := net.ListenConfig{Control: transparent}
		address := fmt.Sprintf(":%d", forgePort)
		l, err := config.Listen(ctx, "tcp"+family, address)
		if err != nil {
			return fmt.Errorf("listen for redirected lookups: %w", err)
		}
		context.AfterFunc(ctx, func() { _ = l.Close() })
		go f.serveTCP(ctx, l)
		p, err := config.ListenPacket(ctx, "udp"+family, address)
		if err != nil {
			return fmt.Errorf("listen for redirected lookups: %w", err)
		}
		c, ok := p.(*net.UDPConn)
		if !ok {
			return fmt.Errorf("listen for redirected lookups: %T", p)
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		go f.serveUDP(ctx, c)
	}
	return nil
}

// transparent lets a socket have addresses of others (tproxy), and asks for the
// addresses that datagrams were sent to.
func transparent(network, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr, level, option int) {
		if err == nil {
			err = unix.SetsockoptInt(int(fd), level, option, 1)
		}
	}
	if e := c.Control(func(fd uintptr) {
		set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
		if network[3] == '6' {
			set(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT)
		} else {
			set(fd, unix.SOL_IP, unix.IP_TRANSPARENT)
		}
		switch network {
		case "udp4":
			set(fd, unix.SOL_IP, unix.IP_RECVORIGDSTADDR)
		case "udp6":
			set(fd, unix.SOL_IPV6, unix.IPV6_RECVORIGDSTADDR)
		}
	}); e != nil {
		return fmt.Errorf("reach socket: %w", e)
	}
	if err != nil {
		return fmt.Errorf("make socket transparent: %w", err)
	}
	return nil
}

func (f *forger) serveTCP(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			f.session(ctx, c)
		}()
	}
}

// session answers one TCP connection's queries, one after the other.
func (f *forger) session(ctx context.Context, c net.Conn) {
	server := addrPort(c.LocalAddr()).Addr()
	for {
		_ = c.SetDeadline(time.Now().Add(2 * dnsWait))
		query, err := readMessage(c)
		if err != nil {
			return
		}
		answer, err := f.answer(ctx, "tcp", server, query)
		if err != nil || writeMessage(c, answer) != nil {
			return
		}
	}
}

// serveUDP ends when its socket is closed.
func (f *forger) serveUDP(ctx context.Context, c *net.UDPConn) {
	data, control := make([]byte, maxUDP), make([]byte, 256)
	for {
		n, controls, _, from, err := c.ReadMsgUDPAddrPort(data, control)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		server, ok := sentTo(control[:controls])
		if !ok {
			continue
		}
		query := slices.Clone(data[:n])
		go func() {
			answer, err := f.answer(ctx, "udp", server.Addr(), query)
			if err == nil {
				_ = sendAs(ctx, server, from, answer)
			}
		}()
	}
}

// sentTo reads where a datagram was going (struct sockaddr_in, sockaddr_in6).
func sentTo(control []byte) (netip.AddrPort, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, m := range messages {
		d := m.Data
		switch {
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_ORIGDSTADDR && len(d) >= 8:
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[4:8])), binary.BigEndian.Uint16(d[2:])), true
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_ORIGDSTADDR && len(d) >= 24:
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(d[8:24])), binary.BigEndian.Uint16(d[2:])), true
		}
	}
	return netip.AddrPort{}, false
}

// sendAs sends a datagram in another's name. A socket of its own and not a raw
// one, so that the kernel cuts large answers into fragments.
func sendAs(ctx context.Context, from, to netip.AddrPort, data []byte) error {
	network := "udp4"
	if to.Addr().Unmap().Is6() {
		network = "udp6"
	}
	c, err := (&net.ListenConfig{Control: transparent}).ListenPacket(ctx, network, from.String())
	if err != nil {
		return fmt.Errorf("open socket of %s: %w", from, err)
	}
	defer c.Close()
	if _, err := c.WriteTo(data, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))); err != nil {
		return fmt.Errorf("answer as %s: %w", from, err)
	}
	return nil
}

func addrPort(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
