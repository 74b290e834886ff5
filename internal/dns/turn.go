package dns

import (
	"context"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// action is what is left to do for a message.
type action uint8

const (
	actionNone    action = iota // nothing: it gets no answer
	actionReply                 // the answer is ready
	actionResolve               // upstreams are to be asked
	actionRelay                 // it belongs to another server
)

// turn is one message of a client on its way through the server.
type turn struct {
	q        query
	client   netip.Addr
	key      []byte
	name     string
	decision Decision
	refusal  int  // the response code where there is nobody to relay to
	stream   bool // the client asks over TCP
}

// begin reads a message and answers it if that takes no waiting: the answer is
// appended to dst. t keeps msg.
func (s *Server) begin(t *turn, dst, msg []byte) ([]byte, action) {
	verdict := t.q.parse(msg)
	switch verdict {
	case verdictIgnore:
		return dst, actionNone
	case verdictFormat:
		return t.q.appendEmpty(dst, rcodeFormat), actionReply
	case verdictOther:
		t.refusal = rcodeNotImpl
		return dst, actionRelay
	}
	t.key = t.q.appendKey(t.key[:0], 0)
	t.name = nameText(t.key[:len(t.key)-keyTail])
	t.decision = s.o.Decide(t.name, t.client)
	if !t.decision.Listed {
		t.refusal = rcodeRefused
		return dst, actionRelay
	}
	if out, ok := t.atOnce(dst, verdict); ok {
		return out, actionReply
	}
	t.key[len(t.key)-1] = byte(t.decision.Path)
	f, ok := s.o.Resolver.cached(t.key)
	if !ok || t.unsettled(f) {
		return dst, actionResolve
	}
	return s.reply(t, dst, f), actionReply
}

// atOnce answers what needs neither cache nor upstreams.
func (t *turn) atOnce(dst []byte, v verdict) ([]byte, bool) {
	switch d := t.decision; {
	case v == verdictVersion:
		return t.q.appendEmpty(dst, rcodeBadVers), true
	case v == verdictRefuse:
		return t.q.appendEmpty(dst, rcodeRefused), true
	case d.Block || d.Canary:
		return t.q.appendNegative(dst, rcodeName), true
	case d.NoIPv6 && t.q.qtype == dnsmessage.TypeAAAA:
		// Nobody needs to be asked: the client could not use any answer.
		return t.q.appendNegative(dst, rcodeSuccess), true
	}
	return dst, false
}

// unsettled says whether an answer is a failure that another path may better.
func (t *turn) unsettled(f found) bool {
	return t.decision.Else != 0 && f.answer.rcode != rcodeSuccess && f.answer.rcode != rcodeName
}

// resolve waits for the upstreams' answer and appends it for the client.
func (s *Server) resolve(ctx context.Context, t *turn, dst []byte) []byte {
	f, err := s.o.Resolver.resolve(ctx, cacheKey(t.key))
	if t.decision.Else != 0 && (err != nil || t.unsettled(f)) {
		t.key[len(t.key)-1] = byte(t.decision.Else)
		f, err = s.o.Resolver.resolve(ctx, cacheKey(t.key))
	}
	if err != nil {
		s.o.Log.Debug("cannot answer", "name", t.name, "error", err)
		return t.q.appendEmpty(dst, rcodeFailure)
	}
	return s.reply(t, dst, f)
}

// reply appends an answer for the client, after its addresses have been learned. One
// with more of them than are learned is withheld.
func (s *Server) reply(t *turn, dst []byte, f found) []byte {
	a := f.answer
	if t.decision.NoIPv6 {
		var err error
		if a, err = a.withoutIPv6(); err != nil {
			s.o.Log.Debug("cannot answer", "name", t.name, "error", err)
			return t.q.appendEmpty(dst, rcodeFailure)
		}
	}
	if a.rcode > maskRcode && !t.q.edns || len(a.addrs) >= maxAddresses {
		return t.q.appendEmpty(dst, rcodeFailure)
	}
	if len(a.addrs) > 0 {
		lesson := Lesson{Name: t.name, Client: t.client, Addrs: a.addrs, TTL: a.minTTL(f.age), Stream: t.stream}
		if err := s.o.Learn(lesson); err != nil {
			s.o.Log.Warn("answer withheld", "name", t.name, "client", t.client, "error", err)
			return t.q.appendEmpty(dst, rcodeFailure)
		}
	}
	return a.appendReply(dst, &t.q, f.age)
}

// keep gives a turn that stays what it is while the message's buffer is used
// for the next one.
func (t *turn) keep() *turn {
	out := &turn{client: t.client, name: t.name, decision: t.decision, refusal: t.refusal, stream: t.stream}
	out.q.parse(append([]byte(nil), t.q.msg...))
	out.key = append([]byte(nil), t.key...)
	return out
}
