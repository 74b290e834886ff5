package dns

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// found1 answers every question for an address with one.
func found1(t testing.TB, addr string) func(*peer.Msg) *peer.Msg {
	return func(q *peer.Msg) *peer.Msg { return answerOf(t, q, q.Question[0].Name+" 60 IN A "+addr) }
}

func silent(*peer.Msg) *peer.Msg { return nil }

// lookup asks for the address of a name.
func lookup(t testing.TB, r *Resolver, name string) (string, time.Duration, error) {
	t.Helper()
	begun := time.Now()
	a, err := r.Lookup(context.Background(), 1, name, dnsmessage.TypeA)
	var out []string
	for _, addr := range a.Addrs {
		out = append(out, addr.String())
	}
	return strings.Join(out, " "), time.Since(begun), err
}

// forgeUDP is a UDP server that sends forgeries before the true answer, as
// forge makes them of the true one.
func forgeUDP(t *testing.T, address string, forge func(q *peer.Msg, truth []byte) [][]byte) {
	t.Helper()
	needIsolation(t)
	conn, err := net.ListenPacket("udp", address)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(peer.Msg)
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			truth, err := found1(t, "198.51.100.1")(q).Pack()
			if err != nil {
				continue
			}
			for _, m := range forge(q, truth) {
				_, _ = conn.WriteTo(m, from)
			}
		}
	}()
}

func forged(t *testing.T, q *peer.Msg, change func(m *peer.Msg)) []byte {
	m := found1(t, "10.10.34.35")(q)
	change(m)
	raw, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return raw
}

