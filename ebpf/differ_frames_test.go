package ebpf

import (
	"bytes"
	"encoding/binary"
	cmdline "flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

var differFrames = cmdline.Int("differ.frames", 20_000, "frames that the differential test of steer makes from each seed")

// frames gives a client's frames to steer, and what steer must know to the reference.
type frames struct {
	*world
	*generator
	t       testing.TB
	prog    *ebpf.Program
	ref     refSteer
	servers []netip.Addr
	out     []byte
	kinds   map[string]int
}

// drainable is the name whose rule comes and goes; its addresses are known to all. Those
// of contested are too, as contestant's, by what others have looked up.
const (
	drainable  = "notbob.example"
	contested  = "open.example"
	contestant = "closed.example"
)

// newFrames has a world in which alice and bob have looked up what is served.
func newFrames(t testing.TB, seed uint64) *frames {
	t.Helper()
	w := servedWorld(t)
	d := &frames{
		world: w, generator: &generator{Rand: rand.New(rand.NewPCG(seed, 2))}, t: t,
		out: make([]byte, 1<<12), kinds: map[string]int{},
		ref: refSteer{tables: w.tables, asked: [][6]byte{aliceMAC, bobMAC}, known: map[netip.Addr]*refServer{}},
	}
	var err error
	if d.prog, err = w.program(bpfProgRouterdSteer); err != nil {
		t.Fatal(err)
	}
	for _, r := range w.tables.Names {
		for _, a := range served[r.Name] {
			if a != "" {
				d.ref.known[netip.MustParseAddr(a)] = &refServer{chain: r.Suffix}
			}
		}
	}
	for _, s := range []string{
		"203.0.113.1", "203.0.113.129", "203.0.113.200", "10.99.1.1", "2001:db8:100::1", "2001:db8:100:1::1",
		"2001:db8:100:2::2", "192.0.2.1", "2001:db8:9::1", "198.51.100.200",
	} {
		d.servers = append(d.servers, netip.MustParseAddr(s))
	}
	for _, r := range w.tables.Names {
		for _, a := range served[r.Name] {
			if a != "" {
				d.servers = append(d.servers, netip.MustParseAddr(a))
			}
		}
	}
	for _, a := range served[drainable] {
		s := d.ref.known[netip.MustParseAddr(a)]
		s.global, s.others = true, s.chain
	}
	d.contest()
	d.begin()
	return d
}

// contest makes addresses of one name known to all as another's.
func (d *frames) contest() {
	d.t.Helper()
	for i, text := range served[contested] {
		a, as := netip.MustParseAddr(text), netip.MustParseAddr(served[contestant][i])
		var v bpfRdKnown
		if err := d.maps[bpfMapAddresses].Lookup(addr(as), &v); err != nil {
			d.t.Fatal(err)
		}
		v.Flags |= knownGlobal
		if err := d.maps[bpfMapAddresses].Put(addr(a), v); err != nil {
			d.t.Fatal(err)
		}
		s := d.ref.known[a]
		s.global, s.others = true, d.ref.known[as].chain
	}
}

// begin forgets connections, and has every destination go where it went at first.
func (d *frames) begin() {
	for _, name := range []string{bpfMapFlows, bpfMapFragments} {
		m := d.maps[name]
		key := make([]byte, m.KeySize())
		for m.NextKey(nil, key) == nil {
			if err := m.Delete(key); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.ref.flows, d.ref.parts = map[refConn]*refFlow{}, map[refParts]owned.PathIndex{}
	if !maps.Equal(d.ref.slots, d.tables.Slots) {
		d.ref.slots = maps.Clone(d.tables.Slots)
		if err := d.setSlots(d.ref.slots); err != nil {
			d.t.Fatal(err)
		}
	}
	d.drain(false)
}

// drain says whether the rule of drainable is gone.
func (d *frames) drain(gone bool) {
	for _, text := range served[drainable] {
		a := netip.MustParseAddr(text)
		d.ref.known[a].drained = gone
		var v bpfRdKnown
		if err := d.maps[bpfMapAddresses].Lookup(addr(a), &v); err != nil {
			d.t.Fatal(err)
		}
		v.Flags = v.Flags&^knownDrain | knownGlobal | uint8(flag(gone, knownDrain))
		if err := d.maps[bpfMapAddresses].Put(addr(a), v); err != nil {
			d.t.Fatal(err)
		}
		v.Flags &^= knownGlobal
		for _, mac := range d.ref.asked {
			if err := d.maps[bpfMapGrants].Put(bpfRdGrantKey{Addr: addr(a), Client: uint64(ClientMAC(mac))}, v); err != nil {
				d.t.Fatal(err)
			}
		}
	}
}

// change moves a destination, or has a rule go: what began before must go on.
func (d *frames) change(server netip.Addr) {
	known := d.ref.known[server]
	if known != nil && known.global && d.one(2) {
		d.drain(d.one(2))
		return
	}
	chain := d.ref.network(server)
	if known != nil {
		chain = known.chain
	}
	id := d.dest[pick(d.generator, slices.Sorted(maps.Keys(d.dest))...)]
	if len(chain) > 0 && !d.one(4) {
		id = pick(d.generator, chain...).Destination
	}
	s := Slot{Path: pick(d.generator, owned.PathDirect, owned.PathBlock, tunnelA, tunnelB, tunnelD), Closed: d.one(2)}
	d.ref.slots[id] = s
	if err := d.SetSlot(id, s); err != nil {
		d.t.Fatal(err)
	}
}

// like makes a frame between the two of another; its numbers are few, so that
// frames meet again.
func (d *frames) like(f frame) frame {
	g := d.generator
	if g.one(3) {
		f.proto = pick(g, tcp, tcp, tcp, udp, udp, icmp4, icmp6, protoSCTP, extESP, uint8(g.IntN(256)))
	}
	f.src = netip.AddrPortFrom(f.src.Addr(), pick[uint16](g, clientPort, clientPort, clientPort, clientPort+1))
	f.flags = pick(g, syn, syn, ack, ack, ack|psh, syn|ack, fin|ack, rst, rst|ack, uint8(g.IntN(256)))
	f.payload = g.octets(pick(g, 0, 0, 1, 40, g.IntN(700)))
	f.tags = pick(g, nil, nil, []uint16{0x8100}, []uint16{0x88a8, 0x8100}, []uint16{0x8100, 0x8100, 0x8100})
	f.seq, f.ack, f.id = g.Uint32(), g.Uint32(), pick[uint32](g, 7, 8)
	f.options, f.ext, f.frag, f.offset, f.more = 0, nil, false, 0, false
	if f.v6() {
		f.ext = d.chain()
	} else {
		f.options = 4 * pick(g, 0, 0, 0, g.IntN(11))
		if g.one(3) {
			f.frag, f.offset, f.more = true, 8*uint16(pick(g, 0, 0, g.IntN(200))), g.one(2)
		}
	}
	d.spoil(&f)
	return f
}

// chain makes extension headers, now and then more than are read.
func (d *frames) chain() (out []ext) {
	g := d.generator
	for range pick(g, 0, 0, 0, 1, 1, 2, g.IntN(9)) {
		e := ext{kind: pick[uint8](g, extHop, extRoute, extDest, extAuth, extFrag, extFrag, extESP), size: 8 * (1 + g.IntN(4))}
		if e.kind == extFrag {
			e.size, e.offset, e.more = 8, 8*uint16(pick(g, 0, 0, g.IntN(200))), g.one(2)
		}
		out = append(out, e)
	}
	return out
}

// spoil makes one thing wrong now and then.
func (d *frames) spoil(f *frame) {
	g := d.generator
	switch g.IntN(25) {
	case 0:
		f.cut = g.IntN(70)
	case 1:
		f.padding = g.IntN(40)
	case 2:
		f.totalLen = pick(g, -1, 1+g.IntN(60), 1+g.IntN(1500))
	case 3:
		f.vihl = g.IntN(256)
	case 4:
		f.etherType = pick(g, 0x0806, 0x0800, 0x86dd, 0x8864, g.IntN(1<<16))
	case 5:
		f.dataOff = 4 * (5 + g.IntN(11))
	}
}

// first is the frame that the others of a run are like.
func (d *frames) first() frame {
	g := d.generator
	who := pick(g, []frame{
		{src: netip.AddrPortFrom(alice, clientPort), srcMAC: aliceMAC},
		{src: netip.AddrPortFrom(bob, clientPort), srcMAC: bobMAC},
		{src: netip.MustParseAddrPort("192.168.2.200:50000"), srcMAC: aliceMAC},
		{src: netip.MustParseAddrPort("192.168.2.5:50000"), srcMAC: bobMAC},
		{src: netip.MustParseAddrPort("192.168.1.99:50000"), srcMAC: [6]byte{2, 9, 9, 9, 9, 9}},
	}...)
	who.dstMAC, who.dst, who.proto = routerMAC, netip.AddrPortFrom(pick(g, d.servers...), pick[uint16](g, 443, 443, 53, 853)), tcp
	switch {
	case who.dst.Addr().Is6():
		who.src = netip.AddrPortFrom(alice6, clientPort)
	case g.one(20):
		who.mapped = true
	}
	return who
}

// mutated is a frame's octets, some of them changed where luck says so.
func (d *frames) mutated(f frame) []byte {
	for {
		if b := d.mutatedOnce(f); runnable(b) {
			return b
		}
	}
}

func (d *frames) mutatedOnce(f frame) []byte {
	f.cut = min(f.cut, f.whole()-frameMin)
	b := f.build()
	if d.one(4) {
		for range 1 + d.IntN(4) {
			b[d.IntN(min(len(b), 110))] ^= byte(1 << d.IntN(8))
		}
	}
	if d.one(30) {
		b = b[:frameMin+d.IntN(len(b)-frameMin+1)]
	}
	return b
}

// frameMin is the shortest frame that a kernel runs a program over.
const frameMin = 15

// runnable says whether kernels run a program over a frame: newer ones refuse those
// without tags whose IP header is cut off.
func runnable(b []byte) bool {
	if len(b) < frameMin {
		return false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case 0x0800:
		return len(b) >= 14+20
	case 0x86dd:
		return len(b) >= 14+40
	}
	return true
}

// whole is that of the frame with nothing cut off.
func (f frame) whole() int {
	f.cut = 0
	return len(f.build())
}

// compare gives a frame to both.
func (d *frames) compare(b []byte) error {
	want := d.ref.frame(refReadFrame(b))
	d.kinds[want.kind]++
	before := d.counted(want.counted)
	foreign := d.Uint32() &^ uint32(owned.DefaultMask)
	var ctx skb
	o := ebpf.RunOptions{
		Data: b, DataOut: d.out, ContextOut: &ctx,
		Context: skb{Mark: foreign, IngressIfindex: uint32(d.lan), Ifindex: uint32(d.lan)},
	}
	ret, err := d.prog.Run(&o)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if got := verdict(int32(ret)); got != want.verdict {
		return fmt.Errorf("%s, want %s: %s", got, want.verdict, want.kind)
	}
	switch want.verdict {
	case redirected:
		return checkTurned(refReadFrame(b), refReadFrame(o.DataOut), o.DataOut)
	case dropped:
		return nil
	}
	if !bytes.Equal(o.DataOut, b) {
		return fmt.Errorf("the frame is\n%x, want\n%x", o.DataOut, b)
	}
	if mark := foreign | uint32(owned.DefaultMask.Mark(want.mark)); ctx.Mark != mark {
		return fmt.Errorf("mark %#x, want %#x: %s", ctx.Mark, mark, want.kind)
	}
	return d.checkCount(want.counted, before, refReadFrame(b).size)
}

// checkCount fails unless a frame counts for its destination and path.
func (d *frames) checkCount(key *CountKey, before Count, size int) error {
	if key == nil {
		return nil
	}
	want := Count{before.Packets + 1, before.Bytes + uint64(size)}
	if got := d.counted(key); got != want {
		return fmt.Errorf("destination %d over path %d has %v, want %v", key.Destination, key.Path, got, want)
	}
	return nil
}

func (d *frames) counted(key *CountKey) (sum Count) {
	if key == nil {
		return sum
	}
	var perCPU []bpfRdCount
	k := bpfRdCountKey{Dest: uint16(key.Destination), Path: uint8(key.Path)}
	if d.maps[bpfMapCounters].Lookup(k, &perCPU) != nil {
		return sum // nothing has been counted yet
	}
	for _, c := range perCPU {
		sum.Packets, sum.Bytes = sum.Packets+c.Packets, sum.Bytes+c.Bytes
	}
	return sum
}

// checkTurned fails unless a frame is the reset that answers another.
func checkTurned(sent, got refFrame, raw []byte) error {
	want := resetTo(sent)
	have := refFrame{src: got.src, dst: got.dst, sport: got.sport, dport: got.dport, seq: got.seq, ack: got.ack, flags: got.flags}
	if !got.sound || !got.tcp || got.payload != 0 || have != want {
		return fmt.Errorf("the reset is %+v, want %+v", got, want)
	}
	if len(raw) != got.head+got.size {
		return fmt.Errorf("%d octets, want %d", len(raw), got.head+got.size)
	}
	return checkSums(got, raw[got.head:])
}

// resetTo is the reset that RFC 9293 section 3.5.2 has for a segment.
func resetTo(sent refFrame) refFrame {
	out := refFrame{src: sent.dst, dst: sent.src, sport: sent.dport, dport: sent.sport, seq: sent.ack, flags: rst}
	if sent.flags&ack == 0 {
		out.seq, out.flags = 0, rst|ack
		out.ack = sent.seq + uint32(sent.payload) + uint32(sent.flags&fin) + uint32(sent.flags&syn>>1)
	}
	return out
}

// checkSums fails where a checksum of a TCP packet without options is wrong.
func checkSums(f refFrame, ip []byte) error {
	head, pseudo := 20, uint32(0)
	if f.v6 {
		head, pseudo = 40, uint32(onesSum(ip[8:40], uint32(tcp+len(ip)-40)))
	} else {
		pseudo = uint32(onesSum(ip[12:20], uint32(tcp+len(ip)-20)))
		if onesSum(ip[:20], 0) != 0xffff {
			return fmt.Errorf("IPv4 checksum %#x", binary.BigEndian.Uint16(ip[10:]))
		}
	}
	if onesSum(ip[head:], pseudo) != 0xffff {
		return fmt.Errorf("TCP checksum %#x", binary.BigEndian.Uint16(ip[head+16:]))
	}
	return nil
}

// run compares n frames, a few at a time that belong together.
func (d *frames) run(n int) error {
	for i := 0; i < n; {
		d.begin()
		base := d.first()
		var run [][]byte
		for range 1 + d.IntN(8) {
			if d.one(4) {
				d.change(base.dst.Addr())
			}
			run = append(run, d.mutated(d.like(base)))
			if err := d.compare(run[len(run)-1]); err != nil {
				return fmt.Errorf("frame %d, the last of %x: %w", i, run, err)
			}
			i++
		}
	}
	return nil
}

// TestFramesGoWhereTheReferenceSays compares steer with reference_frame_test.go,
// frame by frame: verdict, mark, destination, and the reset where there is one.
func TestFramesGoWhereTheReferenceSays(t *testing.T) {
	seeds := []uint64{20261130, rand.Uint64()}
	if *differSeed != 0 {
		seeds = []uint64{*differSeed}
	}
	kinds := map[string]int{}
	for _, seed := range seeds {
		t.Logf("%d frames: go test ./ebpf -run '^%s$' -differ.seed %d -differ.frames %d", *differFrames, t.Name(), seed, *differFrames)
		d := newFrames(t, seed)
		inside(t, d.ns, func() {
			if err := d.run(*differFrames); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
		t.Logf("seed %d: %v", seed, d.kinds)
		for kind, n := range d.kinds {
			kinds[kind] += n
		}
	}
	// Of all seeds together: of the rarest kind a thousand frames have three, or none.
	all := len(seeds) * *differFrames
	for _, kind := range []string{
		"steered", "direct", "kept", "not listed", "listed for others", "not sound", "drained", "blocked", "reset", "reset of a client",
	} {
		if kinds[kind]*1000 < all {
			t.Errorf("only %d of %d frames were of the kind %q", kinds[kind], all, kind)
		}
	}
}

// FuzzFrames has the fuzzer look for a frame that both do not take alike, after
// one that begins its connection.
func FuzzFrames(f *testing.F) {
	for _, c := range []frame{
		to("198.51.100.1"), to("2001:db8:5::1", chained(ext{kind: extHop}, ext{kind: extDest, size: 32})),
		to("198.51.100.4", tagged(0x88a8, 0x8100)), to("2001:db8:5::4", fragment(0, true), carrying(80)),
		to("203.0.113.129", protocol(udp), fragment(800, false)), to("10.99.1.1", func(f *frame) { f.options = 40 }),
	} {
		f.Add(to("198.51.100.1").build(), c.build())
	}
	d := newFrames(f, 1)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if !runnable(first) || !runnable(second) || max(len(first), len(second)) > runMax {
			t.Skip()
		}
		d.t = t
		inside(t, d.ns, func() {
			d.begin()
			for _, b := range [][]byte{first, second} {
				if err := d.compare(b); err != nil {
					t.Error(err)
				}
			}
		})
	})
}
