package ebpf

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/routerd/routerd/internal/owned"
)

// Where the resolver is in the tests.
var (
	router  = netip.MustParseAddr("192.168.1.1")
	router6 = netip.MustParseAddr("2001:db8:aaaa::1")
)

const resolverPort = owned.ResolverPort

// resolvingWorld is a world with a resolver for the clients of lan0 and for the
// router itself. Queries for names of "direct" stay where they go.
func resolvingWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	resolving(w)
	w.listen(t)
	mustSet(t, w.DataPlane, w.tables)
	return w
}

func resolving(w *world) {
	w.tables.Resolver = []ResolverAddress{
		{Ifindex: w.lan, V4: router, V6: router6, Port: resolverPort},
		{Ifindex: loIndex, Port: resolverPort},
	}
	for name, id := range w.dest {
		s := w.tables.Slots[id]
		s.Resolve = name != "direct"
		w.tables.Slots[id] = s
	}
}

// listen opens the resolver's sockets, and gives what closes them.
func (w *world) listen(t testing.TB) (hangUp func()) {
	t.Helper()
	var open []interface{ Close() error }
	inside(t, w.ns, func() {
		at := &net.UDPAddr{Port: resolverPort}
		for _, network := range []string{"udp4", "udp6"} {
			c, err := net.ListenUDP(network, at)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		for _, network := range []string{"tcp4", "tcp6"} {
			l, err := net.ListenTCP(network, &net.TCPAddr{Port: resolverPort})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, l)
		}
	})
	hangUp = func() {
		for _, c := range open {
			c.Close()
		}
	}
	t.Cleanup(hangUp)
	return hangUp
}

// ask is a query of alice's to a resolver on the Internet, changed by what follows.
func ask(name string, qtype uint16, change ...func(*frame)) frame {
	f := frame{
		src: netip.AddrPortFrom(alice, 40000), dst: netip.AddrPortFrom(resolver, 53),
		srcMAC: aliceMAC, dstMAC: routerMAC, proto: udp, payload: wire(query(name, qtype)),
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

const queryID = 0x1234

func query(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.Id = queryID
	return m
}

func message(b []byte) func(*frame) { return func(f *frame) { f.payload = b } }

func edited(edit func(*dns.Msg)) func(*frame) {
	return func(f *frame) {
		var m dns.Msg
		if err := m.Unpack(f.payload); err != nil {
			panic(err)
		}
		edit(&m)
		f.payload = wire(&m)
	}
}

func octets(at int, b ...byte) func(*frame) { return func(f *frame) { patched(f.payload, at, b...) } }

func server(a string) func(*frame) {
	return func(f *frame) {
		f.dst = netip.AddrPortFrom(netip.MustParseAddr(a), f.dst.Port())
		if f.v6() {
			f.src = netip.AddrPortFrom(alice6, f.src.Port())
		}
	}
}

// summed is the packet with the transport's checksum in it (RFC 768, 9293, 8200).
func (f frame) summed() []byte {
	b := f.build()
	l4 := f.transportAt()
	end := len(b) - f.padding
	at := l4 + 16
	if f.proto == udp {
		at = l4 + 6
	}
	binary.BigEndian.PutUint16(b[at:], 0)
	sum := ^onesSum(b[l4:end], uint32(onesSum(f.pseudo(end-l4), 0)))
	if sum == 0 && f.proto == udp {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], sum)
	return b
}

// transportAt is where the transport header begins.
func (f frame) transportAt() int {
	at := len(f.ethernet()) + 20 + f.options
	if f.v6() {
		at = len(f.ethernet()) + 40
		for _, e := range f.ext {
			at += max(e.size, 8)
		}
	}
	return at
}

func (f frame) pseudo(size int) []byte {
	b := append(f.src.Addr().AsSlice(), f.dst.Addr().AsSlice()...)
	return append(b, 0, f.proto, byte(size>>8), byte(size))
}

// turned is a query as it must reach the resolver.
func (f frame) turned() frame {
	own := router
	if f.v6() {
		own = router6
	}
	if f.dst.Addr().IsLinkLocalUnicast() {
		own = f.dst.Addr()
	}
	f.dst = netip.AddrPortFrom(own, resolverPort)
	return f
}

// queryCase is a query of a client: whether it is turned to the resolver, dropped
// or, where it is neither, goes on untouched.
type queryCase struct {
	name    string
	frame   frame
	turned  bool
	dropped bool
	via     via
}

func (c queryCase) run(t *testing.T, w *world, program string, build func(frame) []byte) {
	t.Helper()
	v := c.via
	v.in, v.out = w.lan, w.lan
	got := w.run(t, program, build(c.frame), v)
	want, verdict := build(c.frame), passed
	switch {
	case c.turned:
		want = build(c.frame.turned())
	case c.dropped:
		verdict = dropped
	}
	if got.verdict != verdict {
		t.Fatalf("%s, want %s", got.verdict, verdict)
	}
	if !c.dropped && !bytes.Equal(got.data, want) {
		t.Errorf("packet\n%x, want\n%x", got.data, want)
	}
	at, ok := w.OriginalUDP(c.frame.src, netip.AddrPort{}, queryID)
	if c.turned && (!ok || at != c.frame.dst) {
		t.Errorf("asked was %s, %t; want %s", at, ok, c.frame.dst)
	}
}

func runQueries(t *testing.T, cases []queryCase) {
	w := resolvingWorld(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, w, bpfProgRouterdSteer, frame.summed) })
	}
}

