package dns

import (
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/net/dns/dnsmessage"
)

// query is a client's query, read. Its slices point into the client's message.
type query struct {
	msg      []byte
	id       uint16
	flags    uint16
	question []byte // name, type and class as they were sent
	qtype    Type
	edns     bool
	size     int // the UDP answer that the client can take, in octets
	do       bool
	version  byte // of EDNS
}

// verdict says what is to be done with a client's message.
type verdict uint8

const (
	verdictAsk     verdict = iota // a well-formed query
	verdictIgnore                 // not a query at all: say nothing
	verdictFormat                 // answer FORMERR
	verdictOther                  // another opcode: answer NOTIMP
	verdictVersion                // unknown version of EDNS: answer BADVERS
	verdictRefuse                 // zone transfers and the like: answer REFUSED
)

// parse reads a client's message into q. Whatever the verdict, what could be
// read is set.
func (q *query) parse(msg []byte) verdict {
	*q = query{msg: msg, size: minUDP}
	if len(msg) < headerLen {
		return verdictIgnore
	}
	q.id = binary.BigEndian.Uint16(msg)
	q.flags = binary.BigEndian.Uint16(msg[2:])
	switch {
	case q.flags&flagQR != 0:
		return verdictIgnore
	case q.flags&maskOpcode != 0:
		return verdictOther
	case binary.BigEndian.Uint16(msg[4:]) != 1:
		return verdictFormat
	}
	// A question's name is whole: a pointer could only lead into the header.
	end, err := skipName(msg, headerLen)
	if err != nil || end+4 > len(msg) || msg[end-1] != 0 {
		return verdictFormat
	}
	q.question = msg[headerLen : end+4]
	q.qtype = Type(binary.BigEndian.Uint16(msg[end:]))
	if v := q.records(); v != verdictAsk {
		return v
	}
	switch q.qtype {
	case 0, dnsmessage.TypeOPT, typeIXFR, typeAXFR, 249, 250: // and TKEY, TSIG
		return verdictRefuse
	}
	return verdictAsk
}

// records reads what follows the question.
func (q *query) records() verdict {
	w := walk(q.msg)
	for w.next() {
		if w.typ != dnsmessage.TypeOPT {
			continue
		}
		if q.edns || w.section != additionalSection || w.fixed != w.start+1 {
			return verdictFormat
		}
		ttl := binary.BigEndian.Uint32(q.msg[w.ttlAt():])
		q.edns = true
		q.size = max(minUDP, int(w.class))
		q.do = ttl&flagDO != 0
		q.version = byte(ttl >> 16)
	}
	switch {
	case w.err != nil || w.at != len(q.msg):
		return verdictFormat
	case q.version != 0:
		return verdictVersion
	}
	return verdictAsk
}

// name is the question's name in wire form.
func (q *query) name() []byte { return q.question[:len(q.question)-4] }

// cacheKey is everything that decides an answer: the name in lower case, type,
// class, a byte of flags and the path. It is the identity of cached answers and
// of flights.
type cacheKey string

const (
	keyDO = 1 << iota
	keyCD
	keyTail = 6 // octets behind the name
)

// appendKey appends the key of a query over a path.
func (q *query) appendKey(dst []byte, p Path) []byte {
	start := len(dst)
	dst = append(dst, q.question...)
	lower(dst[start : len(dst)-4])
	var flags byte
	if q.do {
		flags |= keyDO
	}
	if q.flags&flagCD != 0 {
		flags |= keyCD
	}
	return append(dst, flags, byte(p))
}

// newKey is the key of a question of our own.
func newKey(name []byte, qtype Type, p Path) cacheKey {
	b := append(make([]byte, 0, len(name)+keyTail), name...)
	b = binary.BigEndian.AppendUint16(b, uint16(qtype))
	b = binary.BigEndian.AppendUint16(b, classINET)
	return cacheKey(append(b, 0, byte(p)))
}

func (k cacheKey) path() Path { return Path(k[len(k)-1]) }

// message is the query that upstreams are asked: recursion wanted, EDNS with a
// size that no path breaks into fragments, and AD to learn whether the upstream
// authenticated it (RFC 6840 5.7). Options of the client's EDNS are not passed
// on: they belong to one hop, and some tell who asks.
func (k cacheKey) message() []byte {
	question := string(k[:len(k)-2])
	flags := uint16(flagRD | flagAD)
	var ttl uint32
	if k[len(k)-2]&keyCD != 0 {
		flags |= flagCD
	}
	if k[len(k)-2]&keyDO != 0 {
		ttl |= flagDO
	}
	b := make([]byte, 0, headerLen+len(question)+optFixedLen)
	b = append(b, 0, 0, byte(flags>>8), byte(flags), 0, 1, 0, 0, 0, 0, 0, 1)
	b = append(b, question...)
	return appendOPT(b, ttl, nil)
}

// appendOPT appends an OPT record, RFC 6891 6.1.2.
func appendOPT(b []byte, ttl uint32, options []byte) []byte {
	b = append(b, 0, 0, byte(dnsmessage.TypeOPT))
	b = binary.BigEndian.AppendUint16(b, maxUDP)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(options)))
	return append(b, options...)
}

// randomize gives a query a random id and random case in its name, which an
// answer has to repeat: up to one bit a letter that a forger has to guess. The
// source is ChaCha8, seeded by the kernel.
func randomize(msg []byte) {
	binary.BigEndian.PutUint16(msg, uint16(rand.Uint32()))
	end, err := skipName(msg, headerLen)
	if err != nil {
		return
	}
	bits, left := rand.Uint64(), 64
	for i, c := range msg[headerLen:end] {
		if c |= 0x20; c < 'a' || c > 'z' {
			continue
		}
		if left == 0 {
			bits, left = rand.Uint64(), 64
		}
		if bits&1 != 0 {
			msg[headerLen+i] ^= 0x20
		}
		bits, left = bits>>1, left-1
	}
}
