package ebpf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// reply builds an answer as a resolver sends it, with names compressed.
func reply(name string, qtype uint16, records ...string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.Response, m.RecursionAvailable, m.Compress = true, true, true
	for _, r := range records {
		m.Answer = append(m.Answer, record(r))
	}
	return m
}

// record reads a line of a zone file.
func record(line string) dns.RR {
	rr, err := dns.NewRR(line)
	if err != nil {
		panic(fmt.Sprintf("record %q: %v", line, err))
	}
	return rr
}

func wire(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// carry puts a DNS message into a packet from the resolver to alice.
func carry(message []byte) frame {
	return frame{
		src: netip.AddrPortFrom(resolver, 53), dst: netip.AddrPortFrom(alice, 40000),
		srcMAC: routerMAC, dstMAC: aliceMAC, proto: udp, payload: message,
	}
}

// answer is a packet with an answer for a name of these addresses.
func answer(name string, addrs ...netip.Addr) frame {
	m := reply(name, dns.TypeA)
	for _, a := range addrs {
		kind := "A"
		if a.Is6() {
			kind, m.Question[0].Qtype = "AAAA", dns.TypeAAAA
		}
		m.Answer = append(m.Answer, record(fmt.Sprintf("%s 300 IN %s %s", dns.Fqdn(name), kind, a)))
	}
	return carry(wire(m))
}

// learnings is what a data plane knows, in words: "address client target".
func (w *world) learnings(t testing.TB) []string {
	t.Helper()
	all, err := w.Grants()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, 0, len(all))
	for _, k := range all {
		out = append(out, k.Addr.String())
	}
	return out
}

// randomCase gives a name the case of DNS 0x20.
func randomCase(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i%3 != 1 {
			c = []rune(strings.ToUpper(string(c)))[0]
		}
		b.WriteRune(c)
	}
	return b.String()
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}
