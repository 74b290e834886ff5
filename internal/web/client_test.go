package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// deadline is how long a test waits for what should take milliseconds.
const deadline = 10 * time.Second

func address(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// do asks a server with a connection of its own.
func do(t *testing.T, base string, c *Call) (*Exchange, error) {
	t.Helper()
	u := address(t, base)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c.URL = u
	return Do(t.Context(), conn, c, Limits{Head: 4 << 10, Waiting: deadline})
}

func TestWhatServersOfNetHTTPAnswerIsRead(t *testing.T) {
	long := strings.Repeat("0123456789", 20_000)
	mux := http.NewServeMux()
	mux.HandleFunc("/sized", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/same", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "after")
	})
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sum")
		_, _ = io.WriteString(w, long)
		w.Header().Set("Sum", "1")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q %s", r.Method, r.URL.RequestURI(), r.Host, r.Header["X-A"], body)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	for _, c := range []struct {
		path   string
		call   Call
		status string
		length int64
		body   string
	}{
		{"/sized", Call{Method: "GET"}, "200 OK", 5, "hello"},
		{"/sized", Call{Method: "HEAD"}, "200 OK", -2, ""},
		{"/long", Call{Method: "GET"}, "200 OK", -1, long},
		{"/empty", Call{Method: "GET"}, "204 No Content", -2, ""},
		{"/same", Call{Method: "GET"}, "304 Not Modified", -2, ""},
		{"/early", Call{Method: "GET"}, "200 OK", 5, "after"},
		{"/trailer", Call{Method: "GET"}, "200 OK", -1, long},
		{"/none", Call{Method: "GET"}, "404 Not Found", 19, "404 page not found\n"},
		{"/echo?a=b%20c", Call{Method: "POST", Body: []byte("hi"), Header: Header{{"X-A", "1"}, {"X-A", "2"}, {"X-B", "a\r\nX-A: 3"}}}, "200 OK", -2, `POST /echo?a=b%20c ` + host + ` ["1" "2"] hi`},
		{"", Call{Method: "POST"}, "404 Not Found", 19, "404 page not found\n"},
	} {
		x, err := do(t, s.URL+c.path, &c.call)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		body, err := io.ReadAll(x.Body)
		if err != nil || string(body) != c.body || x.Status != c.status || c.length != -2 && x.ContentLength != c.length {
			t.Errorf("%s: %s, %d bytes announced, %d came, %v", c.path, x.Status, x.ContentLength, len(body), err)
		}
		if x.Header.Get("transfer-encoding") != "" {
			t.Errorf("%s: header %v", c.path, x.Header)
		}
		x.Close()
	}
}

