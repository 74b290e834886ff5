package ebpf

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// learnCase is one packet on its way to a client. Addresses are what must be
// known afterwards, in any order; nothing else may be.
type learnCase struct {
	name     string
	frame    frame
	via      via
	program  string // "": that of Ethernet devices
	addrs    []string
	withheld bool
	event    EventKind // 0: none, or EventLearned where there are addresses
}

func (c learnCase) run(t *testing.T, w *world, events *Events) {
	w.forgetAll(t)
	pending(t, events)
	if c.via.out == 0 {
		c.via.out = w.lan
	}
	if c.program == "" {
		c.program = bpfProgRouterdLearn
	}
	got := w.run(t, c.program, c.frame.build(), c.via)
	want := passed
	if c.withheld {
		want = dropped
	}
	if got.verdict != want {
		t.Errorf("%s, want %s", got.verdict, want)
	}
	if got, want := w.knownAddrs(t), sorted(c.addrs); !cmp.Equal(got, want) {
		t.Errorf("known addresses: %s", cmp.Diff(want, got))
	}
	if grants, err := w.Grants(); err != nil || len(grants) != len(w.knownAddrs(t)) {
		t.Errorf("%d grants, %v; want one of the client for each address", len(grants), err)
	}
	c.checkEvents(t, pending(t, events))
}

func (c learnCase) checkEvents(t *testing.T, got []Event) {
	want := c.event
	if want == 0 && len(c.addrs) > 0 {
		want = EventLearned
	}
	switch {
	case want == 0 && len(got) == 0:
	case len(got) != 1 || got[0].Kind != want:
		t.Errorf("events %+v, want one of kind %d", got, want)
	case got[0].Withheld != c.withheld:
		t.Errorf("the event says withheld: %t", got[0].Withheld)
	}
}

func (d *DataPlane) knownAddrs(t *testing.T) []string {
	t.Helper()
	all, err := d.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, k := range all {
		out = append(out, k.Addr.String())
	}
	return sorted(out)
}

func sorted(list []string) []string {
	out := append([]string{}, list...)
	slices.Sort(out)
	return out
}

