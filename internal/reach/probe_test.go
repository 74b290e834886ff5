package reach

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
)

// internet is what dialers reach: by path and address, a server's end of a pipe
// or an error. Nothing of it is the machine's network.
type internet struct {
	mu     sync.Mutex // guards what follows
	serve  map[string]func(net.Conn)
	fail   map[string]error
	dialed []string
}

func newInternet() *internet {
	return &internet{serve: map[string]func(net.Conn){}, fail: map[string]error{}}
}

const (
	pathDirect dns.Path = 1
	pathHome   dns.Path = 3
)

func key(path dns.Path, address string) string { return fmt.Sprint(path, " ", address) }

// set makes what a path and address lead to.
func (n *internet) set(path dns.Path, address string, serve func(net.Conn), fail error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.serve[key(path, address)], n.fail[key(path, address)] = serve, fail
}

func (n *internet) dial(ctx context.Context, path dns.Path, _, address string) (net.Conn, error) {
	n.mu.Lock()
	k := key(path, address)
	n.dialed = append(n.dialed, k)
	serve, fail := n.serve[k], n.fail[k]
	n.mu.Unlock()
	switch {
	case fail != nil:
		return nil, fail
	case serve == nil: // silence
		<-ctx.Done()
		return nil, os.ErrDeadlineExceeded
	}
	here, there := net.Pipe()
	go func() { // ends with the pipe
		defer there.Close()
		serve(there)
	}()
	return here, nil
}

func (n *internet) count(address string) (c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dialed {
		c += btoi(strings.HasSuffix(d, " "+address))
	}
	return c
}

// says answers any request with a text and closes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

// silent reads and says nothing.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

const (
	okPage = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	site   = "http://192.0.2.1/ping"
	at     = "192.0.2.1:80"
)

func short() Times {
	return Times{Connect: 100 * time.Millisecond, TLS: 100 * time.Millisecond, Answer: 100 * time.Millisecond, Silence: 100 * time.Millisecond, Other: 100 * time.Millisecond, Whole: 5 * time.Second}
}

func (n *internet) prober(times Times) *Prober {
	return NewProber(ProberOptions{Dial: n.dial, Times: times})
}

func observe(t *testing.T, n *internet, text string, depth Depth) Observation {
	t.Helper()
	return n.prober(short()).Observe(t.Context(), Path{Name: "direct", Index: pathDirect, Direct: true}, target(t, text), Truth{}, depth)
}

func TestRequestIsThatOfAnOrdinaryClient(t *testing.T) {
	n := newInternet()
	var sent bytes.Buffer
	n.set(pathDirect, "192.0.2.1:8080", func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(io.TeeReader(c, &sent)))
		_, _ = io.WriteString(c, okPage)
	}, nil)
	observe(t, n, "http://192.0.2.1:8080/ping?a=b", Depth{})
	want := "GET /ping?a=b HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n"
	if sent.String() != want {
		t.Errorf("sent %q, want %q", sent.String(), want)
	}
}

// TestDocumentationListsTheBytesThatAreSent keeps docs/reachability.md true.
func TestDocumentationListsTheBytesThatAreSent(t *testing.T) {
	raw, err := os.ReadFile("../../docs/reachability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append(strings.Split(strings.TrimSpace(request(target(t, "https://api.binance.com/api/v3/ping"), "/api/v3/ping")), "\r\n"), strings.TrimSpace(subscribe), neutralName) {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%q is not in docs/reachability.md", want)
		}
	}
	for _, c := range DefaultControls() {
		if !strings.Contains(string(raw), c.String()) {
			t.Errorf("control %s is not in docs/reachability.md", c)
		}
	}
	for _, o := range Outcomes() {
		if !strings.Contains(string(raw), "`"+string(o)+"`") {
			t.Errorf("outcome %s is not in docs/reachability.md", o)
		}
	}
	for _, v := range Verdicts() {
		if !strings.Contains(string(raw), "`"+string(v)+"`") {
			t.Errorf("verdict %s is not in docs/reachability.md", v)
		}
	}
}

