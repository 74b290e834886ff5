package ebpf

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// frame describes one packet on the wire; build makes its octets. The zero
// values are those of a plain TCP or UDP packet in an Ethernet frame.
type frame struct {
	src, dst         netip.AddrPort
	srcMAC, dstMAC   [6]byte
	proto            uint8 // IANA
	payload          []byte
	flags            uint8 // TCP
	seq, ack         uint32
	tags             []uint16 // VLAN tags in band, EtherTypes from the outside
	options          int      // octets of IPv4 options, a multiple of 4
	ext              []ext    // IPv6 extension headers
	frag             bool     // IPv4: with offset and more
	offset           uint16   // of a fragment, octets
	more             bool
	id               uint32
	bare             bool // no Ethernet header
	totalLen         int  // IPv4 total or IPv6 payload length instead of the right one; -1: 0
	padding          int  // octets behind the IP packet
	cut              int  // octets of the end that are not there
	mapped           bool // IPv4 addresses in an IPv6 packet
	udpLen, dataOff  int  // instead of the right ones
	etherType, vihl  int
	extraTransport   []byte // instead of a TCP or UDP header
	noTransportBytes bool
}

// ext is one IPv6 extension header, of 8 octets unless size says more.
type ext struct {
	kind   uint8
	size   int
	offset uint16 // fragment header: octets
	more   bool
}

// IANA protocol numbers.
const (
	icmp4     = 1
	tcp       = 6
	udp       = 17
	extHop    = 0
	extRoute  = 43
	extFrag   = 44
	extESP    = 50
	extAuth   = 51
	icmp6     = 58
	extDest   = 60
	protoSCTP = 132
)

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

func (f frame) v6() bool { return f.mapped || f.dst.Addr().Is6() }

// build returns the packet's octets.
func (f frame) build() []byte {
	body := f.transport()
	var ip []byte
	if f.v6() {
		ip = f.ipv6(body)
	} else {
		ip = f.ipv4(body)
	}
	out := append(f.ethernet(), ip...)
	out = append(out, make([]byte, f.padding)...)
	return out[:len(out)-f.cut]
}

func (f frame) ethernet() []byte {
	if f.bare {
		return nil
	}
	out := slices.Concat(f.dstMAC[:], f.srcMAC[:])
	for _, tag := range f.tags {
		out = binary.BigEndian.AppendUint16(out, tag)
		out = append(out, 0, 10) // VLAN 10
	}
	kind := uint16(0x0800)
	if f.v6() {
		kind = 0x86dd
	}
	if f.etherType != 0 {
		kind = uint16(f.etherType)
	}
	return binary.BigEndian.AppendUint16(out, kind)
}

func (f frame) ipv4(body []byte) []byte {
	h := make([]byte, 20+f.options)
	h[0] = 0x40 | byte(len(h)/4)
	if f.vihl != 0 {
		h[0] = byte(f.vihl)
	}
	f.length(h[2:], len(h)+len(body))
	binary.BigEndian.PutUint16(h[4:], uint16(f.id))
	if f.frag {
		binary.BigEndian.PutUint16(h[6:], f.offset/8|bit(f.more, 0x2000))
	}
	h[8], h[9] = 64, f.proto
	copy(h[12:], f.src.Addr().AsSlice())
	copy(h[16:], f.dst.Addr().AsSlice())
	for i := range f.options {
		h[20+i] = 1 // no operation
	}
	binary.BigEndian.PutUint16(h[10:], ^onesSum(h, 0))
	return append(h, body...)
}

func bit(on bool, v uint16) uint16 {
	if on {
		return v
	}
	return 0
}

func (f frame) length(at []byte, right int) {
	switch f.totalLen {
	case 0:
	case -1:
		right = 0
	default:
		right = f.totalLen
	}
	binary.BigEndian.PutUint16(at, uint16(right))
}

func (f frame) ipv6(body []byte) []byte {
	next, chain := f.proto, []byte{}
	for _, e := range slices.Backward(f.ext) {
		chain = append(e.build(next, f.id), chain...)
		next = e.kind
	}
	body = append(chain, body...)
	h := make([]byte, 40)
	h[0] = 0x60
	f.length(h[4:], len(body))
	h[6], h[7] = next, 64
	src, dst := f.src.Addr().As16(), f.dst.Addr().As16()
	copy(h[8:], src[:])
	copy(h[24:], dst[:])
	return append(h, body...)
}

func (e ext) build(next uint8, id uint32) []byte {
	h := make([]byte, max(e.size, 8))
	h[0] = next
	switch e.kind {
	case extFrag:
		binary.BigEndian.PutUint16(h[2:], e.offset|bit(e.more, 1))
		binary.BigEndian.PutUint32(h[4:], id)
	case extAuth:
		h[1] = byte(len(h)/4 - 2)
	default:
		h[1] = byte(len(h)/8 - 1)
	}
	return h
}

func (f frame) transport() []byte {
	if f.extraTransport != nil || f.noTransportBytes {
		return append(slices.Clone(f.extraTransport), f.payload...)
	}
	ports := binary.BigEndian.AppendUint16(nil, f.src.Port())
	ports = binary.BigEndian.AppendUint16(ports, f.dst.Port())
	switch f.proto {
	case tcp:
		h := append(ports, make([]byte, 16)...)
		binary.BigEndian.PutUint32(h[4:], f.seq)
		binary.BigEndian.PutUint32(h[8:], f.ack)
		h[12], h[13] = 5<<4, f.flags
		if f.dataOff != 0 {
			h[12] = byte(f.dataOff << 2)
			h = append(h, make([]byte, f.dataOff-20)...)
		}
		return append(h, f.payload...)
	case udp:
		n := 8 + len(f.payload)
		if f.udpLen != 0 {
			n = f.udpLen
		}
		h := append(binary.BigEndian.AppendUint16(ports, uint16(n)), 0, 0)
		return append(h, f.payload...)
	}
	return f.payload
}

// onesSum is the Internet checksum (RFC 1071) before its inversion.
func onesSum(b []byte, start uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		start += uint32(b[len(b)-1]) << 8
	}
	for start > 0xffff {
		start = start&0xffff + start>>16
	}
	return uint16(start)
}
