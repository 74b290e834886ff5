package ebpf

import (
	"encoding/binary"
	"net/netip"

	"github.com/routerd/routerd/internal/owned"
)

// This file reads whole frames by the letter of IEEE 802.1Q, RFC 791, RFC 8200 and
// RFC 9293, and says what must become of a client's: what bpf/steer.h must agree
// with. It knows what that promises beside the standards, and nothing of how.

// What steer promises to read.
const (
	refTagsMax = 2
	refExtMax  = 6
)

// refPiece is which piece of a packet a frame holds.
type refPiece uint8

const (
	refWhole refPiece = iota
	refFirst          // more follow
	refLater          // of a packet that has begun
)

// refFrame is a frame as it was read.
type refFrame struct {
	mac          [6]byte // of who sent it
	src, dst     netip.Addr
	v6           bool
	head         int // octets ahead of the IP header
	size         int // octets of the IP packet, as far as they are there
	proto        uint8
	piece        refPiece
	id           uint32
	sport, dport uint16
	flags        uint8 // TCP
	seq, ack     uint32
	payload      int  // octets behind the transport's header
	addressed    bool // it is IP, and both addresses are there
	sound        bool // it can be read to its ports
	tcp          bool
}

// refReadFrame reads a frame; one that is not addressed is no IP packet with its
// addresses in it, one that is not sound cannot be read to its ports.
func refReadFrame(b []byte) refFrame {
	var f refFrame
	if len(b) < 14 {
		return f
	}
	copy(f.mac[:], b[6:])
	kind := binary.BigEndian.Uint16(b[12:])
	f.head = 14
	for tags := 0; tags < refTagsMax && (kind == 0x8100 || kind == 0x88a8); tags++ {
		if len(b) < f.head+4 {
			return f
		}
		kind = binary.BigEndian.Uint16(b[f.head+2:])
		f.head += 4
	}
	switch ip := b[f.head:]; {
	case kind == 0x0800 && len(ip) >= 20:
		f.ipv4(ip)
	case kind == 0x86dd && len(ip) >= 40:
		f.ipv6(ip)
	}
	return f
}

// addresses notes them; IPv4 addresses in IPv6 ones are the same addresses.
func (f *refFrame) addresses(src, dst []byte) {
	s, _ := netip.AddrFromSlice(src)
	d, _ := netip.AddrFromSlice(dst)
	f.src, f.dst, f.addressed = s.Unmap(), d.Unmap(), true
}

// length notes that of the packet; 0 is a jumbogram's or that of what GRO has made.
func (f *refFrame) length(ip []byte, head, said int) {
	f.size = min(head+said, len(ip))
	if said == 0 {
		f.size = len(ip)
	}
}

// ipv4 is RFC 791 section 3.1.
func (f *refFrame) ipv4(ip []byte) {
	f.addresses(ip[12:16], ip[16:20])
	if ip[0]>>4 != 4 || ip[0]&15 < 5 {
		return
	}
	f.length(ip, 0, int(binary.BigEndian.Uint16(ip[2:])))
	f.proto, f.id = ip[9], uint32(binary.BigEndian.Uint16(ip[4:]))
	f.part(binary.BigEndian.Uint16(ip[6:])&0x1fff, ip[6]&0x20 != 0)
	f.transport(ip, int(ip[0]&15)*4)
}

func (f *refFrame) part(offset uint16, more bool) {
	switch {
	case offset > 0:
		f.piece = refLater
	case more:
		f.piece = refFirst
	}
}

// ipv6 is RFC 8200 section 3. The version is not looked at: the kernel does.
func (f *refFrame) ipv6(ip []byte) {
	f.v6 = true
	f.addresses(ip[8:24], ip[24:40])
	f.length(ip, 40, int(binary.BigEndian.Uint16(ip[4:])))
	f.proto = ip[6]
	if at, ok := f.extensions(ip); ok {
		f.transport(ip, at)
	}
}