func TestWhatServersDoAndWhatComesOfIt(t *testing.T) {
	body := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name   string
		serve  func(net.Conn)
		fail   error
		target string
		depth  Depth
		want   Outcome
	}{
		{"works", says(okPage), nil, site, Depth{}, OutcomeOK},
		{"early hints first", says("HTTP/1.1 103 Early Hints\r\n\r\n" + okPage), nil, site, Depth{}, OutcomeOK},
		{"only announcements", says(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9)), nil, site, Depth{}, HTTPError},
		{"refused", nil, syscall.ECONNREFUSED, site, Depth{}, TCPRefused},
		{"unreachable", nil, syscall.ENETUNREACH, site, Depth{}, TCPUnreachable},
		{"silence", nil, nil, site, Depth{}, TCPTimeout},
		{"path down", nil, fmt.Errorf("home: %w", dns.ErrPathDown), site, Depth{}, PathDown},
		{"no answer", silent, nil, site, Depth{}, HTTPTimeout},
		{"closed", says(""), nil, site, Depth{}, HTTPReset},
		{"garbage", says("SSH-2.0-OpenSSH\r\n\r\n"), nil, site, Depth{}, HTTPError},
		{"endless head", says("HTTP/1.1 200 OK\r\nX: " + body), nil, site, Depth{}, HTTPError},
		{"cut body", says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), nil, site, Depth{}, HTTPReset},
		{"stalled body", func(c net.Conn) { says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")(c); silent(c) }, nil, site, Depth{}, Stalled},
		{"large body", says("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body), nil, site, Depth{Deep: true}, OutcomeOK},
		{"no end", says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body), nil, site, Depth{}, OutcomeOK},
		{"tcp alone", silent, nil, "tcp://192.0.2.1:80", Depth{}, OutcomeOK},
		{"no TLS", says(okPage), nil, "tls://192.0.2.1:80", Depth{}, TLSReset},
		{"TLS in plain", func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 8))
			go silent(c)
			_, _ = io.WriteString(c, okPage)
		}, nil, "https://192.0.2.1:80", Depth{}, TLSBadCertificate},
		{"TLS silent", silent, nil, "https://192.0.2.1:80", Depth{}, TLSTimeout},
		{"pool", pool(`{"id":1,"result":[[],"08",4],"error":null}` + "\n"), nil, "stratum+tcp://192.0.2.1:80", Depth{}, OutcomeOK},
		{"pool that is talkative", pool(`{"id":null,"method":"mining.set_difficulty","params":[1]}` + "\n\n" + `{"id":1,"result":true}` + "\n"), nil, "stratum+tcp://192.0.2.1:80", Depth{}, OutcomeOK},
		{"pool that refuses", pool(`{"id":1,"result":null,"error":[24,"Banned",null]}` + "\n"), nil, "stratum+tcp://192.0.2.1:80", Depth{}, StratumRejected},
		{"pool of another dialect", pool(`{"id":1,"error":{"code":-32601,"message":"Method not found"}}` + "\n"), nil, "stratum+tcp://192.0.2.1:80", Depth{}, OutcomeOK},
		{"pool that closes", pool(""), nil, "stratum+tcp://192.0.2.1:80", Depth{}, StratumReset},
		{"pool that is silent", silent, nil, "stratum+tcp://192.0.2.1:80", Depth{}, StratumTimeout},
		{"no pool", pool("HTTP/1.1 400 Bad Request\r\n"), nil, "stratum+tcp://192.0.2.1:80", Depth{}, StratumReset},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newInternet()
			n.set(pathDirect, at, c.serve, c.fail)
			o := observe(t, n, c.target, c.depth)
			if r := Judge(o, nil); r.Outcome != c.want {
				t.Errorf("got %s %q, want %s; %+v", r.Outcome, r.Detail, c.want, o)
			}
			if limit := map[bool]int64{false: MaxBytes, true: MaxDeepBytes}[c.depth.Deep]; o.Bytes > limit {
				t.Errorf("%d bytes were taken, %d are allowed", o.Bytes, limit)
			}
		})
	}
}

// pool answers the first line with a text and closes.
func pool(text string) func(net.Conn) {
	return func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == subscribe {
			_, _ = io.WriteString(c, text)
		}
	}
}

