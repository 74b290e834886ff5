package dns

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/routerd/routerd/internal/web"
)

const dnsMessage = "application/dns-message"

// maxAnswerHead bounds the head of an answer over HTTP, in bytes.
const maxAnswerHead = 16 << 10

// session is a connection for many exchanges: HTTP/2, or HTTP/1.1 with one after the
// other.
type session interface {
	Ask(ctx context.Context, call *web.Call) (*web.Answer, error)
	Over() bool
	Close()
}

// dohExchanger asks over HTTPS (RFC 8484), over HTTP/2 if the server speaks it. One
// connection is kept: with more, a burst of questions would make one each while the
// first is being made, and more handshakes than a small router bears.
// Requests carry nothing that tells one household from another: no cookies, no
// User-Agent, no id (it is 0), no options of clients.
type dohExchanger struct {
	url      *url.URL
	unusable error // why url is none
	connect  func(context.Context) (session, error)

	mu      sync.Mutex // guards what follows
	conns   map[*heardConn]struct{}
	session session     // nil: none yet
	opening *dohOpening // nil: none
	closed  bool
}

// dohOpening is a connection being made; whoever needs it waits for done.
type dohOpening struct {
	done    chan struct{}
	session session
	err     error
}

func newDoH(o opener, config *tls.Config) *dohExchanger {
	d := &dohExchanger{conns: map[*heardConn]struct{}{}}
	d.url, d.unusable = url.Parse(o.upstream.URL())
	o.dial = d.watch(o.dial)
	d.connect = func(ctx context.Context) (session, error) {
		conn, err := o.openTLS(ctx, config)
		if err != nil {
			return nil, err
		}
		if conn.ConnectionState().NegotiatedProtocol == "h2" {
			return web.NewConn2(conn, maxAnswerHead, maxMessage), nil
		}
		return web.NewConn1(conn, maxAnswerHead, maxMessage), nil
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
	d.mu.Lock()
	d.closed = true
	kept := d.session
	d.mu.Unlock()
	if kept != nil {
		kept.Close()
	}
	d.reset(time.Now().Add(time.Hour))
}

func (d *dohExchanger) exchange(ctx context.Context, query []byte) (*answer, error) {
	if d.unusable != nil {
		return nil, &layerError{LayerHTTP, d.unusable}
	}
	resp, err := d.post(ctx, query)
	if err != nil {
		return nil, httpError(ctx, err)
	}
	if err := checkResponse(resp); err != nil {
		return nil, &layerError{LayerHTTP, err}
	}
	a, err := parseAnswer(resp.Body, query, false)
	if err != nil {
		return nil, &layerError{LayerAnswer, err}
	}
	a.age(resp.Header.Get("Age"))
	return a, nil
}

// post sends a query, again over another connection if the kept one turns out to be
// over: the server may have closed it just now, or closes each after one answer for
// which others have waited.
func (d *dohExchanger) post(ctx context.Context, query []byte) (*web.Answer, error) {
	call := &web.Call{
		Method: web.MethodPost, URL: d.url, Body: query,
		Header: web.Header{{Name: "Content-Type", Value: dnsMessage}, {Name: "Accept", Value: dnsMessage}},
	}
	const most = 16
	for try := 1; ; try++ {
		s, fresh, err := d.get(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := s.Ask(ctx, call)
		again := !fresh || errors.Is(err, web.ErrOver)
		if err == nil || !again || try == most || ctx.Err() != nil {
			return resp, err
		}
	}
}

// get gives the connection; fresh says that it was made for this call.
func (d *dohExchanger) get(ctx context.Context) (s session, fresh bool, err error) {
	d.mu.Lock()
	if d.session != nil && !d.session.Over() {
		s = d.session
		d.mu.Unlock()
		return s, false, nil
	}
	o := d.opening
	if o == nil {
		o = &dohOpening{done: make(chan struct{})}
		d.opening = o
		// Ends by dialTime; not with ctx, since others may wait for it too.
		go d.open(o)
	}
	d.mu.Unlock()
	select {
	case <-o.done:
		return o.session, true, o.err
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

func (d *dohExchanger) open(o *dohOpening) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	s, err := d.connect(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening = nil
	switch {
	case err != nil:
		o.err = err
	case d.closed:
		go s.Close() // it locks what is locked here
		o.err = &layerError{LayerConnect, errClosed}
	default:
		o.session, d.session = s, s
	}
	close(o.done)
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

func checkResponse(resp *web.Answer) error {
	if resp.StatusCode != web.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.Trim(kind, " \t"), dnsMessage) {
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
