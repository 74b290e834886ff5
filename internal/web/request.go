package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// Request is a request whose head has been read.
type Request struct {
	Method string
	URL    *url.URL // of an absolute or an origin form, as they came
	Header Header   // without what says how the body is transferred

	ctx   context.Context
	conn  *serverConn
	body  io.Reader // nil: there is none, or it has been read
	keep  bool      // the client wants to send another one
	minor int       // of the version
}

// Context ends when the client leaves, once the body has been read, and with the
// server.
func (r *Request) Context() context.Context { return r.ctx }

// ErrBodyTooLarge is a body that is longer than it may be.
var ErrBodyTooLarge = errors.New("the body is too large")

// DiscardBody reads the body, which nobody here uses, of at most limit bytes within a
// time. A request whose body has not been read is the connection's last one.
func (r *Request) DiscardBody(limit int64, within time.Duration) error {
	if r.body == nil {
		return nil
	}
	if err := r.conn.expected(r); err != nil {
		return err
	}
	_ = r.conn.conn.SetReadDeadline(time.Now().Add(within))
	n, err := io.Copy(io.Discard, io.LimitReader(r.body, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("read body: %w", err)
	case n > limit:
		return ErrBodyTooLarge
	}
	r.body = nil
	_ = r.conn.conn.SetReadDeadline(time.Time{})
	r.conn.startWatch()
	return nil
}

// badRequest is a request that is refused before anybody sees it.
type badRequest struct {
	status int
	why    string
}

func (e *badRequest) Error() string { return e.why }

func bad(why string) error { return &badRequest{StatusBadRequest, why} }

// readRequest reads a request's head. An error that is no badRequest is one of the
// connection; io.EOF says that nothing came.
func readRequest(in *bufio.Reader, maxHead int) (*Request, error) {
	r := headReader{in, maxHead}
	line, err := r.line()
	if line == "" && err == nil {
		line, err = r.line() // RFC 9112 2.2: one empty line is passed over
	}
	if err != nil {
		return nil, refuseHead(err)
	}
	req, err := parseRequestLine(line)
	if err != nil {
		return nil, err
	}
	if req.Header, err = r.fields(true); err != nil {
		return nil, refuseHead(err)
	}
	return req, req.settle(in)
}

// refuseHead tells a header that is refused from a connection that failed.
func refuseHead(err error) error {
	switch {
	case errors.Is(err, errHeadTooLarge):
		return &badRequest{statusHeaderTooLarge, err.Error()}
	case errors.Is(err, errNoField), errors.Is(err, errFieldName), errors.Is(err, errFieldValue):
		return bad(err.Error())
	}
	return err
}

// parseRequestLine reads "GET /path HTTP/1.1".
func parseRequestLine(line string) (*Request, error) {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	major, minor, ok3 := parseVersion(version)
	switch {
	case !ok1 || !ok2 || !ok3 || !isToken(method):
		return nil, bad("the first line is no request")
	case major != 1:
		return nil, &badRequest{statusVersion, "only HTTP/1.1 and 1.0 are spoken here"}
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || !isValue(target) {
		return nil, bad("the request's target cannot be read")
	}
	return &Request{Method: method, URL: u, minor: minor}, nil
}

// settle says how long the body is and whether the connection goes on.
func (r *Request) settle(in *bufio.Reader) error {
	if n := r.Header.count("Host"); n > 1 || n == 0 && r.minor > 0 {
		return bad("one field Host is needed")
	}
	r.keep = !r.Header.hasToken("Connection", "close")
	if r.minor == 0 {
		r.keep = r.Header.hasToken("Connection", "keep-alive")
	}
	if r.Header.count("Transfer-Encoding") > 0 && (r.minor == 0 || r.Header.count("Content-Length") > 0) {
		return bad("it says in two ways how long the body is")
	}
	return r.frame(in)
}

func (r *Request) frame(in *bufio.Reader) error {
	length, chunked, err := framing(&r.Header, r.minor)
	switch {
	case errors.Is(err, errEncoding):
		return &badRequest{StatusNotImplemented, err.Error()}
	case err != nil:
		return bad(err.Error())
	case chunked:
		r.body = &chunkedBody{in: in}
	case length > 0:
		r.body = &sizedBody{in, length}
	}
	return nil
}
