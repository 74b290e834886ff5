package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/routerd/routerd/internal/web"
)

// maxAnswer bounds one answer that a client reads; 16,384 flows need about
// 6 MiB.
const maxAnswer = 32 << 20

// ErrNotRunning says that no daemon answers on the socket.
var ErrNotRunning = errors.New("routerd is not running")

// APIError is an answer of the daemon that is an error.
type APIError struct {
	Status  int // of HTTP
	Message string
}

// Error is the message in the daemon's words.
func (e *APIError) Error() string { return e.Message }

// Client asks a daemon. Safe for use by many goroutines.
type Client struct {
	socket string
}

// NewClient makes a client of the daemon on a socket. It does not connect yet.
func NewClient(socket string) *Client {
	return &Client{socket}
}

// Status asks for the state of everything at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Why asks which path a name or an address takes; client may be "".
func (c *Client) Why(ctx context.Context, query, client string) (Why, error) {
	q := url.Values{"query": {query}}
	if client != "" {
		q.Set("client", client)
	}
	return get[Why](ctx, c, "/v1/why", q)
}

// Flows asks for the steered connections.
func (c *Client) Flows(ctx context.Context) ([]Flow, error) {
	return get[[]Flow](ctx, c, "/v1/flows", nil)
}

// FollowFlows yields all steered connections again and again, every interval
// (whole seconds, 1 to 60), until ctx ends. The last pair carries the error;
// the daemon's end is ErrNotRunning.
func (c *Client) FollowFlows(ctx context.Context, interval time.Duration) iter.Seq2[[]Flow, error] {
	seconds := strconv.Itoa(int(interval / time.Second))
	return stream[[]Flow](ctx, c, "/v1/flows", url.Values{"follow": {"1"}, "interval": {seconds}})
}

// Events asks for the remembered events whose Seq is greater than since.
func (c *Client) Events(ctx context.Context, since uint64) ([]Event, error) {
	q := url.Values{"since": {strconv.FormatUint(since, 10)}}
	body, err := c.do(ctx, web.MethodGet, "/v1/events", q)
	if err != nil {
		return nil, err
	}
	events := []Event{}
	lines := json.NewDecoder(bytes.NewReader(body))
	for lines.More() {
		var e Event
		if err := lines.Decode(&e); err != nil {
			return nil, fmt.Errorf("read the daemon's answer: %w", err)
		}
		events = append(events, e)
	}
	return events, nil
}

// FollowEvents yields the events after since and then each new one until ctx
// ends. The last pair carries the error; the daemon's end is ErrNotRunning.
func (c *Client) FollowEvents(ctx context.Context, since uint64) iter.Seq2[Event, error] {
	q := url.Values{"follow": {"1"}, "since": {strconv.FormatUint(since, 10)}}
	return stream[Event](ctx, c, "/v1/events", q)
}

// Doctor asks for what the daemon itself finds wrong.
func (c *Client) Doctor(ctx context.Context) ([]Finding, error) {
	return get[[]Finding](ctx, c, "/v1/doctor", nil)
}

// Reload makes the daemon read its settings again. The problems are given with
// and without an error.
func (c *Client) Reload(ctx context.Context) ([]Problem, error) {
	body, err := c.do(ctx, web.MethodPost, "/v1/reload", nil)
	var refused *APIError
	if err != nil && (!errors.As(err, &refused) || refused.Status != web.StatusUnprocessableEntity) {
		return nil, err
	}
	var r Reloaded
	if jsonErr := json.Unmarshal(body, &r); jsonErr != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", jsonErr)
	}
	return r.Problems, err
}

// Restart asks the daemon to end for another that begins in its place. It does not
// wait for that: its Status has another time in Started.
func (c *Client) Restart(ctx context.Context) error {
	_, err := c.do(ctx, web.MethodPost, "/v1/restart", nil)
	return err
}

// get asks for one JSON value.
func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	var v T
	body, err := c.do(ctx, web.MethodGet, path, q)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return v, nil
}

// do sends a request and reads the whole answer. With an APIError the body is
// given too.
func (c *Client) do(ctx context.Context, method, path string, q url.Values) ([]byte, error) {
	resp, err := c.send(ctx, method, path, q)
	if err != nil {
		return nil, err
	}
	defer resp.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("read the daemon's answer: it is larger than %d bytes", maxAnswer)
	case resp.StatusCode != web.StatusOK:
		return body, apiError(resp.StatusCode, body)
	}
	return body, nil
}

func apiError(status int, body []byte) error {
	var f failure
	if json.Unmarshal(body, &f) != nil || f.Error == "" {
		f.Error = fmt.Sprintf("the daemon answered with status %d", status)
	}
	return &APIError{Status: status, Message: f.Error}
}

// maxAnswerHead bounds the head of an answer, in bytes.
const maxAnswerHead = 16 << 10

// send sends a request over a connection of its own.
func (c *Client) send(ctx context.Context, method, path string, q url.Values) (*web.Exchange, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, connectError(err)
	}
	call := &web.Call{
		Method: method, URL: &url.URL{Scheme: "http", Host: "routerd", Path: path, RawQuery: q.Encode()},
		Header: web.Header{{Name: "Connection", Value: "close"}},
	}
	x, err := web.Do(ctx, conn, call, web.Limits{Head: maxAnswerHead})
	if err != nil {
		return nil, connectError(err)
	}
	return x, nil
}

// connectError tells a daemon that is not there from one that cannot be asked.
func connectError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (%w)", ErrNotRunning, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: it stopped while it was asked", ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask routerd: %w; run this as root", err)
	}
	return fmt.Errorf("ask routerd: %w", err)
}

// errStreamEnd says that a stream ended where one that follows would not.
var errStreamEnd = fmt.Errorf("%w: it has stopped", ErrNotRunning)

// stream yields the lines of an answer until ctx ends.
func stream[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return streamBy[T](ctx, c, web.MethodGet, path, q)
}

// streamBy is stream with a method.
func streamBy[T any](ctx context.Context, c *Client, method, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		resp, err := c.send(ctx, method, path, q)
		if err != nil {
			yieldError(ctx, yield, zero, err)
			return
		}
		defer resp.Close()
		if resp.StatusCode != web.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
			yield(zero, apiError(resp.StatusCode, bytes.TrimSpace(body)))
			return
		}
		lines := json.NewDecoder(resp.Body)
		for {
			var v T
			if err := lines.Decode(&v); err != nil {
				yieldError(ctx, yield, zero, streamError(err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// yieldError passes an error on, except that the caller ended the stream.
func yieldError[T any](ctx context.Context, yield func(T, error) bool, zero T, err error) {
	if ctx.Err() == nil {
		yield(zero, err)
	}
}

func streamError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return errStreamEnd
	}
	return fmt.Errorf("read the daemon's stream: %w", err)
}
