package dns

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

func TestErrorsNameUpstreamAndLayer(t *testing.T) {
	u := startUnbound(t)
	other := newAuthority(t, time.Now().Add(-time.Hour))
	serveHTTPS(t, u, "127.0.0.70:443", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }))
	for _, c := range []struct {
		upstream string
		roots    authority
		want     string
	}{
		{"https://127.0.0.71/dns-query", u.authority, "ask https://127.0.0.71/dns-query: connect: dial tcp 127.0.0.71:443: connect: connection refused"},
		{"tls://127.0.0.53:53", u.authority, "ask tls://127.0.0.53:53: t"}, // tls, or timeout: unbound waits for more
		{"tls://127.0.0.53", other, "ask tls://127.0.0.53: tls: x509: certificate signed by unknown authority"},
		{"tls://wrong.example#127.0.0.53", u.authority, "ask tls://wrong.example#127.0.0.53: tls: "},
		{"https://127.0.0.53/other", u.authority, "ask https://127.0.0.53/other: http: status 404"},
		{"https://dns.example/q#127.0.0.70", u.authority, "ask https://dns.example/q#127.0.0.70: http: status 503 Service Unavailable"},
	} {
		r := newResolver(t, c.roots.roots, func(o *Options) { o.Timeout = 700 * time.Millisecond }, c.upstream)
		_, _, err := lookup(t, r, "www.test")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want …%s…", c.upstream, err, c.want)
		}
	}
}

// serveHTTPS serves with the certificate of u.
func serveHTTPS(t *testing.T, u *unbound, address string, handler http.Handler) {
	t.Helper()
	pair, err := tls.X509KeyPair(u.cert, u.key)
	must(t, err)
	l, err := net.Listen("tcp", address)
	must(t, err)
	s := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { s.Close() })
}

// dohPeer answers over HTTPS as a cache does that has had the answer for 25 s,
// and keeps what it was told.
func dohPeer(t *testing.T, u *unbound, address string) <-chan *http.Request {
	requests := make(chan *http.Request, 16)
	serveHTTPS(t, u, address, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests <- req
		body, _ := io.ReadAll(req.Body)
		q := new(peer.Msg)
		if q.Unpack(body) != nil || q.Id != 0 {
			t.Errorf("got %x", body)
		}
		raw, _ := found1(t, "198.51.100.1")(q).Pack()
		w.Header().Set("Content-Type", dnsMessage)
		w.Header().Set("Set-Cookie", "who=you; Max-Age=999999")
		w.Header().Set("Age", "25")
		_, _ = w.Write(raw)
	}))
	return requests
}

func TestDoHRequestsTellNothingAndKeepOneConnection(t *testing.T) {
	u := startUnbound(t)
	requests := dohPeer(t, u, "127.0.0.70:443")
	var conns atomic.Int32
	r := newResolver(t, u.roots, func(o *Options) {
		o.Dial = func(ctx context.Context, p Path, network, address string) (net.Conn, error) {
			conns.Add(1)
			return localDial(ctx, p, network, address)
		}
	}, "https://dns.example/q#127.0.0.70")
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		a, err := r.Lookup(context.Background(), 1, name, dnsmessage.TypeA)
		if err != nil || a.TTL != 35 {
			t.Errorf("%s: %+v %v", name, a, err)
		}
		req := <-requests
		if got := req.Method + " " + req.URL.Path + " " + req.Proto; got != "POST /q HTTP/2.0" {
			t.Errorf("got %s", got)
		}
		for key := range req.Header {
			if !slices.Contains([]string{"Content-Type", "Accept", "Content-Length"}, key) {
				t.Errorf("header %s: %q", key, req.Header[key])
			}
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

func TestRedirectsAndOtherContentAreRefused(t *testing.T) {
	u := startUnbound(t)
	var far atomic.Int32
	serveHTTPS(t, u, "127.0.0.70:443", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/moved":
			http.Redirect(w, req, "https://127.0.0.53/dns-query", http.StatusTemporaryRedirect)
		case "/page":
			_, _ = w.Write([]byte("<html>blocked</html>"))
		case "/endless":
			w.Header().Set("Content-Type", dnsMessage)
			_, _ = w.Write(make([]byte, 1<<20))
		default:
			far.Add(1)
		}
	}))
	for path, want := range map[string]string{
		"moved": "http: status 307", "page": `http: content type "text/html; charset=utf-8" instead of application/dns-message`,
		"endless": "answer: the answer is not for this question",
	} {
		r := newResolver(t, u.roots, nil, "https://dns.example/"+path+"#127.0.0.70")
		if _, _, err := lookup(t, r, "www.test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", path, err, want)
		}
	}
}

