package web

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzResponse: whatever a server sends is read within bounds; what is accepted,
// net/http reads alike.
func FuzzResponse(f *testing.F) {
	for _, text := range strange() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		resp, body, err := answer("GET", string(raw))
		if resp == nil || err != nil {
			return
		}
		if len(body) > len(raw) || resp.StatusCode < 100 || resp.StatusCode > 999 || len(resp.Header) > maxFields {
			t.Fatalf("%+v", resp)
		}
		if want, ok := theirReading(raw); ok && want != body {
			t.Fatalf("read %q, net/http %q", body, want)
		}
	})
}

// theirReading is the body that net/http reads; not ok: it is stricter, or does not go
// past announcements.
func theirReading(raw []byte) (body string, ok bool) {
	theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil || theirs.StatusCode < 200 {
		return "", false
	}
	all, err := io.ReadAll(theirs.Body)
	return string(all), err == nil
}

// FuzzRequest: what the server takes for a request, net/http takes for the same.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "GET /%2f HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://a/b HTTP/1.1\r\nHost: x\r\nConnection: close, x\r\n\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(raw), 16)
		req, err := readRequest(in, 2<<10)
		if err != nil {
			return
		}
		body, err := bodyOf(req)
		theirs, err2 := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimPrefix(strings.TrimPrefix(string(raw), "\n"), "\r\n"))))
		if err2 != nil {
			return
		}
		want, err2 := io.ReadAll(theirs.Body)
		if req.Method != theirs.Method || req.URL.Path != theirs.URL.Path || req.URL.RawQuery != theirs.URL.RawQuery ||
			err == nil && err2 == nil && string(want) != body {
			t.Fatalf("read %s %s %q, net/http %s %s %q", req.Method, req.URL, body, theirs.Method, theirs.URL, want)
		}
	})
}

func bodyOf(r *Request) (string, error) {
	if r.body == nil {
		return "", nil
	}
	body, err := io.ReadAll(r.body)
	return string(body), err
}

// FuzzHTTP2: whatever a server of HTTP/2 sends, questions end, and answers are
// within their bounds.
func FuzzHTTP2(f *testing.F) {
	settings := appendFrame(nil, frameSettings, 0, 0, nil)
	ok := appendFrame(settings, frameHeaders, flagEndHeaders, 1, []byte{0x88})
	for _, more := range [][]byte{
		nil,
		{0},
		appendFrame(nil, frameData, flagEndStream, 1, []byte("x")), appendFrame(nil, frameData, flagEndStream|flagPadded, 1, []byte("\x01xy")),
		appendFrame(nil, frameHeaders, flagEndStream|flagEndHeaders|flagPriority, 1, []byte("\x00\x00\x00\x00\x00\x88")),
		appendFrame(appendFrame(nil, frameHeaders, 0, 3, []byte{0x88}), frameContinuation, flagEndHeaders|flagEndStream, 3, nil),
		appendFrame(nil, frameReset, 0, 3, []byte("\x00\x00\x00\x07")), appendFrame(nil, frameGoAway, 0, 0, []byte("\x00\x00\x00\x01\x00\x00\x00\x00")),
		appendFrame(nil, frameWindowUpdate, 0, 0, []byte("\x7f\xff\xff\xff")), appendFrame(nil, framePing, 0, 0, []byte("12345678")),
		appendFrame(nil, frameSettings, 0, 0, appendSetting(appendSetting(nil, settingWindow, 0), settingTable, 0)), appendFrame(nil, framePushPromise, 0, 1, nil),
		appendFrame(nil, frameHeaders, flagEndStream|flagEndHeaders, 1, []byte("\x88\x40\x01a\x01b")),
	} {
		f.Add(append(bytes.Clone(ok), more...))
		f.Add(append(bytes.Clone(settings), more...))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		conn := newScript(raw)
		c := NewConn2(conn, 1<<10, 1<<10)
		call := &Call{Method: MethodPost, URL: address(t, "https://a.example/q"), Body: []byte("question")}
		ends := make(chan error, 2)
		for range 2 {
			go func() { // ends with conn, whose input does
				a, err := c.Ask(t.Context(), call)
				if err == nil && (len(a.Body) > 1<<10+1 || a.StatusCode < 200 || len(a.Header) > maxFields) {
					err = errors.New("the answer is out of its bounds")
				} else {
					err = nil
				}
				ends <- err
			}()
		}
		for range 2 {
			if err := <-ends; err != nil {
				t.Fatal(err)
			}
		}
	})
}
