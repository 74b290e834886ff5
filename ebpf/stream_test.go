package ebpf

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// dial is a TCP packet of alice's to port 53 of a server.
func dial(a string, change ...func(*frame)) frame {
	f := to(a, change...)
	f.dst = netip.AddrPortFrom(f.dst.Addr(), 53)
	return f
}

// streams gives a packet to steer; it must come out as want.
func (w *world) streams(t *testing.T, what string, f, want frame) {
	t.Helper()
	got := w.run(t, bpfProgRouterdSteer, f.summed(), via{in: w.lan, out: w.lan})
	if got.verdict != passed || !bytes.Equal(got.data, want.summed()) {
		t.Errorf("%s: %s\n%x, want\n%x", what, got.verdict, got.data, want.summed())
	}
}

func TestTurnsConnectionsForTheirLife(t *testing.T) {
	for _, server := range []string{"198.18.0.53", "2001:db8:53::53", "192.168.1.1"} {
		w := resolvingWorld(t)
		for what, f := range map[string]frame{
			"mid-connection, not turned": dial(server, flags(ack), carrying(31)),
			"another port":               to(server),
		} {
			w.streams(t, what, f, f)
		}
		syn := dial(server)
		w.streams(t, "SYN", syn, syn.turned())
		w.streams(t, "SYN again", syn, syn.turned())
		w.streams(t, "data", dial(server, flags(ack|psh), carrying(31)), dial(server, flags(ack|psh), carrying(31)).turned())
		w.streams(t, "FIN", dial(server, flags(fin|ack)), dial(server, flags(fin|ack)).turned())
		if at, ok := w.OriginalServer(syn.src, netip.AddrPort{}); !ok || at != syn.dst {
			t.Errorf("asked was %s, %t; want %s", at, ok, syn.dst)
		}
		in := back(syn.turned(), flags(flagsSynAck), carrying(7))
		want := in
		want.src = syn.dst
		got := w.run(t, bpfProgRouterdLearn, in.summed(), via{out: w.lan})
		if got.verdict != passed || !bytes.Equal(got.data, want.summed()) {
			t.Errorf("answer: %s\n%x, want\n%x", got.verdict, got.data, want.summed())
		}
	}
}

const flagsSynAck = syn | ack

// To the resolver two connections from one port would be one.
func TestASecondConnectionFromOnePortIsNotTurned(t *testing.T) {
	w := resolvingWorld(t)
	first, second := dial("198.18.0.53"), dial("198.18.0.54")
	w.streams(t, "first", first, first.turned())
	w.streams(t, "second", second, second)
	w.streams(t, "data of the second", dial("198.18.0.54", flags(ack), carrying(9)), dial("198.18.0.54", flags(ack), carrying(9)))
	w.streams(t, "data of the first", dial("198.18.0.53", flags(ack), carrying(9)), dial("198.18.0.53", flags(ack), carrying(9)).turned())
}

// Names that are not listed must not depend on us.
func TestConnectionsAreLeftAloneWithoutAResolver(t *testing.T) {
	w := newWorld(t)
	resolving(w)
	hangUp := w.listen(t)
	mustSet(t, w.DataPlane, w.tables)
	f := dial("198.18.0.53")
	w.streams(t, "with a resolver", f, f.turned())
	hangUp()
	w.streams(t, "without", f, f)
	data := dial("198.18.0.53", flags(ack), carrying(9))
	w.streams(t, "its data", data, data)
}

func TestListedQueriesAreDroppedInAFamilyWithoutAResolver(t *testing.T) {
	w := resolvingWorld(t)
	w.tables.Resolver[0].V6 = netip.Addr{}
	mustSet(t, w.DataPlane, w.tables)
	for _, c := range []queryCase{
		{name: "IPv6", frame: ask("closed.example", dns.TypeA, server("2001:db8:53::53")), dropped: true},
		{name: "IPv6, unlisted", frame: ask("www.example", dns.TypeA, server("2001:db8:53::53"))},
		{name: "IPv6, link-local", frame: ask("closed.example", dns.TypeA, server("fe80::1")), turned: true},
		{name: "IPv4", frame: ask("closed.example", dns.TypeA), turned: true},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w, bpfProgRouterdSteer, frame.summed) })
	}
	f := dial("2001:db8:53::53")
	w.streams(t, "TCP", f, f)
	if s, err := w.Stats(); err != nil || s.Unturned != 1 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}

func TestResolversMustAgreeOnTheirPort(t *testing.T) {
	w := newWorld(t)
	for _, list := range [][]ResolverAddress{
		{{Ifindex: 2, V4: router}},
		{{Ifindex: 2, V4: router, Port: 5399}, {Ifindex: 3, V4: router, Port: 5400}},
	} {
		w.tables.Resolver = list
		if err := w.SetTables(w.tables); !errors.Is(err, errResolverPort) {
			t.Errorf("%+v: %v", list, err)
		}
	}
}

// What is turned on is turned off again.
func TestWithoutAResolverInTheTablesNothingIsTurned(t *testing.T) {
	w := resolvingWorld(t)
	w.tables.Resolver = nil
	mustSet(t, w.DataPlane, w.tables)
	c := queryCase{frame: ask("closed.example", dns.TypeA)}
	c.run(t, w, bpfProgRouterdSteer, frame.summed)
	f := dial("198.18.0.53")
	w.streams(t, "TCP", f, f)
}
