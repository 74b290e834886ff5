package interfere

import (
	"encoding/binary"
	"net/netip"
)

// Bits of a TCP header's flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// Numbers of protocols.
const (
	protoTCP = 6
	protoUDP = 17
)

// packet is what the provider reads of a TCP segment or UDP datagram.
type packet struct {
	src, dst netip.AddrPort
	proto    uint8
	seq, ack uint32 // of TCP
	flags    uint8  // of TCP
	payload  []byte
}

// parsePacket reads an IP packet; false for another protocol, a later fragment
// or a packet cut short.
func parsePacket(b []byte) (packet, bool) {
	if len(b) < 1 {
		return packet{}, false
	}
	var p packet
	var src, dst netip.Addr
	var ok bool
	if b[0]>>4 == 4 {
		src, dst, p.proto, b, ok = parseIPv4(b)
	} else {
		src, dst, p.proto, b, ok = parseIPv6(b)
	}
	if !ok || len(b) < 8 {
		return packet{}, false
	}
	p.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	p.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	switch p.proto {
	case protoUDP:
		p.payload = b[8:]
		return p, true
	case protoTCP:
		return p, p.parseTCP(b)
	}
	return packet{}, false
}

func parseIPv4(b []byte) (src, dst netip.Addr, proto uint8, rest []byte, ok bool) {
	if len(b) < 20 {
		return src, dst, 0, nil, false
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return src, dst, 0, nil, false
	}
	return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9], b[head:total], true
}

// parseIPv6 steps over hop-by-hop, routing and destination headers.
func parseIPv6(b []byte) (src, dst netip.Addr, proto uint8, rest []byte, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return src, dst, 0, nil, false
	}
	src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	proto = b[6]
	rest = b[40:]
	if length := int(binary.BigEndian.Uint16(b[4:])); length <= len(rest) {
		rest = rest[:length]
	}
	for proto == 0 || proto == 43 || proto == 60 {
		if len(rest) < 8 || len(rest) < 8+8*int(rest[1]) {
			return src, dst, 0, nil, false
		}
		proto, rest = rest[0], rest[8+8*int(rest[1]):]
	}
	return src, dst, proto, rest, true
}

func (p *packet) parseTCP(b []byte) bool {
	if len(b) < 20 {
		return false
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > len(b) {
		return false
	}
	p.seq, p.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	p.flags, p.payload = b[13], b[head:]
	return true
}

// resets are the segments that end a TCP connection on both of its sides, in the
// name of the other one; p is a segment of the client that the server does not
// get to see.
func (p packet) resets() (toClient, toServer []byte) {
	end := p.seq + uint32(len(p.payload))
	toClient = packet{src: p.dst, dst: p.src, proto: protoTCP, seq: p.ack, ack: end, flags: flagRST | flagACK}.build()
	toServer = packet{src: p.src, dst: p.dst, proto: protoTCP, seq: p.seq, ack: p.ack, flags: flagRST | flagACK}.build()
	return toClient, toServer
}

// build makes the IP packet. The kernel fills in the checksum of an IPv4 header.
func (p packet) build() []byte {
	var head []byte
	if p.proto == protoUDP {
		head = make([]byte, 8)
		binary.BigEndian.PutUint16(head[4:], uint16(8+len(p.payload)))
	} else {
		head = make([]byte, 20)
		binary.BigEndian.PutUint32(head[4:], p.seq)
		binary.BigEndian.PutUint32(head[8:], p.ack)
		head[12], head[13] = 5<<4, p.flags
	}
	binary.BigEndian.PutUint16(head, p.src.Port())
	binary.BigEndian.PutUint16(head[2:], p.dst.Port())
	body := append(head, p.payload...)
	src, dst := p.src.Addr().AsSlice(), p.dst.Addr().AsSlice()
	at := 16
	if p.proto == protoUDP {
		at = 6
	}
	binary.BigEndian.PutUint16(body[at:], checksum(p.proto, src, dst, body))
	if p.src.Addr().Is4() {
		ip := make([]byte, 20, 20+len(body))
		ip[0], ip[8], ip[9] = 0x45, 64, p.proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(body)))
		copy(ip[12:], src)
		copy(ip[16:], dst)
		return append(ip, body...)
	}
	ip := make([]byte, 40, 40+len(body))
	ip[0], ip[6], ip[7] = 0x60, p.proto, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(body)))
	copy(ip[8:], src)
	copy(ip[24:], dst)
	return append(ip, body...)
}

// checksum is that of TCP and UDP, over the pseudo header too (RFC 9293 section
// 3.1, RFC 8200 section 8.1), for a body whose checksum field is zero.
func checksum(proto uint8, src, dst, body []byte) uint16 {
	sum := uint32(proto) + uint32(len(body))
	for _, part := range [][]byte{src, dst, body} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum == 0xffff {
		return 0xffff // zero means none over UDP
	}
	return ^uint16(sum)
}