func TestPathThatIsDownIsNotTried(t *testing.T) {
	n := newInternet()
	p := NewProber(ProberOptions{Dial: n.dial, Times: short(), Down: func(p dns.Path) error {
		if p == pathHome {
			return fmt.Errorf("%w: tunnel home: the handshake is blocked", dns.ErrPathDown)
		}
		return nil
	}})
	n.both(at, says(okPage))
	r := Judge(p.Observe(t.Context(), bothPaths[1], target(t, site), Truth{}, Depth{}), nil)
	if r.Outcome != PathDown || r.Detail != "tunnel home: the handshake is blocked" || n.count(at) > 0 {
		t.Errorf("%+v, %d connections", r, n.count(at))
	}
	if r := Judge(p.Observe(t.Context(), bothPaths[0], target(t, site), Truth{}, Depth{}), nil); r.Outcome != OutcomeOK {
		t.Errorf("the other path: %+v", r)
	}
}

func TestWhatFailsOnceIsTriedAgain(t *testing.T) {
	n, tries := newInternet(), 0
	n.set(pathDirect, at, func(c net.Conn) {
		if tries++; tries == 1 {
			return
		}
		says(okPage)(c)
	}, nil)
	if r := Judge(observe(t, n, site, Depth{}), nil); r.Outcome != OutcomeOK || tries != 2 {
		t.Errorf("got %s after %d tries", r.Outcome, tries)
	}
}

func TestLargePathIsAskedForInDeepChecksOnly(t *testing.T) {
	for deep, want := range map[bool]string{false: "/ping", true: "/big"} {
		n, got := newInternet(), ""
		n.set(pathDirect, at, func(c net.Conn) {
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				got = r.URL.Path
				_, _ = io.WriteString(c, okPage)
			}
		}, nil)
		if observe(t, n, site, Depth{Deep: deep, Large: "/big"}); got != want {
			t.Errorf("deep %t: asked for %s", deep, got)
		}
	}
}

