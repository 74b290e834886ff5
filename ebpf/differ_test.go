package ebpf

import (
	"encoding/binary"
	cmdline "flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

var (
	differMessages = cmdline.Int("differ.messages", 30_000, "messages that a differential test makes from each seed")
	differSeed     = cmdline.Uint64("differ.seed", 0, "its only seed (0: one that is always the same, and a new one)")
)

// differSeeds are what a differential test begins from. One is new each time and
// is told, so that a disagreement can be had again.
func differSeeds(t *testing.T) []uint64 {
	t.Helper()
	seeds := []uint64{20261130, rand.Uint64()}
	if *differSeed != 0 {
		seeds = []uint64{*differSeed}
	}
	for _, s := range seeds {
		t.Logf("%d messages: go test ./ebpf -run '^%s$' -differ.seed %d -differ.messages %d", *differMessages, t.Name(), s, *differMessages)
	}
	return seeds
}

// differ runs one program of a world over many packets.
type differ struct {
	*world
	t      testing.TB
	prog   *ebpf.Program
	events *Events
	rules  map[netip.Addr]refRules // by client
	known  map[netip.Addr]refKnown
	grants map[refGrant]refKnown
	out    []byte
	kinds  map[string]int    // what was seen, by kind
	names  map[uint64]string // of the rules, by hash
}

// refKnown is what an address must be known as.
type refKnown struct {
	rule   string
	full   bool
	shared bool
	shut   bool // closed for who looked it up
}

type refGrant struct {
	addr   netip.Addr
	client netip.Addr
}

// differPacket is one packet of the test; gso is the length of each of its datagrams,
// 0: it is one.
type differPacket struct {
	frame frame
	gso   int
}

func newDiffer(t testing.TB, w *world, program string) *differ {
	t.Helper()
	d := &differ{world: w, t: t, events: openEvents(t, w.DataPlane), rules: map[netip.Addr]refRules{}, kinds: map[string]int{}}
	var err error
	if d.prog, err = w.program(program); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr netip.Addr
		bits ClientRule
	}{
		{alice, ClientRule{Include: 1 << bitAlice}},
		{alice6, ClientRule{}},
		{bob, ClientRule{Include: 1 << bitMAC, Exclude: 1 << bitNotBob}},
	} {
		d.rules[c.addr] = newRefRules(w.tables, c.bits)
	}
	d.names = map[uint64]string{}
	for _, r := range w.tables.Names {
		h, err := w.Hash(r.Name)
		if err != nil {
			t.Fatal(err)
		}
		d.names[h] = r.Name
	}
	d.out = make([]byte, 1<<16)
	d.clear()
	return d
}

func (d *differ) clear() {
	d.forgetAll(d.t)
	d.known, d.grants = map[netip.Addr]refKnown{}, map[refGrant]refKnown{}
}

// send gives a packet to the program.
func (d *differ) send(p differPacket, in, out int) (verdict, []byte) {
	d.forgetTold(d.t) // each is told, also what says nothing new
	data := p.frame.build()
	o := ebpf.RunOptions{
		Data: data, DataOut: d.out,
		Context: skb{IngressIfindex: uint32(in), Ifindex: uint32(out), GSOSize: uint32(p.gso)},
	}
	ret, err := d.prog.Run(&o)
	if err != nil {
		d.t.Fatalf("run over %d octets: %v", len(data), err)
	}
	return verdict(int32(ret)), o.DataOut
}

// datagrams are what the transport carries, as far as IP says: the length in the
// UDP header does not count.
func (p differPacket) datagrams() [][]byte {
	f := p.frame
	data := f.build()
	ip := 14 + 4*len(f.tags)
	end := ip + int(binary.BigEndian.Uint16(data[ip+2:]))
	if f.v6() {
		end = ip + 40 + int(binary.BigEndian.Uint16(data[ip+4:]))
	}
	length := binary.BigEndian.Uint16(data[map[bool]int{false: ip + 2, true: ip + 4}[f.v6()]:])
	if length == 0 || end > len(data) {
		end = len(data)
	}
	payload := f.transportAt() + 8
	if payload >= end {
		return nil
	}
	b := data[payload:end]
	if p.gso == 0 {
		return [][]byte{b}
	}
	return slices.Collect(slices.Chunk(b, p.gso))
}

// runMax is the payload that BPF_PROG_TEST_RUN takes on every kernel: a page less
// what the kernel has around a packet.
const runMax = 3400

// packet makes a message into a packet between a resolver and a client.
func (g *generator) packet(messages [][]byte, carry func([]byte) frame) differPacket {
	p := differPacket{frame: carry(slices.Concat(messages...))}
	if len(messages) > 1 {
		p.gso = len(messages[0])
	}
	n := len(p.frame.payload)
	switch g.IntN(40) {
	case 0:
		p.frame.udpLen = g.IntN(n + 20)
	case 1:
		p.frame.padding = g.IntN(30)
	case 2:
		p.frame.totalLen = 28 + g.IntN(n+20)
	case 3:
		p.frame.totalLen = -1
	case 4:
		p.frame.tags = []uint16{0x8100}
	case 5:
		p.frame.cut = g.IntN(n + 1)
	case 6:
		p.frame.options = 4 * g.IntN(10)
	}
	if p.frame.v6() {
		p.frame.options = 0
	}
	return p
}

// fitting makes a message that can be run.
func (g *generator) fitting(one func() []byte) []byte {
	for {
		if m := one(); len(m) <= runMax {
			return m
		}
	}
}

// several gives one message, or some of one length as GRO has them.
func (g *generator) several(one func() []byte) [][]byte {
	list := [][]byte{g.fitting(one)}
	if !g.one(25) {
		return list
	}
	longest := max(len(list[0]), 1)
	for range 1 + g.IntN(3) {
		m := g.fitting(one)
		if longest = max(longest, len(m)); longest*(len(list)+1) > runMax {
			return list[:1]
		}
		list = append(list, m)
	}
	for i := range list[:len(list)-1] {
		list[i] = append(list[i], make([]byte, longest-len(list[i]))...)
	}
	return list
}

// checkKinds fails where the generator has made nothing of a kind: the test would
// say nothing about it.
func (d *differ) checkKinds(kinds ...string) {
	for _, k := range kinds {
		if d.kinds[k]*200 < *differMessages {
			d.t.Errorf("only %d of %d packets were %s", d.kinds[k], *differMessages, k)
		}
	}
}
