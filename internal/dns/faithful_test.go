package dns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	peer "github.com/miekg/dns"
)

// ask sends a message to a server and gives what comes back, in wire form.
func ask(t testing.TB, network, address string, msg []byte) []byte {
	t.Helper()
	conn, err := net.Dial(network, address)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	if network == "tcp" {
		_, err = conn.Write(framed(msg))
		must(t, err)
		answer, err := readMessage(conn)
		must(t, err)
		return answer
	}
	_, err = conn.Write(msg)
	must(t, err)
	buf := make([]byte, maxMessage)
	n, err := conn.Read(buf)
	must(t, err)
	return buf[:n]
}

func TestAnswersAreThoseOfTheUpstreamOctetByOctet(t *testing.T) {
	u := startUnbound(t)
	for _, text := range []string{"udp://127.0.0.53", "tls://127.0.0.53", "https://127.0.0.53/dns-query"} {
		s := newResolver(t, u.roots, nil, text)
		t.Run(text, func(t *testing.T) {
			serve(t, s, nil)
			for _, c := range []struct {
				name string
				kind uint16
				do   bool
			}{
				{"www.test.", peer.TypeA, true},
				{"wWw.TEST.", peer.TypeAAAA, false},
				{"alias.test.", peer.TypeA, true},
				{"mail.test.", peer.TypeMX, true},
				{"_s._tcp.test.", peer.TypeSRV, false},
				{"svc.test.", peer.TypeHTTPS, true},
				{"must.test.", peer.TypeHTTPS, false},
				{"strange.test.", 65400, true},
				{"strange.test.", peer.TypeA, true},
				{"big.test.", peer.TypeTXT, true},
				{"none.test.", peer.TypeA, true},
				{"test.", peer.TypeSOA, true},
				{"test.", peer.TypeDNSKEY, true},
				{"test.", peer.TypeNS, false},
			} {
				q := question(c.name, c.kind)
				q.SetEdns0(maxUDP, c.do)
				raw, err := q.Pack()
				must(t, err)
				for range 2 { // from the upstream, then from the cache
					got, want := ask(t, "tcp", serverAddress, raw), ask(t, "tcp", "127.0.0.53:53", raw)
					if !bytes.Equal(got, want) {
						t.Errorf("%s %d: got\n%x\nwant\n%x", c.name, c.kind, got, want)
					}
				}
			}
		})
	}
}

func TestNoIPv6TakesSignaturesAndTheClaimOfAuthenticityAlong(t *testing.T) {
	sig := func(kind string) string {
		return "a.test. 60 IN RRSIG " + kind + " 13 2 60 20370101000000 20260101000000 1 test. AAAA"
	}
	m := answerOf(t, question("a.test.", peer.TypeANY),
		"a.test. 60 IN A 198.51.100.1", sig("A"), "a.test. 60 IN AAAA 2001:db8::1", sig("AAAA"),
		"a.test. 60 IN HTTPS 1 . alpn=h2", sig("HTTPS"))
	malformed := peer.RR_Header{Name: "a.test.", Rrtype: peer.TypeHTTPS, Class: peer.ClassINET, Ttl: 60}
	m.Answer = append(m.Answer, &peer.RFC3597{Hdr: malformed, Rdata: "0001000006001000ff"})
	m.AuthenticatedData = true
	a, err := read(t, m)
	must(t, err)
	filtered, err := a.withoutIPv6()
	must(t, err)
	q := query{question: a.msg[headerLen : headerLen+12], do: true}
	var got peer.Msg
	must(t, got.Unpack(filtered.appendReply(nil, &q, aged{})))
	var kinds []string
	for _, rr := range got.Answer {
		kinds = append(kinds, peer.TypeToString[rr.Header().Rrtype])
	}
	// The malformed HTTPS record is gone, too.
	if diff := cmp.Diff([]string{"A", "RRSIG", "HTTPS"}, kinds); diff != "" || got.AuthenticatedData {
		t.Errorf("authentic %v (-want +got):\n%s", got.AuthenticatedData, diff)
	}
	same, err := read(t, answerOf(t, question("a.test.", peer.TypeA), "a.test. 60 IN A 198.51.100.1"))
	must(t, err)
	if got, err := same.withoutIPv6(); err != nil || got != same {
		t.Errorf("an answer without IPv6 was copied: %v", err)
	}
}

