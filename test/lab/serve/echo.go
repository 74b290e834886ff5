package serve

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Echo sends every UDP datagram back, from the address and port that it was
// sent to, until ctx ends. The address is a port of every address, such as
// "[::]:7"; both families are served.
func Echo(ctx context.Context, address string) error {
	listen := net.ListenConfig{}
	for _, network := range []string{"udp4", "udp6"} {
		p, err := listen.ListenPacket(ctx, network, address)
		if err != nil {
			return fmt.Errorf("listen for echo: %w", err)
		}
		c, ok := p.(*net.UDPConn)
		if !ok {
			return fmt.Errorf("listen for echo: %T", p)
		}
		if err := askDestination(c, network); err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		go echo(ctx, c)
	}
	<-ctx.Done()
	return nil
}

// askDestination has the kernel say where each datagram was sent to.
func askDestination(c *net.UDPConn, network string) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("reach socket: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil {
		return fmt.Errorf("reach socket: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("ask for destinations: %w", failed)
	}
	return nil
}

// echo ends when its socket is closed.
func echo(ctx context.Context, c *net.UDPConn) {
	data, control := make([]byte, 64<<10), make([]byte, 256)
	for {
		n, controls, _, from, err := c.ReadMsgUDPAddrPort(data, control)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		source, err := sourceControl(control[:controls])
		if err != nil {
			continue
		}
		_, _, _ = c.WriteMsgUDPAddrPort(data[:n], source, from)
	}
}

// sourceControl turns the message that says where a datagram was sent to into
// one that says where the answer comes from. The interface is left open: the
// routing table knows the way back.
func sourceControl(control []byte) ([]byte, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := &unix.Inet4Pktinfo{}
			copy(info.Spec_dst[:], m.Data[8:12]) // ipi_addr, where it was sent to
			return unix.PktInfo4(info), nil
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := &unix.Inet6Pktinfo{}
			copy(info.Addr[:], m.Data[:16])
			return unix.PktInfo6(info), nil
		}
	}
	return nil, errors.New("find destination: no control message says it")
}