func TestEndlessAnswersAreCutOff(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < 1<<14; i++ {
			if _, err := io.WriteString(w, strings.Repeat("y", 1<<10)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	pool := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	p := NewProber(ProberOptions{Roots: pool, Times: DefaultTimes(), Dial: func(ctx context.Context, _ dns.Path, network, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}})
	for deep, want := range map[bool]int64{false: bodyBytes, true: deepBytes} {
		o := p.Observe(t.Context(), Path{Name: "direct"}, target(t, server.URL), Truth{}, Depth{Deep: deep})
		if r := Judge(o, nil); r.Outcome != OutcomeOK || r.RTT == 0 {
			t.Errorf("deep %t: %+v", deep, r)
		}
		if got := o.Walks[0].Sessions[0].Transfer.Bytes; got != want || o.Bytes > MaxDeepBytes {
			t.Errorf("deep %t: %d bytes of %d", deep, got, o.Bytes)
		}
	}
	other := p.Observe(t.Context(), Path{Name: "direct"}, target(t, strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1)), Truth{}, Depth{})
	if r := Judge(other, nil); r.Outcome != TLSBadCertificate && r.Outcome != TCPRefused {
		t.Errorf("another name: %+v", r)
	}
}

func TestObservationEndsWithItsContext(t *testing.T) {
	n := newInternet()
	n.set(pathDirect, at, silent, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	o := n.prober(DefaultTimes()).Observe(ctx, Path{Name: "direct", Index: pathDirect}, target(t, site), Truth{}, Depth{})
	if !o.Cancelled || o.Took > 5*time.Second {
		t.Errorf("%+v", o)
	}
}

func TestSlowIsNotStalled(t *testing.T) {
	p := &patient{ctx: t.Context(), conn: nopConn{}, body: iotest.OneByteReader(strings.NewReader(strings.Repeat("z", 500))), silence: time.Minute, began: time.Now()}
	var s Session
	s.transfer(p, 400)
	if s.Transfer.Failure.Fault != FaultNone || s.Transfer.Bytes != 400 || s.Transfer.Whole {
		t.Errorf("%+v", s.Transfer)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	p.ctx = ended
	s.transfer(p, 400)
	if s.Transfer.Failure.Fault != FaultSlow {
		t.Errorf("%+v", s.Transfer)
	}
}

type nopConn struct{ net.Conn }

func (nopConn) SetReadDeadline(time.Time) error { return nil }

func TestNeutralNameIsTriedAgainWhereNothingComes(t *testing.T) {
	n, hellos := newInternet(), 0
	n.set(pathDirect, "192.0.2.1:443", func(c net.Conn) {
		switch hellos++; hellos {
		case 1, 2: // the target's own name
			_, _ = c.Read(make([]byte, 5))
		case 3:
			silent(c)
		default:
			_, _ = io.ReadFull(c, make([]byte, 100))
			go silent(c)
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) // an alert
		}
	}, nil)
	if r := Judge(observe(t, n, "tls://192.0.2.1", Depth{}), nil); r.Outcome != TLSReset || !r.Named || hellos != 4 {
		t.Errorf("%d hellos: %+v", hellos, r)
	}
}

func TestNeutralNameTellsNamesFromAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn)
		named bool
	}{
		"by name": {func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if h.ServerName == neutralName {
					return nil, errors.New("an alert is an answer")
				}
				_ = c.Close()
				return nil, net.ErrClosed
			}}).Handshake()
		}, true},
		"by address": {func(c net.Conn) { _, _ = c.Read(make([]byte, 5)) }, false},
	} {
		n := newInternet()
		n.set(pathDirect, "192.0.2.1:443", c.serve, nil)
		if r := Judge(observe(t, n, "tls://192.0.2.1", Depth{}), nil); r.Outcome != TLSReset || r.Named != c.named {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// FuzzHTTP: whatever a server sends, a check ends within its bounds, and what is
// kept for people is short and clean.
func FuzzHTTP(f *testing.F) {
	for _, s := range []string{okPage, "HTTP/1.1 302 Found\r\nLocation: http://a.example/\x1b\r\n\r\n", "HTTP/1.0 200\r\n\r\n<title>a\x00b</title>", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "\x16\x03\x01", "HTTP/1.1 103 x\r\n\r\n"} {
		f.Add([]byte(s))
	}
	x := &probe{Prober: NewProber(ProberOptions{Times: short()}), target: catalogue.Target{Scheme: catalogue.SchemeHTTP, Host: "a.example", Port: 80, Path: "/"}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s Session
		x.http(t.Context(), fixed{bytes.NewReader(raw)}, &s)
		if s.Transfer != nil && s.Transfer.Bytes > bodyBytes || len(s.HTTP.Title) > 3*maxText || len(s.HTTP.Fields) > 40 {
			t.Fatalf("%+v", s)
		}
		r := Judge(Observation{Target: x.target, Walks: []Walk{connected(v4, s)}}, nil)
		if r.Outcome == OutcomeNone || strings.ContainsAny(r.Detail, "\r\n\x1b") {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzStratum: the same for what a pool says.
func FuzzStratum(f *testing.F) {
	for _, s := range []string{`{"id":1,"result":true}`, `{"id":1,"error":[20,"x",null]}`, `{"id":1,"error":"\u001b"}`, "{}\n{}\n", "[1]\n", `{"error":{"message":""}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rejected, err := readReply(bytes.NewReader(raw))
		if err != nil && rejected != "" || strings.ContainsAny(rejected, "\r\n\x1b") || len(rejected) > maxText+8 {
			t.Fatalf("%q, %v", rejected, err)
		}
	})
}

// fixed is a connection whose other side has sent everything.
type fixed struct{ in io.Reader }

func (c fixed) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c fixed) Write(b []byte) (int, error)      { return len(b), nil }
func (c fixed) Close() error                     { return nil }
func (c fixed) LocalAddr() net.Addr              { return nil }
func (c fixed) RemoteAddr() net.Addr             { return nil }
func (c fixed) SetDeadline(time.Time) error      { return nil }
func (c fixed) SetReadDeadline(time.Time) error  { return nil }
func (c fixed) SetWriteDeadline(time.Time) error { return nil }