func TestTurnsQueriesForListedNames(t *testing.T) {
	gso := via{gsoSize: len(wire(query("closed.example", dns.TypeA))), gsoSegs: 2}
	twice := func(f *frame) { f.payload = append(slices.Clone(f.payload), f.payload...) }
	mixed := func(f *frame) { f.payload = append(f.payload, wire(query("sesame.example", dns.TypeA))...) }
	runQueries(t, []queryCase{
		{name: "A", frame: ask("closed.example", dns.TypeA), turned: true},
		{name: "AAAA", frame: ask("closed.example", dns.TypeAAAA), turned: true},
		{name: "HTTPS", frame: ask("closed.example", dns.TypeHTTPS), turned: true},
		{name: "TXT", frame: ask("closed.example", dns.TypeTXT), turned: true},
		{name: "a type of tomorrow", frame: ask("closed.example", 65400), turned: true},
		{name: "below", frame: ask("a.b.c.closed.example", dns.TypeA), turned: true},
		{name: "odd length", frame: ask("x.closed.example", dns.TypeA), turned: true},
		{name: "full, itself", frame: ask("only.example", dns.TypeA), turned: true},
		{name: "full, below", frame: ask("www.only.example", dns.TypeA)},
		{name: "unlisted", frame: ask("www.example", dns.TypeA)},
		{name: "root", frame: ask(".", dns.TypeNS)},
		{name: "listed as the end of a label", frame: ask("notclosed.example", dns.TypeA)},
		{name: "0x20 case", frame: ask(mixedCase("Www.Closed.Example"), dns.TypeA), turned: true},
		{name: "EDNS", frame: ask("closed.example", dns.TypeA, edited(func(m *dns.Msg) { m.SetEdns0(1232, true) })), turned: true},
		{name: "name of 255 octets", frame: ask(".", dns.TypeA, message(asking(longName(255)))), turned: true},
		{name: "blocked", frame: ask("blocked.example", dns.TypeA), turned: true},
		{name: "a direct exception", frame: ask("direct.example", dns.TypeA)},
		{name: "for alice only", frame: ask("solo.example", dns.TypeA), turned: true},
		{name: "for alice only, of bob", frame: ask("solo.example", dns.TypeA, from("192.168.1.11", bobMAC))},
		{name: "not for bob, next link", frame: ask("notbob.example", dns.TypeA, from("192.168.1.11", bobMAC)), turned: true},
		{name: "of others, next link is direct", frame: ask("guests.example", dns.TypeA)},
		{name: "two in one skb", frame: ask("closed.example", dns.TypeA, twice), via: gso, turned: true},
		{name: "two in one skb, one unlisted", frame: ask("closed.example", dns.TypeA, mixed), via: gso, dropped: true},
	})
}

