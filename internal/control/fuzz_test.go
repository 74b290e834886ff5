package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answering are handlers that all answer.
func answering() Handlers {
	log := NewEventLog(time.Now)
	log.Add(Event{Kind: EventFault, To: "x"})
	return Handlers{
		Status: func(context.Context) (Status, error) { return Status{Running: true}, nil },
		Why: func(_ context.Context, query, client string) (Why, error) {
			return Why{Query: query, Client: client}, nil
		},
		Flows:     func(context.Context) ([]Flow, error) { return []Flow{{}}, nil },
		Doctor:    func(context.Context) ([]Finding, error) { return []Finding{{}}, nil },
		Catalogue: func(context.Context, []string) ([]Service, error) { return []Service{{}}, nil },
		Reload:    func(context.Context) ([]Problem, error) { return nil, nil },
		Lists:     func(context.Context) ([]List, error) { return []List{{}}, nil },
		UpdateList: func(_ context.Context, name string, told func(ListProgress)) error {
			told(ListProgress{Name: name})
			return nil
		},
		Checks:  func(context.Context) ([]Check, error) { return []Check{{}}, nil },
		Check:   func(_ context.Context, _ []string, told func(CheckProgress)) error { told(CheckProgress{}); return nil },
		History: func(context.Context, string) ([]History, error) { return []History{{}}, nil },
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "x 1\n") },
		Events:  log,
	}
}

// FuzzRequests gives whole requests to the API: what it answers is JSON or
// Prometheus text, and a fault of the client's is never one of the daemon's.
func FuzzRequests(f *testing.F) {
	for _, line := range []string{
		"GET /v1/status", "GET /v1/why?query=a.example&client=::1", "GET /v1/events?follow=1&since=0", "GET /v1/catalogue?word=a",
		"POST /v1/check?what=a&what=b", "POST /v1/lists/update?name=x", "POST /v1/reload", "GET /v1/history?destination=x",
		"GET /metrics", "PUT /v1/../x", "GET /v1/flows?follow=1&interval=1",
	} {
		f.Add([]byte(line + " HTTP/1.1\r\nHost: x\r\n\r\n"))
		f.Add([]byte(line + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"))
	}
	f.Add([]byte("POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nx"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(raw, []byte("HEAD")) {
			t.Skip() // answers to it have no body, which a reader cannot know
		}
		here, there := net.Pipe()
		ln := &oneConn{end: make(chan struct{})}
		ln.conn.Store(&there)
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		lim := defaultLimits()
		lim.header, lim.idle, lim.stop = 10*time.Millisecond, 10*time.Millisecond, time.Second
		done := make(chan error, 1)
		go func() { done <- serve(ctx, ln, answering(), quiet(), lim) }()
		go func() { _, _ = here.Write(raw) }() // ends with the connection
		readAnswers(t, here)
		_ = here.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// oneConn is a listener that one connection comes to.
type oneConn struct {
	conn atomic.Pointer[net.Conn]
	once sync.Once
	end  chan struct{}
}

// Accept gives the connection, and then waits for the listener's end.
func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn.Swap(nil); conn != nil {
		return *conn, nil
	}
	<-l.end
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.end) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// readAnswers reads what a server answers until it says that it closes, or does.
func readAnswers(t *testing.T, conn net.Conn) {
	t.Helper()
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(resp.Body)
		checkAnswer(t, resp, body)
		if resp.Close {
			return
		}
	}
}

// checkAnswer fails for an answer that no request should get from daemons that
// are well; 503 and 504 are those to a client that has left, and what is no request
// is refused with a line of text.
func checkAnswer(t *testing.T, resp *http.Response, body []byte) {
	t.Helper()
	if !slices.Contains([]int{100, 200, 400, 404, 405, 408, 413, 431, 501, 503, 504, 505}, resp.StatusCode) {
		t.Errorf("status %d: %q", resp.StatusCode, body)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		return
	}
	for line := range bytes.Lines(body) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %q", line)
		}
	}
}
