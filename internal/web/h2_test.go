package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// secure opens a connection to a server that speaks HTTP/2.
func secure(t *testing.T, s *httptest.Server) *Conn2 {
	t.Helper()
	config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos, config.ServerName = []string{"h2"}, "example.com"
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Fatal("the server speaks no HTTP/2")
	}
	c := NewConn2(conn, 4<<10, 1<<16)
	t.Cleanup(c.Close)
	return c
}

func server2(t *testing.T, handler http.Handler, change ...func(*http.HTTP2Config)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.Config.HTTP2 = &http.HTTP2Config{}
	for _, f := range change {
		f(s.Config.HTTP2)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func post(t testing.TB, path, body string) *Call {
	return &Call{Method: MethodPost, URL: address(t, "https://a.example"+path), Header: Header{{"X-Asked", "1"}}, Body: []byte(body)}
}

func TestServersOfHTTP2AreAsked(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Long", strings.Repeat("l", 1000))
		fmt.Fprintf(w, "%s %s %s %s %s %d %s", r.Proto, r.Method, r.Host, r.URL.RawQuery, r.Header.Get("X-Asked"), r.ContentLength, body)
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/no", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "after")
	})
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sum")
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("Sum", "1")
	})
	mux.HandleFunc("/full", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<16)) })
	mux.HandleFunc("/more", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/head", func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"X-A", "X-B"} {
			w.Header().Set(name, strings.Repeat("l", 3000))
		}
	})
	c := secure(t, server2(t, mux))
	for _, w := range []struct{ path, status, body, err string }{
		{"/echo?a=b", "200 OK", "HTTP/2.0 POST a.example a=b 1 5 hello", ""},
		{"/empty", "204 No Content", "", ""},
		{"/no", "503 Service Unavailable", "", ""},
		{"/early", "200 OK", "after", ""},
		{"/trailer", "200 OK", "body", ""},
		{"/full", "200 OK", string(make([]byte, 1<<16)), ""},
		{"/more", "200 OK", string(make([]byte, 1<<16+1)), ""},
		{"/abort", "", "", "HTTP/2: code 2"},
		{"/head", "", "", "header is too large"},
		{"/echo", "200 OK", "HTTP/2.0 POST a.example  1 5 hello", ""},
	} {
		a, err := c.Ask(t.Context(), post(t, w.path, "hello"))
		if got := fmt.Sprint(err); w.err == "" && err != nil || !strings.Contains(got, w.err) {
			t.Errorf("%s: %v, want %q", w.path, err, w.err)
		}
		if err == nil && (a.Status != w.status || string(a.Body) != w.body) {
			t.Errorf("%s: %s %d bytes: %.80q", w.path, a.Status, len(a.Body), a.Body)
		}
	}
	if c.Over() {
		t.Error("the connection is over")
	}
}

// TestManyAreAskedAtOnce with more questions than the server takes at a time, and
// windows that are too small for one.
func TestManyAreAskedAtOnce(t *testing.T) {
	s := server2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(bytes.Repeat(body, 8))
	}), func(c *http.HTTP2Config) {
		c.MaxConcurrentStreams, c.MaxReceiveBufferPerStream, c.MaxReceiveBufferPerConnection = 3, 1000, 100_000
	})
	c := secure(t, s)
	// Its settings are known then; what is sent before may be more than it takes.
	if _, err := c.Ask(t.Context(), post(t, "/", "x")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			body := strings.Repeat(fmt.Sprint(i%10), 7000+i)
			a, err := c.Ask(t.Context(), post(t, "/", body))
			if err != nil || string(a.Body) != strings.Repeat(body, 8) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func TestAnswerMayComeBeforeTheQuestionsEnd(t *testing.T) {
	c := secure(t, server2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		func(c *http.HTTP2Config) { c.MaxReceiveBufferPerStream = 1000 }))
	for _, body := range []string{"x", strings.Repeat("x", 100_000), "x"} {
		a, err := c.Ask(t.Context(), post(t, "/", body))
		if err != nil || a.StatusCode != 204 {
			t.Errorf("%d bytes: %+v %v", len(body), a, err)
		}
	}
}