// extensions walks the headers of RFC 8200 section 4 and RFC 4302, at most
// refExtMax; what is behind a later fragment's is no header.
func (f *refFrame) extensions(ip []byte) (at int, ok bool) {
	at = 40
	for range refExtMax {
		kind := f.proto
		if f.piece == refLater || !refExtension(kind) {
			break
		}
		if len(ip) < at+8 {
			return 0, false
		}
		h := ip[at:]
		f.proto = h[0]
		switch kind {
		case extFrag:
			f.id = binary.BigEndian.Uint32(h[4:])
			f.part(binary.BigEndian.Uint16(h[2:])>>3, h[3]&1 != 0)
			at += 8
		case extAuth:
			at += 4 * (int(h[1]) + 2)
		default:
			at += 8 * (int(h[1]) + 1)
		}
	}
	return at, true
}

func refExtension(kind uint8) bool {
	switch kind {
	case extHop, extRoute, extFrag, extAuth, extDest:
		return true
	}
	return false
}

// transport reads what tells one connection from another. Of a transport without
// ports the addresses do.
func (f *refFrame) transport(ip []byte, at int) {
	if f.piece == refLater || f.proto != tcp && f.proto != udp {
		f.payload = max(f.size-at, 0)
		f.sound = true
		return
	}
	need := map[uint8]int{tcp: 14, udp: 4}[f.proto]
	if len(ip) < at+need {
		return
	}
	h := ip[at:]
	f.sound = true
	f.sport, f.dport = binary.BigEndian.Uint16(h), binary.BigEndian.Uint16(h[2:])
	head := 8
	if f.tcp = f.proto == tcp; f.tcp {
		f.seq, f.ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
		f.flags, head = h[13], int(h[12]>>4)*4
	}
	f.payload = max(f.size-at-head, 0)
}

// refConn is a connection; refParts what the pieces of one packet share, RFC 791
// section 3.2 and RFC 8200 section 4.5, which does not name the protocol.
type refConn struct {
	client, server netip.AddrPort
	proto          uint8
}

type refParts struct {
	src, dst netip.Addr
	v6       bool
	id       uint32
	proto    uint8
}

// refFlow is a connection that was seen.
type refFlow struct {
	dest Destination
	path owned.PathIndex
	more bool // than its SYN has been said
}

// refServer is what an address is known as.
type refServer struct {
	chain   Chain
	others  Chain // what it is for those who have not looked it up, where global
	global  bool  // for everybody, else for those who have looked it up
	drained bool
}

// refSteer is what steer must know.
type refSteer struct {
	tables *Tables
	asked  [][6]byte // who has looked all names up
	known  map[netip.Addr]*refServer
	slots  map[Destination]Slot
	flows  map[refConn]*refFlow
	parts  map[refParts]owned.PathIndex
}

// refWay is what must become of a frame.
type refWay struct {
	verdict verdict
	mark    owned.PathIndex // that it gets; PathNone: it keeps what it has
	counted *CountKey       // nil: it counts for no destination
	kind    string          // for people
}

// frame says what must become of a frame.
func (r *refSteer) frame(f refFrame) refWay {
	switch {
	case !f.addressed || !r.listed(f.dst):
		return refWay{verdict: passed, kind: "not listed"}
	case !f.sound:
		return refWay{verdict: dropped, kind: "not sound"}
	}
	dest, drained := r.choose(f)
	if dest == 0 {
		return refWay{verdict: passed, kind: "listed for others"}
	}
	present := r.slots[dest]
	path, ok := r.path(f, &dest, drained)
	if !ok {
		return refWay{verdict: passed, kind: "drained"}
	}
	if path == owned.PathBlock || path == owned.PathDirect && present.Closed {
		return shutWay(f)
	}
	return openWay(dest, path, present.Path)
}

// openWay is what becomes of a frame that goes by a path.
func openWay(dest Destination, path, present owned.PathIndex) refWay {
	way := refWay{verdict: passed, counted: &CountKey{Destination: dest, Path: path}, kind: "direct"}
	if path != owned.PathDirect {
		way.mark, way.kind = path, "steered"
	}
	if path != present {
		way.kind = "kept"
	}
	return way
}

