package dns

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// oobSize holds the control message of either family.
const oobSize = 64

// arrival says where a packet came in.
type arrival struct {
	local   netip.Addr // the address that was asked
	ifindex int
}

// readArrival reads the control message that came with a packet. It also
// changes the message to one that makes the answer leave from the address that
// was asked: the device stays named only where an address means nothing
// without it.
func readArrival(oob []byte) (arrival, bool) {
	if len(oob) < unix.SizeofCmsghdr { // which the parser does not expect
		return arrival{}, false
	}
	header, data, _, err := unix.ParseOneSocketControlMessage(oob)
	switch {
	case err != nil:
		return arrival{}, false
	case header.Level == unix.SOL_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		in := arrival{netip.AddrFrom4([4]byte(data[8:12])), int(binary.NativeEndian.Uint32(data))}
		clear(data[:4])
		copy(data[4:8], data[8:12])
		return in, unicast(in.local)
	case header.Level == unix.SOL_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		in := arrival{netip.AddrFrom16([16]byte(data[:16])), int(binary.NativeEndian.Uint32(data[16:]))}
		if !in.local.IsLinkLocalUnicast() {
			clear(data[16:20])
		}
		return in, unicast(in.local)
	}
	return arrival{}, false
}

// unicast says whether an answer may have this source.
func unicast(a netip.Addr) bool {
	return !a.IsMulticast() && !a.IsUnspecified() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// wantArrival makes a socket tell where packets and connections come in.
func wantArrival(network string, c syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_PKTINFO
	if network == "udp6" || network == "tcp6" {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVPKTINFO
	}
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err == nil {
		err = os.NewSyscallError("ask for packet information", failed)
	}
	return err
}

// ipv62292PktOptions is IPV6_2292PKTOPTIONS of linux/in6.h.
const ipv62292PktOptions = 6

// deviceOf gives the device that an accepted connection's SYN came in by. The
// kernel keeps it for sockets whose listener had wantArrival (IP_PKTOPTIONS in
// net/ipv4/ip_sockglue.c, IPV6_2292PKTOPTIONS in net/ipv6/ipv6_sockglue.c).
func deviceOf(c syscall.RawConn, ipv6 bool) (int, error) {
	level, option := unix.SOL_IP, unix.IP_PKTOPTIONS
	if ipv6 {
		level, option = unix.SOL_IPV6, ipv62292PktOptions
	}
	var buf [oobSize * 2]byte
	size := uint32(len(buf))
	var errno syscall.Errno
	err := c.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(option),
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	in, ok := readArrival(buf[:size])
	if !ok {
		return 0, os.NewSyscallError("read packet information", unix.ENODATA)
	}
	return in.ifindex, nil
}
