package ebpf

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/routerd/routerd/internal/owned"
)

// tlsWorld reads the server names of TLS.
func tlsWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.tables.TLSNames = true
	mustSet(t, w.DataPlane, w.tables)
	return w
}

// realHello is the first record of Go's TLS client.
func realHello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		_ = tls.Client(here, c).HandshakeContext(context.Background()) // fails when the other end is closed
		here.Close()
	}()
	head := make([]byte, 5)
	if _, err := there.Read(head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	for n := 0; n < len(body); {
		m, err := there.Read(body[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return append(head, body...)
}

// extension is one of a hello made by hand.
type extension struct {
	kind uint16
	data []byte
}

// serverName is the extension for a host name (RFC 6066 section 3).
func serverName(host string) extension {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(host)+3))
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(host)))
	return extension{0, append(b, host...)}
}

func filler(kind uint16, n int) extension { return extension{kind, make([]byte, n)} }

// madeHello is a record with a hello of these parts.
func madeHello(session, ciphers int, list ...extension) []byte {
	b := append([]byte{3, 3}, make([]byte, 32)...)
	b = append(append(b, byte(session)), make([]byte, session)...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(2*ciphers)), make([]byte, 2*ciphers)...)
	b = append(b, 1, 0)
	var exts []byte
	for _, e := range list {
		exts = binary.BigEndian.AppendUint16(exts, e.kind)
		exts = append(binary.BigEndian.AppendUint16(exts, uint16(len(e.data))), e.data...)
	}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(exts))), exts...)
	b = append([]byte{1, 0, byte(len(b) >> 8), byte(len(b))}, b...)
	return append([]byte{22, 3, 1, byte(len(b) >> 8), byte(len(b))}, b...)
}

// helloCase is a hello, sent in parts that end at cuts. named: the last part is
// answered by a reset and the address is known.
type helloCase struct {
	name  string
	hello []byte
	cuts  []int
	named bool
}

const helloServer = "192.0.2.44"

func (c helloCase) run(t *testing.T, w *world) {
	w.forgetAll(t)
	f := to(helloServer, flags(ack|psh), func(f *frame) { f.ack = 777 })
	begin := 0
	cuts := append(slices.Clone(c.cuts), len(c.hello))
	for i, end := range cuts {
		f.payload = c.hello[begin:end]
		got := w.run(t, bpfProgRouterdSteer, f.build(), via{in: w.lan, out: w.lan})
		last := i == len(cuts)-1
		if last && c.named {
			if got.verdict != redirected {
				t.Fatalf("the last part: %s, want a reset", got.verdict)
			}
			checkReset(t, f, got.data)
		} else if got.verdict != passed || !bytes.Equal(got.data, f.build()) || got.mark != 0 {
			t.Fatalf("part %d: %s, mark %#x; want it untouched", i, got.verdict, got.mark)
		}
		f.seq += uint32(end - begin)
		begin = end
	}
	want := []string{}
	if c.named {
		want = []string{helloServer}
	}
	if got := w.knownAddrs(t); !slices.Equal(got, want) {
		t.Errorf("known %v, want %v", got, want)
	}
}

func runHellos(t *testing.T, cases []helloCase) {
	w := tlsWorld(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
}

const listedHost = "www.closed.example"

func TestReadsServerNamesOfRealHellos(t *testing.T) {
	config := func(host string, change func(*tls.Config)) []byte {
		c := &tls.Config{ServerName: host, InsecureSkipVerify: true}
		change(c)
		return realHello(t, c)
	}
	plain := func(*tls.Config) {}
	many := make([]string, 60)
	for i := range many {
		many[i] = "protocol-of-tomorrow"
	}
	pq := config(listedHost, plain)
	runHellos(t, []helloCase{
		{name: "TLS 1.3, post-quantum", hello: pq, named: true},
		{name: "TLS 1.2", hello: config(listedHost, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), named: true},
		{name: "one curve", hello: config(listedHost, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }), named: true},
		{name: "many protocols", hello: config(listedHost, func(c *tls.Config) { c.NextProtos = many }), named: true},
		{name: "unlisted", hello: config("www.example", plain)},
		{name: "the direct path's", hello: config("www.direct.example", plain)},
		{name: "no name", hello: config("192.0.2.44", plain)},
		{name: "in two segments", hello: pq, cuts: []int{bytes.Index(pq, []byte(listedHost)) + 3}, named: true},
		{name: "in three segments", hello: pq, cuts: []int{60, bytes.Index(pq, []byte(listedHost))}, named: true},
	})
}

