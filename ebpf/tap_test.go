package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// tap is a device whose other end the test holds: what is written to it comes
// in, what the kernel sends out of it is read. Each packet has a virtio header.
type tap struct {
	*os.File
	ns    netns.NsHandle
	index int
	bare  bool // without Ethernet header
}

const (
	vnetLen       = 10 // octets of the header
	vnetNeedsSum  = 1
	vnetGSOTCPv4  = 1
	vnetGSOUDP    = 5 // VIRTIO_NET_HDR_GSO_UDP_L4
	tapMTU        = 16000
	answerTimeout = 10 * time.Second
)

func newTap(t *testing.T, ns netns.NsHandle, name string, bare bool) *tap {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	mode := uint16(unix.IFF_TAP)
	if bare {
		mode = unix.IFF_TUN
	}
	req.SetUint16(mode | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	l := up(t, name)
	if err := netlink.LinkSetMTU(l, tapMTU); err != nil {
		t.Fatal(err)
	}
	return &tap{File: f, ns: ns, index: l.Attrs().Index, bare: bare}
}

// vnet is a virtio_net_hdr; the checksum fields count from the packet's start.
type vnet struct {
	flags, gso               uint8
	head, size, start, field uint16
}

func (v vnet) header() []byte {
	b := []byte{v.flags, v.gso}
	for _, n := range []uint16{v.head, v.size, v.start, v.field} {
		b = binary.NativeEndian.AppendUint16(b, n)
	}
	return b
}

func (p *tap) receive(t *testing.T, packet []byte, v vnet) {
	t.Helper()
	if _, err := p.Write(append(v.header(), packet...)); err != nil {
		t.Fatal(err)
	}
}

// transmit sends a packet out of the device as the kernel does, its payload in
// pages of its own where it is long.
func (p *tap) transmit(t *testing.T, packet []byte, v vnet, proto uint16) {
	t.Helper()
	var fd int
	var err error
	inside(t, p.ns, func() { fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: p.index, Protocol: proto}
	// No buffer space: the packet was withheld.
	err = unix.Sendto(fd, append(v.header(), packet...), 0, to)
	if v.gso == vnetGSOUDP && errors.Is(err, unix.EINVAL) {
		t.Skip("the kernel segments no datagrams of packet sockets (before 6.2)")
	}
	if err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatal(err)
	}
}

// next reads packets until one satisfies is.
func (p *tap) next(t *testing.T, is func(packet []byte) bool) []byte {
	t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<17)
	for {
		n, err := p.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("no such packet came out of the device")
		}
		if err != nil {
			t.Fatal(err)
		}
		if packet := buf[vnetLen:n]; is(packet) {
			return bytes.Clone(packet)
		}
	}
}

// etherProto is a packet's type as sockaddr_ll has it.
func etherProto(f frame) uint16 {
	b := []byte{0x08, 0x00}
	if f.v6() {
		b = []byte{0x86, 0xdd}
	}
	return binary.NativeEndian.Uint16(b)
}

// tapWorld is a data plane that is attached to a tap.
func tapWorld(t *testing.T, bare bool) (*tap, *DataPlane) {
	t.Helper()
	p := newTap(t, enterNetns(t), "lan0", bare)
	d := mustOpen(t, testOptions(t))
	dest, err := d.Destinations([]string{"closed", "open", "blocked"})
	if err != nil {
		t.Fatal(err)
	}
	to := func(name string) Chain { return Chain{{Destination: dest[name]}} }
	mustSet(t, d, &Tables{
		Slots: map[Destination]Slot{
			dest["closed"]:  {Path: tunnelA, Closed: true},
			dest["open"]:    {Path: tunnelB},
			dest["blocked"]: {Path: owned.PathBlock, Closed: true},
		},
		Names: []NameRule{{Name: "closed.example", Suffix: to("closed")}, {Name: "open.example", Suffix: to("open")}},
		Networks: []NetworkRule{
			{Prefix: netip.MustParsePrefix("198.51.100.4/32"), Chain: to("blocked")},
			{Prefix: netip.MustParsePrefix("2001:db8:5::4/128"), Chain: to("blocked")},
		},
	})
	mustAttach(t, d, "lan0")
	return p, d
}

// pseudoSum fills in what a sender leaves there whose device sums the segment:
// the pseudo header's sum.
func pseudoSum(packet []byte, f frame) []byte {
	l4 := len(f.ethernet()) + 20
	from, to := l4-8, l4
	if f.v6() {
		l4 += 20
		from, to = l4-32, l4
	}
	sum := onesSum(packet[from:to], uint32(f.proto)+uint32(len(packet)-l4))
	binary.BigEndian.PutUint16(packet[l4+16:], sum)
	return packet
}

