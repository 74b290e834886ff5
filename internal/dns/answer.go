package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

// answer is an upstream's answer, checked and made ready to be sent many times.
// It never changes once it is made.
type answer struct {
	msg   []byte       // without its OPT record
	opt   []byte       // the options of its OPT record that may be passed on
	edns  bool         // it had an OPT record
	ttls  []uint16     // offsets of all TTLs in msg
	addrs []netip.Addr // what clients may connect to because of it
	ttl   uint32       // seconds that the whole may be kept
	rcode int          // with the upper bits of the OPT record
	ipv6  bool         // holds AAAA or SVCB records
	// negative says that the name has no record of the type.
	negative bool
}

// Options of EDNS that belong to one hop: ECS, COOKIE, keepalive, padding.
var hopOptions = []uint16{8, 10, 11, 12}

// maxAddresses bounds what one answer can teach; hints in a message of 64 KiB would
// be 16,000. With that many an answer is not passed on: those behind are not read.
const maxAddresses = 256

var (
	errMismatch  = errors.New("the answer is not for this question")
	errTruncated = errors.New("the answer is truncated")
)

// parseAnswer checks that msg answers query, a message of ours with one
// question, and reads it. With exactCase the question's letters must come back
// as they were sent (0x20). It may write to msg and keeps no part of it.
func parseAnswer(msg, query []byte, exactCase bool) (*answer, error) {
	end, err := matches(msg, query, exactCase)
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint16(msg[2:])&flagTC != 0 {
		return nil, errTruncated
	}
	a := &answer{rcode: int(msg[3] & maskRcode)}
	opt, size, err := a.read(msg)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	a.msg = msg[:size:size]
	if opt.end > 0 {
		if err := a.splitOPT(opt); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
	}
	a.msg = bytes.Clone(a.msg) // what it was read into may be larger, or used again
	a.ttl = a.lifetime(Type(binary.BigEndian.Uint16(msg[end-4:])))
	return a, nil
}

// matches compares header and question with the query's and gives the end of
// the question.
func matches(msg, query []byte, exactCase bool) (int, error) {
	if len(msg) < headerLen {
		return 0, errShort
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&flagQR == 0 || flags&maskOpcode != 0 || msg[0] != query[0] || msg[1] != query[1] ||
		binary.BigEndian.Uint16(msg[4:]) != 1 {
		return 0, errMismatch
	}
	end, err := skipName(query, headerLen)
	if err != nil {
		return 0, err
	}
	if end += 4; len(msg) < end || !sameQuestion(msg[headerLen:end], query[headerLen:end], exactCase) {
		return 0, errMismatch
	}
	return end, nil
}

// sameQuestion compares two questions of one length.
func sameQuestion(a, b []byte, exactCase bool) bool {
	tail := len(a) - 4 // type and class
	return string(a[tail:]) == string(b[tail:]) && slices.EqualFunc(a[:tail], b[:tail], func(x, y byte) bool {
		return x == y || !exactCase && foldCase(x) == foldCase(y)
	})
}

func foldCase(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// read collects TTLs and addresses and gives the OPT record, whose end is 0 where
// there is none, and the size of the message: msg may hold more.
func (a *answer) read(msg []byte) (opt record, size int, err error) {
	w := walk(msg)
	qtype := questionType(msg)
	for w.next() {
		if w.typ == dnsmessage.TypeOPT {
			if opt.end > 0 || w.section != additionalSection || w.fixed != w.start+1 {
				return opt, 0, errOPT
			}
			opt = w.record
			continue
		}
		a.add(msg, w.record, qtype)
	}
	a.ttls, a.addrs = slices.Clip(a.ttls), slices.Clip(a.addrs)
	return opt, w.at, w.err
}

func (a *answer) add(msg []byte, r record, qtype Type) {
	a.ttls = append(a.ttls, uint16(r.ttlAt()))
	a.ipv6 = a.ipv6 || r.typ == dnsmessage.TypeAAAA || isSVCB(r.typ)
	// Clients of SVCB use the addresses that come along.
	if r.section == answerSection || r.section == additionalSection && isSVCB(qtype) {
		a.addrs = appendAddresses(a.addrs, msg, r)
	}
}

func questionType(msg []byte) Type {
	end, err := skipName(msg, headerLen)
	if err != nil || end+2 > len(msg) {
		return 0
	}
	return Type(binary.BigEndian.Uint16(msg[end:]))
}

func appendAddresses(dst []netip.Addr, msg []byte, r record) []netip.Addr {
	if r.class != classINET {
		return dst
	}
	data := msg[r.data:r.end]
	switch {
	case r.typ == dnsmessage.TypeA && len(data) == 4, r.typ == dnsmessage.TypeAAAA && len(data) == 16:
		return appendAddrs(dst, data, len(data))
	case isSVCB(r.typ):
		return appendHints(dst, data)
	}
	return dst
}

// splitOPT takes the OPT record out of the message. Nothing points into one, and
// it is the last one but for odd servers.
func (a *answer) splitOPT(opt record) error {
	msg := a.msg
	a.edns = true
	a.rcode |= int(binary.BigEndian.Uint32(msg[opt.ttlAt():])>>extendedRcode) << 4
	a.opt = passOptions(msg[opt.data:opt.end])
	if opt.end == len(msg) {
		a.msg = msg[:opt.start:opt.start]
		binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])-1)
		return nil
	}
	out, err := rewrite(msg, func(r record) ([]byte, bool) { return nil, r.typ != dnsmessage.TypeOPT })
	if err != nil {
		return err
	}
	again := answer{msg: out}
	if _, _, err := again.read(out); err != nil {
		return err
	}
	a.msg, a.ttls = again.msg, again.ttls
	return nil
}