func TestReadsServerNamesWhereverTheyStand(t *testing.T) {
	name := serverName(listedHost)
	grease := filler(0x0a0a, 1)
	rest := []extension{grease, filler(23, 0), filler(10, 12), filler(51, 1300), filler(43, 7), filler(21, 200)}
	first, last := append([]extension{name}, rest...), append(slices.Clone(rest), name)
	all := madeHello(32, 16, last...)
	long := serverName(longHost())
	at := func(hello []byte, what string) int { return bytes.Index(hello, []byte(what)) }
	cases := []helloCase{
		{name: "first", hello: madeHello(32, 16, first...), named: true},
		{name: "last", hello: all, named: true},
		{name: "alone", hello: madeHello(0, 1, name), named: true},
		{name: "no session", hello: madeHello(0, 16, last...), named: true},
		{name: "100 cipher suites", hello: madeHello(32, 100, last...), named: true},
		{name: "100 extensions", hello: madeHello(32, 16, append(slices.Repeat([]extension{grease}, 100), name)...), named: true},
		{name: "a name of 253 octets", hello: madeHello(32, 16, long), named: true},
		{name: "upper case", hello: madeHello(32, 16, serverName("WWW.Closed.EXAMPLE")), named: true},
		{name: "the outer name of ECH", hello: madeHello(32, 16, filler(0xfe0d, 300), serverName("public.example"))},
		{name: "no name", hello: madeHello(32, 16, rest...)},
		{name: "no extensions", hello: madeHello(32, 16)},
		{name: "name with an empty label", hello: madeHello(32, 16, serverName("www..closed.example"))},
		{name: "name with a dot at its end", hello: madeHello(32, 16, serverName("closed.example."))},
		{name: "label of 64 octets", hello: madeHello(32, 16, serverName(string(bytes.Repeat([]byte{'a'}, 64))+".closed.example"))},
		{name: "an empty name", hello: madeHello(32, 16, serverName(""))},
		{name: "a name that is longer than it says", hello: madeHello(32, 16, extension{0, []byte{0, 9, 0, 0, 200, 'a'}})},
		{name: "cut in the name", hello: all, cuts: []int{at(all, listedHost) + 7}, named: true},
		{name: "cut in front of the name", hello: all, cuts: []int{at(all, listedHost) - 3}, named: true},
		{name: "cut in the extension's head", hello: all, cuts: []int{at(all, listedHost) - 8}, named: true},
		{name: "cut behind the name", hello: madeHello(32, 16, first...), cuts: nil, named: true},
		{name: "cut in the cipher suites", hello: all, cuts: []int{90}, named: true},
		{name: "many segments", hello: all, cuts: []int{400, 500, 600, 700, 1200, 1450}, named: true},
		{name: "cut in the first 44 octets", hello: all, cuts: []int{20}},
		{name: "record of the first part only", hello: patched(slices.Clone(all), 3, 4, 0)},
		{name: "server's hello", hello: patched(slices.Clone(all), 5, 2)},
		{name: "SSL 2", hello: patched(slices.Clone(all), 1, 2)},
		{name: "another record", hello: patched(slices.Clone(all), 0, 23)},
		{name: "HTTP", hello: []byte("GET / HTTP/1.1\r\nHost: closed.example\r\n\r\n")},
	}
	runHellos(t, cases)
}