// forgetAll empties the maps of what was learned.
func (d *DataPlane) forgetAll(t testing.TB) {
	t.Helper()
	for _, list := range []func() ([]Known, error){d.Addresses, d.Grants} {
		all, err := list()
		if err == nil {
			err = d.Forget(all)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	flows, err := d.Flows()
	if err == nil {
		err = d.ForgetFlows(flows)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pending reads the events that are there.
func pending(t testing.TB, e *Events) []Event {
	t.Helper()
	var out []Event
	e.r.SetDeadline(time.Now().Add(-time.Second))
	for {
		err := e.r.ReadInto(&e.rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		ev, ok := parseEvent(e.rec.RawSample)
		if !ok {
			t.Fatalf("event %x cannot be read", e.rec.RawSample)
		}
		out = append(out, ev)
	}
}

func openEvents(t testing.TB, d *DataPlane) *Events {
	t.Helper()
	e, err := d.Events()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func runLearn(t *testing.T, cases []learnCase) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, w, events) })
	}
}

func TestLearnsAddressesOfListedNames(t *testing.T) {
	one := []string{"198.51.100.7"}
	hints := "198.51.100.1,198.51.100.2"
	runLearn(t, []learnCase{
		{name: "A", frame: carry(plain("closed.example", one[0])), addrs: one},
		{name: "AAAA", frame: answer("closed.example", addrs("2001:db8:5::7")...), addrs: []string{"2001:db8:5::7"}},
		{name: "several", frame: answer("closed.example", addrs("198.51.100.7", "198.51.100.8")...), addrs: []string{"198.51.100.7", "198.51.100.8"}},
		{name: "the same twice", frame: answer("closed.example", addrs("198.51.100.7", "198.51.100.7")...), addrs: one},
		{name: "below", frame: carry(plain("a.b.c.closed.example", one[0])), addrs: one},
		{name: "0x20 case", frame: carry(plain(mixedCase("Www.Closed.Example"), one[0])), addrs: one},
		{name: "full, itself", frame: carry(plain("only.example", one[0])), addrs: one},
		{name: "full, below", frame: carry(plain("www.only.example", one[0]))},
		{name: "unlisted", frame: carry(plain("www.example", one[0]))},
		{name: "root", frame: carry(plain(".", one[0]))},
		{name: "listed name is not the end", frame: carry(plain("closed.example.net", one[0]))},
		{name: "listed name is the end of a label", frame: carry(plain("notclosed.example", one[0]))},
		{name: "label with a dot in it", frame: carry(append(question(labels("x.closed", "example"), dns.TypeA, 1), raw(dns.TypeA, 300, 4, 198, 51, 100, 7)...))},
		{name: "CNAME chain", frame: carry(wire(reply("www.closed.example", dns.TypeA,
			"www.closed.example. 60 IN CNAME edge.cdn.example.", "edge.cdn.example. 60 IN CNAME e1.cdn.example.",
			"e1.cdn.example. 60 IN A 198.51.100.7"))), addrs: one},
		{name: "CNAME to nothing", frame: carry(wire(reply("closed.example", dns.TypeA, "closed.example. 60 IN CNAME x.cdn.example.")))},
		{name: "CNAME from an unlisted name", frame: carry(wire(reply("www.example", dns.TypeA,
			"www.example. 60 IN CNAME closed.example.", "closed.example. 60 IN A 198.51.100.7")))},
		{name: "no compression", frame: carry(with(reply("a.b.c.d.closed.example", dns.TypeA,
			"a.b.c.d.closed.example. 60 IN CNAME e.f.g.h.i.j.k.l.example.", "e.f.g.h.i.j.k.l.example. 60 IN A 198.51.100.7"),
			func(m *dns.Msg) { m.Compress = false })), addrs: one},
		{name: "64 uncompressed names", frame: carry(uncompressed("www.closed.example", 64)), addrs: manyAddrs(64)},
		{name: "64 records", frame: carry(many("closed.example", 64)), addrs: manyAddrs(64)},
		{name: "EDNS", frame: carry(with(reply("closed.example", dns.TypeA, "closed.example. 60 IN A 198.51.100.7"),
			func(m *dns.Msg) { m.SetEdns0(4096, true) })), addrs: one},
		{
			name: "HTTPS hints", frame: carry(wire(reply("closed.example", dns.TypeHTTPS,
				"closed.example. 60 IN HTTPS 1 . alpn=h2,h3 ipv4hint="+hints+" ipv6hint=2001:db8:5::1"))),
			addrs: []string{"198.51.100.1", "198.51.100.2", "2001:db8:5::1"},
		},
		{name: "HTTPS behind a CNAME", frame: carry(wire(reply("closed.example", dns.TypeHTTPS,
			"closed.example. 60 IN CNAME x.cdn.example.", "x.cdn.example. 60 IN HTTPS 1 . ipv4hint=198.51.100.7"))), addrs: one},
		{name: "SVCB hints and target", frame: carry(wire(reply("closed.example", dns.TypeSVCB,
			"closed.example. 60 IN SVCB 1 a.b.svc.example. port=8443 ipv4hint=198.51.100.7 key65400=abc"))), addrs: one},
		{name: "HTTPS without hints", frame: carry(wire(reply("closed.example", dns.TypeHTTPS, "closed.example. 60 IN HTTPS 1 . alpn=h2")))},
		{name: "HTTPS additional", frame: carry(with(reply("closed.example", dns.TypeHTTPS, "closed.example. 60 IN HTTPS 0 pool.svc.example."),
			additional)), addrs: []string{"198.51.100.9", "2001:db8:5::9"}},
		{name: "HTTPS additional behind authority", frame: carry(with(reply("closed.example", dns.TypeHTTPS, "closed.example. 60 IN HTTPS 1 ."),
			func(m *dns.Msg) {
				m.Ns = append(m.Ns, record("ns.example. 60 IN A 198.51.100.99"), record("example. 60 IN NS ns.example."))
				additional(m)
			})), addrs: []string{"198.51.100.9", "2001:db8:5::9"}},
		{name: "8 HTTPS records of 8 hints", frame: carry(wire(services(8))), addrs: manyAddrs(64)},
		{name: "A, additional is not taken", frame: carry(with(reply("closed.example", dns.TypeA, "closed.example. 60 IN A 198.51.100.7"),
			additional)), addrs: one},
		{
			name: "A answer with a hint", frame: carry(wire(reply("closed.example", dns.TypeA,
				"closed.example. 60 IN A 198.51.100.7", "closed.example. 60 IN HTTPS 1 . ipv4hint=198.51.100.8"))),
			addrs: []string{"198.51.100.7", "198.51.100.8"},
		},
		{name: "ANY", frame: carry(wire(reply("closed.example", dns.TypeANY,
			"closed.example. 60 IN TXT \"x\"", "closed.example. 60 IN A 198.51.100.7"))), addrs: one},
		{name: "name of 255 octets", frame: carry(append(question(longName(255), dns.TypeA, 1), raw(dns.TypeA, 300, 4, 198, 51, 100, 7)...)), addrs: one},
		{name: "name of 121 labels", frame: carry(append(question(manyLabels(119), dns.TypeA, 1), raw(dns.TypeA, 300, 4, 198, 51, 100, 7)...)), addrs: one},
	})
}

// Small clients use what a truncated answer has, rather than ask again.
func TestLearnsWhatTruncatedAnswersHave(t *testing.T) {
	one := []string{"198.51.100.7"}
	cut := func(m *dns.Msg) { m.Truncated = true }
	two := with(reply("closed.example", dns.TypeA, "closed.example. 60 IN A 198.51.100.7", "closed.example. 60 IN A 198.51.100.8"), cut)
	runLearn(t, []learnCase{
		{name: "whole records", frame: carry(two), addrs: []string{"198.51.100.7", "198.51.100.8"}},
		{name: "cut within a record", frame: carry(two[:len(two)-3]), addrs: one},
		{name: "fewer records than it counts", frame: carry(patched(with(reply("closed.example", dns.TypeA,
			"closed.example. 60 IN A 198.51.100.7"), cut), atAncount, 0, 200)), addrs: one},
		{name: "cut within a hint", frame: carry(patched(with(reply("closed.example", dns.TypeHTTPS,
			"closed.example. 60 IN HTTPS 1 . ipv4hint=198.51.100.7"), cut), 12+16+4+2+10+3+3, 99))},
		{name: "no record", frame: carry(with(reply("closed.example", dns.TypeA), cut))},
		{name: "unlisted", frame: carry(with(reply("www.example", dns.TypeA, "www.example. 60 IN A 198.51.100.7"), cut))},
	})
}

func manyLabels(n int) []byte {
	var b []byte
	for range n {
		b = append(b, 1, 'x')
	}
	return append(b, labels("closed", "example")...)
}

func uncompressed(name string, n int) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(many(name, n)); err != nil {
		panic(err)
	}
	m.Compress = false
	return wire(m)
}

func additional(m *dns.Msg) {
	m.Extra = append(m.Extra, record("pool.svc.example. 60 IN A 198.51.100.9"), record("pool.svc.example. 60 IN AAAA 2001:db8:5::9"))
}

// services is an answer of n HTTPS records with 8 hints each.
func services(n int) *dns.Msg {
	m := reply("closed.example", dns.TypeHTTPS)
	for i := range n {
		hints := manyAddrs(8 * (i + 1))[8*i:]
		line := "closed.example. 60 IN HTTPS 1 . ipv4hint=" + hints[0]
		for _, h := range hints[1:] {
			line += "," + h
		}
		m.Answer = append(m.Answer, record(line))
	}
	return m
}
