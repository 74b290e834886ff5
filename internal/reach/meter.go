package reach

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// meter counts what a check takes, and ends it when that is too much.
type meter struct {
	net.Conn
	taken, resent *atomic.Int64
	limit         int64
	closed        sync.Once
}

// Close notes what was lost before the kernel forgets it.
func (m *meter) Close() error {
	m.closed.Do(func() { m.resent.Add(resentOn(m.Conn)) })
	return m.Conn.Close()
}

// resentOn is how many segments, SYN included, the kernel has sent again on a
// connection.
func resentOn(conn net.Conn) int64 { return int64(tcpInfo(conn).Total_retrans) }

// slack is what a step may take more than limit, for the queue that its packets
// stand in: two times TCP's own wait until it sends again (RFC 6298), which has
// grown with the round trips so far. A queue of four seconds, as a line has that
// is filled or held to little, makes that wait longer than any usual limit.
func slack(conn net.Conn, limit time.Duration) time.Duration {
	return min(2*time.Duration(tcpInfo(conn).Rto)*time.Microsecond, limit)
}

// tcpInfo is what the kernel knows of a connection (TCP_INFO, tcp(7)); zero where
// that is no socket.
func tcpInfo(conn net.Conn) (out unix.TCPInfo) {
	switch c := conn.(type) {
	case *tls.Conn:
		return tcpInfo(c.NetConn())
	case *meter:
		return tcpInfo(c.Conn)
	case syscall.Conn:
		raw, err := c.SyscallConn()
		if err != nil {
			return out
		}
		_ = raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				out = *info
			}
		})
	}
	return out
}

// Read reads no more than is left.
func (m *meter) Read(b []byte) (int, error) {
	left := m.limit - m.taken.Load()
	if left <= 0 {
		return 0, errBudget
	}
	n, err := m.Conn.Read(b[:min(int64(len(b)), left)])
	m.taken.Add(int64(n))
	return n, err
}

// Write counts; requests are short.
func (m *meter) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.taken.Add(int64(n))
	return n, err
}

var errNoResolver = errors.New("no resolver is set")
