package dns

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const dnsMessage = "application/dns-message"

// dohExchanger asks over HTTPS (RFC 8484), over HTTP/2 with one connection kept.
// Requests carry nothing that tells one household from another: no cookies, no
// User-Agent, no id (it is 0), no options of clients.
type dohExchanger struct {
	url       string
	transport *http.Transport

	mu    sync.Mutex // guards conns
	conns map[*heardConn]struct{}
}

func newDoH(o opener, config *tls.Config) *dohExchanger {
	d := &dohExchanger{url: o.upstream.URL(), conns: map[*heardConn]struct{}{}}
	d.transport = &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			// The transport goes on dialing when the question has been given up.
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			watched := o
			watched.dial = d.watch(o.dial)
			return watched.openTLS(ctx, config)
		},
		ForceAttemptHTTP2: true, DisableCompression: true,
		// Without the bound, a burst of questions would make a connection each while
		// the first one is being made: more handshakes than a small router bears.
		IdleConnTimeout: time.Minute, MaxIdleConns: 2, MaxConnsPerHost: 1, MaxResponseHeaderBytes: 16 << 10,
	}
	return d
}

// heardConn knows when something last came.
type heardConn struct {
	net.Conn
	owner *dohExchanger
	heard atomic.Int64 // Unix time in nanoseconds
}

// watch keeps the connections that a dialer makes, so that dead ones can be
// closed: HTTP/2 would go on using them.
func (d *dohExchanger) watch(dial Dialer) Dialer {
	return func(ctx context.Context, path Path, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, path, network, address)
		if err != nil {
			return nil, err
		}
		c := &heardConn{Conn: raw, owner: d}
		c.heard.Store(time.Now().UnixNano())
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns[c] = struct{}{}
		return c, nil
	}
}

// Read notes that something came.
func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// Close takes the connection off the list, too.
func (c *heardConn) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.conns, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// reset closes connections over which nothing has come since a time.
func (d *dohExchanger) reset(since time.Time) {
	d.mu.Lock()
	var silent []*heardConn
	for c := range d.conns {
		if c.heard.Load() < since.UnixNano() {
			silent = append(silent, c)
		}
	}
	d.mu.Unlock()
	for _, c := range silent {
		_ = c.Close()
	}
}

func (d *dohExchanger) close() {
	d.transport.CloseIdleConnections()
	d.reset(time.Now().Add(time.Hour))
}

func (d *dohExchanger) exchange(ctx context.Context, query []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(query))
	if err != nil {
		return nil, &layerError{LayerHTTP, err}
	}
	req.Header = http.Header{"Content-Type": {dnsMessage}, "Accept": {dnsMessage}, "User-Agent": {""}}
	// Not a Client: it would follow redirects to anywhere.
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		return nil, httpError(ctx, err)
	}
	defer resp.Body.Close()
	if err := checkResponse(resp); err != nil {
		return nil, &layerError{LayerHTTP, err}
	}
	msg, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	if err != nil {
		return nil, httpError(ctx, err)
	}
	a, err := parseAnswer(msg, query, false)
	if err != nil {
		return nil, &layerError{LayerAnswer, err}
	}
	a.age(resp.Header.Get("Age"))
	return a, nil
}

// httpError keeps the layer where the dialer named one.
func httpError(ctx context.Context, err error) error {
	if inner := (*layerError)(nil); errors.As(err, &inner) {
		return inner
	}
	if ctx.Err() != nil {
		return &layerError{LayerTimeout, context.Cause(ctx)}
	}
	return &layerError{LayerHTTP, err}
}

func checkResponse(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != dnsMessage {
		return fmt.Errorf("content type %q instead of %s", resp.Header.Get("Content-Type"), dnsMessage)
	}
	return nil
}

// age takes off the TTLs what an HTTP cache on the way has held the answer for
// (RFC 8484 5.1).
func (a *answer) age(header string) {
	seconds, err := strconv.ParseUint(header, 10, 31)
	if err != nil || seconds == 0 {
		return
	}
	gone := uint32(seconds)
	for _, at := range a.ttls {
		ttl := binary.BigEndian.Uint32(a.msg[at:])
		binary.BigEndian.PutUint32(a.msg[at:], ttl-min(ttl, gone))
	}
	a.ttl -= min(a.ttl, gone)
}