func (f frame) sumAt() uint16 {
	if f.v6() {
		return uint16(len(f.ethernet()) + 40)
	}
	return uint16(len(f.ethernet()) + 20)
}

// Resets get a right checksum also where the device was to sum the packet that
// they answer, as of GRO and of containers.
func TestResetsOnTheWire(t *testing.T) {
	data := func(f *frame) { f.flags, f.ack, f.payload = ack|psh, 0xdeadbeef, make([]byte, 3000) }
	for _, bare := range []bool{false, true} {
		p, _ := tapWorld(t, bare)
		for _, c := range []struct {
			name  string
			frame frame
			sum   bool
			gso   uint16
		}{
			{"SYN", to("198.51.100.4"), false, 0},
			{"SYN, sum pending", to("198.51.100.4"), true, 0},
			{"SYN, IPv6", to("2001:db8:5::4"), false, 0},
			{"SYN, IPv6, sum pending", to("2001:db8:5::4"), true, 0},
			{"data", to("198.51.100.4", data), false, 0},
			{"data, sum pending", to("198.51.100.4", data), true, 0},
			{"data, coalesced", to("198.51.100.4", data), true, 1000},
		} {
			t.Run(c.name, func(t *testing.T) {
				c.frame.bare = bare
				packet, v := c.frame.build(), vnet{}
				if c.sum {
					packet = pseudoSum(packet, c.frame)
					v = vnet{flags: vnetNeedsSum, start: c.frame.sumAt(), field: 16}
				}
				if c.gso > 0 {
					v.gso, v.size, v.head = vnetGSOTCPv4, c.gso, c.frame.sumAt()+20
				}
				p.receive(t, packet, v)
				got := p.next(t, func(b []byte) bool { return bytes.Contains(b, c.frame.dst.Addr().AsSlice()) })
				checkReset(t, c.frame, got)
			})
		}
	}
}

func TestLearnsOnTheWire(t *testing.T) {
	for _, bare := range []bool{false, true} {
		p, d := tapWorld(t, bare)
		for _, c := range []struct {
			name    string
			message []byte
			passes  bool
			known   int
		}{
			{"short", plain("closed.example", "198.51.101.9"), true, 1},
			{"4,096 octets", sized("closed.example", 4096), true, 60},
			{"4,096 octets, open", sized("open.example", 4096), true, 60},
			{"4,097 octets", sized("closed.example", 4097), false, 0},
			{"4,097 octets, open", sized("open.example", 4097), true, 0},
			{"12,000 octets", sized("closed.example", 12000), false, 0},
			{"12,000 octets, unlisted", sized("www.example", 12000), true, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				d.forgetAll(t)
				f, marker := carry(c.message), carry(plain("www.example", "192.0.2.1"))
				f.bare, marker.bare = bare, bare
				// Only the headers lie in the skb's own memory.
				p.transmit(t, f.build(), vnet{head: f.sumAt() + 8}, etherProto(f))
				p.transmit(t, marker.build(), vnet{}, etherProto(marker))
				passed := false
				p.next(t, func(b []byte) bool {
					passed = passed || bytes.Contains(b, c.message)
					return bytes.Contains(b, marker.payload)
				})
				if passed != c.passes || len(d.knownAddrs(t)) != c.known {
					t.Errorf("passed %t, %d addresses known; want %t, %d", passed, len(d.knownAddrs(t)), c.passes, c.known)
				}
			})
		}
	}
}

// sized is an answer of 60 addresses and n octets.
func sized(name string, n int) []byte {
	var m dns.Msg
	if err := m.Unpack(many(name, 60)); err != nil {
		panic(err)
	}
	m.Compress = true
	head := len(wire(&m)) + 12
	txt := &dns.NULL{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeNULL, Class: dns.ClassINET}}
	txt.Data = string(make([]byte, n-head))
	m.Answer = append(m.Answer, txt)
	return wire(&m)
}

// A device that splits large datagrams sees several answers as one packet.
func TestLearnsFromSegmentedDatagramsOnTheWire(t *testing.T) {
	p, d := tapWorld(t, false)
	pad := func(b []byte) []byte { return append(b, make([]byte, 64-len(b))...) }
	f := carry(append(pad(plain("closed.example", "198.51.100.1")), pad(plain("open.example", "198.51.100.2"))...))
	v := vnet{flags: vnetNeedsSum, gso: vnetGSOUDP, head: f.sumAt() + 8, size: 64, start: f.sumAt(), field: 6}
	p.transmit(t, f.build(), v, etherProto(f))
	for _, name := range []string{"closed", "open"} {
		p.next(t, func(b []byte) bool { return bytes.Contains(b, labels(name, "example")) })
	}
	if got := d.knownAddrs(t); len(got) != 2 {
		t.Errorf("known %v", got)
	}
}