// longHost is a name below closed.example of 253 characters.
func longHost() string {
	return textName(longName(255))
}

// A later segment counts only where it belongs.
func TestSegmentsOfOtherConnectionsAreNotTheNextOfAHello(t *testing.T) {
	hello := madeHello(32, 16, filler(51, 1300), serverName(listedHost))
	first := to(helloServer, flags(ack), func(f *frame) { f.payload = hello[:800] })
	rest := func(change func(*frame)) frame {
		f := first
		f.seq, f.payload = first.seq+800, hello[800:]
		change(&f)
		return f
	}
	for name, f := range map[string]frame{
		"another place in the stream": rest(func(f *frame) { f.seq++ }),
		"another client":              rest(func(f *frame) { from("192.168.1.11", bobMAC)(f) }),
		"another server":              rest(func(f *frame) { f.dst = netip.MustParseAddrPort("192.0.2.45:443") }),
		"another port":                rest(port(clientPort + 64)),
		"port 8443":                   rest(func(f *frame) { f.dst = netip.AddrPortFrom(f.dst.Addr(), 8443) }),
	} {
		w := tlsWorld(t)
		w.send(t, first)
		if got := w.send(t, f); got.verdict != passed {
			t.Errorf("%s: %s", name, got.verdict)
		}
	}
}

func TestWhatAHelloTeachesCountsForItsClient(t *testing.T) {
	w := tlsWorld(t)
	events := openEvents(t, w.DataPlane)
	hello := func(f *frame) { f.flags, f.payload = ack, madeHello(32, 16, serverName("www.Open.example")) }
	if got := way(w.send(t, to(helloServer, hello))); got != reset {
		t.Fatalf("way %d, want a reset", got)
	}
	diff(t, told(t, events), []string{"4 www.open.example [192.0.2.44] 02:00:00:00:00:0a"})
	grants, err := w.Grants()
	if err != nil || len(grants) != 1 || grants[0].Origin != OriginTLS {
		t.Errorf("grants %+v, %v", grants, err)
	}
	w.goes(t, "the client's retry", to(helloServer, port(50001)), tunnelB)
	bobs := from("192.168.1.11", bobMAC)
	w.goes(t, "another client", to(helloServer, bobs), unsteered)
	w.goes(t, "another client's hello", to(helloServer, bobs, hello), reset)
	w.goes(t, "and its retry", to(helloServer, bobs), tunnelB)
	w.goes(t, "IPv6", to("2001:db8:9::9", hello), reset)
	w.goes(t, "an exempt address", to("10.1.2.3", hello), unsteered)
	w.goes(t, "a name of others", to("192.0.2.45", bobs, func(f *frame) {
		f.flags, f.payload = ack, madeHello(32, 16, serverName("solo.example"))
	}), unsteered)
	if s, err := w.Stats(); err != nil || s.TLS != 3 || s.Hellos != 5 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}

func TestHellosAreNotReadUnlessAsked(t *testing.T) {
	w := newWorld(t)
	f := to(helloServer, flags(ack), func(f *frame) { f.payload = madeHello(32, 16, serverName(listedHost)) })
	if got := w.send(t, f); got.verdict != passed {
		t.Errorf("%s", got.verdict)
	}
}

func TestAHelloThatFindsNoRoomIsEndedWhereTheWANIsClosed(t *testing.T) {
	w := openWorld(t, func(o *Options) { o.MaxAddresses = 1 })
	w.tables.TLSNames = true
	mustSet(t, w.DataPlane, w.tables)
	w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
	for host, want := range map[string]owned.PathIndex{"closed.example": reset, "open.example": unsteered} {
		w.goes(t, host, to(helloServer, flags(ack), func(f *frame) { f.payload = madeHello(0, 1, serverName(host)) }), want)
	}
}
