package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	peer "github.com/miekg/dns"

	"github.com/routerd/routerd/internal/owned"
)

// decide is the policy of the tests: everything below test is listed.
func decide(name string, _ netip.Addr) Decision {
	first, rest, _ := strings.Cut(name, ".")
	switch {
	case name != "test" && rest != "test" && !strings.HasSuffix(rest, ".test"):
		return Decision{Listed: slices.Contains(Canaries(), name), Canary: true}
	case first == "blocked":
		return Decision{Listed: true, Block: true}
	case rest == "no6.test":
		return Decision{Listed: true, Path: 1, NoIPv6: true}
	case first == "down":
		return Decision{Listed: true, Path: 15}
	}
	return Decision{Listed: true, Path: 1}
}

// lesson is one call of Learn.
type lesson struct {
	Name   string
	Client string
	Addrs  string
	TTL    uint32
}

// testServer is a server with what it learned.
type testServer struct {
	*Server
	mu      sync.Mutex // guards what follows
	lessons []lesson
	refuse  error // what Learn gives
}

func (s *testServer) learn(l Lesson) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, a := range l.Addrs {
		texts = append(texts, a.String())
	}
	s.lessons = append(s.lessons, lesson{l.Name, l.Client.String(), strings.Join(texts, " "), l.TTL})
	return s.refuse
}

func (s *testServer) learned() []lesson {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.lessons
	s.lessons = nil
	return out
}

