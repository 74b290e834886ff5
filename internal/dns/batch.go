package dns

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many datagrams are read and sent in one go.
	batchSize = 8
	// batchRoom holds the usual answers to a batch; others are allocated.
	batchRoom = 8 << 10
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // octets of the datagram
}

// datagram is where one is read to, and its answer sent from.
type datagram struct {
	iov, out unix.Iovec
	reply    []byte // what out points at
	from     [unix.SizeofSockaddrInet6]byte
	oob      [oobSize]byte
	msg      [maxQuery]byte
}

// batch reads datagrams of a socket and sends answers to them, several for one
// system call, and without telling the Go scheduler: the calls do not wait, and
// what it does for those that may costs a seventh of all where many clients ask.
type batch struct {
	raw  syscall.RawConn
	in   [batchSize]mmsghdr
	out  [batchSize]mmsghdr // answers, with the address and control message of the query
	data [batchSize]datagram
	room []byte

	got, answers int // of in and of out, that are in use
	used         int // of room
	err          syscall.Errno
	// Made once: each time would be an allocation.
	receiveOn, sendOn func(fd uintptr) bool
}

func newBatch(conn *net.UDPConn) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{raw: raw, room: make([]byte, batchRoom)}
	for i := range b.data {
		d := &b.data[i]
		d.iov.Base = &d.msg[0]
		d.iov.SetLen(len(d.msg))
		b.in[i].hdr = unix.Msghdr{Name: &d.from[0], Iov: &d.iov, Control: &d.oob[0]}
		b.in[i].hdr.SetIovlen(1)
	}
	b.receiveOn = func(fd uintptr) bool {
		b.got, b.err = mmsg(unix.SYS_RECVMMSG, fd, b.in[:])
		return b.err != unix.EAGAIN
	}
	b.sendOn = b.sendAll
	return b, nil
}

// mmsg is recvmmsg or sendmmsg of a socket that does not wait.
func mmsg(call, fd uintptr, msgs []mmsghdr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// receive waits for datagrams and says how many have come. The errors of packets
// that were sent before are none of its own. net.ErrClosed: the socket is closed.
func (b *batch) receive() (int, error) {
	b.answers, b.used = 0, 0
	for i := range b.in {
		h := &b.in[i].hdr
		h.Namelen, h.Flags = unix.SizeofSockaddrInet6, 0
		h.SetControllen(oobSize)
	}
	if err := b.raw.Read(b.receiveOn); err != nil {
		return 0, err
	}
	if b.err != 0 {
		return 0, nil
	}
	return b.got, nil
}

// query is a datagram that was received, with its control message and its
// sender; false where one of them was cut off.
func (b *batch) query(i int) (msg, oob []byte, from netip.AddrPort, ok bool) {
	m, d := &b.in[i], &b.data[i]
	if m.hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, from, false
	}
	from, ok = readSockaddr(d.from[:m.hdr.Namelen])
	return d.msg[:m.n], d.oob[:m.hdr.Controllen], from, ok
}

// free is room for the next answer.
func (b *batch) free() []byte { return b.room[b.used:b.used] }

// answer keeps the answer to query i, which may lie in what free gave, for send.
func (b *batch) answer(i int, reply []byte) {
	if len(reply) == 0 {
		return
	}
	if room := b.room[b.used:]; len(reply) <= len(room) && &room[0] == &reply[0] {
		b.used += len(reply)
	}
	d, m := &b.data[i], &b.out[b.answers]
	d.reply = reply
	d.out.Base = &reply[0]
	d.out.SetLen(len(reply))
	m.hdr = b.in[i].hdr
	m.hdr.Iov = &d.out
	b.answers++
}

// send sends all answers. Whom one cannot be sent to asks again or does not.
func (b *batch) send() {
	if b.answers > 0 {
		_ = b.raw.Write(b.sendOn)
	}
}

// sendAll sends as many as the socket takes; false: it takes no more for now.
func (b *batch) sendAll(fd uintptr) bool {
	for left := b.out[:b.answers]; len(left) > 0; {
		n, errno := mmsg(unix.SYS_SENDMMSG, fd, left)
		switch {
		case errno == unix.EAGAIN:
			copy(b.out[:], left)
			b.answers = len(left)
			return false
		case errno != 0:
			n = 1 // the first one failed
		}
		left = left[n:]
	}
	return true
}

// readSockaddr reads struct sockaddr_in or sockaddr_in6. The zone is the number of
// a device, where the address means nothing without it.
func readSockaddr(b []byte) (netip.AddrPort, bool) {
	if len(b) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}, false
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port), true
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6:
		a := netip.AddrFrom16([16]byte(b[8:24]))
		if zone := binary.NativeEndian.Uint32(b[24:]); zone != 0 && a.IsLinkLocalUnicast() {
			a = a.WithZone(strconv.Itoa(int(zone)))
		}
		return netip.AddrPortFrom(a, port), true
	}
	return netip.AddrPort{}, false
}