func TestWhoGivesUpLeavesTheConnectionToOthers(t *testing.T) {
	left := make(chan struct{})
	c := secure(t, server2(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			close(left)
		}
	})))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ask(ctx, post(t, "/slow", "x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	select {
	case <-left:
	case <-time.After(deadline):
		t.Error("the server was not told")
	}
	if _, err := c.Ask(t.Context(), post(t, "/", "x")); err != nil {
		t.Error(err)
	}
}

func TestServerThatShutsDownAnswersWhatWasAsked(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	s := server2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	c := secure(t, s)
	got := make(chan string, 1)
	go func() {
		a, err := c.Ask(t.Context(), post(t, "/", "x"))
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(a.Body)
	}()
	<-began
	down := make(chan error, 1)
	go func() { down <- s.Config.Shutdown(t.Context()) }()
	awaitEnd(t, c)
	if _, err := c.Ask(t.Context(), post(t, "/", "x")); !errors.Is(err, ErrOver) {
		t.Errorf("a question to a server that goes away: %v", err)
	}
	close(finish)
	if text := <-got; text != "done" {
		t.Errorf("got %q", text)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// block encodes fields.
func block(fields ...string) []byte {
	var out bytes.Buffer
	enc := hpack.NewEncoder(&out)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return out.Bytes()
}

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// TestFramesAreReadStrictlyAndWithinBounds: what servers send beside the rules, and
// what comes of the two questions under way.
func TestFramesAreReadStrictlyAndWithinBounds(t *testing.T) {
	ok := block(":status", "200")
	fr := func(kind, flags byte, id uint32, payload []byte) []byte {
		return appendFrame(nil, kind, flags, id, payload)
	}
	headers := func(flags byte, id uint32, b []byte) []byte { return fr(frameHeaders, flags, id, b) }
	const all = flagEndHeaders | flagEndStream
	settings := fr(frameSettings, 0, 0, nil)
	both := func(b []byte) []byte { return append(headers(all, 1, b), headers(all, 3, b)...) }
	for name, c := range map[string]struct {
		send []byte
		want string
	}{
		"answers":                  {both(ok), ""},
		"no settings first":        {nil, "protocol error"},
		"data for nobody":          {fr(frameData, 0, 5, nil), "protocol error"},
		"a stream of the server's": {headers(all, 2, ok), "protocol error"},
		"a push":                   {fr(framePushPromise, flagEndHeaders, 1, nil), "protocol error"},
		"too large a frame":        {[]byte{1, 0, 0, 0, 0, 0, 0, 0, 1}, "frame size"},
		"padding only":             {fr(frameData, flagPadded, 1, nil), "frame size"},
		"more padding than frame":  {fr(frameData, flagPadded, 1, []byte{9, 1}), "protocol error"},
		"short priority":           {headers(all|flagPriority, 1, []byte{1}), "frame size"},
		"short reset":              {fr(frameReset, 0, 1, nil), "frame size"},
		"short ping":               {fr(framePing, 0, 0, nil), "frame size"},
		"ping of a stream":         {fr(framePing, 0, 1, make([]byte, 8)), "protocol error"},
		"odd settings":             {fr(frameSettings, 0, 0, []byte{1}), "frame size"},
		"window too large":         {fr(frameSettings, 0, 0, appendSetting(nil, settingWindow, 1<<31)), "flow control"},
		"window that overflows":    {fr(frameWindowUpdate, 0, 0, number(maxWindow)), "flow control"},
		"window that stays":        {fr(frameWindowUpdate, 0, 0, number(0)), "flow control"},
		"short window":             {fr(frameWindowUpdate, 0, 0, nil), "frame size"},
		"short goodbye":            {fr(frameGoAway, 0, 0, nil), "frame size"},
		"broken header":            {headers(all, 1, []byte{0xff}), "compression"},
		"a frame within a header":  {append(headers(0, 1, ok), fr(framePing, 0, 0, make([]byte, 8))...), "protocol error"},
		"another header's rest":    {append(headers(0, 1, ok), fr(frameContinuation, flagEndHeaders, 3, nil)...), "protocol error"},
		"a rest of nothing":        {fr(frameContinuation, flagEndHeaders, 1, nil), "protocol error"},
		"an endless header":        {append(headers(0, 1, ok), bytes.Repeat(fr(frameContinuation, 0, 1, nil), 2000)...), "too much"},
		"a header that only grows": {append(headers(0, 1, ok), bytes.Repeat(fr(frameContinuation, 0, 1, make([]byte, 1000)), 100)...), "too much"},
		"endless pings":            {bytes.Repeat(fr(framePing, 0, 0, make([]byte, 8)), 2000), "too much"},
		"endless empty data":       {append(headers(flagEndHeaders, 1, ok), bytes.Repeat(fr(frameData, 0, 1, nil), 2000)...), "too much"},
		"no status":                {both(block("a", "b")), "malformed"},
		"two of them":              {both(block(":status", "200", ":status", "200")), "malformed"},
		"a status of letters":      {both(block(":status", "2xx")), "malformed"},
		"a value of two lines":     {both(block(":status", "200", "a", "b\r\nc")), "malformed"},
		"a header without end":     {both(block(":status", "200", "a", strings.Repeat("x", 2000))), "compression"},
		"too much header":          {both(block(":status", "200", "a", strings.Repeat("x", 600), "b", strings.Repeat("x", 600))), "too large"},
		"less than it said":        {both(block(":status", "200", "content-length", "3")), "unexpected EOF"},
		"only announcements":       {both(block(":status", "100")), "announcements"},
		"refused":                  {append(fr(frameReset, 0, 1, number(7)), fr(frameReset, 0, 3, number(7))...), "takes no more"},
		"away":                     {fr(frameGoAway, 0, 0, make([]byte, 8)), "takes no more"},
		"closed":                   {[]byte{}, "EOF"},
		"unknown frames":           {append(fr(77, 0xff, 9, []byte("x")), both(ok)...), ""},
		"an answer in parts":       {append(append(headers(flagEndStream, 1, ok[:1]), fr(frameContinuation, flagEndHeaders, 1, ok[1:])...), headers(all, 3, ok)...), ""},
		"data ahead of the answer": {append(fr(frameData, flagEndStream, 1, nil), fr(frameData, flagEndStream, 3, nil)...), "malformed"},
		"fields behind that go on": {append(append(headers(flagEndHeaders, 1, ok), headers(flagEndHeaders, 1, ok)...), fr(frameReset, 0, 3, number(2))...), "malformed"},
		"more than the window":     {append(headers(flagEndHeaders, 1, ok), bytes.Repeat(fr(frameData, flagPadded, 1, append([]byte{255}, make([]byte, 255)...)), 100)...), "flow control"},
	} {
		t.Run(name, func(t *testing.T) {
			send := append(bytes.Clone(settings), c.send...)
			if name == "no settings first" {
				send = fr(framePing, 0, 0, make([]byte, 8))
			}
			conn := NewConn2(newScript(send), 1<<10, 1<<10)
			errs := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := conn.Ask(t.Context(), post(t, "/", "x"))
					errs <- err
				}()
			}
			one, two := <-errs, <-errs
			if got := fmt.Sprint(one, ", ", two); c.want == "" && got != "<nil>, <nil>" || c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("%s, want %q", got, c.want)
			}
		})
	}
}

