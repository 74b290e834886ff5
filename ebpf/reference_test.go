package ebpf

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// This file reads DNS messages by the letter of the RFCs, over slices that end
// where the message does: what the programs must agree with. It knows what
// bpf/learn.h and bpf/query.h promise beside that, and nothing of how they do it.

// What the programs promise to read.
const (
	refMessageMax  = 4096
	refRecordsMax  = 64
	refServicesMax = 8
)

// refHeader is RFC 1035 section 4.1.1.
type refHeader struct {
	response, truncated bool
	opcode, rcode       uint8
	questions           int
	answers, end        int // records of the answer section, of all sections
	additional          int // the first record of the additional section
}

func refReadHeader(m []byte) (refHeader, bool) {
	if len(m) < 12 {
		return refHeader{}, false
	}
	count := func(i int) int { return int(binary.BigEndian.Uint16(m[4+2*i:])) }
	return refHeader{
		response: m[2]>>7 == 1, truncated: m[2]>>1&1 == 1, opcode: m[2] >> 3 & 15, rcode: m[3] & 15,
		questions: count(0), answers: count(1), additional: count(1) + count(2), end: count(1) + count(2) + count(3),
	}, true
}

// refQuestion is the first question of a message.
type refQuestion struct {
	name   []byte // wire form as it came, without the root label
	labels []int  // where they begin in name
	kind   uint16
	end    int // behind it in the message
}

// refReadQuestion reads it. Its name cannot be compressed: there is nothing in
// front of it that it could point to.
func refReadQuestion(m []byte) (refQuestion, bool) {
	q, at := refQuestion{}, 12
	for at < len(m) && m[at] > 0 && m[at] < 64 {
		q.labels = append(q.labels, at-12)
		at += 1 + int(m[at])
	}
	q.end = at + 5
	// RFC 1035 section 3.1: 255 octets with the root label.
	if q.end > len(m) || m[at] != 0 || at+1-12 > 255 {
		return q, false
	}
	q.name, q.kind = m[12:at], binary.BigEndian.Uint16(m[at+1:])
	return q, true
}

// refRules are the world's rules, as a client has them.
type refRules struct {
	names map[string]NameRule // by wire form in lower case
	slots map[Destination]Slot
	bits  ClientRule
}

func newRefRules(t *Tables, bits ClientRule) refRules {
	r := refRules{names: map[string]NameRule{}, slots: t.Slots, bits: bits}
	for _, rule := range t.Names {
		var wire strings.Builder
		for label := range strings.SplitSeq(rule.Name, ".") {
			wire.WriteByte(byte(len(label)))
			wire.WriteString(label)
		}
		r.names[wire.String()] = rule
	}
	return r
}

// refRule is what a name is listed for.
type refRule struct {
	name string // of the rule
	full bool
	slot Slot // of the destination that takes the client; zero where none does
}

// find gives the rule of the longest listed suffix, whatever the case (RFC 4343).
func (r refRules) find(q refQuestion) *refRule {
	lower := []byte(nil)
	for _, c := range q.name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower = append(lower, c)
	}
	for _, at := range q.labels {
		rule, listed := r.names[string(lower[at:])]
		switch {
		case listed && at == 0 && rule.Full != nil:
			return &refRule{rule.Name, true, r.slot(rule.Full)}
		case listed && rule.Suffix != nil:
			return &refRule{rule.Name, false, r.slot(rule.Suffix)}
		}
	}
	return nil
}

// slot is that of the first destination of a chain that takes the client.
func (r refRules) slot(c Chain) Slot {
	for _, l := range c {
		if bit := uint64(1) << l.Bit; (!l.Include || r.bits.Include&bit != 0) && (!l.Exclude || r.bits.Exclude&bit == 0) {
			return r.slots[l.Destination]
		}
	}
	return Slot{}
}

// refAddr is an address of an answer, with its time to live in seconds.
type refAddr struct {
	addr netip.Addr
	ttl  uint32
}

// refMessage is an answer as it was read.
type refMessage struct {
	question refQuestion
	header   refHeader
	found    []refAddr
	sound    bool // to its end, within what is promised
	partial  bool // it is not, but found are addresses of whole records
	steps    [2]int
}

// refReadAnswer reads an answer to one question; false: it is none, or has no
// name that could be listed.
func refReadAnswer(m []byte) (refMessage, bool) {
	h, ok := refReadHeader(m)
	if !ok || !h.response || h.opcode != 0 || h.rcode != 0 || h.questions != 1 {
		return refMessage{}, false
	}
	q, ok := refReadQuestion(m[:min(len(m), refMessageMax)])
	if !ok {
		return refMessage{}, false
	}
	out := refMessage{question: q, header: h}
	w := refWalk{m: m, at: q.end, service: q.kind == 64 || q.kind == 65}
	if len(m) <= refMessageMax {
		out.sound = w.records(h)
		out.partial = !out.sound && !w.inHints
	}
	out.found, out.steps = w.found, w.steps
	return out, true
}

