package ebpf

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/owned"
)

// What the world's names resolve to in the tests of steer: IPv4 and IPv6.
var served = map[string][2]string{
	"closed.example":  {"198.51.100.1", "2001:db8:5::1"},
	"open.example":    {"198.51.100.2", "2001:db8:5::2"},
	"direct.example":  {"198.51.100.3", "2001:db8:5::3"},
	"blocked.example": {"198.51.100.4", "2001:db8:5::4"},
	"alice.example":   {"198.51.100.5", "2001:db8:5::5"},
	"notbob.example":  {"198.51.100.6", "2001:db8:5::6"},
	"guests.example":  {"198.51.100.7", "2001:db8:5::7"},
	"mac.example":     {"198.51.100.8", "2001:db8:5::8"},
	"four.example":    {"198.51.100.9", "2001:db8:5::9"},
	"solo.example":    {"198.51.100.10", "2001:db8:5::10"},
}

// servedWorld is a world in which alice and bob have looked all names up.
func servedWorld(t testing.TB) *world {
	t.Helper()
	return newWorld(t).serve(t)
}

// ownServedWorld is the same of a data plane of its own.
func ownServedWorld(t testing.TB) *world {
	t.Helper()
	return ownWorld(t).serve(t)
}

// serve has alice and bob look all names up.
func (w *world) serve(t testing.TB) *world {
	t.Helper()
	for name, a := range served {
		for _, mac := range [][6]byte{aliceMAC, bobMAC} {
			w.learned(t, name, mac, addrs(a[0], a[1])...)
		}
	}
	return w
}

const clientPort = 50000

// to is a SYN of alice's to a server's port 443, changed by what follows.
func to(server string, change ...func(*frame)) frame {
	f := frame{
		src: netip.AddrPortFrom(alice, clientPort), dst: netip.AddrPortFrom(netip.MustParseAddr(server), 443),
		srcMAC: aliceMAC, dstMAC: routerMAC, proto: tcp, flags: syn, seq: 1000,
	}
	if f.dst.Addr().Is6() {
		f.src = netip.AddrPortFrom(alice6, clientPort)
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

// back is the same way round: a packet of the server to the client.
func back(f frame, change ...func(*frame)) frame {
	f.src, f.dst, f.srcMAC, f.dstMAC = f.dst, f.src, f.dstMAC, f.srcMAC
	for _, c := range change {
		c(&f)
	}
	return f
}

func flags(v uint8) func(*frame)         { return func(f *frame) { f.flags = v } }
func protocol(p uint8) func(*frame)      { return func(f *frame) { f.proto = p } }
func carrying(n int) func(*frame)        { return func(f *frame) { f.payload = make([]byte, n) } }
func tagged(tags ...uint16) func(*frame) { return func(f *frame) { f.tags = tags } }
func chained(e ...ext) func(*frame)      { return func(f *frame) { f.ext, f.id = e, 7 } }

func from(addr string, mac [6]byte) func(*frame) {
	return func(f *frame) { f.src, f.srcMAC = netip.AddrPortFrom(netip.MustParseAddr(addr), clientPort), mac }
}

func port(p uint16) func(*frame) {
	return func(f *frame) { f.src = netip.AddrPortFrom(f.src.Addr(), p) }
}

func fragment(offset uint16, more bool) func(*frame) {
	return func(f *frame) {
		f.id = 77
		if f.v6() {
			f.ext = []ext{{kind: extFrag, offset: offset, more: more}}
		} else {
			f.frag, f.offset, f.more = true, offset, more
		}
	}
}

// send gives a client's packet to steer.
func (w *world) send(t testing.TB, f frame) outcome {
	t.Helper()
	return w.run(t, bpfProgRouterdSteer, f.build(), via{in: w.lan, out: w.lan})
}

// way is what became of a packet: the path that its mark names, or one of:
const (
	unsteered = owned.PathNone // also: direct
	reset     = owned.PathIndex(100)
	discarded = owned.PathIndex(101)
)

func way(o outcome) owned.PathIndex {
	switch o.verdict {
	case redirected:
		return reset
	case dropped:
		return discarded
	}
	return o.path()
}

// steerCase is a packet of a client, and where it must go.
type steerCase struct {
	name  string
	frame frame
	want  owned.PathIndex
}

func runSteer(t *testing.T, cases []steerCase) {
	w := servedWorld(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := way(w.send(t, c.frame)); got != c.want {
				t.Errorf("way %d, want %d", got, c.want)
			}
		})
		flows, err := w.Flows()
		if err != nil || w.ForgetFlows(flows) != nil {
			t.Fatal(err)
		}
	}
}

