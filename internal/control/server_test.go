package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// peer is somebody else's client of the socket.
func peer(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
}

// raw sends one request and gives the status and the body.
func raw(t *testing.T, socket, method, target string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://routerd"+target, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := peer(socket).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestErrorsAreJSONWithTheirStatus(t *testing.T) {
	h := Handlers{
		Why: func(_ context.Context, query, _ string) (Why, error) {
			return Why{}, map[string]error{
				"invalid.example": fmt.Errorf("%w: not a name", ErrInvalid),
				"slow.example":    context.DeadlineExceeded,
				"leaving.example": context.Canceled,
				"early.example":   fmt.Errorf("%w: routerd is starting", ErrUnavailable),
				"broken.example":  errors.New("map lookup failed"),
			}[query]
		},
		Status: func(context.Context) (Status, error) {
			nan := math.NaN()
			return Status{Tunnels: []TunnelStatus{{RTTMs: &nan}}}, nil
		},
		Flows:   func(context.Context) ([]Flow, error) { return nil, errors.New("no flows") },
		Reload:  func(context.Context) ([]Problem, error) { return nil, nil },
		Restart: func(context.Context) error { return errors.New("not now") },
		Metrics: func(io.Writer) {},
		Events:  NewEventLog(fixedNow),
	}
	socket := server(t, h, defaultLimits())
	for _, tc := range []struct {
		method, target string
		status         int
		text           string
	}{
		{"GET", "/", 404, "no such resource"},
		{"GET", "/v1/nothing", 404, "/v1/nothing"},
		{"GET", "/v1/status/", 404, "no such resource"},
		{"POST", "/v1/status", 405, "takes GET"},
		{"GET", "/v1/reload", 405, "takes POST"},
		{"GET", "/v1/doctor", 501, "does not answer /v1/doctor"},
		{"GET", "/v1/catalogue", 501, "does not answer"},
		{"GET", "/v1/why", 400, "a domain name or an address is needed"},
		{"GET", "/v1/why?query=a%20b", 400, "neither an address"},
		{"GET", "/v1/why?query=invalid.example", 400, "not a name"},
		{"GET", "/v1/why?query=slow.example", 504, "deadline"},
		{"GET", "/v1/why?query=leaving.example", 503, "cancel"},
		{"GET", "/v1/why?query=early.example", 503, "starting"},
		{"GET", "/v1/why?query=broken.example", 500, "map lookup failed"},
		{"GET", "/v1/events?since=x", 400, "since"},
		{"GET", "/v1/flows?interval=900", 400, "1 to 60"},
		{"GET", "/v1/flows", 500, "no flows"},
		{"GET", "/v1/flows?follow=1", 500, "no flows"},
		{"GET", "/v1/status?verbose=1", 400, "allowed: none"},
		{"POST", "/v1/reload?now=1", 400, "unknown"},
		{"POST", "/v1/restart?now=1", 400, "unknown"},
		{"GET", "/v1/restart", 405, "takes POST"},
		{"POST", "/v1/restart", 500, "not now"},
		{"GET", "/metrics?x=1", 400, "unknown"},
		{"GET", "/v1/status", 500, "cannot be written as JSON"},
	} {
		status, body := raw(t, socket, tc.method, tc.target, nil)
		var f failure
		if err := json.Unmarshal([]byte(body), &f); err != nil {
			t.Errorf("%s %s: %q is not JSON: %v", tc.method, tc.target, body, err)
			continue
		}
		if status != tc.status || !strings.Contains(f.Error, tc.text) {
			t.Errorf("%s %s: %d %q, want %d with %q", tc.method, tc.target, status, f.Error, tc.status, tc.text)
		}
	}
}