// refWalk goes through the records of a message.
type refWalk struct {
	m        []byte
	at       int
	service  bool // the question is for SVCB or HTTPS
	found    []refAddr
	services []refRecord
	inHints  bool   // the addresses of services are being taken
	steps    [2]int // over names and records, over the records of services
}

type refRecord struct {
	kind, class uint16
	ttl         uint32
	data        []byte
}

// records collects the addresses of the answer section; for services also those
// of the additional section, where RFC 9460 section 4.1 has the target's.
func (w *refWalk) records(h refHeader) bool {
	n := h.answers
	if w.service {
		n = h.end
	}
	if n > refRecordsMax && !h.truncated {
		return false
	}
	n = min(n, refRecordsMax)
	for i := range n {
		r, ok := w.record()
		counts := i < h.answers || i >= h.additional
		if !ok || counts && !w.take(r) {
			return false
		}
	}
	return w.allHints()
}

// allHints collects the hints of the records that were found, the last one first,
// as the programs take them.
func (w *refWalk) allHints() bool {
	w.inHints = true
	for i := len(w.services) - 1; i >= 0; i-- {
		if !w.hints(w.services[i]) {
			return false
		}
	}
	return true
}

// record reads one (RFC 1035 section 4.1.3). Where its owner's name points does
// not matter.
func (w *refWalk) record() (refRecord, bool) {
	for {
		w.steps[0]++
		if w.at >= len(w.m) {
			return refRecord{}, false
		}
		n := int(w.m[w.at])
		if n == 0 {
			w.at++
			break
		}
		if n >= 192 {
			w.at += 2
			break
		}
		if n > 63 {
			return refRecord{}, false
		}
		w.at += 1 + n
	}
	if w.at+10 > len(w.m) {
		return refRecord{}, false
	}
	p := w.m[w.at:]
	size := int(binary.BigEndian.Uint16(p[8:]))
	if 10+size > len(p) {
		return refRecord{}, false
	}
	w.at += 10 + size
	return refRecord{
		binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:]), refTTL(binary.BigEndian.Uint32(p[4:])), p[10 : 10+size],
	}, true
}

// refTTL is RFC 2181 section 8.
func refTTL(v uint32) uint32 {
	if v >= 1<<31 {
		return 0
	}
	return v
}

func (w *refWalk) take(r refRecord) bool {
	switch {
	case r.class != 1:
	case r.kind == 1 && len(r.data) == 4, r.kind == 28 && len(r.data) == 16:
		return w.add(r.data, r.ttl)
	case r.kind == 64 || r.kind == 65:
		w.services = append(w.services, r)
		return len(w.services) <= refServicesMax
	}
	return true
}

func (w *refWalk) add(b []byte, ttl uint32) bool {
	a, _ := netip.AddrFromSlice(b)
	w.found = append(w.found, refAddr{a.Unmap(), ttl})
	return len(w.found) <= refRecordsMax
}

// hints takes the addresses out of RFC 9460 section 2.2's wire form.
func (w *refWalk) hints(r refRecord) bool {
	w.steps[1]++
	if len(r.data) < 2 {
		return false
	}
	b, ok := w.target(r.data[2:])
	for ok && len(b) > 0 {
		w.steps[1]++
		if len(b) < 4 {
			return false
		}
		key, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if 4+size > len(b) {
			return false
		}
		switch key {
		case 4:
			ok = w.hint(b[4:4+size], 4, r.ttl)
		case 6:
			ok = w.hint(b[4:4+size], 16, r.ttl)
		}
		b = b[4+size:]
	}
	w.steps[1]++
	return ok
}

// target passes over a name, which is not compressed here.
func (w *refWalk) target(b []byte) ([]byte, bool) {
	for len(b) > 0 && b[0] < 64 {
		w.steps[1]++
		n := int(b[0])
		if 1+n > len(b) {
			return nil, false
		}
		b = b[1+n:]
		if n == 0 {
			return b, true
		}
	}
	return nil, false
}

// hint takes addresses of one length; octets that are left over do not count.
func (w *refWalk) hint(b []byte, size int, ttl uint32) bool {
	for ; len(b) >= size; b = b[size:] {
		w.steps[1]++
		if !w.add(b[:size], ttl) {
			return false
		}
	}
	w.steps[1]++
	return true
}

// refReadQuery reads a query with one question; false: it is none.
func refReadQuery(m []byte) (refQuestion, bool) {
	h, ok := refReadHeader(m)
	if !ok || h.response || h.opcode != 0 || h.questions != 1 {
		return refQuestion{}, false
	}
	return refReadQuestion(m)
}
