package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	peer "github.com/miekg/dns"
)

// read parses an answer as if it had just come for its own question.
func read(t testing.TB, m *peer.Msg) (*answer, error) {
	t.Helper()
	m.Id = 0
	raw, err := m.Pack()
	must(t, err)
	end, err := skipName(raw, headerLen)
	must(t, err)
	asked := append([]byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, raw[headerLen:end+4]...)
	return parseAnswer(raw, asked, true)
}

// records puts records given as text into a section.
func records(t testing.TB, list ...string) []peer.RR {
	t.Helper()
	return answerOf(t, question(".", peer.TypeA), list...).Answer
}

func TestLifetimeIsThatOfTheShortestRecordOrOfTheSOA(t *testing.T) {
	const soa = "test. 600 IN SOA ns.test. root.test. 1 2 3 4 90"
	for _, c := range []struct {
		name   string
		kind   uint16
		rcode  int
		answer []string
		ns     []string
		want   uint32
	}{
		{name: "one record", kind: peer.TypeA, answer: []string{"a.test. 77 IN A 192.0.2.1"}, want: 77},
		{name: "the shortest", kind: peer.TypeA, answer: []string{"a.test. 77 IN CNAME b.test.", "b.test. 5 IN A 192.0.2.1"}, want: 5},
		{name: "TTL 0", kind: peer.TypeA, answer: []string{"a.test. 0 IN A 192.0.2.1"}, want: 0},
		{name: "top bit set", kind: peer.TypeA, answer: []string{"a.test. 4000000000 IN A 192.0.2.1"}, want: 0},
		{name: "the authority's is not asked", kind: peer.TypeA, answer: []string{"a.test. 77 IN A 192.0.2.1"}, ns: []string{"test. 3 IN NS ns.test."}, want: 77},
		{name: "no such name", kind: peer.TypeA, rcode: 3, ns: []string{soa}, want: 90},
		{name: "no such name, SOA shorter than its minimum", kind: peer.TypeA, rcode: 3, ns: []string{strings.Replace(soa, "600", "60", 1)}, want: 60},
		{name: "no such name, no SOA", kind: peer.TypeA, rcode: 3, want: 0},
		{name: "no such type", kind: peer.TypeAAAA, ns: []string{soa}, want: 90},
		{name: "an alias of no such name", kind: peer.TypeA, rcode: 3, answer: []string{"a.test. 7 IN CNAME b.test."}, ns: []string{soa}, want: 7},
		{name: "an alias without the type", kind: peer.TypeAAAA, answer: []string{"a.test. 700 IN CNAME b.test."}, ns: []string{soa}, want: 90},
		{name: "the alias is asked for", kind: peer.TypeCNAME, answer: []string{"a.test. 700 IN CNAME b.test."}, want: 700},
		{name: "anything", kind: peer.TypeANY, answer: []string{"a.test. 70 IN TXT x"}, want: 70},
		{name: "a failure", kind: peer.TypeA, rcode: 2, ns: []string{soa}, want: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := answerOf(t, question("a.test.", c.kind), c.answer...)
			m.Rcode, m.Ns = c.rcode, records(t, c.ns...)
			a, err := read(t, m)
			must(t, err)
			if a.ttl != c.want {
				t.Errorf("got %d, want %d", a.ttl, c.want)
			}
		})
	}
}

