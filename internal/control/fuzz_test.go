package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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

// recorder is a client that takes everything at once.
type recorder struct{ *httptest.ResponseRecorder }

// SetReadDeadline is asked for by bodies that may come late; these have come.
func (recorder) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is asked for by streams.
func (recorder) SetWriteDeadline(time.Time) error { return nil }

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
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Skip()
		}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer stop()
		w := recorder{httptest.NewRecorder()}
		newAPI(ctx, answering(), quiet(), defaultLimits()).ServeHTTP(w, r.WithContext(ctx))
		checkAnswer(t, w.ResponseRecorder)
	})
}

// checkAnswer fails for an answer that no request should get from daemons that
// are well; 503 and 504 are those to a client that has left.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if !slices.Contains([]int{200, 400, 404, 405, 408, 413, 503, 504}, w.Code) {
		t.Errorf("status %d: %q", w.Code, w.Body)
	}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		return
	}
	for line := range bytes.Lines(w.Body.Bytes()) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %q", line)
		}
	}
}