// passOptions are the options that a client may see, in wire form.
func passOptions(b []byte) []byte {
	var out []byte
	for len(b) >= 4 {
		end := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if end > len(b) {
			return out
		}
		if !slices.Contains(hopOptions, binary.BigEndian.Uint16(b)) {
			out = append(out, b[:end]...)
		}
		b = b[end:]
	}
	return out
}

// noTTL stands for the TTL of what is not there.
const noTTL = ^uint32(0)

// lifetime is how long the answer holds, in seconds: the smallest TTL of the
// answer section, or what the SOA record says where the answer is negative
// (RFC 2308 5); 0 where it must not be kept.
func (a *answer) lifetime(qtype Type) uint32 {
	ttl, soa, found := a.times(qtype)
	switch a.negative = a.rcode == rcodeName || a.rcode == rcodeSuccess && !found; {
	case a.negative && soa != noTTL:
		return min(ttl, soa)
	case a.rcode == rcodeSuccess && found:
		return ttl
	}
	return 0
}

// times gives the smallest TTL of the answer section, what an SOA record says,
// and whether the type that was asked for is there.
func (a *answer) times(qtype Type) (ttl, soa uint32, found bool) {
	ttl, soa = noTTL, noTTL
	for w := walk(a.msg); w.next(); {
		switch w.section {
		case answerSection:
			ttl = min(ttl, w.ttl)
			found = found || w.typ == qtype || qtype == dnsmessage.TypeALL
		case authoritySection:
			soa = min(soa, a.negativeTTL(w.record))
		}
	}
	return ttl, soa, found
}

// negativeTTL is what an SOA record says, or noTTL where the record is another.
func (a *answer) negativeTTL(r record) uint32 {
	if r.typ != dnsmessage.TypeSOA || r.end-r.data < 22 {
		return noTTL
	}
	return min(r.ttl, binary.BigEndian.Uint32(a.msg[r.end-4:]))
}

// withoutIPv6 is the answer for clients that must not use IPv6: AAAA records
// and hints are gone, and so are their signatures and the claim that all of it
// was authenticated.
func (a *answer) withoutIPv6() (*answer, error) {
	if !a.ipv6 {
		return a, nil
	}
	msg, err := rewrite(a.msg, a.dropIPv6)
	if err != nil {
		return nil, fmt.Errorf("filter answer: %w", err)
	}
	out := &answer{opt: a.opt, edns: a.edns, rcode: a.rcode, ttl: a.ttl, msg: msg}
	if _, _, err := out.read(msg); err != nil {
		return nil, fmt.Errorf("filter answer: %w", err)
	}
	if len(msg) != len(a.msg) {
		msg[3] &^= flagAD
	}
	return out, nil
}

// dropIPv6 is an edit for rewrite.
func (a *answer) dropIPv6(r record) ([]byte, bool) {
	data := a.msg[r.data:r.end]
	switch {
	case r.typ == dnsmessage.TypeAAAA:
		return nil, false
	case r.typ == typeRRSIG && len(data) >= 2:
		covered := Type(binary.BigEndian.Uint16(data))
		return nil, covered != dnsmessage.TypeAAAA && !isSVCB(covered)
	case isSVCB(r.typ):
		short, err := withoutIPv6Hint(data)
		if len(short) == len(data) {
			short = nil
		}
		return short, err == nil // a malformed record helps nobody
	}
	return nil, true
}
