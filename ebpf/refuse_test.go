package ebpf

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"
)

func TestAnswersThatCarryNothingPass(t *testing.T) {
	closed := func() []byte { return plain("closed.example", "198.51.100.7") }
	runLearn(t, []learnCase{
		{name: "NXDOMAIN", frame: carry(patched(closed(), atRcode, 0x80|dns.RcodeNameError))},
		{name: "SERVFAIL", frame: carry(patched(closed(), atRcode, 0x80|dns.RcodeServerFailure))},
		{name: "NODATA", frame: carry(with(reply("closed.example", dns.TypeA), func(m *dns.Msg) {
			m.Ns = append(m.Ns, record("example. 60 IN SOA ns.example. root.example. 1 2 3 4 5"))
		}))},
		{name: "query", frame: carry(patched(closed(), atFlags, 0x01))},
		{name: "notify", frame: carry(patched(closed(), atFlags, 0x81|dns.OpcodeNotify<<3))},
		{name: "no question", frame: carry(patched(closed(), atQdcount, 0, 0))},
		{name: "two questions", frame: carry(patched(closed(), atQdcount, 0, 2))},
		{name: "256 questions", frame: carry(patched(closed(), atQdcount, 1, 0))},
		{name: "class CH", frame: carry(handmade(dns.TypeA, patched(raw(dns.TypeA, 60, 4, 198, 51, 100, 7), 4, 0, 3)))},
		{name: "A of 5 octets", frame: carry(handmade(dns.TypeA, raw(dns.TypeA, 60, 5, 198, 51, 100, 7, 0)))},
		{name: "A of 16 octets", frame: carry(handmade(dns.TypeA, raw(dns.TypeA, 60, 16, make([]byte, 16)...)))},
		{name: "AAAA of 4 octets", frame: carry(handmade(dns.TypeAAAA, raw(dns.TypeAAAA, 60, 4, 198, 51, 100, 7)))},
		{name: "question with a label of 64", frame: carry(append(question(labels(string(bytes.Repeat([]byte("x"), 64)), "closed", "example"), dns.TypeA, 1), raw(dns.TypeA, 60, 4, 1, 2, 3, 4)...))},
		{name: "question with a pointer", frame: carry(append(question([]byte{3, 'w', 'w', 'w', 0xc0, 12}, dns.TypeA, 1), raw(dns.TypeA, 60, 4, 1, 2, 3, 4)...))},
		{name: "question of 256 octets", frame: carry(append(question(longName(256), dns.TypeA, 1), raw(dns.TypeA, 60, 4, 1, 2, 3, 4)...))},
		{name: "question without an end", frame: carry(question(labels("closed", "example"), dns.TypeA, 1)[:20])},
		{name: "question without a type", frame: carry(question(labels("closed", "example"), dns.TypeA, 0)[:12+16+3])},
		{name: "header only", frame: carry(closed()[:12])},
		{name: "11 octets", frame: carry(closed()[:11])},
		{name: "nothing", frame: carry(nil)},
		{name: "64 KiB of labels to come", frame: carry(append([]byte{0, 1, 0x81, 0x80, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{1}, 400)...))},
		{name: "TXT with 65 records", frame: carry(patched(append(question(labels("closed", "example"), dns.TypeTXT, 65), bytes.Repeat(raw(dns.TypeTXT, 60, 2, 1, 'x'), 65)...), atAncount, 0, 65))},
		{name: "TXT that ends early", frame: carry(handmade(dns.TypeTXT, raw(dns.TypeTXT, 60, 200, 1, 'x')))},
		{name: "open, 65 records", frame: carry(many("open.example", 65)), event: EventUnparsed},
		{name: "open, ends early", frame: carry(patched(plain("open.example", "198.51.100.7"), atAncount, 0, 2)), event: EventUnparsed},
	})
}

