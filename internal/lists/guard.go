package lists

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"github.com/routerd/routerd/internal/certs"
	"github.com/routerd/routerd/internal/web"
)

// guard is what one fetch may connect to.
type guard struct {
	m      *Manager
	origin string // host:port of the settings' own URL: may be anywhere
	dial   DialFunc
	screen screen
}

// maxAnswerHead bounds the head of an answer, in bytes.
const maxAnswerHead = 64 << 10

// newGuard makes the guard of one fetch from a source.
func (m *Manager) newGuard(source *url.URL, dial DialFunc) *guard {
	return &guard{m: m, origin: hostPort(source), dial: dial, screen: newScreen()}
}

// follow asks for a source, and where it leads to.
func (g *guard) follow(ctx context.Context, to *url.URL, h web.Header) (*web.Exchange, error) {
	for hops := 1; ; hops++ {
		x, err := g.ask(ctx, to, h)
		if err != nil {
			return nil, err
		}
		location := x.Header.Get("Location")
		if !isRedirect(x.StatusCode) || location == "" {
			return x, nil
		}
		x.Close()
		next, err := to.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("a redirect to %q cannot be read", oneLine(location))
		}
		if err := checkRedirect(to, next, hops); err != nil {
			return nil, err
		}
		to = next
	}
}

// ask connects, and asks for one address.
func (g *guard) ask(ctx context.Context, to *url.URL, h web.Header) (*web.Exchange, error) {
	connect := g.connect
	if to.Scheme == "https" {
		connect = g.connectTLS
	}
	conn, err := connect(ctx, "tcp", hostPort(to))
	if err != nil {
		return nil, err
	}
	return web.Do(ctx, conn, &web.Call{Method: web.MethodGet, URL: to, Header: h}, web.Limits{Head: maxAnswerHead, Waiting: g.m.limits.header})
}

// isRedirect says whether a status sends to another address.
func isRedirect(status int) bool {
	return status >= 301 && status <= 303 || status == 307 || status == 308
}

// hostPort is where a URL leads to.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// checkRedirect follows few, and never from TLS to plain text.
func checkRedirect(from, to *url.URL, hops int) error {
	switch {
	case hops > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case to.Scheme != "https" && to.Scheme != "http":
		return fmt.Errorf("a redirect to %s:// is refused", oneLine(to.Scheme))
	case from.Scheme == "https" && to.Scheme == "http":
		return fmt.Errorf("a redirect from https to http (%s) is refused", oneLine(to.Host))
	case to.User != nil:
		return errors.New("a redirect with a user name is refused")
	case to.Host == "":
		return errors.New("a redirect to no host is refused")
	}
	return nil
}

// connect opens a connection and looks where it leads before anything is sent:
// a publisher must not make the router ask something of its own network.
func (g *guard) connect(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.m.limits.connect)
	defer cancel()
	conn, err := g.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := g.mayTalk(conn, address); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// mayTalk refuses addresses that are private or the router's own.
func (g *guard) mayTalk(conn net.Conn, address string) error {
	if address == g.origin {
		return nil
	}
	to := addrOf(conn.RemoteAddr())
	if !to.IsValid() || to == addrOf(conn.LocalAddr()) || g.screen.refuseNetwork(netip.PrefixFrom(to, to.BitLen())) != nil {
		return fmt.Errorf("a redirect to %s, which is at the private address %s, is refused", oneLine(address), to)
	}
	return nil
}

func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// connectTLS is connect and a handshake, in which the server proves who it is.
func (g *guard) connectTLS(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := g.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("split address: %w", err)
	}
	v := certs.Verifier{Host: host, Roots: g.m.opts.Roots, Now: g.m.opts.Now, Floor: g.m.opts.Floor}
	conn := tls.Client(raw, v.Config("http/1.1"))
	ctx, cancel := context.WithTimeout(ctx, g.m.limits.connect)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", oneLine(host), err)
	}
	return conn, nil
}
