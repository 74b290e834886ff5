package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	peer "github.com/miekg/dns"
)

// packed is an answer in wire form, with names compressed.
func packed(t testing.TB, name string, kind uint16, records ...string) []byte {
	t.Helper()
	q := question(name, kind)
	q.Id = 0
	m := answerOf(t, q, records...)
	raw, err := m.Pack()
	must(t, err)
	return raw
}

// everyName has records of all types whose data holds names, and some without.
var everyName = []string{
	"a.test. 300 IN CNAME b.a.test.", "a.test. 300 IN AAAA 2001:db8::1", "b.a.test. 300 IN NS ns.b.a.test.",
	"b.a.test. 300 IN SOA ns.b.a.test. root.b.a.test. 1 2 3 4 5", "b.a.test. 300 IN MX 5 mx.b.a.test.",
	"b.a.test. 300 IN PTR ns.b.a.test.", "b.a.test. 300 IN MINFO ns.b.a.test. mx.b.a.test.",
	"b.a.test. 300 IN RP ns.b.a.test. mx.b.a.test.", "b.a.test. 300 IN AFSDB 1 ns.b.a.test.",
	"b.a.test. 300 IN SRV 1 2 3 mx.b.a.test.", "b.a.test. 300 IN DNAME ns.b.a.test.", "b.a.test. 300 IN KX 1 ns.b.a.test.",
	`b.a.test. 300 IN NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:x!" ns.b.a.test.`, "b.a.test. 300 IN TXT \"c0 0c\"",
	`ns.b.a.test. 300 IN TYPE65400 \# 4 C00CC00C`, "ns.b.a.test. 60 IN A 198.51.100.1",
	"b.a.test. 300 IN HTTPS 1 . alpn=h2 ipv6hint=2001:db8::2", "mx.b.a.test. 30 IN A 198.51.100.2",
}

func TestRewriteKeepsEveryNameWhateverRecordLeaves(t *testing.T) {
	full := packed(t, "a.test.", peer.TypeANY, everyName...)
	var want peer.Msg
	must(t, want.Unpack(full))
	for gone := range everyName {
		i := -1
		out, err := rewrite(full, func(record) ([]byte, bool) { i++; return nil, i != gone })
		must(t, err)
		var got peer.Msg
		if err := got.Unpack(out); err != nil {
			t.Fatalf("without %s: %v", everyName[gone], err)
		}
		rest := slices.Delete(texts(want.Answer), gone, gone+1)
		if diff := cmp.Diff(rest, texts(got.Answer)); diff != "" {
			t.Errorf("without %s (-want +got):\n%s", everyName[gone], diff)
		}
	}
}

func TestRewriteWithoutChangeGivesTheSameMessage(t *testing.T) {
	full := packed(t, "a.test.", peer.TypeANY, everyName...)
	out, err := rewrite(full, func(record) ([]byte, bool) { return nil, true })
	must(t, err)
	if &out[0] != &full[0] || len(out) != len(full) {
		t.Error("the message was copied")
	}
}

func TestWalkReadsWhatAnotherImplementationWrote(t *testing.T) {
	raw := packed(t, "a.test.", peer.TypeANY, everyName...)
	var want peer.Msg
	must(t, want.Unpack(raw))
	w := walk(raw)
	for _, rr := range want.Answer {
		if !w.next() {
			t.Fatalf("ended before %s: %v", rr, w.err)
		}
		name, _, err := appendName(nil, raw, w.start, 0)
		must(t, err)
		if nameText(name)+"." != rr.Header().Name || uint16(w.typ) != rr.Header().Rrtype || w.ttl != rr.Header().Ttl {
			t.Errorf("got %s %d %d, want %s", nameText(name), w.typ, w.ttl, rr)
		}
	}
	if w.next() || w.err != nil || w.at != len(raw) {
		t.Errorf("at %d of %d: %v", w.at, len(raw), w.err)
	}
}

