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

// Flags of TCP.
const (
	tcpSYN = 0x02
	tcpACK = 0x10
)

// datagram is a packet over IPv4 in an Ethernet frame: of UDP, or of TCP where it has
// flags.
type datagram struct {
	to, from       net.HardwareAddr
	source, target netip.AddrPort
	flags          byte
	payload        []byte
}

// frame gives its octets. It has no checksum of UDP, which IPv4 permits, nor of TCP,
// which no router reads.
func (d datagram) frame() []byte {
	transport := d.transport()
	b := make([]byte, etherLen+ipLen, headersLen+len(transport))
	copy(b, d.to)
	copy(b[6:], d.from)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip := b[etherLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	if d.flags != 0 {
		ip[9] = unix.IPPROTO_TCP
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+len(transport)))
	copy(ip[12:], d.source.Addr().AsSlice())
	copy(ip[16:], d.target.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], headerSum(ip))
	return append(b, transport...)
}

// transport is what the IPv4 header is before.
func (d datagram) transport() []byte {
	b := binary.BigEndian.AppendUint16(nil, d.source.Port())
	b = binary.BigEndian.AppendUint16(b, d.target.Port())
	if d.flags != 0 {
		return append(append(b, 0, 0, 0, 1, 0, 0, 0, 1, 5<<4, d.flags, 0xff, 0xff, 0, 0, 0, 0), d.payload...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(udpLen+len(d.payload)))
	return append(append(b, 0, 0), d.payload...)
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