// A client may take an address from what cannot be read here.
func TestAnswersThatCannotBeReadAreWithheldFromClosedDestinations(t *testing.T) {
	https := func(data ...byte) []byte {
		return handmade(dns.TypeHTTPS, raw(dns.TypeHTTPS, 60, len(data), data...))
	}
	var cases []learnCase
	for name, message := range map[string][]byte{
		"65 records":               many("closed.example", 65),
		"65,535 records":           patched(plain("closed.example", "198.51.100.7"), atAncount, 0xff, 0xff),
		"record that is not there": patched(plain("closed.example", "198.51.100.7"), atAncount, 0, 2),
		"length beyond the end":    handmade(dns.TypeA, raw(dns.TypeA, 60, 5, 198, 51, 100, 7)),
		"length of 65,535":         handmade(dns.TypeA, raw(dns.TypeA, 60, 0xffff, 198, 51, 100, 7)),
		"cut in an owner's name":   append(question(labels("closed", "example"), dns.TypeA, 1), 3, 'w'),
		"cut in a pointer":         append(question(labels("closed", "example"), dns.TypeA, 1), 0xc0),
		"cut in a fixed part":      append(question(labels("closed", "example"), dns.TypeA, 1), 0xc0, 12, 0, 1, 0),
		"label of 64 in an owner":  append(question(labels("closed", "example"), dns.TypeA, 1), append([]byte{64}, bytes.Repeat([]byte("x"), 200)...)...),
		"label of type 10":         append(question(labels("closed", "example"), dns.TypeA, 1), append([]byte{0x80}, bytes.Repeat([]byte("x"), 200)...)...),
		"nine HTTPS records":       handmade(dns.TypeHTTPS, bytes.Repeat(raw(dns.TypeHTTPS, 60, 3, 0, 1, 0), 9))[:0],
		"HTTPS of 1 octet":         https(0),
		"HTTPS without a target":   https(0, 1),
		"HTTPS target compressed":  https(0, 1, 0xc0, 12),
		"HTTPS target cut":         https(0, 1, 5, 'x'),
		"hint longer than record":  https(0, 1, 0, 0, 4, 0, 8, 198, 51, 100, 7),
		"parameter cut":            https(0, 1, 0, 0, 4, 0),
		"more hints than room":     hintsBeyondRoom(),
	} {
		if name == "nine HTTPS records" {
			message = append(question(labels("closed", "example"), dns.TypeHTTPS, 9), bytes.Repeat(raw(dns.TypeHTTPS, 60, 3, 0, 1, 0), 9)...)
		}
		cases = append(cases, learnCase{name: name, frame: carry(message), withheld: true, event: EventUnparsed})
	}
	runLearn(t, cases)
}

// hintsBeyondRoom holds one address too many: 8 records of 8 and an A record.
func hintsBeyondRoom() []byte {
	m := services(8)
	m.Answer = append(m.Answer, record("closed.example. 60 IN A 198.51.100.7"))
	return wire(m)
}

func TestSloppyRecordsAreStillLearned(t *testing.T) {
	one := []string{"198.51.100.7"}
	behind := append(plain("closed.example", one[0]), bytes.Repeat([]byte{0xff}, 100)...)
	runLearn(t, []learnCase{
		// What a client makes of it is the client's affair.
		{name: "owner's pointer out of range", frame: carry(handmade(dns.TypeA, patched(raw(dns.TypeA, 60, 4, 198, 51, 100, 7), 0, 0xff, 0xff))), addrs: one},
		{name: "owner's pointer to itself", frame: carry(handmade(dns.TypeA, patched(raw(dns.TypeA, 60, 4, 198, 51, 100, 7), 1, 32))), addrs: one},
		{name: "owner is the root", frame: carry(handmade(dns.TypeA, append([]byte{0}, raw(dns.TypeA, 60, 4, 198, 51, 100, 7)[2:]...))), addrs: one},
		{name: "owner is another name", frame: carry(wire(reply("closed.example", dns.TypeA, "else.example. 60 IN A 198.51.100.7"))), addrs: one},
		{name: "octets behind the message", frame: carry(behind), addrs: one},
		{name: "hint of 6 octets", frame: carry(handmade(dns.TypeHTTPS, raw(dns.TypeHTTPS, 60, 13, 0, 1, 0, 0, 4, 0, 6, 198, 51, 100, 7, 1, 1))), addrs: one},
		{name: "hint of no octets", frame: carry(handmade(dns.TypeHTTPS, raw(dns.TypeHTTPS, 60, 7, 0, 1, 0, 0, 4, 0, 0)))},
		{name: "UDP length too short", frame: func() frame { f := carry(plain("closed.example", one[0])); f.udpLen = 9; return f }(), addrs: one},
		{name: "wrong UDP checksum", frame: carry(plain("closed.example", one[0])), addrs: one},
	})
}

func TestExemptAddressesAreNotLearned(t *testing.T) {
	runLearn(t, []learnCase{
		{name: "loopback", frame: answer("closed.example", addrs("127.0.0.1")...)},
		{name: "private", frame: answer("closed.example", addrs("10.1.2.3", "192.168.1.1")...)},
		{name: "IPv6 loopback, link-local, private", frame: answer("closed.example", addrs("::1", "fe80::1", "fd00::1")...)},
		{name: "own address among others", frame: answer("closed.example", addrs("198.51.100.200", "198.51.100.7", "10.0.0.1")...), addrs: []string{"198.51.100.7"}},
		{name: "private as IPv4-mapped", frame: carry(handmade(dns.TypeAAAA, raw(dns.TypeAAAA, 60, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3)))},
		{name: "IPv4-mapped", frame: carry(handmade(dns.TypeAAAA, raw(dns.TypeAAAA, 60, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7))), addrs: []string{"198.51.100.7"}},
		{name: "hint", frame: carry(handmade(dns.TypeHTTPS, raw(dns.TypeHTTPS, 60, 11, 0, 1, 0, 0, 4, 0, 4, 10, 1, 2, 3)))},
	})
}