func (s *testServer) setRefuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// serve starts a server on owned.ResolverPort; change may change its options.
func serve(t testing.TB, r *Resolver, change func(*ServerOptions)) *testServer {
	t.Helper()
	needIsolation(t)
	s := &testServer{}
	o := ServerOptions{Resolver: r, Decide: decide, Learn: s.learn}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	s.Server, err = Listen(ctx, o)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

const serverAddress = "127.0.0.1:5399"

// kdig asks a server with the real tool and gives what it prints.
func kdig(t testing.TB, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("kdig")
	if err != nil {
		t.Fatal("kdig is missing: apt-get install --no-install-recommends knot-dnsutils")
	}
	out, err := exec.Command(program, append([]string{"-p", "5399", "+timeout=5", "+retry=0"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("kdig %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestKdigGetsAnswersFromTheAddressThatItAsked(t *testing.T) {
	u := startUnbound(t)
	s := serve(t, newResolver(t, u.roots, nil, "https://127.0.0.53/dns-query"), nil)
	for _, c := range []struct {
		name, server string
		args         []string
		want         []string
		lessons      []lesson
	}{
		{
			"UDP", "127.0.0.7",
			[]string{"www.test", "A"},
			[]string{"status: NOERROR", "From 127.0.0.7@5399", "198.51.100.10", "(UDP)"},
			[]lesson{{"www.test", "127.0.0.1", "198.51.100.10", 300}},
		},
		{
			"IPv6", "::1",
			[]string{"www.test", "AAAA"},
			[]string{"2001:db8:1::10"},
			[]lesson{{"www.test", "::1", "2001:db8:1::10", 300}},
		},
		{"IPv6 to another address", "2001:db8:f::53", []string{"www.test", "AAAA"}, []string{"2001:db8:1::10"}, nil},
		{
			"TCP", "127.0.0.9",
			[]string{"+tcp", "alias.test", "A"},
			[]string{"deep.test.", "www.test.", "198.51.100.10", "(TCP)"},
			[]lesson{{"alias.test", "127.0.0.1", "198.51.100.10", 300}},
		},
		{"TCP over IPv6", "::1", []string{"+tcp", "v4.test", "A"}, []string{"198.51.100.11"}, nil},
		{"no such name", "127.0.0.1", []string{"none.test", "A"}, []string{"status: NXDOMAIN", "SOA", "120"}, []lesson{}},
		{"no such type", "127.0.0.1", []string{"v4.test", "AAAA"}, []string{"status: NOERROR", "SOA", "ANSWER: 0"}, []lesson{}},
		{"DNSSEC", "127.0.0.1", []string{"+dnssec", "www.test", "A"}, []string{"RRSIG", "flags: do"}, nil},
		{"no DNSSEC", "127.0.0.1", []string{"+edns", "www.test", "A"}, []string{"ANSWER: 1;", "UDP size: 1232"}, nil},
		{"unknown type", "127.0.0.1", []string{"strange.test", "TYPE65400"}, []string{`\# 6 0102C00CFFFE`}, []lesson{}},
		{
			"hints", "127.0.0.1",
			[]string{"svc.test", "HTTPS"},
			[]string{"ipv4hint=198.51.100.30", "ipv6hint=2001:db8:1::30"},
			[]lesson{{"svc.test", "127.0.0.1", "198.51.100.30 2001:db8:1::30", 300}},
		},
		{"truncated, then over TCP", "127.0.0.1", []string{"big.test", "TXT"}, []string{"(TCP)", "ANSWER: 6;"}, nil},
		{"truncated", "127.0.0.1", []string{"+ignore", "big.test", "TXT"}, []string{"(UDP)", "Flags: qr aa tc rd", "ANSWER: 0;"}, nil},
		{
			"blocked", "127.0.0.1",
			[]string{"blocked.test", "A"},
			[]string{"status: NXDOMAIN", "blocked.test.", "60", "SOA"},
			[]lesson{},
		},
		{"canary", "127.0.0.1", []string{"use-application-dns.net", "A"}, []string{"status: NXDOMAIN"}, []lesson{}},
		{"mask", "127.0.0.1", []string{"mask.icloud.com", "HTTPS"}, []string{"status: NXDOMAIN"}, []lesson{}},
		{"not listed, not turned here", "127.0.0.1", []string{"other.example", "A"}, []string{"status: REFUSED"}, []lesson{}},
		{"path down", "127.0.0.1", []string{"down.test", "A"}, []string{"status: SERVFAIL"}, []lesson{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.learned()
			out := kdig(t, append([]string{"@" + c.server}, c.args...)...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if c.lessons == nil {
				return
			}
			if diff := cmp.Diff(c.lessons, append([]lesson{}, s.learned()...)); diff != "" {
				t.Errorf("learned (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoIPv6LeavesNothingOfIPv6InAnswers(t *testing.T) {
	up := newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg {
		return answerOf(t, q,
			"x.no6.test. 60 IN HTTPS 1 . mandatory=ipv6hint,alpn alpn=h2 ipv4hint=198.51.100.1 ipv6hint=2001:db8:1::1",
			"x.no6.test. 60 IN AAAA 2001:db8:1::2", "x.no6.test. 60 IN A 198.51.100.2",
			"x.no6.test. 60 IN MX 10 y.x.no6.test.")
	})
	s := serve(t, newResolver(t, nil, nil, "udp://127.0.0.60"), nil)
	before := up.asked()
	got := exchange(t, "udp", question("x.no6.test.", peer.TypeAAAA))
	if got.Rcode != 0 || len(got.Answer) != 0 || len(got.Ns) != 1 || got.Ns[0].Header().Ttl != 60 || up.asked() != before {
		t.Errorf("AAAA: %v", got)
	}
	got = exchange(t, "udp", question("x.no6.test.", peer.TypeHTTPS))
	want := []string{
		`x.no6.test.	60	IN	HTTPS	1 . mandatory="alpn" alpn="h2" ipv4hint="198.51.100.1"`,
		"x.no6.test.	60	IN	A	198.51.100.2", "x.no6.test.	60	IN	MX	10 y.x.no6.test.",
	}
	if diff := cmp.Diff(want, texts(got.Answer)); diff != "" {
		t.Errorf("HTTPS (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]lesson{{"x.no6.test", "127.0.0.1", "198.51.100.1 198.51.100.2", 60}}, s.learned()); diff != "" {
		t.Errorf("learned (-want +got):\n%s", diff)
	}
}

func TestAnswersAreLearnedBeforeTheyAreSent(t *testing.T) {
	u := startUnbound(t)
	s := serve(t, newResolver(t, u.roots, nil, "tls://127.0.0.53"), nil)
	for _, network := range []string{"udp", "tcp"} {
		for _, from := range []string{"the upstream", "the cache"} {
			got := exchange(t, network, question("www.test.", peer.TypeA))
			if len(got.Answer) != 1 || len(s.learned()) != 1 {
				t.Errorf("%s from %s: not learned when the answer had come", network, from)
			}
		}
	}
	s.setRefuse(errors.New("the map is full"))
	for _, network := range []string{"udp", "tcp"} {
		if got := exchange(t, network, question("www.test.", peer.TypeA)); got.Rcode != peer.RcodeServerFailure || len(got.Answer) != 0 {
			t.Errorf("%s: an answer that could not be learned was sent: %v", network, got)
		}
	}
	if got := exchange(t, "udp", question("none.test.", peer.TypeA)); got.Rcode != peer.RcodeNameError {
		t.Errorf("an answer without addresses was withheld: %v", got)
	}
}

// crowded answers with n addresses: in records of A, or as hints of one HTTPS record.
func crowded(t *testing.T, q *peer.Msg, n int) *peer.Msg {
	name, hints := q.Question[0].Name, &peer.SVCBIPv4Hint{}
	var list []string
	for i := range n {
		address := fmt.Sprintf("198.51.%d.%d", i>>8, i&0xff)
		hints.Hint = append(hints.Hint, net.ParseIP(address))
		list = append(list, name+" 60 IN A "+address)
	}
	if q.Question[0].Qtype == peer.TypeA {
		return answerOf(t, q, list...)
	}
	m := answerOf(t, q, name+" 60 IN HTTPS 1 .")
	m.Answer[0].(*peer.HTTPS).Value = []peer.SVCBKeyValue{hints}
	return m
}

// A client would connect past its tunnel to an address that nobody learned.
func TestNoAddressOfAnAnswerLeavesUnlearned(t *testing.T) {
	many := map[string]int{"fits.test.": maxAddresses - 1, "more.test.": maxAddresses, "most.test.": 3 * maxAddresses}
	newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg { return crowded(t, q, many[q.Question[0].Name]) })
	s := serve(t, newResolver(t, nil, nil, "tcp://127.0.0.60"), nil)
	for name, n := range many {
		for _, kind := range []uint16{peer.TypeA, peer.TypeHTTPS} {
			got := exchange(t, "tcp", question(name, kind))
			learned := 0
			for _, l := range s.learned() {
				learned += len(strings.Fields(l.Addrs))
			}
			want := n
			if n >= maxAddresses {
				want = 0
			}
			if learned != want || (len(got.Answer) > 0) != (want > 0) || (got.Rcode == peer.RcodeServerFailure) != (want == 0) {
				t.Errorf("%d addresses, type %d: got code %d with %d records, learned %d", n, kind, got.Rcode, len(got.Answer), learned)
			}
		}
	}
}

func TestMalformedQueriesGetFormErrOrSilence(t *testing.T) {
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), nil)
	good, err := question("www.test.", peer.TypeA).Pack()
	must(t, err)
	change := func(f func(b []byte) []byte) []byte { return f(slices.Clone(good)) }
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	for _, c := range []struct {
		name  string
		query []byte
		rcode int // -1: silence
	}{
		{"empty", []byte{}, -1},
		{"half a header", good[:11], -1},
		{"an answer", change(func(b []byte) []byte { b[2] |= 0x80; return b }), -1},
		{"header only", good[:12], rcodeFormat},
		{"no question", change(func(b []byte) []byte { b[5] = 0; return b[:12] }), rcodeFormat},
		{"two questions", change(func(b []byte) []byte { b[5] = 2; return append(b, b[12:]...) }), rcodeFormat},
		{"name cut off", good[:15], rcodeFormat},
		{"pointer to itself", change(func(b []byte) []byte { b[12], b[13] = 0xc0, 12; return b }), rcodeFormat},
		{"pointer into the header", change(func(b []byte) []byte { b[12], b[13] = 0xc0, 0; return b }), rcodeFormat},
		{"label of 64", change(func(b []byte) []byte { b[12] = 64; return b }), rcodeFormat},
		{"octets behind the end", append(slices.Clone(good), 0), rcodeFormat},
		{"record that is not there", change(func(b []byte) []byte { b[11] = 1; return b }), rcodeFormat},
		{"two OPT records", change(func(b []byte) []byte { b[11] = 2; return slices.Concat(b, opt, opt) }), rcodeFormat},
		{"OPT as an answer", change(func(b []byte) []byte { b[7] = 1; return slices.Concat(b, opt) }), rcodeFormat},
		{"another opcode", change(func(b []byte) []byte { b[2] |= 5 << 3; return b }), rcodeNotImpl},
		{"a type for transactions", change(func(b []byte) []byte { b[len(b)-3] = 250; return b }), rcodeRefused},
		{"later EDNS", change(func(b []byte) []byte {
			b[11] = 1
			o := slices.Clone(opt)
			o[6] = 1
			return append(b, o...)
		}), peer.RcodeBadVers},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("udp", serverAddress)
			must(t, err)
			defer conn.Close()
			_, err = conn.Write(c.query)
			must(t, err)
			// What comes after it is answered after it, so that silence shows.
			if c.rcode < 0 {
				_, err = conn.Write([]byte{0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
				must(t, err)
			}
			must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			buf := make([]byte, 512)
			n, err := conn.Read(buf)
			must(t, err)
			silent := buf[0] == 0xab && buf[1] == 0xcd
			m := new(peer.Msg)
			must(t, m.Unpack(buf[:n]))
			if c.rcode < 0 != silent || !silent && (m.Rcode != c.rcode || !m.Response) {
				t.Errorf("got %v", m)
			}
		})
	}
}

func TestQueriesFromOtherDevicesAreDropped(t *testing.T) {
	needIsolation(t)
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	var mu sync.Mutex
	var seen []int
	allowed := false
	serve(t, newResolver(t, nil, nil, "udp://127.0.0.99"), func(o *ServerOptions) {
		o.Device = func(index int) bool {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, index)
			return allowed
		}
	})
	for _, target := range []string{"127.0.0.1:5399", "[::1]:5399"} {
		for _, network := range []string{"udp", "tcp"} {
			c := &peer.Client{Net: network, Timeout: 100 * time.Millisecond}
			if got, _, err := c.Exchange(question("blocked.test.", peer.TypeA), target); err == nil {
				t.Errorf("%s %s: answered: %v", network, target, got)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(seen, []int{lo.Index, lo.Index, lo.Index, lo.Index}) {
		t.Errorf("devices %v, want %d each time", seen, lo.Index)
	}
}

func TestListenSaysWhichPortIsTaken(t *testing.T) {
	needIsolation(t)
	taken, err := net.Listen("tcp", "0.0.0.0:5399")
	must(t, err)
	defer taken.Close()
	_, err = Listen(context.Background(), ServerOptions{})
	if err == nil || !strings.Contains(err.Error(), "listen on port 5399") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	must(t, taken.Close())
	s, err := Listen(context.Background(), ServerOptions{})
	must(t, err)
	s.closeSockets()
	if owned.ResolverPort != 5399 {
		t.Error("the data plane and this test name another port")
	}
}