func TestAnswersTooLargeForTheClientAreTruncated(t *testing.T) {
	newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg {
		var list []string
		for i := range 60 {
			list = append(list, q.Question[0].Name+" 60 IN A 198.51.100."+string(rune('1'+i%9)))
		}
		return answerOf(t, q, list...)
	})
	serve(t, newResolver(t, nil, nil, "tcp://127.0.0.60"), nil)
	for _, c := range []struct {
		size      uint16 // 0: without EDNS
		truncated bool
		most      int
	}{{0, true, 512}, {512, true, 512}, {100, true, 512}, {900, true, 900}, {1100, false, 1100}, {65535, false, 1232}} {
		q := question("many.test.", peer.TypeA)
		if c.size > 0 {
			q.SetEdns0(c.size, false)
		}
		raw, err := q.Pack()
		must(t, err)
		answer := ask(t, "udp", serverAddress, raw)
		var got peer.Msg
		must(t, got.Unpack(answer))
		want := map[bool]int{false: 60, true: 0}[c.truncated]
		if got.Truncated != c.truncated || len(answer) > c.most || len(got.Answer) != want {
			t.Errorf("size %d: %d octets: %v", c.size, len(answer), got.MsgHdr)
		}
		if edns := got.IsEdns0() != nil; edns != (c.size > 0) {
			t.Errorf("size %d: EDNS %v", c.size, edns)
		}
	}
}

func TestUDPAnswersOfOneQueryAreNeverMuchLargerThanIt(t *testing.T) {
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), nil)
	for _, name := range []string{"blocked.test.", "other.example.", "down.test.", "use-application-dns.net."} {
		raw, err := question(name, peer.TypeANY).Pack()
		must(t, err)
		if got := ask(t, "udp", serverAddress, raw); len(got) > 3*len(raw) {
			t.Errorf("%s: %d octets for %d", name, len(got), len(raw))
		}
	}
}

func TestQueriesBeyondTheBoundsAreDroppedAndTheRestAnswered(t *testing.T) {
	needIsolation(t)
	release := make(chan struct{})
	newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg {
		<-release
		return found1(t, "198.51.100.1")(q)
	})
	r := newResolver(t, nil, nil, "tcp://127.0.0.60")
	serve(t, r, func(o *ServerOptions) { o.Workers, o.Backlog = 4, 8 })
	conn, err := net.Dial("udp", serverAddress)
	must(t, err)
	defer conn.Close()
	for i := range 40 {
		raw, err := question("host"+string(rune('A'+i))+".test.", peer.TypeA).Pack()
		must(t, err)
		_, err = conn.Write(raw)
		must(t, err)
	}
	// What needs no upstream is answered meanwhile, after all of them.
	if got := exchange(t, "udp", question("blocked.test.", peer.TypeA)); got.Rcode != peer.RcodeNameError {
		t.Errorf("got %v", got)
	}
	if got := exchange(t, "tcp", question("late.test.", peer.TypeA)); got.Rcode != peer.RcodeServerFailure {
		t.Errorf("over TCP beyond the bounds: %v", got)
	}
	close(release)
	buf := make([]byte, 1500)
	answers := 0
	for {
		must(t, conn.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		if _, err := conn.Read(buf); err != nil {
			break
		}
		answers++
	}
	if answers != 12 {
		t.Errorf("%d answers", answers)
	}
}

// A connection may come out of the listener while the sockets are being closed.
func TestServerKeepsNoConnectionThatComesAtItsEnd(t *testing.T) {
	needIsolation(t)
	r := newResolver(t, nil, nil, "tcp://127.0.0.60")
	s, err := Listen(t.Context(), ServerOptions{Resolver: r, Decide: decide, Learn: (&testServer{}).learn})
	must(t, err)
	client := dialServer(t, "tcp")
	conn, err := s.tcp[0].AcceptTCP()
	must(t, err)
	s.closeSockets()
	if s.admit(conn) != nil {
		t.Error("it was admitted")
	}
	if _, err := readMessage(client); err == nil {
		t.Error("the client was answered")
	}
}