func TestBuildFloorHasPassed(t *testing.T) {
	floor := BuildFloor()
	if floor.Year() < 2026 || floor.After(time.Now()) {
		t.Errorf("floor %v", floor)
	}
}

func TestMarkDialerMarksSocketsOfBothKinds(t *testing.T) {
	needIsolation(t)
	l, err := net.Listen("tcp", "127.0.0.80:53")
	must(t, err)
	defer l.Close()
	for _, network := range []string{"tcp", "udp"} {
		conn, err := MarkDialer(0x03000000).DialContext(context.Background(), network, "127.0.0.80:53")
		must(t, err)
		raw, err := conn.(syscall.Conn).SyscallConn()
		must(t, err)
		mark := 0
		must(t, raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }))
		if err != nil || mark != 0x03000000 {
			t.Errorf("%s: mark %#x, %v", network, mark, err)
		}
		conn.Close()
	}
}

// oldPeer is dohPeer that speaks no HTTP/2, and closes each connection after some
// questions.
func oldPeer(t *testing.T, u *unbound, address string, questions int32) (conns *atomic.Int32) {
	t.Helper()
	pair, err := tls.X509KeyPair(u.cert, u.key)
	must(t, err)
	l, err := net.Listen("tcp", address)
	must(t, err)
	conns = &atomic.Int32{}
	var asked atomic.Int32
	s := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		q := new(peer.Msg)
		if q.Unpack(body) != nil || req.Proto != "HTTP/1.1" || req.Header.Get("User-Agent") != "" {
			t.Errorf("got %x by %s, %v", body, req.Proto, req.Header)
		}
		raw, _ := found1(t, "198.51.100.1")(q).Pack()
		w.Header().Set("Content-Type", "Application/DNS-Message; x=y")
		if asked.Add(1)%questions == 0 {
			w.Header().Set("Connection", "close")
		}
		_, _ = w.Write(raw)
	})
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { s.Close() })
	return conns
}

func TestServersWithoutHTTP2AreAskedOverOneConnectionInTurn(t *testing.T) {
	u := startUnbound(t)
	for each, want := range map[int32]int32{1: 10, 5: 2} {
		address := "127.0.0." + strconv.Itoa(70+int(each))
		conns := oldPeer(t, u, address+":443", each)
		r := newResolver(t, u.roots, nil, "https://dns.example/q#"+address)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if got, _, err := lookup(t, r, "host"+strconv.Itoa(i)+".test"); err != nil || got != "198.51.100.1" {
					t.Errorf("%d: %q %v", i, got, err)
				}
			})
		}
		all.Wait()
		if got := conns.Load(); got < want || got > want+1 {
			t.Errorf("%d connections for ten questions, %d each", got, each)
		}
	}
}

// A server that closes what has been idle does not tell of it before the next question.
func TestKeptHTTPSConnectionThatTheServerClosedIsMadeAgain(t *testing.T) {
	u := startUnbound(t)
	for name, protocols := range map[string][]string{"HTTP/2": {"h2", "http/1.1"}, "HTTP/1.1": {"http/1.1"}} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var open []net.Conn
			pair, err := tls.X509KeyPair(u.cert, u.key)
			must(t, err)
			l, err := net.Listen("tcp", "127.0.0.70:443")
			must(t, err)
			s := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: protocols}}
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				q := new(peer.Msg)
				_ = q.Unpack(body)
				raw, _ := found1(t, "198.51.100.1")(q).Pack()
				w.Header().Set("Content-Type", dnsMessage)
				_, _ = w.Write(raw)
			})
			s.ConnState = func(c net.Conn, state http.ConnState) {
				mu.Lock()
				defer mu.Unlock()
				if state == http.StateNew {
					open = append(open, c.(*tls.Conn).NetConn())
				}
			}
			go func() { _ = s.ServeTLS(l, "", "") }()
			t.Cleanup(func() { s.Close() })
			r := newResolver(t, u.roots, nil, "https://dns.example/q#127.0.0.70")
			for i := range 4 {
				if got, _, err := lookup(t, r, "host"+strconv.Itoa(i)+".test"); err != nil || got != "198.51.100.1" {
					t.Errorf("%d: %q %v", i, got, err)
				}
				mu.Lock()
				if len(open) != i+1 {
					t.Errorf("%d connections after %d questions", len(open), i+1)
				}
				for _, c := range open {
					_ = c.Close()
				}
				mu.Unlock()
			}
		})
	}
}
