package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// maxQuery bounds a client's UDP query: more than any has with EDNS options.
const maxQuery = 2048

// serveUDP answers on one socket until it is closed. What the cache holds is
// answered here; the rest waits in the pool.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	_ = conn.SetReadBuffer(256 << 10) // as far as the kernel lets it
	b, err := newBatch(conn)
	if err != nil {
		return err
	}
	var t turn
	for {
		n, err := b.receive()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range n {
			s.answerUDP(ctx, conn, b, &t, i)
		}
		b.send()
	}
}

// answerUDP answers one datagram, by the batch where that takes no waiting.
func (s *Server) answerUDP(ctx context.Context, conn *net.UDPConn, b *batch, t *turn, i int) {
	msg, oob, from, ok := b.query(i)
	if !ok || from.Port() == 0 {
		return
	}
	in, ok := readArrival(oob)
	if !ok || !s.o.Device(in.ifindex) {
		return
	}
	// The zone would only cost; the control message names the device.
	t.client = from.Addr().WithZone("")
	reply, next := s.begin(t, b.free(), msg)
	switch next {
	case actionReply:
		b.answer(i, t.q.fit(reply, 0))
	case actionResolve, actionRelay:
		s.later(ctx, t, next, caller{conn: conn, to: from, local: netip.AddrPortFrom(in.local, s.o.Port)}, oob)
	}
}

// caller is where a UDP answer goes.
type caller struct {
	conn  *net.UDPConn
	to    netip.AddrPort
	local netip.AddrPort // the address that was asked
}

// send sends from the address that was asked, which oob names. Whom it cannot
// be sent to asks again or does not.
func (c caller) send(msg, oob []byte) { _, _, _ = c.conn.WriteMsgUDPAddrPort(msg, oob, c.to) }

// later answers what takes waiting. Beyond the bounds a query is refused or,
// where too many wait, left without an answer: its client will ask again.
func (s *Server) later(ctx context.Context, t *turn, next action, back caller, oob []byte) {
	if !s.limiter.allow(t.client) {
		back.send(t.q.appendEmpty(nil, rcodeRefused), oob)
		return
	}
	kept := t.keep()
	oob = append([]byte(nil), oob...)
	s.pool.do(func() {
		if next == actionRelay {
			s.relayUDP(ctx, kept, back, oob)
			return
		}
		back.send(kept.q.fit(s.resolve(ctx, kept, nil), 0), oob)
	})
}
