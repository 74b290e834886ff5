package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// serving is a server on a socket of its own.
func serving(t *testing.T, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Base, s.MaxHead, s.MaxConns = t.Context(), 4<<10, 32
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.HeadTime == 0 {
		s.HeadTime, s.IdleTime = deadline, deadline
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, errServerClosed) {
			t.Errorf("it ended with %v", err)
		}
	})
	return ln.Addr().String()
}

// echo answers with what it is asked.
func echo(w *ResponseWriter, r *Request) {
	if r.URL.Path == "/stream" {
		_ = w.Stream(StatusOK)
		for _, piece := range []string{"a", "", "bc", strings.Repeat("d", 10_000)} {
			_ = w.Send([]byte(piece))
		}
		return
	}
	if err := r.DiscardBody(100, deadline); err != nil {
		_ = w.Reply(StatusRequestEntityTooLarge, []byte(err.Error()))
		return
	}
	w.Header().Set("X-Evil", "a\r\nb")
	_ = w.Reply(StatusOK, []byte(r.Method+" "+r.URL.Path+" "+r.URL.RawQuery+" "+r.Header.Get("x-a")))
}

func TestClientsOfNetHTTPAreAnswered(t *testing.T) {
	at := serving(t, &Server{Handler: echo})
	var mu sync.Mutex
	dialled := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dialled++
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		method, path string
		body         io.Reader
		status       int
		want         string
	}{
		{"GET", "/a%20b?c=d", nil, 200, "GET /a b c=d 1"},
		{"POST", "/", strings.NewReader("sized"), 200, "POST /  1"},
		{"POST", "/", io.MultiReader(strings.NewReader("chunked")), 200, "POST /  1"},
		{"GET", "/stream", nil, 200, "abc" + strings.Repeat("d", 10_000)},
		{"HEAD", "/stream", nil, 200, ""},
		{"HEAD", "/", nil, 200, ""},
		{"GET", "/", nil, 200, "GET /  1"},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), c.method, "http://"+at+c.path, c.body)
		req.Header.Set("X-A", "1")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || string(body) != c.want || resp.Header.Get("X-Evil") != "" {
			t.Errorf("%s %s: %s %.40q %v", c.method, c.path, resp.Status, body, err)
		}
		if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil {
			t.Error(err)
		}
	}
	if dialled != 1 {
		t.Errorf("%d connections", dialled)
	}
}

func TestLargeBodyIsRefusedAndTheClientHearsOfIt(t *testing.T) {
	at := serving(t, &Server{Handler: echo})
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+at+"/", bytes.NewReader(make([]byte, 200<<10)))
	req.Header.Set("Expect", "100-continue")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("a large body: %v %v", resp, err)
	}
}

// TestRequestsThatAreNoneAreRefused and the connection is closed.
func TestRequestsThatAreNoneAreRefused(t *testing.T) {
	at := serving(t, &Server{Handler: echo, HeadTime: 50 * time.Millisecond, IdleTime: 50 * time.Millisecond})
	get := "GET / HTTP/1.1\r\nHost: x\r\n"
	for text, want := range map[string]string{
		get + "\r\n":                                "200",
		"\r\n" + get + "\r\n":                       "200",
		"GET / HTTP/1.0\r\n\r\n":                    "200",
		"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n": "200",
		"x\r\n\r\n":                                 "400",
		"GET /\r\n\r\n":                             "400",
		"GET / HTTP/3.0\r\n\r\n":                    "505",
		"GET / HTTP/1.1\r\n\r\n":                    "400",
		get + "Host: y\r\n\r\n":                     "400",
		"GE T / HTTP/1.1\r\n\r\n":                   "400",
		"GET x HTTP/1.1\r\nHost: x\r\n\r\n":         "400",
		get + "A b\r\n\r\n":                         "400",
		get + "A : b\r\n\r\n":                       "400",
		get + "A: b\r\n c\r\n\r\n":                  "400",
		get + "A: \x01\r\n\r\n":                     "400",
		get + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": "400",
		get + "Content-Length: x\r\n\r\n":                               "400",
		get + "Transfer-Encoding: gzip\r\n\r\n":                         "501",
		get + strings.Repeat("A: b\r\n", 1000):                          "431",
		get + "A: " + strings.Repeat("b", 10_000):                       "431",
		"GET / HT": "",
		"":         "",
	} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(deadline))
		_, _ = io.WriteString(conn, text)
		got, err := io.ReadAll(conn)
		_ = conn.Close()
		if err != nil && !errors.Is(err, io.EOF) || !strings.HasPrefix(strings.TrimPrefix(string(got), "HTTP/1.1 "), want) || want == "" && len(got) > 0 {
			t.Errorf("%.60q: %q %v, want %s", text, got, err, want)
		}
	}
}

func TestRequestsInOnePieceAreAnsweredInTurn(t *testing.T) {
	at := serving(t, &Server{Handler: echo})
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	_, _ = io.WriteString(conn, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.0\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || strings.Count(string(got), "200 OK") != 3 || !strings.HasSuffix(string(got), "GET /3  ") {
		t.Errorf("%q %v", got, err)
	}
}

func TestStreamsToOldClientsEndWithTheConnection(t *testing.T) {
	at := serving(t, &Server{Handler: echo})
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(got), "chunked") || !strings.HasSuffix(string(got), "\r\n\r\nabc"+strings.Repeat("d", 10_000)) {
		t.Errorf("%.200q %v", got, err)
	}
}

func TestContextEndsWhenTheClientLeaves(t *testing.T) {
	ended := make(chan error, 1)
	at := serving(t, &Server{Handler: func(w *ResponseWriter, r *Request) {
		_ = r.DiscardBody(10, deadline)
		_ = w.Stream(StatusOK)
		select {
		case <-r.Context().Done():
			ended <- nil
		case <-time.After(deadline):
			ended <- errors.New("nobody left")
		}
	}})
	for _, body := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, body)
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestHandlerThatPanicsLosesItsConnectionOnly(t *testing.T) {
	var log bytes.Buffer
	at := serving(t, &Server{Log: slog.New(slog.NewTextHandler(&log, nil)), Handler: func(w *ResponseWriter, r *Request) {
		if r.URL.Path == "/panic" {
			_ = w.Stream(StatusOK)
			panic("on purpose")
		}
		echo(w, r)
	}})
	if resp, err := http.Get("http://" + at + "/panic"); err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			t.Error("the stream ended as if it were whole")
		}
	}
	resp, err := http.Get("http://" + at + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !strings.Contains(log.String(), "on purpose") {
		t.Errorf("log %q", log.String())
	}
}

func TestShutdownAnswersWhatWasAsked(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	s := &Server{Handler: func(w *ResponseWriter, _ *Request) {
		close(began)
		<-finish
		_ = w.Reply(StatusOK, []byte("done"))
	}}
	at := serving(t, s)
	idle, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	got := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + at)
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		got <- string(body) + fmt.Sprint(resp.Close)
	}()
	<-began
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection on which nothing is asked: %v", err)
	}
	close(finish)
	if err := <-down; err != nil {
		t.Error(err)
	}
	if text := <-got; text != "donefalse" {
		t.Errorf("got %q", text)
	}
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("it still listens")
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	s := &Server{Handler: func(_ *ResponseWriter, r *Request) { <-r.Context().Done() }}
	at := serving(t, s)
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n")
	for end := time.Now().Add(deadline); ; {
		s.mu.Lock()
		busy := false
		for _, b := range s.conns {
			busy = busy || b
		}
		s.mu.Unlock()
		if busy {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the request is not being answered")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
