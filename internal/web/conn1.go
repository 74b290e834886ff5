package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Answer is an answer that has come whole.
type Answer struct {
	StatusCode int
	Status     string // code and reason
	Header     Header
	Body       []byte // one byte more than was allowed says that there was more
}

// ErrOver is why a request was not sent, or not looked at by the server: the
// connection takes no more of them. It may be sent again over another.
var ErrOver = errors.New("the connection takes no more requests")

// keepTime is how long a kept connection may be silent.
const keepTime = time.Minute

// Conn1 is a connection of HTTP/1.1 that is kept for one exchange after the other.
// Safe for use by many goroutines, which wait for each other.
type Conn1 struct {
	conn net.Conn
	in   *bufio.Reader
	head int           // bytes of an answer's head
	body int           // bytes of an answer's body
	turn chan struct{} // holds a token while an exchange is under way
	over atomic.Bool
	idle *time.Timer // closes the connection; stopped while an exchange is under way
}

// NewConn1 keeps a connection. An answer's head may have maxHead bytes, its body
// maxBody.
func NewConn1(conn net.Conn, maxHead, maxBody int) *Conn1 {
	c := &Conn1{conn: conn, in: bufio.NewReaderSize(conn, 4<<10), head: maxHead, body: maxBody, turn: make(chan struct{}, 1)}
	c.idle = time.AfterFunc(keepTime, c.Close)
	return c
}

// Over says whether the connection takes no more requests.
func (c *Conn1) Over() bool { return c.over.Load() }

// Close closes the connection; exchanges that are under way fail.
func (c *Conn1) Close() {
	c.over.Store(true)
	c.idle.Stop()
	_ = c.conn.Close()
}

// Ask does one exchange. If ctx ends first, so does the connection.
func (c *Conn1) Ask(ctx context.Context, call *Call) (*Answer, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c.over.Load() || !c.idle.Stop() {
		return nil, ErrOver
	}
	release := context.AfterFunc(ctx, c.Close)
	a, keep, err := c.exchange(call)
	switch {
	case !release() || err != nil || !keep:
		c.Close()
	default:
		c.idle.Reset(keepTime)
	}
	if err != nil {
		return nil, ended(ctx, err)
	}
	return a, nil
}

func (c *Conn1) exchange(call *Call) (a *Answer, keep bool, err error) {
	resp, err := roundTrip(c.conn, c.in, call, Limits{Head: c.head})
	if err != nil {
		return nil, false, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.body)+1))
	if err != nil {
		return nil, false, err
	}
	return &Answer{resp.StatusCode, resp.Status, resp.Header, body}, resp.keep && len(body) <= c.body, nil
}
