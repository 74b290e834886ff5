package bench

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Octets of headers.
const (
	etherLen   = 14
	ipLen      = 20
	udpLen     = 8
	headersLen = etherLen + ipLen + udpLen
)

// datagram is a UDP packet over IPv4 in an Ethernet frame.
type datagram struct {
	to, from       net.HardwareAddr
	source, target netip.AddrPort
	payload        []byte
}

// frame gives its octets. It has no checksum of UDP, which IPv4 permits.
func (d datagram) frame() []byte {
	b := make([]byte, headersLen, headersLen+len(d.payload))
	copy(b, d.to)
	copy(b[6:], d.from)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip, udp := b[etherLen:], b[etherLen+ipLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+udpLen+len(d.payload)))
	copy(ip[12:], d.source.Addr().AsSlice())
	copy(ip[16:], d.target.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], headerSum(ip[:ipLen]))
	binary.BigEndian.PutUint16(udp, d.source.Port())
	binary.BigEndian.PutUint16(udp[2:], d.target.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpLen+len(d.payload)))
	return append(b, d.payload...)
}

// headerSum is the checksum of an IPv4 header whose own is still zero (RFC 1071).
func headerSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// offset is the address n behind another one.
func offset(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}
