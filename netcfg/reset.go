package netcfg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Reset is one flow that shall end at its client.
type Reset struct {
	Proto  uint8 // IPPROTO_TCP, IPPROTO_UDP
	Client netip.AddrPort
	Server netip.AddrPort
	// Seq is what the client last acknowledged: the sequence number that it
	// expects next. A client takes a reset at exactly that number only (RFC
	// 5961).
	Seq uint32
	// Ack is the sequence number that the client sends next. It is needed while
	// the client waits for the answer to its SYN: then it is that SYN's number
	// plus one. 0 leaves it out.
	Ack    uint32
	Device string // the LAN device that the client is behind
}

// Sizes and values of RFC 791, 792, 4443, 8200, 9293.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	tcpHeaderLen  = 20
	udpHeaderLen  = 8
	icmpHeaderLen = 8

	tcpFlagACK = 0x10

	icmpUnreachable   = 3
	icmpPort          = 3
	icmpv6Unreachable = 1
	icmpv6Port        = 4

	packetTTL = 64
)

// Reset tells clients that their flows are over, in the name of the server:
// TCP by a reset, everything else by "port unreachable", which a connected
// socket reports as refused. It sends to all it can and joins the errors.
func (n *Net) Reset(ctx context.Context, resets []Reset) error {
	s := senders{}
	defer s.close()
	var errs []error
	for _, r := range resets {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := s.send(r); err != nil {
			errs = append(errs, fmt.Errorf("reset flow of %s to %s: %w", r.Client, r.Server, err))
		}
	}
	return errors.Join(errs...)
}

// sender tells sockets apart.
type sender struct {
	family Family
	device string
}

// senders are raw sockets, one a family and device.
type senders map[sender]int

func (s senders) close() {
	for _, fd := range s {
		unix.Close(fd)
	}
}

func (s senders) send(r Reset) error {
	packet, err := r.packet()
	if err != nil {
		return err
	}
	k := sender{IPv4, r.Device}
	if r.Client.Addr().Unmap().Is6() {
		k.family = IPv6
	}
	fd, ok := s[k]
	if !ok {
		if fd, err = openRaw(k); err != nil {
			return err
		}
		s[k] = fd
	}
	to, err := r.destination()
	if err != nil {
		return err
	}
	return unix.Sendto(fd, packet, 0, to)
}

// openRaw opens a socket that takes whole packets, headers included, and sends
// them by one device.
func openRaw(k sender) (int, error) {
	fd, err := unix.Socket(int(k.family), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return 0, fmt.Errorf("open raw socket: %w", err)
	}
	if err := unix.BindToDevice(fd, k.device); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("bind to device %s: %w", k.device, err)
	}
	return fd, nil
}

func (r Reset) destination() (unix.Sockaddr, error) {
	a := r.Client.Addr().Unmap()
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}, nil
	}
	to := &unix.SockaddrInet6{Addr: a.As16()}
	if a.IsLinkLocalUnicast() {
		dev, err := net.InterfaceByName(r.Device)
		if err != nil {
			return nil, err
		}
		to.ZoneId = uint32(dev.Index)
	}
	return to, nil
}

// packet is the whole packet to the client.
func (r Reset) packet() ([]byte, error) {
	client, server := r.Client.Addr().Unmap().WithZone(""), r.Server.Addr().Unmap().WithZone("")
	if !client.IsValid() || !server.IsValid() || client.Is4() != server.Is4() {
		return nil, errors.New("client and server are not of one family")
	}
	if r.Proto == unix.IPPROTO_TCP {
		segment := r.tcp()
		checksumInto(segment[16:], segment, pseudoSum(server, client, unix.IPPROTO_TCP, len(segment)))
		return append(ipHeader(server, client, unix.IPPROTO_TCP, len(segment)), segment...), nil
	}
	message, proto := r.icmp(client, server)
	return append(ipHeader(server, client, proto, len(message)), message...), nil
}

// tcp is the segment, its checksum not yet filled in.
func (r Reset) tcp() []byte {
	b := make([]byte, tcpHeaderLen)
	binary.BigEndian.PutUint16(b, r.Server.Port())
	binary.BigEndian.PutUint16(b[2:], r.Client.Port())
	binary.BigEndian.PutUint32(b[4:], r.Seq)
	b[12] = tcpHeaderLen / 4 << 4
	b[13] = tcpFlagRST
	if r.Ack != 0 {
		binary.BigEndian.PutUint32(b[8:], r.Ack)
		b[13] |= tcpFlagACK
	}
	return b
}

// icmp is the message: it quotes the beginning of a packet of the client's, by
// which the client finds the socket.
func (r Reset) icmp(client, server netip.Addr) (message []byte, proto uint8) {
	quoted := make([]byte, udpHeaderLen)
	binary.BigEndian.PutUint16(quoted, r.Client.Port())
	binary.BigEndian.PutUint16(quoted[2:], r.Server.Port())
	binary.BigEndian.PutUint16(quoted[4:], udpHeaderLen)
	message = make([]byte, icmpHeaderLen)
	message = append(message, ipHeader(client, server, r.Proto, udpHeaderLen)...)
	message = append(message, quoted...)
	if client.Is4() {
		message[0], message[1] = icmpUnreachable, icmpPort
		checksumInto(message[2:], message, 0)
		return message, unix.IPPROTO_ICMP
	}
	message[0], message[1] = icmpv6Unreachable, icmpv6Port
	checksumInto(message[2:], message, pseudoSum(server, client, unix.IPPROTO_ICMPV6, len(message)))
	return message, unix.IPPROTO_ICMPV6
}

// ipHeader is the header of a packet with length bytes behind it.
func ipHeader(src, dst netip.Addr, proto uint8, length int) []byte {
	if src.Is4() {
		b := make([]byte, ipv4HeaderLen)
		b[0] = 4<<4 | ipv4HeaderLen/4
		binary.BigEndian.PutUint16(b[2:], uint16(ipv4HeaderLen+length))
		binary.BigEndian.PutUint16(b[6:], 0x4000) // don't fragment, so that identification 0 will do
		b[8], b[9] = packetTTL, proto
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		checksumInto(b[10:], b, 0)
		return b
	}
	b := make([]byte, ipv6HeaderLen)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	b[6], b[7] = proto, packetTTL
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return b
}

// pseudoSum sums the pseudo-header of RFC 9293 and RFC 8200.
func pseudoSum(src, dst netip.Addr, proto uint8, length int) uint32 {
	return sum16(src.AsSlice()) + sum16(dst.AsSlice()) + uint32(proto) + uint32(length)
}

// sum16 adds up 16-bit words; an odd byte counts as the high one. Packets of
// at most 64 KiB cannot overflow it.
func sum16(b []byte) uint32 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// checksumInto writes the checksum of RFC 1071 over data, whose own field is
// still zero, plus a sum that has been made already.
func checksumInto(field, data []byte, sum uint32) {
	sum += sum16(data)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(field, ^uint16(sum))
}
