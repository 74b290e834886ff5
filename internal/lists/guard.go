package lists

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/routerd/routerd/internal/certs"
)

// guard is what one fetch may connect to.
type guard struct {
	m      *Manager
	origin string // host:port of the settings' own URL: may be anywhere
	dial   DialFunc
	screen screen
}

// client makes the client of one fetch from a source.
func (m *Manager) client(source *url.URL, dial DialFunc) *http.Client {
	g := &guard{m: m, origin: hostPort(source), dial: dial, screen: newScreen()}
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &http.Transport{
			DialContext:            g.connect,
			DialTLSContext:         g.connectTLS,
			ResponseHeaderTimeout:  m.limits.header,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		},
	}
}

// hostPort is what net/http dials for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// checkRedirect follows few, and never from TLS to plain text.
func checkRedirect(r *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case r.URL.Scheme != "https" && r.URL.Scheme != "http":
		return fmt.Errorf("a redirect to %s:// is refused", oneLine(r.URL.Scheme))
	case from.Scheme == "https" && r.URL.Scheme == "http":
		return fmt.Errorf("a redirect from https to http (%s) is refused", oneLine(r.URL.Host))
	case r.URL.User != nil:
		return errors.New("a redirect with a user name is refused")
	}
	r.Header.Del("Referer") // the address may hold what the next server need not know
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
