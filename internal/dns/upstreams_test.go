package dns

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
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
			if err != nil || got != "198.51.100.1" {
				t.Errorf("got %q after %v: %v", got, took, err)
			}
		})
	}
}

// A line with a long queue: each answer takes longer than until the next sending.
func TestUDPAnswersThatAreLateCount(t *testing.T) {
	late := resendAfter + resendAfter/2
	newPeer(t, "127.0.0.61:53", func(q *peer.Msg) *peer.Msg {
		<-time.After(late)
		return found1(t, "198.51.100.1")(q)
	})
	got, took, err := lookup(t, newResolver(t, nil, nil, "udp://127.0.0.61"), "www.test")
	if err != nil || got != "198.51.100.1" || took < late {
		t.Errorf("got %q after %v: %v", got, took, err)
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

// reversing is a TCP server that answers n queries at a time, the last one
// first, behind two messages that answer nothing.
func reversing(t *testing.T, address string, n int) (conns *atomic.Int32) {
	t.Helper()
	needIsolation(t)
	l, err := net.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	conns = &atomic.Int32{}
	serve := func(conn net.Conn) {
		defer conn.Close()
		answers := [][]byte{bytes.Repeat([]byte{9}, 20), {1, 2, 3}}
		for range n {
			msg, err := readMessage(conn)
			q := new(peer.Msg)
			if err != nil || q.Unpack(msg) != nil {
				return
			}
			raw, _ := found1(t, "198.51.100."+q.Question[0].Name[4:6])(q).Pack()
			answers = append(answers, raw)
		}
		slices.Reverse(answers)
		_, _ = conn.Write(framed(answers...))
		_, _ = readMessage(conn) // until the client closes
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go serve(conn)
		}
	}()
	return conns
}

func TestStreamTakesAnswersInAnyOrderOverOneConnection(t *testing.T) {
	const n = 20
	conns := reversing(t, "127.0.0.60:53", n)
	r := newResolver(t, nil, nil, "tcp://127.0.0.60")
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			number := strconv.Itoa(10 + i)
			if got, _, err := lookup(t, r, "host"+number+".test"); err != nil || got != "198.51.100."+number {
				t.Errorf("%s: got %q: %v", number, got, err)
			}
		})
	}
	all.Wait()
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

// mute is a connection that takes everything and never says anything.
type mute struct {
	net.Conn
	closed chan struct{}
}

func (c mute) Read([]byte) (int, error)         { <-c.closed; return 0, io.EOF }
func (c mute) Write(b []byte) (int, error)      { return len(b), nil }
func (c mute) Close() error                     { close(c.closed); return nil }
func (c mute) SetReadDeadline(time.Time) error  { return nil }
func (c mute) SetWriteDeadline(time.Time) error { return nil }

func TestQueriesBeyondWhatAConnectionHoldsFailAtOnce(t *testing.T) {
	s := &streamExchanger{connect: func(context.Context) (net.Conn, error) { return mute{closed: make(chan struct{})}, nil }}
	defer s.close()
	query := newKey([]byte("\x01a\x04test\x00"), Type(peer.TypeA), 1).message()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxPending {
		waiting.Go(func() { _, _ = s.exchange(ctx, query) })
	}
	defer waiting.Wait()
	defer cancel()
	poll(t, "the connection is full", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pipe == nil {
			return false
		}
		s.pipe.mu.Lock()
		defer s.pipe.mu.Unlock()
		return len(s.pipe.pending) == maxPending
	})
	short, end := context.WithTimeout(ctx, 2*time.Second)
	defer end()
	l := &link{exchanger: s, now: time.Now}
	if _, err := l.ask(short, query); !errors.Is(err, errBusy) || short.Err() != nil {
		t.Errorf("one more: %v, and its time: %v", err, short.Err())
	}
	if state := l.state(); state.Failures != 0 || s.pipe.over() {
		t.Errorf("the upstream is blamed: %+v", state)
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

// expect looks a name up and checks that it did not take less than it must. How
// much more it took is the machine's affair; what was asked meanwhile tells
// whether there was waiting for nothing.
func expect(t *testing.T, r *Resolver, name string, least time.Duration) {
	t.Helper()
	got, took, err := lookup(t, r, name)
	if err != nil || got != "198.51.100.1" || took < least {
		t.Errorf("%s: got %q after %v: %v", name, got, took, err)
	}
}

// rests checks that the first upstream of two rests and says why.
func rests(t *testing.T, r *Resolver, upstream string) {
	t.Helper()
	states := r.Upstreams()
	if len(states) != 2 || !states[0].Resting || states[0].Failures != 1 || states[1].Resting {
		t.Fatalf("health %+v", states)
	}
	var failed *UpstreamError
	if !errors.As(states[0].Err, &failed) || failed.Upstream != upstream || failed.Layer == "" {
		t.Errorf("error %v", states[0].Err)
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
			expect(t, r, "first.test", c.atLeast)
			expect(t, r, "second.test", 0)
			rests(t, r, c.upstream)
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
	if got, took, err := lookup(t, r, "www.test"); err != nil || got != "198.51.100.1" {
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
