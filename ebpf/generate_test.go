package ebpf

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// generator makes DNS messages and the packets that carry them: sound ones, odd
// ones, and ones that are broken in every way that a parser can trip over.
type generator struct {
	*rand.Rand
	names []string // listed ones
	addrs []netip.Addr
}

func newGenerator(seed uint64, t *Tables) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	for _, r := range t.Names {
		g.names = append(g.names, r.Name)
	}
	for _, s := range []string{
		"198.51.100.1", "198.51.100.2", "198.51.100.3", "192.0.2.9", "2001:db8:5::1", "2001:db8:5::2", "2001:db8:5::3",
		"::ffff:198.51.100.1",                                                      // in an AAAA record: the address itself
		"10.0.0.1", "192.168.1.1", "127.0.0.1", "198.51.100.200", "fe80::1", "::1", // exempt
	} {
		g.addrs = append(g.addrs, netip.MustParseAddr(s))
	}
	return g
}

// one says yes once in n times.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) octets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g *generator) u16(odd int, v int) []byte {
	if g.one(odd) {
		v = pick(g, 0, 1, v-1, v+1, 255, 256, 0x7fff, 0xffff, g.IntN(0x10000))
	}
	return binary.BigEndian.AppendUint16(nil, uint16(v))
}

// label is one of any octets.
func (g *generator) label(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if g.one(20) {
		return string(g.octets(n))
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[g.IntN(len(letters))]
	}
	return string(b)
}

// name is a list of labels: listed, below one that is, near one, or any.
func (g *generator) name() []string {
	list := strings.Split(pick(g, g.names...), ".")
	switch g.IntN(20) {
	default: // as it is listed
	case 0, 1, 2, 3:
		list = append([]string{g.label(1 + g.IntN(12))}, list...)
	case 5:
		list[0] = g.label(1) + list[0] // not at a label's beginning
	case 6:
		list = append(list, g.label(3))
	case 7:
		list = []string{g.label(4), strings.Join(list, ".")} // a dot in a label
	case 8:
		list = g.longName(list)
	case 9:
		list = []string{g.label(6), "example"}
	}
	for i, l := range list {
		if g.one(3) {
			list[i] = strings.ToUpper(l[:len(l)/2]) + l[len(l)/2:]
		}
	}
	return list
}

// longName is of about 255 octets, of few labels or of many.
func (g *generator) longName(end []string) []string {
	size := pick(g, 253, 254, 255, 256, 257, 255, 255, 100+g.IntN(160))
	longest := pick(g, 1, 2, 10, 63, 63)
	list, left := slices.Clone(end), size-1
	for _, l := range end {
		left -= 1 + len(l)
	}
	for left > 1 {
		n := min(longest, left-1)
		list = append([]string{g.label(n)}, list...)
		left -= 1 + n
	}
	return list
}

