package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Call is a request to send.
type Call struct {
	Method string
	URL    *url.URL
	Header Header // besides Host and Content-Length
	Body   []byte // nil: none
}

// hostField is the value of Host: without an empty port and without a zone, which
// means nothing to the other side.
func hostField(u *url.URL) string {
	host := strings.TrimSuffix(u.Host, ":")
	if zone := strings.IndexByte(host, '%'); zone > 0 && host[0] == '[' {
		host = host[:zone] + host[strings.LastIndexByte(host, ']'):]
	}
	return host
}

var errCall = errors.New("the address holds what cannot be sent")

// appendTo appends the request as HTTP/1.1 has it.
func (c *Call) appendTo(out []byte) ([]byte, error) {
	target, host := c.URL.RequestURI(), hostField(c.URL)
	if strings.ContainsAny(target, " \t\r\n\x00") || strings.Contains(host, " ") || !isValue(host) {
		return nil, errCall
	}
	out = append(out, c.Method...)
	out = append(out, ' ')
	out = append(out, target...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, host...)
	out = append(out, "\r\n"...)
	if c.Body != nil || c.Method == MethodPost {
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, int64(len(c.Body)), 10)
		out = append(out, "\r\n"...)
	}
	out = appendFields(out, c.Header)
	return append(out, c.Body...), nil
}

// Limits bound how long an exchange waits and what it takes.
type Limits struct {
	Head    int           // bytes of the answer's head
	Waiting time.Duration // for the head after the request was sent; 0: for as long as the context allows
}

// Exchange is an answer with its connection, which Close ends.
type Exchange struct {
	*Response
	conn    net.Conn
	release func() bool
}

// Close closes the connection.
func (x *Exchange) Close() {
	x.release()
	_ = x.conn.Close()
}

// Do sends a request over a connection that serves nothing else, and reads the
// answer's head. The connection is closed when Do fails, by Close, and when ctx ends,
// also while the body is read; the error of a read then is the context's.
func Do(ctx context.Context, conn net.Conn, c *Call, lim Limits) (*Exchange, error) {
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	in := bufio.NewReaderSize(conn, 4<<10)
	resp, err := roundTrip(conn, in, c, lim)
	if err != nil {
		release()
		_ = conn.Close()
		return nil, ended(ctx, err)
	}
	resp.Body = &boundReader{ctx, resp.Body}
	return &Exchange{resp, conn, release}, nil
}

// roundTrip sends a request and reads the answer's head.
func roundTrip(conn net.Conn, in *bufio.Reader, c *Call, lim Limits) (*Response, error) {
	out, err := c.appendTo(make([]byte, 0, 512))
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	if lim.Waiting > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(lim.Waiting))
	}
	resp, err := ReadResponse(in, c.Method, lim.Head)
	if lim.Waiting > 0 {
		_ = conn.SetReadDeadline(time.Time{})
	}
	return resp, err
}

// ended is the reason why a context ended, where it did, else the error.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// boundReader gives the end of a context in place of what came of it.
type boundReader struct {
	ctx context.Context
	in  io.Reader
}

// Read reads from the body.
func (r *boundReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = ended(r.ctx, err)
	}
	return n, err
}