func TestAnswersToOtherQuestionsAreRefused(t *testing.T) {
	sent, err := question("Www.test.", peer.TypeA).Pack()
	must(t, err)
	m := answerOf(t, question("Www.test.", peer.TypeA), "Www.test. 60 IN A 192.0.2.1")
	good, err := m.Pack()
	must(t, err)
	copy(good, sent[:2])
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   error // nil with exact false only where loose is set
		loose  bool
	}{
		"right":           {func(b []byte) []byte { return b }, nil, true},
		"other id":        {func(b []byte) []byte { b[0] ^= 1; return b }, errMismatch, false},
		"a query":         {func(b []byte) []byte { b[2] &^= 0x80; return b }, errMismatch, false},
		"other opcode":    {func(b []byte) []byte { b[2] |= 4 << 3; return b }, errMismatch, false},
		"other letters":   {func(b []byte) []byte { b[13] ^= 0x20; return b }, errMismatch, true},
		"other name":      {func(b []byte) []byte { b[14] = 'x'; return b }, errMismatch, false},
		"other type":      {func(b []byte) []byte { b[23] = 28; return b }, errMismatch, false},
		"other class":     {func(b []byte) []byte { b[25] = 3; return b }, errMismatch, false},
		"no question":     {func(b []byte) []byte { b[5] = 0; return b }, errMismatch, false},
		"truncated":       {func(b []byte) []byte { b[2] |= 2; return b }, errTruncated, false},
		"cut off":         {func(b []byte) []byte { return b[:len(b)-1] }, errShort, false},
		"only its header": {func(b []byte) []byte { return b[:12] }, errMismatch, false},
		"nothing":         {func([]byte) []byte { return nil }, errShort, false},
	} {
		_, err := parseAnswer(c.change(bytes.Clone(good)), sent, true)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if _, err := parseAnswer(c.change(bytes.Clone(good)), sent, false); c.loose != (err == nil) {
			t.Errorf("%s, any case: got %v", name, err)
		}
	}
}

func TestOptRecordStaysOnItsHopButForWhatClientsMaySee(t *testing.T) {
	for _, behind := range []bool{false, true} {
		m := answerOf(t, question("a.test.", peer.TypeA), "a.test. 60 IN A 192.0.2.1")
		m.SetEdns0(4096, true)
		opt := m.IsEdns0()
		opt.Option = []peer.EDNS0{
			&peer.EDNS0_COOKIE{Code: peer.EDNS0COOKIE, Cookie: "0011223344556677"}, &peer.EDNS0_PADDING{Padding: make([]byte, 9)},
			&peer.EDNS0_EDE{InfoCode: 3, ExtraText: "stale"}, &peer.EDNS0_LOCAL{Code: 65001, Data: []byte("x")},
		}
		if behind {
			m.Extra = append(m.Extra, records(t, "a.test. 50 IN TXT behind")...)
		}
		a, err := read(t, m)
		must(t, err)
		q := query{question: a.msg[headerLen : headerLen+12], do: true}
		want := map[bool]string{false: "", true: "TXT "}[behind]
		if got := additional(t, a, &q); got != want {
			t.Errorf("without EDNS: %q, want %q", got, want)
		}
		q.edns = true
		if got := additional(t, a, &q); got != want+"OPT 1232 true 15 65001 " {
			t.Errorf("with EDNS: %q", got)
		}
	}
}

// additional tells the additional records of a reply, with the OPT record's
// size, DO and options.
func additional(t *testing.T, a *answer, q *query) string {
	t.Helper()
	var got peer.Msg
	must(t, got.Unpack(a.appendReply(nil, q, aged{})))
	out := ""
	for _, rr := range got.Extra {
		out += peer.TypeToString[rr.Header().Rrtype] + " "
		if opt, ok := rr.(*peer.OPT); ok {
			out += fmt.Sprintf("%d %v ", opt.UDPSize(), opt.Do())
			for _, o := range opt.Option {
				out += fmt.Sprintf("%d ", o.Option())
			}
		}
	}
	return out
}

func TestTwoOptRecordsAreRefused(t *testing.T) {
	m := answerOf(t, question("a.test.", peer.TypeA), "a.test. 60 IN A 192.0.2.1")
	m.SetEdns0(4096, true)
	m.Extra = append(m.Extra, m.Extra[0])
	if _, err := read(t, m); !errors.Is(err, errOPT) {
		t.Errorf("got %v", err)
	}
}