func TestServerEndsWithClientsConnected(t *testing.T) {
	needIsolation(t)
	newPeer(t, "127.0.0.60:53", silent)
	echoServer(t, "127.0.0.61:53", 1)
	r := newResolver(t, nil, nil, "tcp://127.0.0.60")
	o := ServerOptions{Resolver: r, Decide: decide, Learn: (&testServer{}).learn}
	originals("127.0.0.61:53")(&o)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Listen(ctx, o)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	waiting, idle := dialServer(t, "tcp"), dialServer(t, "tcp")
	raw, err := question("www.test.", peer.TypeA).Pack()
	must(t, err)
	_, err = waiting.Write(framed(raw, oddQuery(t, "other.example.")))
	must(t, err)
	_, err = readMessage(waiting)
	must(t, err)
	begun := time.Now()
	cancel()
	r.Close()
	must(t, <-ended)
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, conn := range []net.Conn{waiting, idle} {
		for {
			if _, err := readMessage(conn); err != nil {
				break
			}
		}
	}
}

func TestDeadConnectionsAreMadeAnew(t *testing.T) {
	u := startUnbound(t)
	for _, text := range []string{"https://127.0.0.53/dns-query", "tls://127.0.0.53", "tcp://127.0.0.53"} {
		t.Run(text, func(t *testing.T) {
			var frozen atomic.Bool
			var conns atomic.Int32
			r := newResolver(t, u.roots, func(o *Options) {
				o.Timeout = 500 * time.Millisecond
				o.Dial = func(ctx context.Context, p Path, network, address string) (net.Conn, error) {
					conn, err := localDial(ctx, p, network, address)
					conns.Add(1)
					return &freezing{Conn: conn, frozen: &frozen}, err
				}
			}, text)
			_, _, err := lookup(t, r, "www.test")
			must(t, err)
			frozen.Store(true) // the tunnel's peer has vanished
			if _, _, err := lookup(t, r, "v4.test"); err == nil {
				t.Error("an answer came over a dead connection")
			}
			frozen.Store(false)
			forget(r)
			if got, _, err := lookup(t, r, "v4.test"); err != nil || got != "198.51.100.11" || conns.Load() != 2 {
				t.Errorf("got %q over connection %d: %v", got, conns.Load(), err)
			}
		})
	}
}

// freezing is a connection that loses all that is sent while it is frozen, and
// never recovers.
type freezing struct {
	net.Conn
	frozen *atomic.Bool
	lost   atomic.Bool
}

func (f *freezing) Write(b []byte) (int, error) {
	if f.frozen.Load() || f.lost.Load() {
		f.lost.Store(true)
		return len(b), nil
	}
	return f.Conn.Write(b)
}

func TestTheAddressThatWasAskedIsKnown(t *testing.T) {
	needIsolation(t)
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	for _, target := range []string{"127.0.0.9:5399", "[2001:db8:f::53]:5399"} {
		t.Run(target, func(t *testing.T) {
			var mu sync.Mutex
			var locals []netip.AddrPort
			serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), func(o *ServerOptions) {
				o.Device = func(index int) bool { return index == lo.Index }
				o.Original = func(_, local netip.AddrPort) (netip.AddrPort, bool) {
					mu.Lock()
					defer mu.Unlock()
					locals = append(locals, local)
					return netip.AddrPort{}, false
				}
			})
			for _, network := range []string{"udp", "tcp"} {
				got := ask(t, network, target, oddQuery(t, "other.example."))
				if got[3]&maskRcode != rcodeRefused {
					t.Errorf("%s: got %x", network, got)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			want := netip.MustParseAddrPort(target)
			if len(locals) != 2 || locals[0] != want || locals[1] != want {
				t.Errorf("asked at %v", locals)
			}
		})
	}
}

func TestBurstOfQuestionsMakesFewConnections(t *testing.T) {
	u := startUnbound(t)
	for _, text := range []string{"https://127.0.0.53/dns-query", "tls://127.0.0.53", "tcp://127.0.0.53"} {
		t.Run(text, func(t *testing.T) {
			var conns atomic.Int32
			r := newResolver(t, u.roots, func(o *Options) {
				o.Dial = func(ctx context.Context, p Path, network, address string) (net.Conn, error) {
					conns.Add(1)
					return localDial(ctx, p, network, address)
				}
			}, text)
			var all sync.WaitGroup
			for i := range 300 {
				all.Go(func() {
					if _, _, err := lookup(t, r, fmt.Sprintf("none%d.test", i)); err != nil {
						t.Errorf("%d: %v", i, err)
					}
				})
			}
			all.Wait()
			if conns.Load() > 8 {
				t.Errorf("%d connections", conns.Load())
			}
		})
	}
}