func TestSteersByAddress(t *testing.T) {
	runSteer(t, []steerCase{
		{"unlisted", to("192.0.2.1"), unsteered},
		{"unlisted, IPv6", to("2001:db8:9::1"), unsteered},
		{"closed", to("198.51.100.1"), tunnelA},
		{"closed, IPv6", to("2001:db8:5::1"), tunnelA},
		{"open", to("198.51.100.2"), tunnelB},
		{"open, IPv6", to("2001:db8:5::2"), tunnelB},
		{"direct", to("198.51.100.3"), unsteered},
		{"direct, IPv6", to("2001:db8:5::3"), unsteered},
		{"blocked", to("198.51.100.4"), reset},
		{"blocked, IPv6", to("2001:db8:5::4"), reset},
		{"mid-flow", to("198.51.100.1", flags(ack), carrying(100)), tunnelA},
		{"reset of the client", to("198.51.100.1", flags(rst)), tunnelA},
		{"SYN-ACK of the client", to("198.51.100.1", flags(syn|ack)), tunnelA},
		{"UDP", to("198.51.100.1", protocol(udp), carrying(1200)), tunnelA},
		{"UDP, IPv6", to("2001:db8:5::1", protocol(udp), carrying(1200)), tunnelA},
		{"ICMP", to("198.51.100.1", protocol(icmp4), carrying(64)), tunnelA},
		{"ICMP, IPv6", to("2001:db8:5::1", protocol(icmp6), carrying(64)), tunnelA},
		{"SCTP", to("198.51.100.1", protocol(protoSCTP), carrying(64)), tunnelA},
		{"UDP, blocked", to("198.51.100.4", protocol(udp), carrying(10)), owned.PathBlock},
		{"UDP, blocked, IPv6", to("2001:db8:5::4", protocol(udp), carrying(10)), owned.PathBlock},
		{"ICMP, blocked", to("198.51.100.4", protocol(icmp4), carrying(10)), owned.PathBlock},
		{"reset to a blocked one", to("198.51.100.4", flags(rst)), discarded},
		{"reset to a blocked one, IPv6", to("2001:db8:5::4", flags(rst|ack)), discarded},
		{"IPv4-mapped", to("198.51.100.1", func(f *frame) { f.mapped = true }), tunnelA},
	})
}

