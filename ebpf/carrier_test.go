package ebpf

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// carried changes the packet around an answer that makes 198.51.100.7 known.
func carried(change func(*frame)) frame {
	f := carry(plain("closed.example", "198.51.100.7"))
	change(&f)
	return f
}

func carried6(chain ...ext) frame { return carry6(plain("closed.example", "198.51.100.7"), chain...) }

func TestReadsAnswersInWhateverCarriesThem(t *testing.T) {
	one := []string{"198.51.100.7"}
	runLearn(t, []learnCase{
		{name: "VLAN", frame: carried(func(f *frame) { f.tags = []uint16{0x8100} }), addrs: one},
		{name: "VLAN in VLAN", frame: carried(func(f *frame) { f.tags = []uint16{0x88a8, 0x8100} }), addrs: one},
		{name: "three VLAN tags", frame: carried(func(f *frame) { f.tags = []uint16{0x88a8, 0x8100, 0x8100} })},
		{name: "IPv4 options", frame: carried(func(f *frame) { f.options = 4 }), addrs: one},
		{name: "40 octets of IPv4 options", frame: carried(func(f *frame) { f.options = 40 }), addrs: one},
		{name: "VLAN and options", frame: carried(func(f *frame) { f.options, f.tags = 8, []uint16{0x8100} }), addrs: one},
		{name: "padding of Ethernet", frame: carried(func(f *frame) { f.padding = 18 }), addrs: one},
		{name: "IPv6", frame: carried6(), addrs: one},
		{name: "IPv6 in VLAN", frame: func() frame { f := carried6(); f.tags = []uint16{0x8100}; return f }(), addrs: one},
		{name: "hop-by-hop", frame: carried6(ext{kind: extHop}), addrs: one},
		{name: "routing", frame: carried6(ext{kind: extRoute, size: 24}), addrs: one},
		{name: "destination options", frame: carried6(ext{kind: extDest, size: 16}), addrs: one},
		{name: "authentication", frame: carried6(ext{kind: extAuth, size: 24}), addrs: one},
		{name: "atomic fragment", frame: carried6(ext{kind: extFrag}), addrs: one},
		{name: "chain of 6", frame: carried6(ext{kind: extHop}, ext{kind: extDest}, ext{kind: extRoute}, ext{kind: extFrag}, ext{kind: extAuth, size: 12}, ext{kind: extDest, size: 64}), addrs: one},
		{name: "chain of 7", frame: carried6(slices.Repeat([]ext{{kind: extDest}}, 7)...)},
		{name: "encrypted", frame: carried6(ext{kind: extESP})},
		{name: "other port", frame: carried(func(f *frame) { f.src = netip.AddrPortFrom(resolver, 5353) })},
		{name: "to port 53", frame: carried(func(f *frame) {
			f.src, f.dst = netip.AddrPortFrom(resolver, 40000), netip.AddrPortFrom(alice, 53)
		})},
		{name: "TCP", frame: carried(func(f *frame) { f.proto, f.flags = tcp, ack })},
		{name: "ICMP", frame: carried(func(f *frame) { f.proto = icmp4 })},
		{name: "ARP", frame: carried(func(f *frame) { f.etherType = 0x0806 })},
		{name: "LLC", frame: carried(func(f *frame) { f.etherType = 0x0100 })},
		{name: "IP version 6 in IPv4", frame: carried(func(f *frame) { f.vihl = 0x65 })},
		{name: "IPv4 header of 16 octets", frame: carried(func(f *frame) { f.vihl = 0x44 })},
		{name: "cut behind the ports", frame: carried(func(f *frame) { f.payload = nil; f.cut = 4 })},
		{name: "cut behind the IP header", frame: carried(func(f *frame) { f.payload = nil; f.cut = 8 })},
		{name: "no length (over 64 KiB)", frame: carried(func(f *frame) { f.totalLen = -1 }), addrs: one},
		{name: "length beyond the end", frame: carried(func(f *frame) { f.totalLen = 4000 }), addrs: one},
		{name: "IPv6 jumbogram", frame: func() frame { f := carried6(ext{kind: extHop}); f.totalLen = -1; return f }(), addrs: one},
		{name: "to nobody", frame: carried(func(f *frame) { f.dst = netip.MustParseAddrPort("255.255.255.255:68") }), addrs: one},
	})
}

// The rest of a fragmented answer cannot be read with its question.
func TestFragmentedAnswers(t *testing.T) {
	long, open := many("closed.example", 64), many("open.example", 64)
	first := func(message []byte, n int) frame {
		f := carry(message[:n])
		f.frag, f.more, f.id = true, true, 9
		return f
	}
	later := first(long, 800)
	later.offset, later.more = 808, false
	runLearn(t, []learnCase{
		{name: "first, closed", frame: first(long, 800), withheld: true, event: EventUnparsed},
		{name: "first, open", frame: first(open, 800), event: EventUnparsed},
		{name: "first, unlisted", frame: first(many("www.example", 64), 800)},
		{name: "later", frame: later},
		{name: "first that ends before the question", frame: first(long, 16), withheld: true},
		{name: "first with the ports only", frame: first(long, 0), withheld: true},
		{name: "IPv6, first, closed", frame: carry6(long[:800], ext{kind: extFrag, more: true}), withheld: true, event: EventUnparsed},
		{name: "IPv6, first, open", frame: carry6(open[:800], ext{kind: extFrag, more: true}), event: EventUnparsed},
		{name: "IPv6, later", frame: carry6(long[800:], ext{kind: extFrag, offset: 808})},
		{name: "IPv6, first without the ports", frame: func() frame {
			f := carry6(nil, ext{kind: extFrag, more: true})
			f.cut = 6
			return f
		}(), withheld: true},
		{name: "IPv6, first of TCP without the ports", frame: func() frame {
			f := carry6(nil, ext{kind: extFrag, more: true})
			f.proto, f.cut = tcp, 18
			return f
		}(), withheld: true},
	})
}

