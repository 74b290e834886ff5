package ebpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/owned"
)

// goes checks where a packet of the client goes.
func (w *world) goes(t *testing.T, what string, f frame, want owned.PathIndex) {
	t.Helper()
	if got := way(w.send(t, f)); got != want {
		t.Errorf("%s: way %d, want %d", what, got, want)
	}
}

// comes gives a packet from the WAN on its way to a client to learn.
func (w *world) comes(t *testing.T, f frame) {
	t.Helper()
	if got := w.run(t, bpfProgRouterdLearn, f.build(), via{in: w.wan, out: w.lan}); got.verdict != passed {
		t.Errorf("packet to the client %s", got.verdict)
	}
}

func (w *world) slot(t *testing.T, name string, s Slot) {
	t.Helper()
	if err := w.SetSlot(w.dest[name], s); err != nil {
		t.Fatal(err)
	}
}

func (d *DataPlane) mustFlows(t *testing.T) []Flow {
	t.Helper()
	flows, err := d.Flows()
	if err != nil {
		t.Fatal(err)
	}
	return flows
}

func (d *DataPlane) onlyFlow(t *testing.T) Flow {
	t.Helper()
	flows := d.mustFlows(t)
	if len(flows) != 1 {
		t.Fatalf("%d flows, want one: %+v", len(flows), flows)
	}
	return flows[0]
}