func TestBodyIsBounded(t *testing.T) {
	var calls atomic.Int32
	h := Handlers{Reload: func(context.Context) ([]Problem, error) { calls.Add(1); return nil, nil }}
	lim := defaultLimits()
	lim.header = 50 * time.Millisecond
	socket := server(t, h, lim)
	small := strings.NewReader(strings.Repeat("x", maxBody))
	if status, body := raw(t, socket, "POST", "/v1/reload", small); status != 200 {
		t.Errorf("a body of 64 KiB: %d %s", status, body)
	}
	large := strings.NewReader(strings.Repeat("x", maxBody+1))
	if status, _ := raw(t, socket, "POST", "/v1/reload", large); status != 413 {
		t.Errorf("a body of 64 KiB and a byte: status %d, want 413", status)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("the handler was called %d times, want 1", got)
	}
	conn := dial(t, socket)
	_, _ = io.WriteString(conn, "POST /v1/reload HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\n\r\nhalf")
	if line := readLine(t, conn); !strings.Contains(line, "408") {
		t.Errorf("a body that does not arrive is answered with %q, want 408", line)
	}
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(deadline))
	return conn
}

func readLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("read an answer: %v", err)
	}
	return line
}

func TestSilentConnectionIsClosed(t *testing.T) {
	lim := defaultLimits()
	lim.header = 20 * time.Millisecond
	conn := dial(t, server(t, Handlers{}, lim))
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the server did not close a silent connection: %v", err)
	}
}