// shutWay is what becomes of a frame that may go nowhere: a reset answers TCP.
func shutWay(f refFrame) refWay {
	switch {
	case !f.tcp || f.piece != refWhole:
		return refWay{verdict: passed, mark: owned.PathBlock, kind: "blocked"}
	case f.flags&rst != 0:
		return refWay{verdict: dropped, kind: "reset of a client"}
	}
	return refWay{verdict: redirected, kind: "reset"}
}

// path is that of a frame's connection, and dest the destination that it counts
// for; false: a drained address has none.
func (r *refSteer) path(f refFrame, dest *Destination, drained bool) (owned.PathIndex, bool) {
	parts := refParts{f.src, f.dst, f.v6, f.id, f.proto}
	if f.v6 {
		parts.proto = 0
	}
	if f.piece == refLater {
		path, begun := r.parts[parts]
		if !begun && !drained {
			return r.slots[*dest].Path, true
		}
		return path, begun
	}
	flow := r.flow(f, *dest, drained)
	if flow == nil {
		return owned.PathNone, false
	}
	*dest = flow.dest
	flow.more = flow.more || f.payload > 0 || f.flags&(fin|rst) != 0
	if f.piece == refFirst {
		r.parts[parts] = flow.path
	}
	return flow.path, true
}

// flow is the one of a frame. A SYN begins another, on the present path, unless it
// says again what alone has been said.
func (r *refSteer) flow(f refFrame, dest Destination, drained bool) *refFlow {
	key := refConn{netip.AddrPortFrom(f.src, f.sport), netip.AddrPortFrom(f.dst, f.dport), f.proto}
	old, present := r.flows[key], r.slots[dest].Path
	begins := f.flags&(syn|ack) == syn
	if old != nil && !(begins && (old.more || old.path != present)) {
		return old
	}
	if drained {
		return nil
	}
	r.flows[key] = &refFlow{dest: dest, path: present}
	return r.flows[key]
}

// listed says whether an address is listed for somebody.
func (r *refSteer) listed(a netip.Addr) bool {
	return r.known[a] != nil || r.network(a) != nil
}

// choose gives the destination that a frame is for, and whether its rule is gone.
func (r *refSteer) choose(f refFrame) (dest Destination, drained bool) {
	bits := r.bits(f)
	switch s := r.known[f.dst]; {
	case s != nil && r.hasAsked(f.mac):
		dest, drained = taken(s.chain, bits), s.drained
	case s != nil && s.global:
		dest, drained = taken(s.others, bits), s.drained
	}
	if dest != 0 && !drained {
		return dest, false
	}
	if now := taken(r.network(f.dst), bits); now != 0 {
		return now, false
	}
	return dest, drained
}

func (r *refSteer) hasAsked(mac [6]byte) bool {
	for _, m := range r.asked {
		if m == mac {
			return true
		}
	}
	return false
}

// taken is the first destination of a chain that takes the client.
func taken(c Chain, bits ClientRule) Destination {
	for _, l := range c {
		if bit := uint64(1) << l.Bit; (!l.Include || bits.Include&bit != 0) && (!l.Exclude || bits.Exclude&bit == 0) {
			return l.Destination
		}
	}
	return 0
}

// network is the chain of the longest prefix around an address.
func (r *refSteer) network(a netip.Addr) (c Chain) {
	longest := -1
	for _, n := range r.tables.Networks {
		if n.Prefix.Contains(a) && n.Prefix.Bits() > longest {
			longest, c = n.Prefix.Bits(), n.Chain
		}
	}
	return c
}

// bits are those of the client's longest prefix, and of its MAC address.
func (r *refSteer) bits(f refFrame) (out ClientRule) {
	longest := -1
	for _, c := range r.tables.Clients {
		if c.Prefix.IsValid() && c.Prefix.Contains(f.src) && c.Prefix.Bits() > longest {
			longest, out.Include, out.Exclude = c.Prefix.Bits(), c.Include, c.Exclude
		}
	}
	for _, c := range r.tables.Clients {
		if !c.Prefix.IsValid() && c.MAC == f.mac {
			out.Include |= c.Include
			out.Exclude |= c.Exclude
		}
	}
	return out
}
