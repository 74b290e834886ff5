package router

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endsWhatBeganBefore opens a direct connection to an address, which then becomes
// listed. From there on nothing of it leaves by the WAN, with the daemon halted,
// too, though the kernel forwards the connection past the rules; the client learns
// as soon as the daemon goes on, and no other connection suffers.
func (w *world) endsWhatBeganBefore() {
	w.Helper()
	s, err := w.status()
	w.must(err)
	w.Logf("figure offload %s", s.DataPlane.FlowOffload)
	name := fmt.Sprintf(listed, 950)
	c := w.echoing(addressOf(name))
	defer c.Close()
	other := w.echoing(addressOf(fmt.Sprintf(unlisted, 950)))
	defer other.Close()
	left := w.watchWAN(addressOf(name))
	w.echoes(c, "before")
	if left() == 0 {
		w.Error("no packet of the connection was seen at the WAN")
	}
	_, err = w.lookUp(name)
	w.must(err)
	w.must(w.daemon.Process.Signal(syscall.SIGSTOP))
	before := left()
	_, err = c.Write([]byte("listed now"))
	w.must(err)
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err = c.Read(make([]byte, 16))
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
		w.Errorf("a connection that began before its address was listed: %v, want no answer or a reset", err)
	}
	w.echoes(other, "while the daemon is halted")
	w.must(w.daemon.Process.Signal(syscall.SIGCONT))
	began := time.Now()
	_ = c.SetReadDeadline(time.Now().Add(usual))
	if !errors.Is(err, syscall.ECONNRESET) {
		if _, err = c.Read(make([]byte, 16)); !errors.Is(err, syscall.ECONNRESET) {
			w.Errorf("it ended by %v, want a reset", err)
		}
	}
	w.Logf("reset %s after the daemon went on", time.Since(began).Round(10*time.Millisecond))
	if n := left() - before; n > 0 {
		w.Errorf("%d packets of it left by the WAN after its address was listed", n)
	}
	w.echoes(other, "after that")
	if got := w.seen(name); got != tunnelAddress {
		w.Errorf("%s was reached as %s from then on, want %s", name, got, tunnelAddress)
	}
}

// echoing is a connection of the client's to an address, without a lookup, that
// has carried enough for the kernel to forward it past the rules.
func (w *world) echoing(to netip.Addr) net.Conn {
	w.Helper()
	var c net.Conn
	var err error
	w.in(w.client, func() { c, err = net.DialTimeout("tcp4", to.String()+":80", time.Minute) })
	w.must(err)
	_, err = fmt.Fprintln(c, "echo")
	w.must(err)
	for range 5 {
		w.echoes(c, "at first")
	}
	return c
}

// watchWAN counts the client's packets to an address that have come to the provider.
func (w *world) watchWAN(to netip.Addr) (count func() int) {
	w.Helper()
	link, err := w.net.LinkByName("cust")
	w.must(err)
	n, want, fd := 0, to.As4(), -1
	w.in(w.net, func() {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	})
	w.must(err)
	w.Cleanup(func() { unix.Close(fd) })
	// The protocol is in network byte order.
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	w.must(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link.Attrs().Index}))
	packet := make([]byte, 64)
	// The kernel keeps what has come: what is counted late is not missed.
	return func() int {
		for {
			size, _, err := unix.Recvfrom(fd, packet, 0)
			switch {
			case err == unix.EAGAIN:
				return n
			case err == unix.EINTR:
			case err != nil:
				w.Fatalf("count packets at the WAN: %v", err)
			case size >= 20 && [4]byte(packet[16:20]) == want:
				n++
			}
		}
	}
}