// asking is a query for a name in wire form.
func asking(name []byte) []byte {
	b := []byte{queryID >> 8, queryID & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	return append(append(b, name...), 0, 1, 0, 1)
}

func TestTurnsQueriesWhateverCarriesThem(t *testing.T) {
	listed := func(change ...func(*frame)) frame { return ask("closed.example", dns.TypeA, change...) }
	options := func(f *frame) { f.options = 8 }
	first := func(f *frame) { f.payload = append(f.payload, make([]byte, 600)...); fragment(0, true)(f) }
	runQueries(t, []queryCase{
		{name: "IPv6", frame: listed(server("2001:db8:53::53")), turned: true},
		{name: "IPv6, unlisted", frame: ask("www.example", dns.TypeA, server("2001:db8:53::53"))},
		{name: "IPv6, hop-by-hop", frame: listed(server("2001:db8:53::53"), chained(ext{kind: extHop})), turned: true},
		{name: "to the router", frame: listed(server("192.168.1.1")), turned: true},
		{name: "to the router, unlisted", frame: ask("www.example", dns.TypeA, server("192.168.1.1"))},
		{name: "to another address of the router", frame: listed(server("192.168.2.1")), turned: true},
		{name: "to the router, IPv6", frame: listed(server("2001:db8:aaaa::1")), turned: true},
		{name: "to the router's link-local address", frame: listed(server("fe80::1")), turned: true},
		{name: "to a listed address", frame: listed(server("203.0.113.1")), turned: true},
		{name: "to a blocked address", frame: listed(server("203.0.113.200")), turned: true},
		{name: "VLAN", frame: listed(tagged(0x8100)), turned: true},
		{name: "VLAN in VLAN, unlisted", frame: ask("www.example", dns.TypeA, tagged(0x88a8, 0x8100))},
		{name: "IPv4 options", frame: listed(options), turned: true},
		{name: "IPv4 options, unlisted", frame: ask("www.example", dns.TypeA, options)},
		{name: "padding of Ethernet", frame: listed(func(f *frame) { f.padding = 9 }), turned: true},
		{name: "from port 53", frame: listed(port(53)), turned: true},
		{name: "to another port", frame: listed(func(f *frame) { f.dst = netip.AddrPortFrom(resolver, 5353) })},
		{name: "first fragment", frame: listed(first), dropped: true},
		{name: "first fragment, unlisted", frame: ask("www.example", dns.TypeA, first)},
		{name: "first fragment that ends before the question", frame: ask("www.example", dns.TypeA, fragment(0, true)), dropped: true},
		{name: "later fragment", frame: listed(fragment(800, false))},
		{name: "marked by somebody", frame: listed(), via: via{mark: 0xf0000001}, turned: true},
	})
}

// What is not a query with one sound question is none that a resolver answers.
func TestLeavesOtherMessagesToPort53Alone(t *testing.T) {
	listed := func(change ...func(*frame)) frame { return ask("closed.example", dns.TypeA, change...) }
	runQueries(t, []queryCase{
		{name: "nothing", frame: listed(message(nil))},
		{name: "header only", frame: listed(message(make([]byte, 12)))},
		{name: "an answer", frame: listed(octets(atFlags, 0x81))},
		{name: "notify", frame: listed(octets(atFlags, 4<<3))},
		{name: "no question", frame: listed(octets(atQdcount, 0, 0))},
		{name: "two questions", frame: listed(octets(atQdcount, 0, 2))},
		{name: "cut in the name", frame: listed(func(f *frame) { f.payload = f.payload[:20] })},
		{name: "cut behind the type", frame: listed(func(f *frame) { f.payload = f.payload[:len(f.payload)-2] })},
		{name: "pointer in the question", frame: listed(octets(12, 0xc0, 12))},
		{name: "name of 256 octets", frame: listed(message(asking(longName(256))))},
		{name: "noise", frame: listed(message(bytes.Repeat([]byte{0xff}, 100)))},
		{name: "noise of 48 datagrams", frame: listed(message(bytes.Repeat([]byte{0xff}, 48*20))), via: via{gsoSize: 20, gsoSegs: 48}, dropped: true},
	})
}

// A sender that gives no checksum gets none.
func TestTurnsQueriesWithoutAChecksum(t *testing.T) {
	w := resolvingWorld(t)
	c := queryCase{frame: ask("closed.example", dns.TypeA), turned: true}
	c.run(t, w, bpfProgRouterdSteer, frame.build)
}

func TestTurnsQueriesOnBareDevices(t *testing.T) {
	w := resolvingWorld(t)
	for _, c := range []queryCase{
		{name: "IPv4", frame: ask("closed.example", dns.TypeA), turned: true},
		{name: "IPv4, unlisted", frame: ask("www.example", dns.TypeA)},
		{name: "IPv6", frame: ask("closed.example", dns.TypeA, server("2001:db8:53::53")), turned: true},
		{name: "to the router", frame: ask("closed.example", dns.TypeA, server("192.168.1.1")), turned: true},
	} {
		c.frame.bare = true
		a := bareV4
		if c.frame.v6() {
			a = bareV6
		}
		c.frame.src = netip.AddrPortFrom(a, 40000)
		t.Run(c.name, func(t *testing.T) { c.run(t, w, bpfProgRouterdSteerIp, frame.summed) })
	}
}

// The resolver's answers come from the server that was asked, and are learned
// for everybody.
func TestAnswersOfTheResolverComeFromWhomWasAsked(t *testing.T) {
	for _, c := range []struct {
		name   string
		server string
	}{
		{"a server on the Internet", "198.18.0.53"},
		{"the router", "192.168.1.1"},
		{"another address of the router", "192.168.2.1"},
		{"IPv6", "2001:db8:53::53"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := resolvingWorld(t)
			events := openEvents(t, w.DataPlane)
			q := ask("closed.example", dns.TypeA, server(c.server))
			w.send(t, q)
			in := back(q.turned(), message(with(reply("closed.example", dns.TypeA, "closed.example. 300 IN A 198.51.100.7"),
				func(m *dns.Msg) { m.Id = queryID })))
			want := in
			want.src = q.dst
			got := w.run(t, bpfProgRouterdLearn, in.summed(), via{out: w.lan})
			if got.verdict != passed || !bytes.Equal(got.data, want.summed()) {
				t.Errorf("%s\n%x, want\n%x", got.verdict, got.data, want.summed())
			}
			w.checkVerified(t, "198.51.100.7", ClientMAC(aliceMAC))
			ev := pending(t, events)
			if len(ev) != 1 || !ev[0].Verified || ev[0].Name != "closed.example" {
				t.Errorf("events %+v", ev)
			}
		})
	}
}