func TestHandlerTimeIsBounded(t *testing.T) {
	h := Handlers{Doctor: func(ctx context.Context) ([]Finding, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	lim := defaultLimits()
	lim.request = 10 * time.Millisecond
	if status, body := raw(t, server(t, h, lim), "GET", "/v1/doctor", nil); status != 504 {
		t.Errorf("a handler that hangs: %d %s, want 504", status, body)
	}
}

func TestAReloadThatWasNotDoneIsNotCalledRefused(t *testing.T) {
	h := Handlers{Reload: func(ctx context.Context) ([]Problem, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	lim := defaultLimits()
	lim.request = 10 * time.Millisecond
	if status, body := raw(t, server(t, h, lim), "POST", "/v1/reload", nil); status != 504 {
		t.Errorf("a reload that the daemon does not come to: %d %s, want 504", status, body)
	}
}

func TestConnectionsBeyond32Wait(t *testing.T) {
	h := Handlers{Status: func(context.Context) (Status, error) { return Status{Running: true}, nil }}
	lim := defaultLimits()
	lim.idle = deadline
	socket := server(t, h, lim)
	held := make([]net.Conn, maxConnections)
	for i := range held {
		held[i] = dial(t, socket)
		_, _ = io.WriteString(held[i], "GET /v1/status HTTP/1.1\r\nHost: r\r\n\r\n")
		readLine(t, held[i])
	}
	answered := make(chan error, 1)
	go func() {
		_, err := NewClient(socket).Status(t.Context())
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a connection more than %d was answered: %v", maxConnections, err)
	case <-time.After(50 * time.Millisecond):
	}
	_ = held[0].Close()
	if err := <-answered; err != nil {
		t.Errorf("after one left: %v", err)
	}
}

func TestFollowersLeaveRoomForOthers(t *testing.T) {
	h := Handlers{
		Events: NewEventLog(fixedNow),
		Status: func(context.Context) (Status, error) { return Status{Running: true}, nil },
	}
	lim := defaultLimits()
	lim.streams = 2
	socket := server(t, h, lim)
	ctx, leave := context.WithCancel(t.Context())
	for range 2 {
		if _, err := NewClient(socket).send(ctx, "GET", "/v1/events", map[string][]string{"follow": {"1"}}); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := raw(t, socket, "GET", "/v1/events?follow=1", nil); status != 503 || !strings.Contains(body, "2 clients follow already") {
		t.Errorf("the third follower: %d %s, want 503", status, body)
	}
	if _, err := NewClient(socket).Status(t.Context()); err != nil {
		t.Errorf("status beside followers: %v", err)
	}
	leave()
	eventually(t, "a follower's place is free again", func() bool {
		status, _ := raw(t, socket, "GET", "/v1/events", nil)
		return status == 200
	})
}

func TestSlowReaderIsDroppedAndOthersGoOn(t *testing.T) {
	log := NewEventLog(fixedNow)
	lim := defaultLimits()
	lim.write = 50 * time.Millisecond
	lim.streams = 2
	socket := server(t, Handlers{Events: log}, lim)
	slow := dial(t, socket)
	_, _ = io.WriteString(slow, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: r\r\n\r\n")
	readLine(t, slow) // the header, and then nothing more is read

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan uint64, 1)
	go func() {
		for e, err := range NewClient(socket).FollowEvents(ctx, 0) {
			if err != nil {
				t.Errorf("the quick reader: %v", err)
				return
			}
			seen <- e.Seq
		}
	}()
	big := strings.Repeat("x", 32<<10)
	for n := uint64(1); n <= 64; n++ { // 2 MiB, more than a socket holds
		log.Add(Event{Kind: EventFault, Reason: big})
		if got := <-seen; got != n {
			t.Fatalf("the quick reader sees %d, want %d", got, n)
		}
	}
	eventually(t, "the slow reader's place is free", func() bool {
		status, _ := raw(t, socket, "GET", "/v1/events?since=64", nil)
		return status == 200
	})
	if n, _ := io.Copy(io.Discard, slow); n >= 2<<20 {
		t.Errorf("the slow reader still got %d bytes", n)
	}
}

func TestStopEndsStreamsAndRemovesTheSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	h := Handlers{Events: NewEventLog(fixedNow), Flows: func(context.Context) ([]Flow, error) { return nil, nil }}
	stop := serveOn(t, ln, h, defaultLimits())
	ends := make(chan error, 2)
	open := make(chan struct{}, 2)
	h.Events.Add(Event{})
	go func() {
		for _, err := range NewClient(path).FollowEvents(t.Context(), 0) {
			if err != nil {
				ends <- err
				return
			}
			open <- struct{}{}
		}
	}()
	go func() {
		for _, err := range NewClient(path).FollowFlows(t.Context(), time.Second) {
			if err != nil {
				ends <- err
				return
			}
			open <- struct{}{}
		}
	}()
	<-open
	<-open
	began := time.Now()
	stop()
	for range 2 {
		if err := <-ends; !errors.Is(err, ErrNotRunning) {
			t.Errorf("a follower of a daemon that stops sees %v, want ErrNotRunning", err)
		}
	}
	if took := time.Since(began); took > defaultLimits().stop {
		t.Errorf("stopping took %v", took)
	}
	if answers(path) {
		t.Error("the socket still answers")
	}
}

func TestReloadGoesOnWhenTheCallerLeaves(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	h := Handlers{Reload: func(ctx context.Context) ([]Problem, error) {
		close(began)
		<-finish
		ended <- ctx.Err()
		return nil, nil
	}}
	socket := server(t, h, defaultLimits())
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = NewClient(socket).Reload(ctx)
	}()
	<-began
	leave()
	<-left
	close(finish)
	if err := <-ended; err != nil {
		t.Errorf("the reload was cancelled: %v", err)
	}
}

func TestServeRefusesASecondDaemonAndEndsWithItsContext(t *testing.T) {
	path := t.TempDir() + "/s"
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- ServeOn(ctx, ln, Handlers{}, quiet()) }()
	eventually(t, "the first answers", func() bool { return answers(path) })
	if _, err := Listen(path); !errors.Is(err, ErrRunning) {
		t.Errorf("the second daemon: %v, want ErrRunning", err)
	}
	cancel()
	if err := <-first; err != nil {
		t.Errorf("the first daemon ended with %v", err)
	}
}

func TestFailuresAreLoggedOnce(t *testing.T) {
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	h := Handlers{Status: func(context.Context) (Status, error) { return Status{}, errors.New("broken") }}
	ln, err := Listen(t.TempDir() + "/s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ServeOn(ctx, ln, h, log) }()
	_, _ = NewClient(ln.Addr().String()).Status(t.Context())
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "broken"); n != 1 {
		t.Errorf("the failure is logged %d times:\n%s", n, text.String())
	}
}
