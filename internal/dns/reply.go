package dns

import (
	"encoding/binary"

	"golang.org/x/net/dns/dnsmessage"
)

// How long clients keep what is made up here, in seconds.
const (
	blockedTTL = 60
	staleTTL   = 30 // RFC 8767 4
)

// aged says what became of an answer's TTLs since it came in.
type aged struct {
	seconds uint32
	limit   uint32 // no TTL is shown above it; 0: as they are
	stale   bool   // too old by its own word: all TTLs are staleTTL
}

// shown is the TTL that a client sees.
func (g aged) shown(ttl uint32) uint32 {
	switch {
	case g.stale:
		return staleTTL
	case g.limit > 0:
		ttl = min(ttl, g.limit)
	}
	if ttl <= g.seconds {
		return min(ttl, 1)
	}
	return ttl - g.seconds
}

// appendReply appends the answer as the client of q is to see it.
func (a *answer) appendReply(dst []byte, q *query, age aged) []byte {
	start := len(dst)
	dst = append(dst, a.msg...)
	m := dst[start:]
	binary.BigEndian.PutUint16(m, q.id)
	flags := binary.BigEndian.Uint16(m[2:]) &^ (flagRD | flagCD)
	flags |= q.flags & (flagRD | flagCD)
	if !q.do && q.flags&flagAD == 0 {
		flags &^= flagAD
	}
	binary.BigEndian.PutUint16(m[2:], flags)
	copy(m[headerLen:], q.question)
	for _, at := range a.ttls {
		ttl := binary.BigEndian.Uint32(m[at:])
		binary.BigEndian.PutUint32(m[at:], age.shown(ttl))
	}
	if q.edns {
		dst = q.appendOPT(dst, start, a.rcode, a.opt)
	}
	return dst
}

// appendOPT appends the OPT record of a reply that begins at start.
func (q *query) appendOPT(dst []byte, start, rcode int, options []byte) []byte {
	ttl := uint32(rcode>>4) << extendedRcode
	if q.do {
		ttl |= flagDO
	}
	n := binary.BigEndian.Uint16(dst[start+10:])
	binary.BigEndian.PutUint16(dst[start+10:], n+1)
	return appendOPT(dst, ttl, options)
}

// appendEmpty appends a reply without records.
func (q *query) appendEmpty(dst []byte, rcode int) []byte {
	if rcode > maskRcode && !q.edns {
		rcode = rcodeFailure
	}
	start := len(dst)
	flags := flagQR | flagRA | q.flags&(maskOpcode|flagRD|flagCD) | uint16(rcode&maskRcode)
	dst = binary.BigEndian.AppendUint16(dst, q.id)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	if q.question != nil {
		dst[start+5] = 1
		dst = append(dst, q.question...)
	}
	if q.edns {
		dst = q.appendOPT(dst, start, rcode, nil)
	}
	return dst
}

// appendNegative appends NXDOMAIN or, with rcodeSuccess, NODATA. Its SOA record
// is of the name itself, so that caches keep it for that name (RFC 2308 5).
func (q *query) appendNegative(dst []byte, rcode int) []byte {
	start := len(dst)
	bare := *q
	bare.edns = false
	dst = bare.appendEmpty(dst, rcode)
	dst[start+9] = 1
	dst = append(dst, 0xc0, headerLen, 0, byte(dnsmessage.TypeSOA))
	dst = append(dst, q.question[len(q.question)-2:]...)
	dst = binary.BigEndian.AppendUint32(dst, blockedTTL)
	// Both names are the root; serial, refresh, retry, expire, minimum.
	dst = append(dst, 0, 22, 0, 0)
	for _, n := range [...]uint32{1, 3600, 600, 86400, blockedTTL} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	if q.edns {
		dst = q.appendOPT(dst, start, rcode, nil)
	}
	return dst
}

// fit shortens a UDP reply that begins at start to what the client can take:
// header, question and OPT with TC set, so that the client asks over TCP. The
// bound of maxUDP keeps answers in one packet: the data plane reads no
// fragments, and nobody can be flooded with large answers.
func (q *query) fit(dst []byte, start int) []byte {
	if len(dst)-start <= min(q.size, maxUDP) {
		return dst
	}
	flags := binary.BigEndian.Uint16(dst[start+2:]) | flagTC
	rcode := int(flags & maskRcode)
	dst = q.appendEmpty(dst[:start], rcode)
	binary.BigEndian.PutUint16(dst[start+2:], flags)
	return dst
}

// minTTL is the TTL that addresses of an answer are learned with.
func (a *answer) minTTL(age aged) uint32 { return age.shown(a.ttl) }
