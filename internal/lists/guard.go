package lists

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
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

// connectTLS is connect and a handshake. The standard check of the certificate
// is replaced, not left out: verify does the same at a time that also holds
// before the clock is set.
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
	conn := tls.Client(raw, &tls.Config{
		ServerName: host, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error { return g.m.verify(host, s) },
	})
	ctx, cancel := context.WithTimeout(ctx, g.m.limits.connect)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", oneLine(host), err)
	}
	return conn, nil
}

// verify checks a server's certificate as crypto/tls does.
func (m *Manager) verify(host string, state tls.ConnectionState) error {
	opts := x509.VerifyOptions{
		Roots: m.opts.Roots, DNSName: host, CurrentTime: m.validAt(state.PeerCertificates), Intermediates: x509.NewCertPool(),
	}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err
}

// validAt is the time to check certificates for. Before the clock is set all
// that is known is that the floor has passed; a certificate that was issued
// later is taken to be valid already.
func (m *Manager) validAt(chain []*x509.Certificate) time.Time {
	now := m.opts.Now()
	if !now.Before(m.opts.Floor) {
		return now
	}
	now = m.opts.Floor
	for _, c := range chain {
		if c.NotBefore.After(now) {
			now = c.NotBefore
		}
	}
	return now
}