func TestReplyDiffersOnlyWhereItMust(t *testing.T) {
	m := answerOf(t, question("a.test.", peer.TypeANY), everyName...)
	m.AuthenticatedData = true
	a, err := read(t, m)
	must(t, err)
	asked := []byte("\x01A\x04TesT\x00\x00\xff\x00\x01")
	q := query{id: 0xbeef, flags: flagCD, question: asked, qtype: Type(peer.TypeANY), do: true}
	got := a.appendReply([]byte("before"), &q, aged{seconds: 20, limit: 200})[6:]
	want := bytes.Clone(a.msg)
	binary.BigEndian.PutUint16(want, 0xbeef)
	flags := binary.BigEndian.Uint16(want[2:])&^flagRD | flagCD
	binary.BigEndian.PutUint16(want[2:], flags)
	copy(want[headerLen:], asked)
	for w := walk(want); w.next(); {
		ttl := map[uint32]uint32{300: 180, 60: 40, 30: 10}[w.ttl]
		binary.BigEndian.PutUint32(want[w.ttlAt():], ttl)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
}

func TestClaimOfAuthenticityIsForThoseWhoAskForIt(t *testing.T) {
	m := answerOf(t, question("a.test.", peer.TypeA), "a.test. 60 IN A 192.0.2.1")
	m.AuthenticatedData = true
	a, err := read(t, m)
	must(t, err)
	for _, c := range []struct {
		flags uint16
		do    bool
		want  bool
	}{{0, false, false}, {flagAD, false, true}, {0, true, true}} {
		q := query{flags: c.flags, do: c.do, question: a.msg[headerLen : headerLen+12]}
		if got := a.appendReply(nil, &q, aged{})[3]&flagAD != 0; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestTTLsAge(t *testing.T) {
	for _, c := range []struct {
		age       aged
		ttl, want uint32
	}{
		{aged{}, 300, 300},
		{aged{seconds: 299}, 300, 1},
		{aged{seconds: 300}, 300, 1}, // kept for longer than it said: MinTTL
		{aged{seconds: 5}, 0, 0},
		{aged{limit: 60}, 300, 60},
		{aged{seconds: 10, limit: 60}, 300, 50},
		{aged{stale: true, seconds: 9999}, 300, staleTTL},
	} {
		if got := c.age.shown(c.ttl); got != c.want {
			t.Errorf("%+v of %d: %d, want %d", c.age, c.ttl, got, c.want)
		}
	}
}

func TestQueryToUpstreamsCarriesNothingOfTheClient(t *testing.T) {
	m := question("WwW.test.", peer.TypeA)
	m.SetEdns0(4096, true)
	m.CheckingDisabled = true
	m.IsEdns0().Option = []peer.EDNS0{&peer.EDNS0_COOKIE{Code: peer.EDNS0COOKIE, Cookie: "0011223344556677"}}
	raw, err := m.Pack()
	must(t, err)
	var q query
	if v := q.parse(raw); v != verdictAsk {
		t.Fatal(v)
	}
	key := cacheKey(q.appendKey(nil, 7))
	var sent peer.Msg
	must(t, sent.Unpack(key.message()))
	want := question("www.test.", peer.TypeA)
	want.Id, want.CheckingDisabled, want.AuthenticatedData = 0, true, true
	want.SetEdns0(maxUDP, true)
	if diff := cmp.Diff(want.String(), sent.String()); diff != "" || key.path() != 7 {
		t.Errorf("by path %d (-want +got):\n%s", key.path(), diff)
	}
}

func TestRandomizeChangesIdAndCaseOnly(t *testing.T) {
	name, err := nameWire(strings.Repeat("abcdefghij0-_.", 9) + "test")
	must(t, err)
	plain := newKey(name, 1, 1).message()
	seen := map[string]bool{}
	for range 8 {
		b := bytes.Clone(plain)
		randomize(b)
		seen[string(b[12:])] = true
		lower(b[12 : 12+len(name)])
		if !bytes.Equal(b[2:], plain[2:]) {
			t.Fatalf("got\n%x\nwant\n%x", b, plain)
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d different ones of 8", len(seen))
	}
}