// answer is what ReadResponse makes of a text, with the body's error.
func answer(method, text string) (*Response, string, error) {
	resp, err := ReadResponse(bufio.NewReaderSize(strings.NewReader(text), 16), method, 4<<10)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// TestResponsesAreReadAsNetHTTPReadsThem holds what strange servers send against the
// reader of the standard library.
func TestResponsesAreReadAsNetHTTPReadsThem(t *testing.T) {
	for _, text := range strange() {
		if why := differs(text); why != "" {
			t.Errorf("%q: %s", text, why)
		}
	}
}

func strange() []string {
	ok := "HTTP/1.1 200 OK\r\n"
	return []string{
		"", "\r\n", "HTTP", "HTTP/1.1", "HTTP/1.1 \r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n",
		"HTTP/1.1 200\r\n\r\nrest", "HTTP/1.0 200 OK\r\n\r\nrest", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.x 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
		"http/1.1 200 OK\r\n\r\n", ok, ok + "\r\n", ok + "A: b", ok + "A b\r\n\r\n", ok + "A: b\n\nbody", ok + ": b\r\n\r\n",
		ok + "Content-Length: 3\r\n\r\nabcdef", ok + "Content-Length: 3\r\n\r\nab", ok + "Content-Length: 03\r\n\r\nabc", ok + "Content-Length: +3\r\n\r\nabc",
		ok + "Content-Length: -3\r\n\r\nabc", ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		ok + "Content-Length: 99999999999999999999\r\n\r\n", ok + "content-length:3\r\n\r\nabc", ok + "Content-Length: \r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n",
		ok + "Transfer-Encoding: chunked\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n",
		ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n", ok + "Transfer-Encoding: gzip\r\n\r\nabc",
		ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 304 x\r\nContent-Length: 3\r\n\r\nabc",
		ok + "A: b\r\n c\r\n\r\n", ok + "A: b\r\n\tc\r\nContent-Length: 1\r\n\r\nx", ok + "Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
	}
}

// differs says how our reading differs from that of net/http, or "".
func differs(text string) string {
	resp, body, err := answer("GET", text)
	theirs, err2 := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if (resp == nil) != (err2 != nil) {
		return fmt.Sprintf("got %v, net/http %v", err, err2)
	}
	if resp == nil {
		return ""
	}
	want, err2 := io.ReadAll(theirs.Body)
	if (err == nil) != (err2 == nil) || body != string(want) || resp.StatusCode != theirs.StatusCode || resp.Status != theirs.Status {
		return fmt.Sprintf("got %d %q %v, net/http %d %q %v", resp.StatusCode, body, err, theirs.StatusCode, want, err2)
	}
	for name, values := range theirs.Header {
		if resp.Header.Get(name) != values[0] {
			return fmt.Sprintf("%s is %q, net/http %q", name, resp.Header.Get(name), values)
		}
	}
	return ""
}

func TestWhatComesIsBounded(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\n"
	chunks := ok + "Transfer-Encoding: chunked\r\n\r\n"
	for name, text := range map[string]string{
		"a long line":        ok + "A: " + strings.Repeat("x", 5000),
		"many fields":        ok + strings.Repeat("A:b\r\n", 300),
		"announcements":      strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 6),
		"a long first line":  "HTTP/1.1 200 " + strings.Repeat("x", 5000),
		"a long chunk line":  chunks + "1;" + strings.Repeat("x", 5000) + "\r\n",
		"tiny chunks":        chunks + strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\na\r\n", 1000),
		"an endless trailer": chunks + "0\r\n" + strings.Repeat("A: b\r\n", 5000),
	} {
		in := strings.NewReader(text)
		resp, err := ReadResponse(bufio.NewReaderSize(in, 16), "GET", 4<<10)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	for _, when := range []string{"head", "body"} {
		here, there := net.Pipe()
		go func() { // ends with the pipe
			_, _ = http.ReadRequest(bufio.NewReader(there))
			if when == "body" {
				_, _ = io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
			}
			_, _ = io.Copy(io.Discard, there)
		}()
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
		x, err := Do(ctx, here, &Call{Method: "GET", URL: address(t, "http://a.example/")}, Limits{Head: 4 << 10})
		if when == "body" && err == nil {
			_, err = io.ReadAll(x.Body)
			x.Close()
		}
		if !errors.Is(err, why) {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := here.Write([]byte{0}); err == nil {
			t.Errorf("%s: the connection is open", when)
		}
	}
}

func TestSilentServersAreGivenUp(t *testing.T) {
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, there) }() // ends with the pipe
	_, err := Do(t.Context(), here, &Call{Method: "GET", URL: address(t, "http://a.example/")}, Limits{Head: 4 << 10, Waiting: 10 * time.Millisecond})
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v, want a timeout", err)
	}
}

func TestHostIsWithoutZoneAndEmptyPort(t *testing.T) {
	for text, want := range map[string]string{
		"http://a.example": "a.example", "http://a.example:": "a.example", "http://a.example:81/": "a.example:81",
		"http://[fe80::1%25eth0]/": "[fe80::1]", "http://[fe80::1%25eth0]:81/": "[fe80::1]:81", "http://[::1]:81": "[::1]:81",
	} {
		if got := hostField(address(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestStatusTextsAreThoseOfNetHTTP(t *testing.T) {
	for code := range 600 {
		if got, want := StatusText(code), http.StatusText(code); got != want {
			t.Errorf("%d is %q, want %q", code, got, want)
		}
	}
}