func TestForgedUDPAnswersAheadOfTheTrueOneAreIgnored(t *testing.T) {
	for name, forge := range map[string]func(m *peer.Msg){
		"other id":             func(m *peer.Msg) { m.Id++ },
		"other letters":        func(m *peer.Msg) { m.Question[0].Name = strings.ToUpper(m.Question[0].Name) + "" },
		"other name":           func(m *peer.Msg) { m.Question[0].Name = "other.test." },
		"other type":           func(m *peer.Msg) { m.Question[0].Qtype = peer.TypeAAAA },
		"all but EDNS":         func(m *peer.Msg) { m.Extra = nil },
		"a name error":         func(m *peer.Msg) { m.Rcode, m.Answer, m.Extra = 3, nil, nil },
		"not even an answer":   func(m *peer.Msg) { m.Response = false },
		"with two OPT records": func(m *peer.Msg) { m.Extra = append(m.Extra, m.Extra[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			forgeUDP(t, "127.0.0.60:53", func(q *peer.Msg, truth []byte) [][]byte {
				return [][]byte{forged(t, q, forge), {1}, {}, truth}
			})
			r := newResolver(t, nil, nil, "udp://127.0.0.60")
			got, took, err := lookup(t, r, "a-long-name-with-many-letters.test")
			if err != nil || got != "198.51.100.1" || took > 900*time.Millisecond {
				t.Errorf("got %q after %v: %v", got, took, err)
			}
		})
	}
}

func TestDoubtfulUDPAnswersAreCheckedOverTCP(t *testing.T) {
	needIsolation(t)
	forgeUDP(t, "127.0.0.60:53", func(q *peer.Msg, _ []byte) [][]byte {
		return [][]byte{forged(t, q, func(m *peer.Msg) { m.Extra = nil })}
	})
	l, err := net.Listen("tcp", "127.0.0.60:53")
	must(t, err)
	s := &peer.Server{Listener: l, Handler: peer.HandlerFunc(func(w peer.ResponseWriter, q *peer.Msg) {
		_ = w.WriteMsg(found1(t, "198.51.100.1")(q))
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { l.Close() })
	got, _, err := lookup(t, newResolver(t, nil, nil, "udp://127.0.0.60"), "www.test")
	if err != nil || got != "198.51.100.1" {
		t.Errorf("got %q: %v", got, err)
	}
}

func TestUDPQueriesComeFromManyPortsAndAreSentAgain(t *testing.T) {
	ports := map[string]bool{}
	drop := true
	forgeUDP(t, "127.0.0.60:53", func(_ *peer.Msg, truth []byte) [][]byte {
		if drop = !drop; !drop {
			return nil // every first one is lost
		}
		return [][]byte{truth}
	})
	r := newResolver(t, nil, func(o *Options) {
		o.Dial = func(ctx context.Context, p Path, network, address string) (net.Conn, error) {
			conn, err := localDial(ctx, p, network, address)
			if err == nil {
				ports[conn.LocalAddr().String()] = true
			}
			return conn, err
		}
	}, "udp://127.0.0.60")
	got, took, err := lookup(t, r, "www.test")
	if err != nil || got != "198.51.100.1" || took < time.Second || took > 3*time.Second || len(ports) != 2 {
		t.Errorf("got %q after %v from %v: %v", got, took, ports, err)
	}
}

func TestStreamTakesAnswersInAnyOrderOverOneConnection(t *testing.T) {
	needIsolation(t)
	l, err := net.Listen("tcp", "127.0.0.60:53")
	must(t, err)
	defer l.Close()
	const n = 20
	var conns atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conn.Close()
				var answers [][]byte
				for range n {
					msg, err := readMessage(conn)
					if err != nil {
						return
					}
					q := new(peer.Msg)
					_ = q.Unpack(msg)
					raw, _ := found1(t, "198.51.100."+strings.Trim(q.Question[0].Name, "host.test"))(q).Pack()
					answers = append(answers, raw)
				}
				slices.Reverse(answers)
				_, _ = conn.Write(framed(append([][]byte{{1, 2, 3}, bytes.Repeat([]byte{9}, 20)}, answers...)...))
				_, _ = readMessage(conn)
			}()
		}
	}()
	r := newResolver(t, nil, nil, "tcp://127.0.0.60")
	wrong := make(chan string, n)
	for i := range n {
		go func() {
			name := "host" + string(rune('1'+i/10)) + string(rune('0'+i%10)) + ".test"
			got, _, err := lookup(t, r, name)
			if err != nil || got != "198.51.100."+name[4:6] {
				wrong <- name + ": " + got
				return
			}
			wrong <- ""
		}()
	}
	for range n {
		if text := <-wrong; text != "" {
			t.Error(text)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

func TestKeptConnectionThatTheServerClosedIsMadeAgain(t *testing.T) {
	needIsolation(t)
	l, err := net.Listen("tcp", "127.0.0.60:53")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if msg, err := readMessage(conn); err == nil {
				q := new(peer.Msg)
				_ = q.Unpack(msg)
				raw, _ := found1(t, "198.51.100.1")(q).Pack()
				_, _ = conn.Write(framed(raw))
			}
			conn.Close()
		}
	}()
	r := newResolver(t, nil, nil, "tcp://127.0.0.60")
	for _, name := range []string{"a.test", "b.test", "c.test", "d.test"} {
		if got, _, err := lookup(t, r, name); err != nil || got != "198.51.100.1" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestDeadUpstreamCostsOneQuestionAMoment(t *testing.T) {
	needIsolation(t)
	alive := newPeer(t, "127.0.0.60:53", found1(t, "198.51.100.1"))
	dead := newPeer(t, "127.0.0.61:53", silent)
	for name, c := range map[string]struct {
		upstream string
		atLeast  time.Duration
	}{
		"nothing listens":      {"tcp://127.0.0.62", 0},
		"nothing listens, UDP": {"udp://127.0.0.62", 0},
		"it does not answer":   {"udp://127.0.0.61", hedgeAfter},
		"nor over TCP":         {"tcp://127.0.0.61", hedgeAfter},
		"it is no TLS server":  {"tls://127.0.0.61:53", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResolver(t, nil, nil, c.upstream, "udp://127.0.0.60")
			got, took, err := lookup(t, r, "first.test")
			if err != nil || got != "198.51.100.1" || took < c.atLeast || took > hedgeAfter+500*time.Millisecond {
				t.Errorf("first: got %q after %v: %v", got, took, err)
			}
			got, took, err = lookup(t, r, "second.test")
			if err != nil || got != "198.51.100.1" || took > 300*time.Millisecond {
				t.Errorf("second: got %q after %v: %v", got, took, err)
			}
			states := r.Upstreams()
			if len(states) != 2 || !states[0].Resting || states[0].Failures != 1 || states[1].Resting {
				t.Errorf("health %+v", states)
			}
			var failed *UpstreamError
			if !errors.As(states[0].Err, &failed) || failed.Upstream != c.upstream || failed.Layer == "" {
				t.Errorf("error %v", states[0].Err)
			}
		})
	}
	if alive.asked() != 10 || dead.asked() > 4 {
		t.Errorf("asked %d and %d times", alive.asked(), dead.asked())
	}
}

func TestRefusalsAreTakenElsewhereAndPassedOnWhereAllRefuse(t *testing.T) {
	needIsolation(t)
	refuse := func(rcode int) func(*peer.Msg) *peer.Msg {
		return func(q *peer.Msg) *peer.Msg {
			m := answerOf(t, q)
			m.Rcode = rcode
			return m
		}
	}
	newPeer(t, "127.0.0.60:53", refuse(peer.RcodeServerFailure))
	newPeer(t, "127.0.0.61:53", refuse(peer.RcodeRefused))
	newPeer(t, "127.0.0.62:53", found1(t, "198.51.100.1"))
	r := newResolver(t, nil, nil, "udp://127.0.0.60", "udp://127.0.0.61", "udp://127.0.0.62")
	if got, took, err := lookup(t, r, "www.test"); err != nil || got != "198.51.100.1" || took > 300*time.Millisecond {
		t.Errorf("got %q after %v: %v", got, took, err)
	}
	for _, s := range r.Upstreams() {
		if s.Resting {
			t.Errorf("%s rests, although it answers", s.Upstream)
		}
	}
	r = newResolver(t, nil, nil, "udp://127.0.0.61", "udp://127.0.0.60")
	a, err := r.Lookup(context.Background(), 1, "www.test", dnsmessage.TypeA)
	if err != nil || a.Rcode != rcodeRefused {
		t.Errorf("got %+v: %v", a, err)
	}
}

func TestPathThatIsDownFailsAtOnceAndBlamesNobody(t *testing.T) {
	r := newResolver(t, nil, nil, "udp://192.0.2.1", "https://192.0.2.1/dns-query")
	begun := time.Now()
	_, err := r.Lookup(context.Background(), 15, "www.test", dnsmessage.TypeA)
	var failed *UpstreamError
	if !errors.Is(err, ErrPathDown) || !errors.As(err, &failed) || failed.Layer != LayerPath || time.Since(begun) > time.Second ||
		!strings.Contains(err.Error(), "look up www.test: ask udp://192.0.2.1: path: tunnel home: no handshake for 200 s") {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	for _, s := range r.Upstreams() {
		if s.Resting || s.Path != 15 {
			t.Errorf("health %+v", s)
		}
	}
}

func TestErrorsNameUpstreamAndLayer(t *testing.T) {
	u := startUnbound(t)
	other := newAuthority(t, time.Now().Add(-time.Hour))
	serveHTTPS(t, u, "127.0.0.70:443", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 503) }))
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

func TestDoHRequestsTellNothingAndKeepOneConnection(t *testing.T) {
	u := startUnbound(t)
	var conns atomic.Int32
	headers := make(chan http.Header, 16)
	serveHTTPS(t, u, "127.0.0.70:443", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		headers <- req.Header
		body := make([]byte, 512)
		n, _ := req.Body.Read(body)
		q := new(peer.Msg)
		if req.ProtoMajor != 2 || req.Method != http.MethodPost || req.URL.Path != "/q" || q.Unpack(body[:n]) != nil || q.Id != 0 {
			t.Errorf("%s %s over HTTP/%d: %v", req.Method, req.URL, req.ProtoMajor, q)
		}
		raw, _ := found1(t, "198.51.100.1")(q).Pack()
		w.Header().Set("Content-Type", dnsMessage)
		w.Header().Set("Set-Cookie", "who=you; Max-Age=999999")
		w.Header().Set("Age", "25")
		_, _ = w.Write(raw)
	}))
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
		h := <-headers
		for key := range h {
			if !slices.Contains([]string{"Content-Type", "Accept", "Content-Length"}, key) {
				t.Errorf("header %s: %q", key, h[key])
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

func TestCertificatesAreCheckedBeforeTheClockIsSet(t *testing.T) {
	floor := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	unset := time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		issued time.Time // valid for three months
		now    time.Time
		ok     bool
	}{
		{"clock set", floor.AddDate(0, -1, 0), floor.AddDate(0, 0, 1), true},
		{"clock set, expired", floor.AddDate(0, -4, 0), floor.AddDate(0, 0, 1), false},
		{"clock set, not yet valid", floor.AddDate(0, 1, 0), floor.AddDate(0, 0, 1), false},
		{"clock unset", floor.AddDate(0, -1, 0), unset, true},
		{"clock unset, expired when it was built", floor.AddDate(0, -4, 0), unset, false},
		{"clock unset, issued after it was built", floor.AddDate(2, 0, 0), unset, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAuthority(t, c.issued)
			pair, err := tls.X509KeyPair(a.cert, a.key)
			must(t, err)
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
			must(t, err)
			defer l.Close()
			go func() {
				if conn, err := l.Accept(); err == nil {
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			v := verifier{host: "dns.example", roots: a.roots, now: func() time.Time { return c.now }, floor: floor}
			client, err := tls.Dial("tcp", l.Addr().String(), v.config())
			if err == nil {
				_ = client.Close()
			}
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
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
