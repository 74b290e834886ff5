package daemon

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/ebpf"
)

// lanClient is the client on the far end of br-lan; its packets are written as
// they would come from the wire.
const (
	lanClient    = "192.168.1.40"
	lanClientMAC = "02:00:00:00:00:28"
)

// syn has the client open a connection.
func (r *router) syn(server string, port uint16) {
	r.Helper()
	r.packet(server, protoTCP, port, 20, func(b []byte) {
		b[12], b[13] = 5<<4, 2 // data offset, SYN
	})
}

// datagram has the client send a UDP packet without payload.
func (r *router) datagram(server string, port uint16) {
	r.Helper()
	r.packet(server, protoUDP, port, 8, func(b []byte) { binary.BigEndian.PutUint16(b[4:], 8) })
}

// packet writes an IPv4 packet of the client with a transport header of its own.
func (r *router) packet(server string, proto uint8, port uint16, size int, fill func([]byte)) {
	r.Helper()
	lan, err := net.InterfaceByName("br-lan")
	if err != nil {
		r.Fatal(err)
	}
	far, err := net.InterfaceByName("far-br-lan")
	if err != nil {
		r.Fatal(err)
	}
	mac, _ := net.ParseMAC(lanClientMAC)
	ip := make([]byte, 20+size)
	ip[0], ip[8], ip[9] = 4<<4|5, 64, proto
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], netip.MustParseAddr(lanClient).AsSlice())
	copy(ip[16:], netip.MustParseAddr(server).AsSlice())
	binary.BigEndian.PutUint16(ip[20:], 40000+port)
	binary.BigEndian.PutUint16(ip[22:], port)
	fill(ip[20:])
	frame := append(append(append([]byte{}, lan.HardwareAddr...), mac...), 0x08, 0x00)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, append(frame, ip...), 0, &unix.SockaddrLinklayer{Ifindex: far.Index}); err != nil {
		r.Fatal(err)
	}
}

// resolver is a name server on the router, whose answers the kernel reads.
type resolver struct {
	*router
	conn *net.UDPConn
	to   *net.UDPAddr
}

// resolver answers from one of the router's addresses to a client or itself.
func (r *router) resolver(from, to string) *resolver {
	r.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from), Port: 53})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	return &resolver{r, conn, &net.UDPAddr{IP: net.ParseIP(to), Port: 5353}}
}

// answer sends an answer for a name, as to a question that was asked.
func (s *resolver) answer(name string, addrs ...netip.Addr) {
	s.Helper()
	n := dnsmessage.MustNewName(name + ".")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	for _, a := range addrs {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: n, Class: dnsmessage.ClassINET, TTL: 300},
			Body:   &dnsmessage.AResource{A: a.As4()},
		})
	}
	b, err := m.Pack()
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.conn.WriteToUDP(b, s.to); err != nil {
		s.Fatal(err)
	}
}

// numbered is an address of 20.0.0.0/8.
func numbered(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)})
}

// flowsTo counts the flows to a server that have not been ended.
func flowsTo(r *router, dp *ebpf.DataPlane, server string) (open, ended int) {
	r.Helper()
	all, err := dp.Flows()
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range all {
		switch {
		case f.Server.Addr().String() != server:
		case f.Flags&ebpf.FlowEnded != 0:
			ended++
		default:
			open++
		}
	}
	return open, ended
}

// meetClient tells the router where the client is.
func (r *router) meetClient() {
	r.Helper()
	r.run(fmt.Sprintf("ip neigh replace %s lladdr %s dev br-lan nud permanent", lanClient, lanClientMAC))
}