// checkVerified wants one address, for everybody, with a grant for one client.
func (d *DataPlane) checkVerified(t *testing.T, a string, c Client) {
	t.Helper()
	all, err := d.Addresses()
	if err != nil || len(all) != 1 || all[0].Addr.String() != a || !all[0].Global || all[0].Origin != OriginResolver {
		t.Errorf("addresses %+v, %v; want %s of the resolver, for everybody", all, err, a)
	}
	grants, err := d.Grants()
	if err != nil || len(grants) != 1 || grants[0].Client != c || grants[0].Origin != OriginResolver {
		t.Errorf("grants %+v, %v; want one of %s", grants, err, c)
	}
}

func TestAnswersThatNobodyAskedByWayOfAnotherServerStayAsTheyAre(t *testing.T) {
	w := resolvingWorld(t)
	q := ask("closed.example", dns.TypeA)
	w.send(t, q)
	answer := back(q.turned(), message(with(reply("closed.example", dns.TypeA, "closed.example. 300 IN A 198.51.100.7"),
		func(m *dns.Msg) { m.Id = queryID + 1 })))
	for name, c := range map[string]struct {
		frame frame
		via   via
	}{
		"another id": {answer, via{out: w.lan}},
		"another port": {back(q.turned(), func(f *frame) {
			f.dst, f.payload = netip.AddrPortFrom(alice, 40001), patched(slices.Clone(answer.payload), 1, queryID&0xff)
		}), via{out: w.lan}},
		"forwarded": {back(q.turned(), message(patched(slices.Clone(answer.payload), 1, queryID&0xff))), via{in: w.wan, out: w.lan}},
		"no id":     {back(q.turned(), message([]byte{0x12})), via{out: w.lan}},
	} {
		got := w.run(t, bpfProgRouterdLearn, c.frame.summed(), c.via)
		if got.verdict != passed || !bytes.Equal(got.data, c.frame.summed()) {
			t.Errorf("%s: %s %x", name, got.verdict, got.data)
		}
	}
	if got := w.knownAddrs(t); len(got) > 0 {
		t.Errorf("known %v", got)
	}
}

// Without the resolver a listed name fails at once, and never by the provider.
func TestListedQueriesFailAtOnceWithoutAResolver(t *testing.T) {
	w := newWorld(t)
	resolving(w)
	mustSet(t, w.DataPlane, w.tables)
	for _, c := range []struct {
		name  string
		frame frame
	}{
		{"IPv4", ask("closed.example", dns.TypeA)},
		{"IPv6", ask("closed.example", dns.TypeA, server("2001:db8:53::53"))},
		{"odd length, EDNS", ask("x.closed.example", dns.TypeA, edited(func(m *dns.Msg) { m.SetEdns0(1232, true) }))},
		{"VLAN", ask("closed.example", dns.TypeA, tagged(0x8100))},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := back(c.frame, edited(func(m *dns.Msg) {
				m.Response, m.RecursionAvailable, m.Rcode = true, true, dns.RcodeServerFailure
			}))
			got := w.run(t, bpfProgRouterdSteer, c.frame.summed(), via{in: w.lan, out: w.lan})
			if got.verdict != redirected || !bytes.Equal(got.data, want.summed()) {
				t.Errorf("%s\n%x, want\n%x", got.verdict, got.data, want.summed())
			}
		})
	}
	unlisted := ask("www.example", dns.TypeA)
	if got := w.run(t, bpfProgRouterdSteer, unlisted.summed(), via{in: w.lan, out: w.lan}); got.verdict != passed || !bytes.Equal(got.data, unlisted.summed()) {
		t.Errorf("unlisted: %s", got.verdict)
	}
	if s, err := w.Stats(); err != nil || s.Unanswered != 4 || s.Queries != 0 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}