func TestSteersWhateverTheHeaders(t *testing.T) {
	runSteer(t, []steerCase{
		{"VLAN", to("198.51.100.1", tagged(0x8100)), tunnelA},
		{"VLAN, IPv6", to("2001:db8:5::1", tagged(0x8100)), tunnelA},
		{"VLAN in VLAN", to("198.51.100.1", tagged(0x88a8, 0x8100)), tunnelA},
		{"VLAN, blocked", to("198.51.100.4", tagged(0x8100)), reset},
		{"three VLAN tags", to("198.51.100.1", tagged(0x88a8, 0x8100, 0x8100)), unsteered},
		{"IPv4 options", to("198.51.100.1", func(f *frame) { f.options = 40 }), tunnelA},
		{"IPv4 options, blocked", to("198.51.100.4", func(f *frame) { f.options = 8 }), reset},
		{"hop-by-hop", to("2001:db8:5::1", chained(ext{kind: extHop})), tunnelA},
		{"routing", to("2001:db8:5::1", chained(ext{kind: extRoute, size: 24})), tunnelA},
		{"destination options", to("2001:db8:5::1", chained(ext{kind: extDest})), tunnelA},
		{"authentication", to("2001:db8:5::1", chained(ext{kind: extAuth, size: 24})), tunnelA},
		{"encrypted", to("2001:db8:5::1", chained(ext{kind: extESP})), tunnelA},
		{"mobility", to("2001:db8:5::1", chained(ext{kind: 135})), tunnelA},
		{"chain of 6", to("2001:db8:5::1", chained(slices.Repeat([]ext{{kind: extDest}}, 6)...)), tunnelA},
		{"chain of 6, blocked", to("2001:db8:5::4", chained(slices.Repeat([]ext{{kind: extDest}}, 6)...)), reset},
		{"chain of 7", to("2001:db8:5::1", chained(slices.Repeat([]ext{{kind: extDest}}, 7)...)), tunnelA},
		{"chain of 7, blocked", to("2001:db8:5::4", chained(slices.Repeat([]ext{{kind: extDest}}, 7)...)), owned.PathBlock},
		{"chain that is cut", to("2001:db8:5::1", chained(ext{kind: extDest}), func(f *frame) { f.cut = 24 }), discarded},
		{"TCP header cut", to("198.51.100.1", func(f *frame) { f.cut = 12 }), discarded},
		{"ports cut", to("198.51.100.1", protocol(udp), func(f *frame) { f.cut = 6 }), discarded},
		{"IPv4 header of 16 octets", to("198.51.100.1", func(f *frame) { f.vihl = 0x44 }), discarded},
		{"ARP", to("198.51.100.1", func(f *frame) { f.etherType = 0x0806 }), unsteered},
		{"first fragment of TCP", to("198.51.100.1", fragment(0, true), carrying(80)), tunnelA},
		{"tiny first fragment of TCP", to("198.51.100.1", fragment(0, true), func(f *frame) { f.cut = 12 }), discarded},
		{"first fragment, blocked", to("198.51.100.4", fragment(0, true), carrying(80)), owned.PathBlock},
		{"later fragment alone", to("198.51.100.1", fragment(800, false)), tunnelA},
		{"later fragment alone, blocked", to("198.51.100.4", protocol(udp), fragment(800, false)), owned.PathBlock},
		{"later fragment alone, direct", to("198.51.100.3", fragment(800, false)), unsteered},
		{"IPv6, later fragment alone", to("2001:db8:5::1", fragment(800, false)), tunnelA},
		{"IPv6, first without ports", to("2001:db8:5::1", protocol(udp), fragment(0, true), func(f *frame) { f.cut = 6 }), discarded},
		{"over 64 KiB", to("198.51.100.1", flags(ack), func(f *frame) { f.totalLen = -1 }), tunnelA},
		{"IPv6 jumbogram", to("2001:db8:5::1", flags(ack), chained(ext{kind: extHop}), func(f *frame) { f.totalLen = -1 }), tunnelA},
	})
}

func TestSteersToNetworks(t *testing.T) {
	runSteer(t, []steerCase{
		{"in the widest", to("203.0.113.1"), tunnelA},
		{"longer prefix", to("203.0.113.129"), tunnelB},
		{"one address", to("203.0.113.200"), reset},
		{"beside", to("203.0.112.1"), unsteered},
		{"private, but listed", to("10.99.1.1"), tunnelA},
		{"IPv6, widest", to("2001:db8:100::1"), tunnelA},
		{"IPv6, longer prefix", to("2001:db8:100:1::1"), unsteered},
		{"IPv6, one address", to("2001:db8:100:2::2"), reset},
		{"IPv6, beside", to("2001:db8:101::1"), unsteered},
	})
}