func TestWalkRefusesMalformedMessages(t *testing.T) {
	good := packed(t, "a.test.", peer.TypeA, "a.test. 300 IN A 198.51.100.1")
	owner := len(good) - 16
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, msg := range map[string][]byte{
		"no header":            good[:11],
		"no question":          good[:12],
		"question cut off":     good[:20],
		"no record":            good[:owner],
		"record cut off":       good[:owner+5],
		"data cut off":         good[:len(good)-1],
		"one record too many":  change(func(b []byte) []byte { b[7] = 2; return b }),
		"pointer forwards":     change(func(b []byte) []byte { b[owner+1] = byte(owner + 2); return b }),
		"pointer to itself":    change(func(b []byte) []byte { b[owner+1] = byte(owner); return b }),
		"pointer into header":  change(func(b []byte) []byte { b[owner+1] = 3; return b }),
		"reserved label":       change(func(b []byte) []byte { b[owner] = 0x80; return b }),
		"half a pointer":       good[:owner+1],
		"longer than possible": make([]byte, maxMessage+1),
	} {
		w := walk(msg)
		for w.next() {
			continue
		}
		if w.err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAppendNameEndsOnLoops(t *testing.T) {
	msg := make([]byte, 12, 300)
	msg = append(msg, 1, 'a', 0xc0, 12)
	if _, _, err := appendName(nil, msg, 12, 0); !errors.Is(err, errName) {
		t.Errorf("a loop: %v", err)
	}
	long := make([]byte, 12, 600)
	for range 5 {
		long = append(append(long, 63), strings.Repeat("x", 63)...)
	}
	if _, _, err := appendName(nil, append(long, 0), 12, 0); !errors.Is(err, errName) {
		t.Errorf("a name of 320 octets: %v", err)
	}
	// The same by pointers: each part is short.
	parts := make([]byte, 12, 600)
	at := 0
	for i := range 5 {
		start := len(parts)
		parts = append(append(parts, 63), strings.Repeat("x", 63)...)
		if i == 0 {
			parts = append(parts, 0)
		} else {
			parts = append(parts, 0xc0, byte(at))
		}
		at = start
	}
	if at < 256 {
		if _, _, err := appendName(nil, parts, at, 0); !errors.Is(err, errName) {
			t.Errorf("a name of 320 octets by pointers: %v", err)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"": "\x00", ".": "\x00", "a": "\x01a\x00", "WWW.Test.": "\x03www\x04test\x00",
	} {
		got, err := nameWire(text)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	for _, text := range []string{"a..b", ".a", strings.Repeat("a", 64), strings.Repeat("a.", 130)} {
		if got, err := nameWire(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
	for wire, want := range map[string]string{
		"\x00": ".", "": ".", "\x03www\x04test\x00": "www.test",
		"\x05a.b\\ \x00": `a\046b\092\032`, "\x02\xff\x00\x00": `\255\000`,
	} {
		if got := nameText([]byte(wire)); got != want {
			t.Errorf("%q: %q, want %q", wire, got, want)
		}
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(packed(f, "a.test.", peer.TypeANY, everyName...), uint32(0x5555))
	f.Add(packed(f, "a.test.", peer.TypeA, "a.test. 300 IN A 198.51.100.1"), uint32(1))
	signed := question("a.test.", peer.TypeAAAA).SetEdns0(1232, true)
	raw, err := signed.Pack()
	must(f, err)
	f.Add(raw, uint32(0))
	f.Add([]byte{0, 0, 0x80, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 1}, uint32(3))
	f.Fuzz(func(t *testing.T, msg []byte, gone uint32) {
		var q query
		if q.parse(msg) == verdictAsk && len(q.name()) > maxName {
			t.Errorf("a name of %d octets", len(q.name()))
		}
		out, err := rewrite(msg, func(r record) ([]byte, bool) {
			if !slices.IsSorted([]int{headerLen, r.start, r.fixed, r.data, r.end, len(msg)}) {
				t.Fatalf("record %+v of %d octets", r, len(msg))
			}
			gone = gone>>1 | gone<<31
			return nil, gone&1 == 0
		})
		if err != nil {
			return
		}
		readable(t, out, func(record) {})
		fuzzAnswer(t, msg)
	})
}

// readable fails where a message cannot be walked.
func readable(t *testing.T, msg []byte, look func(record)) {
	t.Helper()
	w := walk(msg)
	for w.next() {
		look(w.record)
	}
	if w.err != nil {
		t.Errorf("what was made cannot be read: %v", w.err)
	}
}

// fuzzAnswer takes a message for an answer to its own question.
func fuzzAnswer(t *testing.T, msg []byte) {
	if len(msg) < headerLen {
		return
	}
	msg = bytes.Clone(msg)
	binary.BigEndian.PutUint16(msg[2:], flagQR|binary.BigEndian.Uint16(msg[2:])&^(flagTC|maskOpcode))
	end, err := skipName(msg, headerLen)
	if err != nil || end+4 > len(msg) || msg[end-1] != 0 {
		return
	}
	asked := bytes.Clone(msg[:end+4])
	a, err := parseAnswer(msg, asked, true)
	if err != nil {
		return
	}
	q := query{question: asked[headerLen:], edns: true, size: 512}
	readable(t, a.appendReply(nil, &q, aged{seconds: 10, limit: 300}), func(r record) {
		if r.ttl > 300 && r.typ != 41 {
			t.Errorf("TTL %d", r.ttl)
		}
	})
	if a, err = a.withoutIPv6(); err != nil {
		return
	}
	readable(t, a.appendReply(nil, &q, aged{stale: true}), func(r record) {
		if r.typ == 28 {
			t.Error("an AAAA record is left")
		}
	})
}
