package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"time"
)

// serverConn is a connection that requests come by, one after the other. One
// goroutine uses it, but for the watch.
type serverConn struct {
	srv  *Server
	conn net.Conn
	in   *bufio.Reader

	leave context.CancelFunc // ends the present request's context
	watch chan struct{}      // closed when the watch has ended; nil: there is none
}

func newServerConn(s *Server, conn net.Conn) *serverConn {
	return &serverConn{srv: s, conn: conn, in: bufio.NewReaderSize(conn, 2<<10)}
}

// serve answers requests until one of both sides has enough.
func (c *serverConn) serve() {
	defer c.srv.gone(c)
	defer func() { _ = c.conn.Close() }()
	wait := c.srv.HeadTime
	for c.come(wait) && c.srv.turn(c, true) && c.exchange() && c.srv.turn(c, false) {
		wait = c.srv.IdleTime
	}
}

// come waits for the next request.
func (c *serverConn) come(within time.Duration) bool {
	_ = c.conn.SetReadDeadline(time.Now().Add(within))
	_, err := c.in.Peek(1)
	return err == nil
}

// exchange reads and answers a request, and says whether another one may come.
func (c *serverConn) exchange() bool {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.srv.HeadTime))
	req, err := readRequest(c.in, c.srv.MaxHead)
	if refused := (*badRequest)(nil); errors.As(err, &refused) {
		c.refuse(refused)
		c.linger()
		return false
	}
	if err != nil {
		return false
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	if c.answer(req) {
		return true
	}
	if req.body != nil {
		c.linger()
	}
	return false
}

// refuse answers what is no request.
func (c *serverConn) refuse(why *badRequest) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.srv.HeadTime))
	w := &ResponseWriter{conn: c.conn, req: &Request{minor: 1}}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = w.Reply(why.status, []byte(statusLine(why.status)+": "+why.why+"\n"))
}

// linger says that nothing more is sent, and reads for a moment what the client still
// sends: closing a connection with bytes unread would take the answer away from it.
func (c *serverConn) linger() {
	const (
		most = 256 << 10
		wait = 500 * time.Millisecond
	)
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(wait))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.in, most))
}

// answer has a request answered. A handler that panics loses its connection, no more.
func (c *serverConn) answer(req *Request) (keep bool) {
	req.conn = c
	req.ctx, c.leave = context.WithCancel(c.srv.Base)
	defer c.leave()
	defer c.stopWatch()
	defer func() {
		if p := recover(); p != nil {
			keep = false
			c.srv.Log.Error("a request's handler failed", "path", req.URL.Path, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if req.body == nil {
		c.startWatch()
	}
	w := &ResponseWriter{conn: c.conn, req: req, keep: req.keep && !c.srv.over()}
	c.srv.Handler(w, req)
	return w.finish()
}

// startWatch ends the request's context when the client leaves. What else comes from
// it stays for the next request.
func (c *serverConn) startWatch() {
	done, leave := make(chan struct{}), c.leave
	c.watch = done
	go func() { // ends with stopWatch, or before
		defer close(done)
		if _, err := c.in.Peek(1); err != nil {
			leave()
		}
	}()
}

// stopWatch gives the reader back.
func (c *serverConn) stopWatch() {
	if c.watch == nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	<-c.watch
	c.watch = nil
}

// expected tells a client that waits for it to send the body (RFC 9110 10.1.1).
func (c *serverConn) expected(r *Request) error {
	if r.minor == 0 || !strings.EqualFold(r.Header.Get("Expect"), "100-continue") || c.in.Buffered() > 0 {
		return nil
	}
	_, err := io.WriteString(c.conn, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}