// age makes the flows' last packets older.
func (d *DataPlane) age(t *testing.T, by Ticks) {
	t.Helper()
	for _, f := range d.mustFlows(t) {
		var v bpfRdFlow
		err := d.maps[bpfMapFlows].Lookup(f.key, &v)
		if err == nil {
			v.LastTx -= uint32(by)
			if v.LastRx > 0 {
				v.LastRx -= uint32(by)
			}
			err = d.maps[bpfMapFlows].Put(f.key, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// agedSYN makes the only flow's SYN older.
func (d *DataPlane) agedSYN(t *testing.T, by time.Duration) {
	t.Helper()
	var v bpfRdFlow
	key := d.onlyFlow(t).key
	if err := d.maps[bpfMapFlows].Lookup(key, &v); err != nil {
		t.Fatal(err)
	}
	v.SynNs -= uint64(by)
	if err := d.maps[bpfMapFlows].Put(key, v); err != nil {
		t.Fatal(err)
	}
}

func TestFlowsKeepTheirPath(t *testing.T) {
	for _, server := range []string{"198.51.100.2", "2001:db8:5::2"} {
		t.Run(server, func(t *testing.T) {
			w := servedWorld(t)
			w.goes(t, "SYN", to(server), tunnelB)
			w.comes(t, back(to(server), flags(syn|ack)))
			w.goes(t, "ACK", to(server, flags(ack)), tunnelB)
			w.slot(t, "open", Slot{Path: tunnelC})
			w.goes(t, "mid-flow after the switch", to(server, flags(ack), carrying(10)), tunnelB)
			w.goes(t, "FIN after the switch", to(server, flags(fin|ack)), tunnelB)
			w.goes(t, "SYN from another port", to(server, port(50001)), tunnelC)
			w.goes(t, "SYN from the same port", to(server), tunnelC)
			w.slot(t, "open", Slot{Path: owned.PathDirect})
			w.goes(t, "SYN to the direct path", to(server, port(50002)), unsteered)
			w.slot(t, "open", Slot{Path: tunnelB})
			w.goes(t, "its data", to(server, port(50002), flags(ack), carrying(1)), unsteered)
			w.goes(t, "mid-flow of an unknown flow", to(server, port(50003), flags(ack)), tunnelB)
		})
	}
}

func TestRepeatedSYNs(t *testing.T) {
	w := servedWorld(t)
	w.goes(t, "SYN", to("198.51.100.2"), tunnelB)
	w.goes(t, "repeated", to("198.51.100.2"), tunnelB)
	if f := w.onlyFlow(t); f.TxPackets != 2 {
		t.Errorf("%d packets, want a repeated SYN to be of the same flow", f.TxPackets)
	}
	w.slot(t, "open", Slot{Path: tunnelC})
	w.goes(t, "repeated after the switch", to("198.51.100.2"), tunnelC)
	if f := w.onlyFlow(t); f.TxPackets != 1 || f.Path != tunnelC {
		t.Errorf("flow %+v, want a new one", f)
	}
}

func TestDatagramFlowsMoveAfterAPause(t *testing.T) {
	w := servedWorld(t)
	quic := to("198.51.100.2", protocol(udp), carrying(100))
	w.goes(t, "first", quic, tunnelB)
	w.slot(t, "open", Slot{Path: tunnelC})
	w.goes(t, "at once", quic, tunnelB)
	w.age(t, flowIdle-10)
	w.goes(t, "after a short pause", quic, tunnelB)
	w.age(t, flowIdle+10)
	w.comes(t, back(quic))
	w.goes(t, "while the server sends", quic, tunnelB)
	w.age(t, flowIdle+10)
	w.goes(t, "after a pause", quic, tunnelC)
}

// Those of bpf/steer.h.
const (
	flowIdle    = 120
	flowRefused = 8
)

func TestEndedFlowsAreReset(t *testing.T) {
	w := servedWorld(t)
	for _, server := range []string{"198.51.100.2", "2001:db8:5::2"} {
		w.forgetFlows(t)
		w.goes(t, "SYN", to(server), tunnelB)
		w.goes(t, "data", to(server, flags(ack), carrying(10)), tunnelB)
		w.end(t)
		data := to(server, flags(ack|psh), carrying(20), func(f *frame) { f.ack = 4711 })
		for range 2 {
			got := w.send(t, data)
			if way(got) != reset {
				t.Fatalf("data of an ended flow: way %d", way(got))
			}
			checkReset(t, data, got.data)
		}
		w.goes(t, "reset of the client", to(server, flags(rst)), discarded)
		w.goes(t, "fragment", to(server, flags(ack), fragment(0, true), carrying(80)), owned.PathBlock)
		w.goes(t, "later fragment", to(server, flags(ack), fragment(88, false)), owned.PathBlock)
		w.goes(t, "new SYN", to(server), tunnelB)
	}
}

func (d *DataPlane) forgetFlows(t *testing.T) {
	t.Helper()
	if err := d.ForgetFlows(d.mustFlows(t)); err != nil {
		t.Fatal(err)
	}
}

func (d *DataPlane) end(t *testing.T) {
	t.Helper()
	if err := d.EndFlows(d.mustFlows(t)); err != nil {
		t.Fatal(err)
	}
}

func TestEndedDatagramFlowsAreRefusedForAWhile(t *testing.T) {
	w := servedWorld(t)
	quic := to("198.51.100.2", protocol(udp), carrying(100))
	w.goes(t, "first", quic, tunnelB)
	w.slot(t, "open", Slot{Path: tunnelC})
	w.end(t)
	w.goes(t, "ended", quic, owned.PathBlock)
	w.age(t, flowRefused-2)
	w.goes(t, "still", quic, owned.PathBlock)
	w.age(t, flowRefused)
	w.goes(t, "then anew", quic, tunnelC)
	if f := w.onlyFlow(t); f.Flags&FlowEnded != 0 {
		t.Errorf("flags %v", f.Flags)
	}
}

// drain takes the rule of a name away, as a reload does.
func (w *world) drain(t *testing.T, name string) {
	t.Helper()
	tables := *w.tables
	tables.Names = nil
	for _, r := range w.tables.Names {
		if r.Name != name {
			tables.Names = append(tables.Names, r)
		}
	}
	mustSet(t, w.DataPlane, &tables)
}

func TestDrainedAddressesCarryTheirOldFlowsOnly(t *testing.T) {
	w := servedWorld(t)
	for _, server := range served["closed.example"] {
		w.goes(t, "SYN", to(server), tunnelA)
		w.comes(t, back(to(server), flags(syn|ack)))
		w.goes(t, "datagram", to(server, protocol(udp)), tunnelA)
		w.goes(t, "first fragment", to(server, protocol(udp), fragment(0, true), carrying(80)), tunnelA)
	}
	w.drain(t, "closed.example")
	for _, server := range served["closed.example"] {
		w.goes(t, "data of the old flow", to(server, flags(ack), carrying(9)), tunnelA)
		w.goes(t, "old datagrams", to(server, protocol(udp)), tunnelA)
		w.goes(t, "old fragment", to(server, protocol(udp), fragment(88, false)), tunnelA)
		w.goes(t, "new SYN", to(server, port(50001)), unsteered)
		w.goes(t, "new SYN from the old port", to(server), unsteered)
		w.goes(t, "new datagram", to(server, protocol(udp), port(50002)), unsteered)
		w.goes(t, "fragment of another", to(server, protocol(udp), fragment(88, false), func(f *frame) { f.id++ }), unsteered)
		// With one identification, other protocols are other packets over IPv4
		// (RFC 791), and the same one over IPv6 (RFC 8200 4.5).
		other := to(server, protocol(icmp4), fragment(88, false))
		w.goes(t, "fragment of another protocol", other, map[bool]owned.PathIndex{false: unsteered, true: tunnelA}[other.v6()])
	}
	mustSet(t, w.DataPlane, w.tables)
	w.goes(t, "new SYN after the rule is back", to("198.51.100.1", port(50003)), tunnelA)
}

// A listed network takes over where the name's rule is gone.
func TestDrainedAddressesInAListedNetwork(t *testing.T) {
	w := newWorld(t)
	w.learned(t, "open.example", aliceMAC, addrs("203.0.113.5")...)
	w.goes(t, "by name", to("203.0.113.5"), tunnelB)
	w.comes(t, back(to("203.0.113.5"), flags(syn|ack)))
	w.drain(t, "open.example")
	w.goes(t, "old flow", to("203.0.113.5", flags(ack)), tunnelB)
	w.goes(t, "new flow", to("203.0.113.5", port(50001)), tunnelA)
}

// No flow that began on the direct path outlives the closing of it.
func TestClosedDestinationsNeverUseTheDirectPath(t *testing.T) {
	w := servedWorld(t)
	w.goes(t, "SYN", to("198.51.100.3"), unsteered)
	w.comes(t, back(to("198.51.100.3"), flags(syn|ack)))
	w.goes(t, "datagram", to("198.51.100.3", protocol(udp)), unsteered)
	w.goes(t, "fragment", to("198.51.100.3", protocol(udp), fragment(0, true), carrying(80)), unsteered)
	w.slot(t, "direct", Slot{Path: tunnelA, Closed: true})
	w.goes(t, "data", to("198.51.100.3", flags(ack), carrying(3)), reset)
	w.goes(t, "datagram after", to("198.51.100.3", protocol(udp)), owned.PathBlock)
	w.goes(t, "fragment after", to("198.51.100.3", protocol(udp), fragment(88, false)), owned.PathBlock)
	w.goes(t, "new SYN", to("198.51.100.3"), tunnelA)
	w.slot(t, "direct", Slot{Path: owned.PathDirect, Closed: true})
	w.goes(t, "direct and closed", to("198.51.100.3", port(50001)), reset)
	w.slot(t, "direct", Slot{})
	w.goes(t, "no path at all", to("198.51.100.3", port(50002)), reset)
}

func TestFragmentsFollowTheFirst(t *testing.T) {
	for _, server := range []string{"198.51.100.2", "2001:db8:5::2"} {
		w := servedWorld(t)
		w.goes(t, "datagram", to(server, protocol(udp)), tunnelB)
		w.slot(t, "open", Slot{Path: tunnelC})
		w.goes(t, "first fragment", to(server, protocol(udp), fragment(0, true), carrying(800)), tunnelB)
		w.goes(t, "later fragment", to(server, protocol(udp), fragment(808, true), carrying(800)), tunnelB)
		w.goes(t, "last fragment", to(server, protocol(udp), fragment(1608, false), carrying(8)), tunnelB)
		other := func(f *frame) { f.id = 78 }
		w.goes(t, "another datagram's", to(server, protocol(udp), fragment(808, true), carrying(800), other), tunnelC)
	}
}

// RFC 8200 section 4.5: the fragments of a packet need not name one protocol.
func TestFragmentsFollowTheFirstWhateverIsBehindTheirHeader(t *testing.T) {
	const server = "2001:db8:5::2"
	w := servedWorld(t)
	w.goes(t, "datagram", to(server, protocol(udp)), tunnelB)
	w.slot(t, "open", Slot{Path: tunnelC})
	options := func(offset uint16, more bool) func(*frame) {
		return chained(ext{kind: extFrag, offset: offset, more: more}, ext{kind: extDest})
	}
	w.goes(t, "first fragment", to(server, protocol(udp), options(0, true), carrying(800)), tunnelB)
	w.goes(t, "last fragment", to(server, protocol(udp), chained(ext{kind: extFrag, offset: 816}), carrying(8)), tunnelB)
	w.goes(t, "last fragment that names the options", to(server, protocol(udp), options(824, false), carrying(8)), tunnelB)
}

// A client that opens connections without end, or sends first fragments without end,
// takes no more room than there is, and no other client's packets the way.
func TestAFloodOfConnectionsIsSteeredAndTakesNoMoreRoom(t *testing.T) {
	const room = 256
	w := openWorld(t, func(o *Options) { o.MaxFlows = room })
	for _, mac := range [][6]byte{aliceMAC, bobMAC} {
		w.learned(t, "closed.example", mac, addrs("198.51.100.1")...)
		w.learned(t, "blocked.example", mac, addrs("198.51.100.4")...)
	}
	bobs := from(bob.String(), bobMAC)
	for i := range uint16(8 * room) {
		w.goes(t, "the flood", to("198.51.100.1", port(1024+i)), tunnelA)
		w.goes(t, "fragments", to("198.51.100.1", port(1024+i), protocol(udp), fragment(0, true), carrying(80), func(f *frame) { f.id = uint32(i) }), tunnelA)
		if i%room == 0 {
			w.goes(t, "another client's SYN", to("198.51.100.1", bobs), tunnelA)
			w.goes(t, "its data", to("198.51.100.1", bobs, flags(ack), carrying(10)), tunnelA)
			w.goes(t, "what is blocked", to("198.51.100.4", bobs), reset)
		}
	}
	flows, err := w.Flows()
	if err != nil || len(flows) > room || len(flows) < room/4 {
		t.Errorf("%d flows in room for %d, %v", len(flows), room, err)
	}
}

func TestFlowFigures(t *testing.T) {
	w := servedWorld(t)
	before := Now()
	w.goes(t, "SYN", to("198.51.100.1"), tunnelA)
	w.agedSYN(t, 2*time.Millisecond)
	w.comes(t, back(to("198.51.100.1"), flags(syn|ack)))
	w.goes(t, "ACK", to("198.51.100.1", flags(ack), func(f *frame) { f.ack = 901 }), tunnelA)
	f := w.onlyFlow(t)
	if f.RTT < 2*time.Millisecond || f.RTT > 10*time.Second {
		t.Errorf("round trip %s", f.RTT)
	}
	if f.Created < before || f.LastTx < f.Created || f.LastRx < f.Created || f.LastTx > Now() {
		t.Errorf("times %d %d %d, now %d", f.Created, f.LastTx, f.LastRx, Now())
	}
	if f.Flags != FlowSYN|FlowSYNACK {
		t.Errorf("flags %b before any payload", f.Flags)
	}
	w.goes(t, "hello", to("198.51.100.1", flags(ack|psh), carrying(500)), tunnelA)
	w.comes(t, back(to("198.51.100.1"), flags(ack|psh), carrying(1200)))
	w.comes(t, back(to("198.51.100.1"), flags(rst)))
	w.goes(t, "FIN", to("198.51.100.1", flags(fin|ack), func(f *frame) { f.ack = 2101 }), tunnelA)
	w.goes(t, "reset", to("198.51.100.1", flags(rst)), tunnelA)
	f = w.onlyFlow(t)
	f.Created, f.LastRx, f.LastTx, f.RTT, f.key = 0, 0, 0, 0, bpfRdFlowKey{}
	diff(t, f, Flow{
		Client: netip.AddrPortFrom(alice, clientPort), Server: netip.MustParseAddrPort("198.51.100.1:443"),
		Protocol: tcp, Destination: w.dest["closed"], Path: tunnelA, Ifindex: w.lan, Ack: 2101,
		Flags:   FlowSYN | FlowSYNACK | FlowHello | FlowData | FlowFIN | FlowResetClient | FlowResetServer,
		TxBytes: 5*40 + 500, RxBytes: 3*40 + 1200, TxPackets: 5, RxPackets: 3,
	})
}

func TestFlowFiguresOfDatagramsAndVLANs(t *testing.T) {
	w := servedWorld(t)
	quic := to("2001:db8:5::1", protocol(udp), carrying(100), tagged(0x8100), chained(ext{kind: extDest}), func(f *frame) { f.padding = 9 })
	w.goes(t, "datagram", quic, tunnelA)
	w.comes(t, back(quic, carrying(200)))
	f := w.onlyFlow(t)
	f.Created, f.LastRx, f.LastTx, f.key = 0, 0, 0, bpfRdFlowKey{}
	diff(t, f, Flow{
		Client: netip.AddrPortFrom(alice6, clientPort), Server: netip.MustParseAddrPort("[2001:db8:5::1]:443"),
		Protocol: udp, Destination: w.dest["closed"], Path: tunnelA, Ifindex: w.lan, Flags: FlowHello | FlowData,
		TxBytes: 40 + 8 + 8 + 100, RxBytes: 40 + 8 + 8 + 200, TxPackets: 1, RxPackets: 1,
	})
}

func TestCoalescedPacketsAreCountedOneByOne(t *testing.T) {
	w := servedWorld(t)
	big := to("198.51.100.1", flags(ack), carrying(3000))
	w.run(t, bpfProgRouterdSteer, big.build(), via{in: w.lan, out: w.lan, gsoSegs: 3, gsoSize: 1000})
	w.run(t, bpfProgRouterdLearn, back(big).build(), via{in: w.wan, out: w.lan, gsoSegs: 3, gsoSize: 1000})
	f := w.onlyFlow(t)
	if f.TxPackets != 3 || f.RxPackets != 3 || f.TxBytes != 3040 {
		t.Errorf("flow %+v", f)
	}
	counts, err := w.Counts()
	if err != nil {
		t.Fatal(err)
	}
	closed := w.dest["closed"]
	diff(t, counts, map[CountKey]Count{
		{closed, tunnelA, false}: {3, 3040}, {closed, tunnelA, true}: {3, 3040},
	})
}

// Oversized packets carry no length of their own.
func TestOversizedPacketsAreCountedWhole(t *testing.T) {
	w := servedWorld(t)
	w.send(t, to("198.51.100.1", flags(ack), carrying(3000), func(f *frame) { f.totalLen = -1 }))
	if f := w.onlyFlow(t); f.TxBytes != 3040 {
		t.Errorf("%d octets", f.TxBytes)
	}
}

func TestCountsPerDestinationAndPath(t *testing.T) {
	w := servedWorld(t)
	for i, server := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4", "192.0.2.1"} {
		f := to(server, port(uint16(51000+i)))
		for range i + 1 {
			w.send(t, f)
		}
		w.comes(t, back(f, flags(syn|ack)))
	}
	counts, err := w.Counts()
	if err != nil {
		t.Fatal(err)
	}
	n := func(k uint64) Count { return Count{k, 40 * k} }
	diff(t, counts, map[CountKey]Count{
		{w.dest["closed"], tunnelA, false}: n(1), {w.dest["closed"], tunnelA, true}: n(1),
		{w.dest["open"], tunnelB, false}: n(2), {w.dest["open"], tunnelB, true}: n(1),
		{w.dest["direct"], owned.PathDirect, false}: n(3), {w.dest["direct"], owned.PathDirect, true}: n(1),
		{w.dest["blocked"], owned.PathBlock, true}: n(1),
	})
	got, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if got.Steered != 3 || got.Blocked != 4 || got.Reset != 4 {
		t.Errorf("stats %+v", got)
	}
}
