package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// tcpIdle is how long a client's connection may be idle, RFC 7766 6.2.3.
	tcpIdle = 10 * time.Second
	// tcpEnding is how long it may be while the server is handed over: a client that
	// has just connected is about to ask.
	tcpEnding = 200 * time.Millisecond
	// tcpWrite is how long a client may take to accept an answer.
	tcpWrite = 5 * time.Second
	// tcpPending bounds the queries of one connection that wait for answers;
	// beyond it no more are read.
	tcpPending = 32
)

// serveTCP accepts connections until the listener is closed, and waits for them
// to end.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err // handed over
		}
		if err != nil {
			// Out of descriptors or memory: they come back.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		c := s.admit(conn)
		if c == nil {
			continue
		}
		conns.Add(1)
		// Ends with its connection, which closeSockets closes.
		go func() {
			defer conns.Done()
			defer s.leave(c)
			c.serve(ctx)
		}()
	}
}

// tcpConn is one client's connection.
type tcpConn struct {
	server *Server
	conn   *net.TCPConn
	client netip.AddrPort
	local  netip.AddrPort
	slots  chan struct{}  // one for each query that waits
	waits  sync.WaitGroup // for them

	write sync.Mutex // makes a message on conn whole
	relay *relay     // to the server that the client asked; nil: none yet
}

// admit takes a connection in, or resets it: from a device that has no business
// here, or beyond the bounds.
func (s *Server) admit(conn *net.TCPConn) *tcpConn {
	c := &tcpConn{server: s, conn: conn, client: unmapped(conn.RemoteAddr()), local: unmapped(conn.LocalAddr())}
	if err := s.allowed(c); err != nil {
		s.o.Log.Debug("connection refused", "client", c.client, "error", err)
		_ = conn.SetLinger(0)
		_ = conn.Close()
		return nil
	}
	c.slots = make(chan struct{}, tcpPending)
	return c
}

func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func (s *Server) allowed(c *tcpConn) error {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return err
	}
	ifindex, err := deviceOf(raw, c.local.Addr().Is6())
	if err != nil {
		return fmt.Errorf("find device: %w", err)
	}
	if !s.o.Device(ifindex) {
		return fmt.Errorf("device %d is none of the LAN's", ifindex)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the server ends")
	}
	if len(s.conns) >= s.o.Conns || s.each[c.client.Addr()] >= s.o.ConnsEach {
		return errors.New("too many connections")
	}
	s.conns[c] = struct{}{}
	s.each[c.client.Addr()]++
	return nil
}

func (s *Server) leave(c *tcpConn) {
	_ = c.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.each[c.client.Addr()]--; s.each[c.client.Addr()] == 0 {
		delete(s.each, c.client.Addr())
	}
}

// serve reads queries, answers them in any order and returns when the client
// has sent its last one and has all answers, or when the connection is lost or
// idle.
func (c *tcpConn) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := bufio.NewReaderSize(c.conn, 1024)
	c.touch()
	for {
		msg, err := readMessage(r)
		if err != nil {
			break
		}
		c.touch() // not behind handle: what that begins may end the reading at once (copyBack)
		if !c.handle(ctx, msg) {
			break
		}
	}
	c.waits.Wait()
	if c.relay != nil {
		c.relay.finish(ctx)
	}
}

// touch starts the time over after which the connection is idle.
func (c *tcpConn) touch() {
	_ = c.conn.SetReadDeadline(time.Now().Add(tcpIdle))
	// HandOver notes that first and sets its deadline then: it is never lost.
	if c.server.ending.Load() {
		c.lastQueries()
	}
}

// lastQueries ends the connection as soon as none comes for a moment.
func (c *tcpConn) lastQueries() { _ = c.conn.SetReadDeadline(time.Now().Add(tcpEnding)) }

// handle does what is to be done for one message; false ends the connection.
func (c *tcpConn) handle(ctx context.Context, msg []byte) bool {
	t := &turn{client: c.client.Addr(), stream: true}
	reply, next := c.server.begin(t, nil, msg)
	switch next {
	case actionReply:
		return c.send(reply) == nil
	case actionRelay:
		return c.relayOn(ctx, t)
	case actionResolve:
		return c.resolve(ctx, t)
	}
	return true
}

// resolve answers beside the reading of the next query.
func (c *tcpConn) resolve(ctx context.Context, t *turn) bool {
	if !c.server.limiter.allow(t.client) {
		return c.send(t.q.appendEmpty(nil, rcodeRefused)) == nil
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	c.waits.Add(1)
	if c.server.pool.do(func() {
		defer c.waits.Done()
		defer func() { <-c.slots }()
		_ = c.send(c.server.resolve(ctx, t, nil)) // a lost connection ends its reading, too
		c.touch()
	}) {
		return true
	}
	c.waits.Done()
	<-c.slots
	return c.send(t.q.appendEmpty(nil, rcodeFailure)) == nil
}

// send writes a message with its length in one piece.
func (c *tcpConn) send(msg []byte) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg)))
	framed = append(framed, msg...)
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(tcpWrite))
	_, err := c.conn.Write(framed)
	return err
}