func nameOctets(list []string) []byte {
	var b []byte
	for _, l := range list {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

// draft is a message in the making.
type draft struct {
	b      []byte
	counts [4]int
	kind   uint16 // of the question
}

// answer is a message of a server's.
func (g *generator) answer() []byte {
	d := &draft{b: append(g.octets(2), make([]byte, 10)...)}
	d.b[2], d.b[3] = 0x81, 0x80
	g.flags(d)
	for range pick(g, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2) {
		g.question(d)
	}
	for range g.records() {
		g.record(d, 1, d.kind)
	}
	for range pick(g, 0, 0, 0, 1, 3) {
		g.record(d, 2, pick[uint16](g, 2, 6, 1, 46))
	}
	for range pick(g, 0, 0, 1, 1, 2, 5) {
		g.record(d, 3, pick[uint16](g, 41, 41, 1, 28, 65, 16))
	}
	return g.finish(d)
}

// query is one of a client's.
func (g *generator) query() []byte {
	d := &draft{b: append(g.octets(2), make([]byte, 10)...)}
	d.b[2] = 1
	g.flags(d)
	for range pick(g, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 3) {
		g.question(d)
	}
	if g.one(2) {
		g.record(d, 3, 41)
	}
	return g.finish(d)
}

// records is how many an answer has.
func (g *generator) records() int {
	switch g.IntN(12) {
	case 0:
		return 0
	case 1:
		return 5 + g.IntN(20)
	case 2:
		return 60 + g.IntN(8)
	}
	return 1 + g.IntN(4)
}

func (g *generator) flags(d *draft) {
	if g.one(15) {
		d.b[2] |= 2 // TC
	}
	if g.one(20) {
		d.b[2] ^= 1 << g.IntN(8)
	}
	if g.one(20) {
		d.b[3] ^= 1 << g.IntN(8)
	}
}

func (g *generator) question(d *draft) {
	kind := pick[uint16](g, 1, 1, 1, 1, 28, 28, 28, 65, 65, 64, 255, 16, 5, uint16(g.Uint32()))
	if d.counts[0] == 0 {
		d.kind = kind
	}
	d.counts[0]++
	switch {
	case g.one(60):
		d.b = append(d.b, 0xc0, byte(g.IntN(40)))
	case g.one(60):
		d.b = append(d.b, byte(64+g.IntN(128)))
	default:
		d.b = append(d.b, nameOctets(g.name())...)
	}
	d.b = binary.BigEndian.AppendUint16(d.b, kind)
	d.b = append(d.b, 0, pick[byte](g, 1, 1, 1, 1, 1, 1, 1, 3, 255))
}

// owner is a record's name: compressed, whole, or neither.
func (g *generator) owner(d *draft) {
	point := func(to int) { d.b = binary.BigEndian.AppendUint16(d.b, uint16(0xc000|to&0x3fff)) }
	switch g.IntN(24) {
	case 0, 1, 2:
		d.b = append(d.b, nameOctets(g.name())...)
	case 3, 4:
		d.b = append(append(d.b, 3), g.label(3)...)
		point(12)
	case 5:
		d.b = append(d.b, 0)
	case 6:
		point(len(d.b)) // a loop
	case 7:
		point(len(d.b) + g.IntN(300)) // ahead, or behind the end
	case 8:
		if g.one(4) {
			d.b = append(d.b, pick[byte](g, 64, 128, 191, 0x41))
		}
		point(12)
	default:
		point(12)
	}
}

// record is one of a section, of a type or of another.
func (g *generator) record(d *draft, section int, kind uint16) {
	d.counts[section]++
	if g.one(4) {
		kind = pick[uint16](g, 5, 1, 28, 65, 46, 16, uint16(g.Uint32()))
	}
	if kind == 255 {
		kind = pick[uint16](g, 1, 28, 5)
	}
	if kind == 41 {
		d.b = append(d.b, 0)
	} else {
		g.owner(d)
	}
	d.b = binary.BigEndian.AppendUint16(d.b, kind)
	d.b = append(d.b, 0, pick[byte](g, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 255))
	ttl := pick(g, 0, 1, 60, 300, 86400, 1<<31-1, 1<<31, 1<<32-1, g.Uint32())
	d.b = binary.BigEndian.AppendUint32(d.b, ttl)
	data := g.data(kind)
	d.b = append(d.b, g.u16(80, len(data))...)
	d.b = append(d.b, data...)
}

// data is what a record of a type holds.
func (g *generator) data(kind uint16) []byte {
	switch kind {
	case 1:
		return g.address(4)
	case 28:
		return g.address(16)
	case 64, 65:
		return g.service()
	case 2, 5:
		return pick(g, nameOctets(g.name()), []byte{0xc0, 12}, []byte{1, 'x', 0xc0, 12})
	}
	return g.octets(g.IntN(40))
}

func (g *generator) address(size int) []byte {
	if g.one(60) {
		return g.octets(pick(g, 0, 3, 4, 5, 15, 16, 17))
	}
	for range 100 {
		if a := pick(g, g.addrs...); len(a.AsSlice()) == size {
			return a.AsSlice()
		}
	}
	return g.octets(size)
}

// service is the data of an SVCB or HTTPS record (RFC 9460 section 2.2).
func (g *generator) service() []byte {
	if g.one(40) {
		return g.octets(g.IntN(3))
	}
	b := []byte{0, byte(g.IntN(3))}
	switch g.IntN(20) {
	case 0:
		b = append(b, 0xc0, 12) // not allowed there
	case 1, 2:
		b = append(b, nameOctets(g.name())...)
	case 3:
		b = append(b, 9, 'x') // a label that is longer than the record
	default:
		b = append(b, 0)
	}
	for range g.IntN(5) {
		key := pick(g, 4, 4, 6, 6, 1, 3, 5, g.IntN(0x10000))
		b = append(binary.BigEndian.AppendUint16(b, uint16(key)), g.parameter(key)...)
	}
	if g.one(40) {
		b = append(b, g.octets(g.IntN(5))...)
	}
	return b
}

func (g *generator) parameter(key int) []byte {
	var v []byte
	size := map[int]int{4: 4, 6: 16}[key]
	for range pick(g, 0, 1, 1, 1, 2, 3, 8, 20) {
		if size > 0 {
			v = append(v, g.address(size)...)
		}
	}
	if size == 0 || g.one(30) {
		v = append(v, g.octets(g.IntN(20))...)
	}
	return append(g.u16(60, len(v)), v...)
}

// finish writes the counts, some of which lie, and breaks some messages.
func (g *generator) finish(d *draft) []byte {
	for i, n := range d.counts {
		copy(d.b[4+2*i:], g.u16(60, n))
	}
	if g.one(3) {
		for range 1 + g.IntN(3) {
			d.b = g.broken(d.b)
		}
	}
	return d.b
}

// broken changes a message somewhere.
func (g *generator) broken(b []byte) []byte {
	at := func() int { return g.IntN(len(b) + 1) }
	from, to := at(), at()
	from, to = min(from, to), max(from, to)
	switch g.IntN(8) {
	case 0:
		return b[:from]
	case 1:
		return append(b, g.octets(g.IntN(30))...)
	case 2:
		return slices.Concat(b[:from], b[min(len(b), from+1+g.IntN(4)):])
	case 3:
		return slices.Insert(b, from, g.octets(1+g.IntN(4))...)
	case 4:
		return slices.Concat(b[:to], b[from:to], b[to:])
	}
	for range 1 + g.IntN(3) {
		if i := at(); i < len(b) {
			b[i] = pick(g, b[i]^1<<g.IntN(8), 0, 63, 64, 0xc0, 0xff, byte(g.Uint32()))
		}
	}
	return b
}
