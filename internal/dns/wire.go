package dns

import (
	"cmp"
	"encoding/binary"
	"errors"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/routerd/routerd/internal/owned"
)

// Path is the way by which an upstream is asked.
type Path = owned.PathIndex

// Type is the type of a record, RFC 1035 3.2.2.
type Type = dnsmessage.Type

// Record types that dnsmessage has no name for.
const (
	typeDNAME Type = 39
	typeRRSIG Type = 46
	typeNSEC  Type = 47
	typeIXFR  Type = 251
	typeAXFR  Type = 252
)

const (
	headerLen   = 12
	maxMessage  = 65535
	maxName     = 255 // octets in wire form, RFC 1035 2.3.4
	maxUDP      = 1232
	minUDP      = 512
	classINET   = 1
	optFixedLen = 11 // of an OPT record without options
)

// Bits of the second 16 bits of a header, RFC 1035 4.1.1 and RFC 4035 3.
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagAD = 1 << 5
	flagCD = 1 << 4

	maskOpcode = 0xf << 11
	maskRcode  = 0xf
)

// flagDO is in the TTL of an OPT record, RFC 3225.
const flagDO = 1 << 15

// Response codes, RFC 1035 4.1.1 and RFC 6891 9.
const (
	rcodeSuccess  = 0
	rcodeFormat   = 1
	rcodeFailure  = 2
	rcodeName     = 3
	rcodeNotImpl  = 4
	rcodeRefused  = 5
	rcodeBadVers  = 16
	extendedRcode = 24 // shift of the upper eight bits in an OPT record's TTL
)

var (
	errShort   = errors.New("message ends too early")
	errName    = errors.New("malformed name")
	errOPT     = errors.New("more than one OPT record, or one out of place")
	errTooLong = errors.New("message is too long")
)

// section is one of the three parts of a message that hold records.
type section uint8

const (
	answerSection section = iota
	authoritySection
	additionalSection
	sections
)

// record is one resource record as offsets into its message.
type record struct {
	section section
	start   int // of the owner's name
	fixed   int // of type, class, TTL and length
	typ     Type
	class   uint16
	ttl     uint32 // seconds; 0 where the top bit is set (RFC 2181 8)
	data    int
	end     int
}

// ttlAt is the offset of the record's TTL.
func (r record) ttlAt() int { return r.fixed + 4 }

// walker goes through the records of a message. Every step is bounded by the
// message's length and always advances.
type walker struct {
	record
	msg  []byte
	at   int
	left [sections]int
	err  error
}

// walk begins at the first record. The message needs a whole header; questions
// are passed over.
func walk(msg []byte) walker {
	w := walker{msg: msg, at: headerLen}
	if len(msg) < headerLen || len(msg) > maxMessage {
		w.err = errShort
		return w
	}
	for i := range w.left {
		w.left[i] = int(binary.BigEndian.Uint16(msg[6+2*i:]))
	}
	for range binary.BigEndian.Uint16(msg[4:]) {
		end, err := skipName(msg, w.at)
		if err != nil || end+4 > len(msg) {
			w.err = errors.Join(err, errShort)
			return w
		}
		w.at = end + 4
	}
	return w
}

// next reads a record into w.record; false at the end, and where the message
// is malformed: then err says how.
func (w *walker) next() bool {
	for w.section < sections && w.left[w.section] == 0 {
		w.section++
	}
	if w.err != nil || w.section == sections {
		return false
	}
	w.left[w.section]--
	w.start = w.at
	fixed, err := skipName(w.msg, w.at)
	if err != nil {
		w.err = err
		return false
	}
	if fixed+10 > len(w.msg) {
		w.err = errShort
		return false
	}
	b := w.msg[fixed:]
	w.fixed = fixed
	w.typ = Type(binary.BigEndian.Uint16(b))
	w.class = binary.BigEndian.Uint16(b[2:])
	if w.ttl = binary.BigEndian.Uint32(b[4:]); int32(w.ttl) < 0 {
		w.ttl = 0
	}
	w.data = fixed + 10
	w.end = w.data + int(binary.BigEndian.Uint16(b[8:]))
	if w.end > len(w.msg) {
		w.err = errShort
		return false
	}
	w.at = w.end
	return true
}

// skipName gives the offset behind the name at an offset. A pointer ends a name
// and must point backwards; where it leads is for appendName to see.
func skipName(msg []byte, at int) (int, error) {
	for start := at; at < len(msg) && at-start < maxName; {
		switch c := int(msg[at]); {
		case c == 0:
			return at + 1, nil
		case c < 0x40:
			at += 1 + c
		case c < 0xc0:
			return 0, errName
		default:
			_, err := follow(msg, at, at)
			return at + 2, err
		}
	}
	return 0, errName
}

// appendName appends the name at an offset and gives the offset behind it in
// msg. Pointers to offsets below keep are kept as they are, others are followed
// and their labels written out; 0 follows all. Pointers must lead backwards, so
// that it ends.
func appendName(dst, msg []byte, at, keep int) (out []byte, next int, err error) {
	size, lowest := 0, at
	for at < len(msg) {
		c := int(msg[at])
		if c >= 0xc0 {
			target, err := follow(msg, at, lowest)
			if err != nil || size >= maxName {
				return dst, 0, errName
			}
			next = cmp.Or(next, at+2)
			if target < keep {
				return append(dst, msg[at:at+2]...), next, nil
			}
			at, lowest = target, target
			continue
		}
		if size += 1 + c; c >= 0x40 || size > maxName || at+1+c > len(msg) {
			return dst, 0, errName
		}
		dst = append(dst, msg[at:at+1+c]...)
		if at += 1 + c; c == 0 {
			return dst, cmp.Or(next, at), nil
		}
	}
	return dst, 0, errName
}

// follow reads the pointer at an offset; it must lead to before lowest.
func follow(msg []byte, at, lowest int) (int, error) {
	if at+2 > len(msg) {
		return 0, errShort
	}
	target := int(binary.BigEndian.Uint16(msg[at:]) & 0x3fff)
	if target >= lowest || target < headerLen {
		return 0, errName
	}
	return target, nil
}

// lower changes the letters of a name in wire form; lengths of labels are
// below 64 and so never taken for letters.
func lower(name []byte) {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c | 0x20
		}
	}
}
