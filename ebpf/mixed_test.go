package ebpf

import (
	"bytes"
	"encoding/binary"
	stdflag "flag"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

var update = stdflag.Bool("update", false, "write the golden files anew")

// What every kernel of every architecture must make of the same traffic.
const (
	mixedPackets = 10_000
	mixedFile    = "testdata/mixed.txt"
)

// mixed is one packet of the traffic and the program that gets it.
type mixed struct {
	program string
	data    []byte
}

// TestMixedTrafficIsTreatedAlikeEverywhere runs packets of every kind, whole and
// broken, through the programs and compares each verdict, every octet that came
// out and all counters with what is written down. The traffic is drawn from a
// generator whose numbers are the same everywhere; its sum is in the file too.
func TestMixedTrafficIsTreatedAlikeEverywhere(t *testing.T) {
	// Large enough that nothing is forgotten: which entry that would be depends
	// on the number of processors.
	w := openWorld(t, func(o *Options) { o.MaxFlows, o.MaxAddresses = 16384, 4096 })
	traffic := (&mixer{Rand: rand.New(rand.NewPCG(1, 2)), w: w}).draw()
	var b strings.Builder
	pcap := crc32.NewIEEE()
	for _, m := range traffic {
		pcap.Write(record16(m))
	}
	fmt.Fprintf(&b, "traffic %d packets, CRC %08x\n", len(traffic), pcap.Sum32())
	w.verdicts(t, &b, traffic)
	w.writeCounters(t, &b)
	if *update {
		if err := os.MkdirAll(filepath.Dir(mixedFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(mixedFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(mixedFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("%s differs (-want +got; go test ./ebpf -run Mixed -update writes it):\n%s", mixedFile, d)
	}
}

// record16 is a packet with its length before it.
func record16(m mixed) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(m.data))), m.data...)
}

// verdicts runs the traffic and writes a letter a packet: a digit is the path
// that the mark names, 0 none; x dropped, r redirected. Behind a hundred of them
// stands the sum of what came out.
func (w *world) verdicts(t *testing.T, b *strings.Builder, traffic []mixed) {
	out := crc32.NewIEEE()
	for i, m := range traffic {
		v := via{in: w.lan}
		if m.program != bpfProgRouterdSteer {
			v = via{in: w.wan, out: w.lan}
		}
		if m.program == bpfProgRouterdGuard {
			v = via{out: w.wan}
		}
		got := w.run(t, m.program, m.data, v)
		switch got.verdict {
		case passed:
			fmt.Fprintf(b, "%x", uint(got.path()))
		case dropped:
			b.WriteByte('x')
		case redirected:
			b.WriteByte('r')
		default:
			fmt.Fprintf(b, "<%d>", got.verdict)
		}
		out.Write(got.data)
		if (i+1)%100 == 0 {
			fmt.Fprintf(b, " %08x\n", out.Sum32())
		}
	}
}

// writeCounters writes every counter that is not a time.
func (w *world) writeCounters(t *testing.T, b *strings.Builder) {
	stats, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	stats.LostEvents = 0 // how many find room depends on the size of a page
	fmt.Fprintf(b, "%+v\n", stats)
	counts, err := w.Counts()
	if err != nil {
		t.Fatal(err)
	}
	names := map[Destination]string{}
	for name, d := range w.dest {
		names[d] = name
	}
	lines := w.knownAddrs(t)
	for k, c := range counts {
		lines = append(lines, fmt.Sprintf("%s path %d to client %t: %d packets %d octets", names[k.Destination], k.Path, k.ToClient, c.Packets, c.Bytes))
	}
	flows, err := w.Flows()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range flows {
		all = append(all, fmt.Sprintf("%s > %s protocol %d: %s path %d flags %02x ack %08x tx %d %d rx %d %d", f.Client, f.Server, f.Protocol,
			names[f.Destination], f.Path, uint8(f.Flags), f.Ack, f.TxPackets, f.TxBytes, f.RxPackets, f.RxBytes))
	}
	sum := crc32.ChecksumIEEE([]byte(strings.Join(sorted(all), "\n")))
	fmt.Fprintf(b, "%s\n%d flows, CRC %08x\n", strings.Join(sorted(lines), "\n"), len(all), sum)
}

// mixer draws traffic.
type mixer struct {
	*rand.Rand
	w     *world
	names []string
	alive []frame // of connections that began
}

func (m *mixer) draw() []mixed {
	m.names = slices.Sorted(maps.Keys(served))
	var out []mixed
	// Half of the names are known from the beginning, the others come in between.
	for _, name := range m.names[:len(m.names)/2] {
		out = append(out, m.answer(name))
	}
	for len(out) < mixedPackets {
		out = append(out, m.one())
	}
	return out
}

// one draws a packet: 7 of 10 are of connections.
func (m *mixer) one() mixed {
	switch n := m.IntN(20); {
	case n < 8:
		return m.begin()
	case n < 14 && len(m.alive) > 0:
		return m.goOn()
	case n < 16:
		return m.answer(m.names[m.IntN(len(m.names))])
	case n < 17:
		return m.ask()
	case n < 18:
		return m.leaving()
	default:
		return m.broken()
	}
}

// server draws an address: of a listed name, of a network, or of neither.
func (m *mixer) server() string {
	others := []string{
		"203.0.113.9", "203.0.113.129", "203.0.113.200", "10.99.1.1", "2001:db8:100::1", "2001:db8:100:1::1",
		"2001:db8:100:2::2", "192.0.2.77", "2001:db8:77::1", "8.8.8.8", "192.168.1.1", "224.0.0.1", "ff02::1", "fe80::1",
	}
	if m.IntN(3) > 0 {
		return served[m.names[m.IntN(len(m.names))]][m.IntN(2)]
	}
	return others[m.IntN(len(others))]
}

// shapes are what a packet may be besides plain.
func (m *mixer) shape(f *frame) {
	tags := []uint16{0x8100, 0x88a8}
	switch m.IntN(12) {
	case 0:
		f.tags = tags[:1]
	case 1:
		f.tags = []uint16{0x88a8, 0x8100}
	case 2:
		f.padding = m.IntN(40)
	case 3:
		f.options = 4 * m.IntN(10)
		f.ext = []ext{{kind: extHop}, {kind: extDest, size: 16}}[:m.IntN(3)]
	case 4:
		f.frag, f.more, f.id = true, true, uint32(m.IntN(50))
		f.ext = []ext{{kind: extFrag, more: true}}
	case 5:
		f.frag, f.offset, f.id = true, uint16(8*(1+m.IntN(100))), uint32(m.IntN(50))
		f.ext = []ext{{kind: extFrag, offset: uint16(8 * (1 + m.IntN(100)))}}
	}
}

// begin draws the first packet of a connection.
func (m *mixer) begin() mixed {
	f := to(m.server(), port(uint16(20000+m.IntN(1500))))
	if m.IntN(3) == 0 {
		f.src, f.srcMAC = netip.AddrPortFrom(map[bool]netip.Addr{false: bob, true: netip.MustParseAddr("2001:db8:aaaa::11")}[f.v6()], f.src.Port()), bobMAC
	}
	switch m.IntN(6) {
	case 0:
		f.proto, f.payload = udp, m.octets(m.IntN(200))
	case 1:
		f.proto, f.payload = []uint8{icmp4, icmp6, protoSCTP, 47, extESP}[m.IntN(5)], m.octets(8+m.IntN(60))
	default:
		f.seq = m.Uint32()
	}
	m.alive = append(m.alive, f)
	m.shape(&f)
	return mixed{bpfProgRouterdSteer, f.build()}
}

// goOn draws a later packet of a connection, either way.
func (m *mixer) goOn() mixed {
	f := m.alive[m.IntN(len(m.alive))]
	f.flags = []uint8{ack, ack | psh, fin | ack, rst, rst | ack, syn | ack}[m.IntN(6)]
	f.seq, f.ack, f.payload = m.Uint32(), m.Uint32(), m.octets(m.IntN(300))
	program := bpfProgRouterdSteer
	if m.IntN(2) == 0 {
		f, program = back(f), bpfProgRouterdLearn
	}
	m.shape(&f)
	return mixed{program, f.build()}
}

// leaving draws a packet that leaves by the WAN without a mark.
func (m *mixer) leaving() mixed {
	f := to(m.server())
	f.srcMAC, f.dstMAC = routerMAC, aliceMAC
	return mixed{bpfProgRouterdGuard, f.build()}
}

func (m *mixer) answer(name string) mixed {
	f := answer(strings.Repeat("a.", m.IntN(3))+name, addrs(served[name][m.IntN(2)])...)
	f.dstMAC = [][6]byte{aliceMAC, bobMAC}[m.IntN(2)]
	binary.BigEndian.PutUint16(f.payload, uint16(m.Uint32())) // the library draws an ID of its own
	return mixed{bpfProgRouterdLearn, f.build()}
}

// ask draws a lookup of a listed or unlisted name.
func (m *mixer) ask() mixed {
	name := append([]string{"unlisted.example", "example.org"}, m.names...)[m.IntN(len(m.names)+2)]
	q := query(name, []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT}[m.IntN(4)])
	f := to("8.8.8.8", protocol(udp), message(wire(q)))
	f.dst = netip.AddrPortFrom(f.dst.Addr(), []uint16{53, 53, 53, 853}[m.IntN(4)])
	return mixed{bpfProgRouterdSteer, f.build()}
}

// broken draws what nobody sends: a packet with its end cut off, or with octets
// changed.
func (m *mixer) broken() mixed {
	p := []func() mixed{m.begin, m.begin, m.ask, func() mixed { return m.answer(m.names[m.IntN(len(m.names))]) }}[m.IntN(4)]()
	p.data = bytes.Clone(p.data)
	// Newer kernels take no packet here whose IP header is not whole.
	if whole := 14 + 40; m.IntN(2) == 0 && len(p.data) > whole {
		p.data = p.data[:whole+m.IntN(len(p.data)-whole)]
		return p
	}
	for range 1 + m.IntN(4) {
		p.data[12+m.IntN(len(p.data)-12)] ^= byte(1 + m.IntN(255))
	}
	return p
}

func (m *mixer) octets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}