// Devices without an Ethernet header: the client is whoever is behind it.
func TestReadsAnswersOnBareDevices(t *testing.T) {
	bare := func(f frame) frame {
		f.bare = true
		if f.v6() {
			f.src = netip.AddrPortFrom(bareV6, 53)
		} else {
			f.src = netip.AddrPortFrom(bareV4, 53)
		}
		return f
	}
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	for name, f := range map[string]frame{
		"IPv4":         bare(carried(func(*frame) {})),
		"IPv4 options": bare(carried(func(f *frame) { f.options = 12 })),
		"IPv6":         bare(carried6()),
		"IPv6 chain":   bare(carried6(ext{kind: extHop}, ext{kind: extDest})),
	} {
		t.Run(name, func(t *testing.T) {
			c := learnCase{frame: f, program: bpfProgRouterdLearnIp, addrs: []string{"198.51.100.7"}}
			c.run(t, w, events)
			all, err := w.Grants()
			if err != nil || len(all) != 1 || all[0].Client != ClientDevice(w.lan) {
				t.Errorf("grants %+v, %v; want one of the device", all, err)
			}
		})
	}
}

// GRO can put the answers to two questions from one port into one skb.
func TestReadsEveryAnswerOfACoalescedPacket(t *testing.T) {
	pad := func(b []byte, n int) []byte { return append(b, make([]byte, n-len(b))...) }
	const size = 64
	a := pad(plain("closed.example", "198.51.100.1"), size)
	b := pad(plain("open.example", "198.51.100.2"), size)
	none := pad(plain("www.example", "198.51.100.3"), size)
	bad := pad(patched(plain("closed.example", "198.51.100.4"), atAncount, 0, 9), size)
	noise := bytes.Repeat([]byte{4, 0, 0, 0}, size/4)
	both := []string{"198.51.100.1", "198.51.100.2"}
	for _, c := range []struct {
		name     string
		segments [][]byte
		addrs    []string
		withheld bool
	}{
		{"two", [][]byte{a, b}, both, false},
		{"three, one unlisted", [][]byte{none, b, a}, both, false},
		{"second is shorter", [][]byte{b, plain("closed.example", "198.51.100.1")}, both, false},
		{"second cannot be read", [][]byte{a, bad}, []string{"198.51.100.1"}, true},
		{"unlisted, then one that cannot be read", [][]byte{none, none, bad}, nil, true},
		{"noise of a tunnel on port 53", slices.Repeat([][]byte{noise}, 48), nil, false},
		{"behind noise", append(slices.Repeat([][]byte{noise}, 40), a), []string{"198.51.100.1"}, false},
		{"more than can be read", slices.Repeat([][]byte{a}, 40), []string{"198.51.100.1"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			got := w.run(t, bpfProgRouterdLearn, carry(slices.Concat(c.segments...)).build(),
				via{out: w.lan, gsoSize: size, gsoSegs: len(c.segments)})
			if (got.verdict == dropped) != c.withheld {
				t.Errorf("%s", got.verdict)
			}
			if got := w.knownAddrs(t); !slices.Equal(got, sorted(c.addrs)) {
				t.Errorf("known: %v, want %v", got, c.addrs)
			}
		})
	}
}

func TestTTLs(t *testing.T) {
	for _, c := range []struct {
		name string
		ttls []uint32
		want Ticks
	}{
		{"300 s", []uint32{300}, 300},
		{"zero", []uint32{0}, 0},
		{"least of several", []uint32{300, 0, 60}, 0},
		{"longest", []uint32{1<<31 - 1}, 1<<31 - 1},
		{"with the highest bit is zero", []uint32{1 << 31}, 0},
		{"all bits is zero", []uint32{1<<32 - 1, 5}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			events := openEvents(t, w.DataPlane)
			var records [][]byte
			for i, ttl := range c.ttls {
				records = append(records, raw(dns.TypeA, ttl, 4, 198, 51, 100, byte(i)))
			}
			before := Now()
			w.run(t, bpfProgRouterdLearn, carry(handmade(dns.TypeA, records...)).build(), via{out: w.lan})
			got := pending(t, events)
			if len(got) != 1 || got[0].TTL != c.want {
				t.Fatalf("events %+v, want one with TTL %d", got, c.want)
			}
			all, err := w.Addresses()
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range all {
				ttl := c.ttls[k.Addr.As4()[3]]
				if ttl >= 1<<31 {
					ttl = 0
				}
				if got := k.Expires - Ticks(ttl); got < before || got > Now() {
					t.Errorf("%s expires at %d, want its TTL of %d behind %d", k.Addr, k.Expires, ttl, before)
				}
			}
		})
	}
}