func TestSteersWhomTheRulesName(t *testing.T) {
	guest, both := from("192.168.2.5", aliceMAC), from("192.168.2.200", aliceMAC)
	bobs, stranger := from("192.168.1.11", bobMAC), from("192.168.1.99", aliceMAC)
	runSteer(t, []steerCase{
		{"included by address", to("198.51.100.5"), tunnelC},
		{"not included, next link", to("198.51.100.5", bobs), tunnelB},
		{"included, no next link", to("198.51.100.10"), tunnelC},
		{"not included, no next link", to("198.51.100.10", bobs), unsteered},
		{"not excluded", to("198.51.100.6"), tunnelA},
		{"excluded by address, next link", to("198.51.100.6", bobs), tunnelB},
		{"included by network", to("198.51.100.7", guest), tunnelB},
		{"not in the network, next link", to("198.51.100.7", stranger), unsteered},
		{"in the longer network", to("198.51.100.10", both), tunnelC},
		{"in the shorter network only", to("198.51.100.10", guest), unsteered},
		{"included by MAC", to("198.51.100.8", bobs), tunnelD},
		{"not included by MAC, next link", to("198.51.100.8"), tunnelB},
		{"included by MAC, IPv6", to("2001:db8:5::8", from("2001:db8:aaaa::11", bobMAC)), tunnelD},
		{"chain of four: first", to("198.51.100.9"), tunnelC},
		{"chain of four: second", to("198.51.100.9", guest), tunnelB},
		{"chain of four: third", to("198.51.100.9", from("192.168.1.50", bobMAC)), tunnelD},
		{"chain of four: last", to("198.51.100.9", stranger), reset},
	})
}

// A grant is the client's own: nobody steers another by answering lookups.
func TestSteersOnlyWhoLookedTheNameUp(t *testing.T) {
	w := newWorld(t)
	w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
	if got := way(w.send(t, to("198.51.100.1", from("192.168.1.11", bobMAC)))); got != unsteered {
		t.Errorf("another client: way %d", got)
	}
	if got := way(w.send(t, to("198.51.100.1", from("192.168.1.77", aliceMAC)))); got != tunnelA {
		t.Errorf("another address of the client: way %d", got)
	}
}

func TestGlobalAndSharedAddresses(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags uint8
		want  owned.PathIndex
	}{
		{"known to one", 0, unsteered},
		{"global", knownGlobal, tunnelA},
		{"global, but shared", knownGlobal | knownShared, unsteered},
		{"shared", knownShared, unsteered},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
			key := addr(netip.MustParseAddr("198.51.100.1"))
			var v bpfRdKnown
			if err := w.maps[bpfMapAddresses].Lookup(key, &v); err != nil {
				t.Fatal(err)
			}
			v.Flags |= c.flags
			if err := w.maps[bpfMapAddresses].Put(key, v); err != nil {
				t.Fatal(err)
			}
			if got := way(w.send(t, to("198.51.100.1", from("192.168.1.11", bobMAC)))); got != c.want {
				t.Errorf("bob: way %d, want %d", got, c.want)
			}
			if got := way(w.send(t, to("198.51.100.1"))); got != tunnelA {
				t.Errorf("alice: way %d", got)
			}
		})
	}
}

