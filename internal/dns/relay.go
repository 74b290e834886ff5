package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"
)

// relayTime is how long a server that a client asked may take.
const relayTime = 5 * time.Second

// relayUDP passes a query for a name that is not listed to the server that the
// client asked, and its answer back, both octet by octet. It comes here only
// when settings change while it is on its way.
func (s *Server) relayUDP(ctx context.Context, t *turn, back caller, oob []byte) {
	server, ok := s.o.OriginalUDP(back.to, back.local, t.q.id)
	if !ok || s.o.Relay == nil {
		back.send(t.q.appendEmpty(nil, t.refusal), oob)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	conn, err := s.o.Relay(ctx, "udp", server.String())
	if err != nil {
		s.o.Log.Debug("cannot relay", "server", server, "error", err)
		return
	}
	defer conn.Close()
	ends := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer ends()
	if _, err := conn.Write(t.q.msg); err != nil {
		return
	}
	buf := make([]byte, max(t.q.size, 4096))
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if n >= headerLen && binary.BigEndian.Uint16(buf) == t.q.id && buf[2]&0x80 != 0 {
			back.send(buf[:n], oob)
			return
		}
	}
}

// relay is the connection to the server that the client of a TCP connection
// asked.
type relay struct {
	conn    net.Conn
	waiting atomic.Int32  // queries less answers
	done    chan struct{} // closed when nothing comes from the server any more
}

// relayOn passes a message to the server that the client asked. The server's
// connection is made when the first such message comes, and again when the
// server has closed it between queries. false: the client's connection ends, as
// it would have with the server.
func (c *tcpConn) relayOn(ctx context.Context, t *turn) bool {
	if c.relay != nil && c.relay.over() {
		c.relay = nil
	}
	if c.relay == nil {
		server, ok := c.server.o.Original(c.client, c.local)
		if !ok || c.server.o.Relay == nil {
			return c.send(t.q.appendEmpty(nil, t.refusal)) == nil
		}
		dialing, cancel := context.WithTimeout(ctx, relayTime)
		defer cancel()
		conn, err := c.server.o.Relay(dialing, "tcp", server.String())
		if err != nil {
			c.server.o.Log.Debug("cannot relay", "server", server, "error", err)
			return false
		}
		c.relay = &relay{conn: conn, done: make(chan struct{})}
		// Ends when the server or, through finish, the client closes.
		go c.copyBack(c.relay)
	}
	c.relay.waiting.Add(1)
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(t.q.msg)), uint16(len(t.q.msg)))
	_ = c.relay.conn.SetWriteDeadline(time.Now().Add(relayTime))
	_, err := c.relay.conn.Write(append(framed, t.q.msg...))
	return err == nil
}

// copyBack passes the server's answers to the client. Where the server closes
// with answers outstanding, so do we: the client then asks again.
func (c *tcpConn) copyBack(r *relay) {
	defer close(r.done)
	defer r.conn.Close()
	in := bufio.NewReaderSize(r.conn, 2048)
	for {
		msg, err := readMessage(in)
		if err != nil {
			if r.waiting.Load() > 0 {
				_ = c.conn.SetReadDeadline(time.Unix(1, 0))
			}
			return
		}
		r.waiting.Add(-1)
		if c.send(msg) != nil {
			return
		}
		c.touch()
	}
}

func (r *relay) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// finish tells the server that no query follows, and waits for the rest of its
// answers; not when ctx has ended.
func (r *relay) finish(ctx context.Context) {
	half, ok := r.conn.(interface{ CloseWrite() error })
	if ok && ctx.Err() == nil && r.waiting.Load() > 0 {
		_ = half.CloseWrite()
		_ = r.conn.SetReadDeadline(time.Now().Add(relayTime))
	} else {
		_ = r.conn.Close()
	}
	<-r.done
}