// keeper1 is a connection to a server that keeps it.
func keeper1(t *testing.T, handler http.HandlerFunc) *Conn1 {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn1(conn, 4<<10, 100)
	t.Cleanup(c.Close)
	return c
}

func TestOneConnectionOfHTTP1ServesManyInTurn(t *testing.T) {
	c := keeper1(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			body := fmt.Sprint("question ", i)
			a, err := c.Ask(t.Context(), post(t, "/", body))
			if err != nil || string(a.Body) != body || a.Status != "200 OK" {
				t.Errorf("%d: %+v %v", i, a, err)
			}
		})
	}
	all.Wait()
	if c.Over() {
		t.Error("the connection is over")
	}
}

func TestConnectionOfHTTP1EndsWithWhatCannotGoOn(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"closed":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		"too long": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) },
		"too slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		c := keeper1(t, handler)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		a, err := c.Ask(ctx, post(t, "/", ""))
		cancel()
		if name == "too slow" != errors.Is(err, context.DeadlineExceeded) || name == "too long" && len(a.Body) != 101 {
			t.Errorf("%s: %+v %v", name, a, err)
		}
		if _, err := c.Ask(t.Context(), post(t, "/", "")); !errors.Is(err, ErrOver) || !c.Over() {
			t.Errorf("%s: another question: %v", name, err)
		}
	}
}