// Names of several destinations share addresses: what a client looked up itself goes
// before what others did, until its rule is gone.
func TestAClientsOwnLookupGoesBeforeThoseOfOthers(t *testing.T) {
	w := newWorld(t)
	const common, solo = "198.51.100.1", "198.51.100.2"
	w.learned(t, "closed.example", aliceMAC, addrs(common)...)
	w.learned(t, "closed.example", bobMAC, addrs(solo)...)
	for a, name := range map[string]string{common: "open.example", solo: "solo.example"} {
		if _, err := w.LearnVerified(name, 0, addrs(a), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	fromBob := from("192.168.1.11", bobMAC)
	if a, b, c := way(w.send(t, to(common))), way(w.send(t, to(common, fromBob))), way(w.send(t, to(solo, fromBob))); a != tunnelA || b != tunnelB || c != tunnelA {
		t.Errorf("ways %d, %d and %d; want that of alice's lookup, of what all know, of bob's lookup", a, b, c)
	}
	w.tables.Names = slices.DeleteFunc(slices.Clone(w.tables.Names), func(r NameRule) bool { return r.Name == "closed.example" })
	if err := w.SetTables(w.tables); err != nil {
		t.Fatal(err)
	}
	other := to(common)
	other.src = netip.AddrPortFrom(other.src.Addr(), clientPort+1)
	if got := way(w.send(t, other)); got != tunnelB {
		t.Errorf("once alice's rule is gone: way %d, want what all know", got)
	}
}

// One client uses names of two destinations that share an address: the one that must
// never use the WAN keeps it, for as long as it is listed.
func TestAnAddressOfAClosedDestinationIsNotGivenToAnother(t *testing.T) {
	const common = "198.51.100.1"
	learn := map[string]func(*world, string){
		"answers": func(w *world, name string) { w.learned(t, name, aliceMAC, addrs(common)...) },
		"verified answers": func(w *world, name string) {
			if _, err := w.LearnVerified(name, ClientMAC(aliceMAC), addrs(common), time.Minute); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, first := range learn {
		for then, second := range learn {
			t.Run(what+", then "+then, func(t *testing.T) {
				w := newWorld(t)
				first(w, "direct.example")
				first(w, "closed.example")
				w.goes(t, "closed after direct", to(common), tunnelA)
				second(w, "direct.example")
				second(w, "open.example")
				w.forgetFlows(t)
				w.goes(t, "others after closed", to(common), tunnelA)
				second(w, "blocked.example")
				w.forgetFlows(t)
				w.goes(t, "another closed one", to(common), reset)
				w.tables.Names = slices.DeleteFunc(slices.Clone(w.tables.Names), func(r NameRule) bool { return r.Name == "blocked.example" })
				mustSet(t, w.DataPlane, w.tables)
				second(w, "open.example")
				w.forgetFlows(t)
				w.goes(t, "once the closed one is listed no more", to(common), tunnelB)
			})
		}
	}
}

// Bits of the mark that belong to others are kept, and all of them where the
// packet is none of ours.
func TestForeignMarkBitsStay(t *testing.T) {
	w := servedWorld(t)
	const foreign = 0xf0123456
	for server, path := range map[string]owned.PathIndex{"198.51.100.1": tunnelA, "198.51.100.3": unsteered, "192.0.2.1": unsteered} {
		got := w.run(t, bpfProgRouterdSteer, to(server).build(), via{in: w.lan, out: w.lan, mark: foreign})
		if want := foreign | uint32(owned.DefaultMask.Mark(path)); got.mark != want {
			t.Errorf("to %s: mark %#x, want %#x", server, got.mark, want)
		}
	}
}

func TestSteersOnBareDevices(t *testing.T) {
	w := newWorld(t)
	closed, blocked := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:5::4")
	for name, a := range map[string]netip.Addr{"closed.example": closed, "blocked.example": blocked} {
		f := answer(name, a)
		f.bare, f.src = true, netip.AddrPortFrom(bareV4, 53)
		w.run(t, bpfProgRouterdLearnIp, f.build(), via{out: w.lan})
	}
	bare := func(f *frame) {
		f.bare, f.src = true, netip.AddrPortFrom(bareV4, clientPort)
		if f.v6() {
			f.src = netip.AddrPortFrom(bareV6, clientPort)
		}
	}
	for _, c := range []steerCase{
		{"closed", to("198.51.100.1", bare), tunnelA},
		{"blocked", to("2001:db8:5::4", bare), reset},
		{"blocked, mid-flow", to("2001:db8:5::4", bare, flags(ack), carrying(10)), reset},
		{"unlisted", to("192.0.2.1", bare), unsteered},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.run(t, bpfProgRouterdSteerIp, c.frame.build(), via{in: w.lan, out: w.lan})
			if way(got) != c.want {
				t.Errorf("way %d, want %d", way(got), c.want)
			}
			if c.want == reset {
				checkReset(t, c.frame, got.data)
			}
		})
	}
	if got := way(w.run(t, bpfProgRouterdSteerIp, to("198.51.100.1", bare).build(), via{in: w.wan, out: w.wan})); got != unsteered {
		t.Errorf("behind another device: way %d", got)
	}
}
