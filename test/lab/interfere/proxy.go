package interfere

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/routerd/routerd/test/lab/authority"
)

// connectWait bounds the wait for a server, and for a client's first bytes.
const connectWait = 10 * time.Second

// proxyRule is one interference that the proxy does.
type proxyRule struct {
	x    Interference
	hits *hits
}

// proxy is the provider's transparent one: it takes the TCP connections that
// tproxy rules bring to it, answers some itself, and passes the others on to
// their servers in the client's name.
type proxy struct {
	impostor *authority.Authority
	page     string // host of the block page

	mu    sync.Mutex // guards rules, open
	rules []*proxyRule
	open  map[net.Conn]*proxyRule // of clients; nil: passed on
}

func (p *proxy) add(r *proxyRule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
}

// remove ends what a rule is doing; with the last rule, every connection: the
// packets of those that were passed on find their own way no more.
func (p *proxy) remove(r *proxyRule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(o *proxyRule) bool { return o == r })
	for c, of := range p.open {
		if of == r || len(p.rules) == 0 {
			reset(c)
		}
	}
}

// own notes what rule a connection falls under, or that it is over.
func (p *proxy) own(c net.Conn, r *proxyRule, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if over {
		delete(p.open, c)
		return
	}
	p.open[c] = r
}

// find is the rule of a kind for a host name and the address it was sought at.
func (p *proxy) find(k Kind, name string, at netip.AddrPort) *proxyRule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if r.x.Kind == k && r.x.covers(name) && slices.Contains(r.x.Ports, at.Port()) &&
			(r.x.Family == 0 || at.Addr().Is4() == (r.x.Family == 4)) {
			return r
		}
	}
	return nil
}

// reset closes a connection with a TCP reset.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// listen serves both families until ctx ends.
func (p *proxy) listen(ctx context.Context) error {
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := (&net.ListenConfig{Control: transparent}).Listen(ctx, network, fmt.Sprintf(":%d", proxyPort))
		if err != nil {
			return fmt.Errorf("listen for connections to inspect: %w", err)
		}
		context.AfterFunc(ctx, func() { _ = l.Close() })
		go p.serve(ctx, l)
	}
	return nil
}

func (p *proxy) serve(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go func() {
			p.own(c, nil, false)
			defer p.own(c, nil, true)
			defer c.Close()
			if p.handle(ctx, c) != nil {
				reset(c) // so the client learns that the server went
			}
		}()
	}
}

// handle reads of a connection what tells its name, then answers or passes it on.
func (p *proxy) handle(ctx context.Context, c net.Conn) error {
	in := bufio.NewReaderSize(c, maxHello)
	at := addrPort(c.LocalAddr())
	_ = c.SetReadDeadline(time.Now().Add(connectWait))
	kind, name := sort(in)
	_ = c.SetReadDeadline(time.Time{})
	client := &buffered{Conn: c, in: in}
	r := p.find(kind, name, at)
	if r == nil {
		return p.passOn(ctx, client)
	}
	p.own(c, r, false)
	r.hits.add(1)
	if kind == HTTPBlockPage {
		return answerBlocked(bufio.NewWriter(c), r.x.Answer, p.page)
	}
	return p.substitute(ctx, client, name)
}

// sort waits for as many first bytes as tell the kind that may touch them and
// the name; none for a client that waits for the server.
func sort(in *bufio.Reader) (Kind, string) {
	for n := 1; n <= maxHello; n = in.Buffered() + 1 {
		_, err := in.Peek(n)
		seen, _ := in.Peek(in.Buffered())
		for kind, look := range map[Kind]func([]byte) (string, finding){TLSCert: serverName, HTTPBlockPage: hostOf} {
			if name, f := look(seen); f == found {
				return kind, name
			}
		}
		if _, f := serverName(seen); err != nil {
			return "", ""
		} else if _, g := hostOf(seen); f == nothing && g == nothing {
			return "", ""
		}
	}
	return "", ""
}

// buffered is a connection of which something has been read ahead.
type buffered struct {
	net.Conn
	in *bufio.Reader
}

// Read reads what was read ahead first.
func (b *buffered) Read(to []byte) (int, error) { return b.in.Read(to) } //nolint:wrapcheck // io.Reader

// passOn joins a client with the server it meant, which sees the client's own
// address and port.
func (p *proxy) passOn(ctx context.Context, client net.Conn) error {
	server, err := p.dial(ctx, client)
	if err != nil {
		return err
	}
	return splice(client, server)
}

// dial opens a connection to the server that a client meant.
func (p *proxy) dial(ctx context.Context, client net.Conn) (net.Conn, error) {
	to, from := client.LocalAddr(), client.RemoteAddr()
	network := "tcp4"
	if addrPort(to).Addr().Is6() {
		network = "tcp6"
	}
	c, err := (&net.Dialer{LocalAddr: from, Timeout: connectWait, Control: transparentDial}).DialContext(ctx, network, to.String())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return c, nil
}

func transparentDial(network, address string, c syscall.RawConn) error {
	return transparent(network, address, c)
}

// splice copies both ways until both have ended; a reset of one side becomes one
// of the other.
func splice(client, server net.Conn) error {
	defer server.Close()
	up := make(chan error, 1)
	go func() { up <- half(server, client) }()
	down := half(client, server)
	if down != nil {
		reset(server)
	}
	if err := <-up; err != nil || down != nil {
		reset(server)
		return errors.Join(err, down)
	}
	return nil
}

// half copies one way and passes the end on.
func half(to, from net.Conn) error {
	if _, err := io.Copy(to, from); err != nil {
		// The other direction must not wait for somebody who has gone.
		_ = to.SetDeadline(time.Now())
		_ = from.SetDeadline(time.Now())
		return fmt.Errorf("copy: %w", err)
	}
	if b, ok := to.(*buffered); ok {
		to = b.Conn
	}
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	return nil
}

// substitute answers TLS with a certificate of the provider's making, and speaks
// with the server for a client that takes it.
func (p *proxy) substitute(ctx context.Context, client net.Conn, name string) error {
	certificate, err := p.impostor.Certificate(name)
	if err != nil {
		return err
	}
	down := tls.Server(client, &tls.Config{
		Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	defer down.Close()
	if err := down.HandshakeContext(ctx); err != nil {
		return nil //nolint:nilerr // the client has seen through it and closes
	}
	raw, err := p.dial(ctx, client)
	if err != nil {
		return err
	}
	up := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	return splice(down, up)
}
