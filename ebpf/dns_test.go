package ebpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

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

// with changes a message before it is packed.
func with(m *dns.Msg, change func(*dns.Msg)) []byte {
	change(m)
	return wire(m)
}

// patched overwrites octets of a message.
func patched(b []byte, at int, octets ...byte) []byte {
	copy(b[at:], octets)
	return b
}

// Offsets in a DNS header.
const (
	atFlags   = 2
	atRcode   = 3
	atQdcount = 4
	atAncount = 6
)

// plain is an answer of one A record.
func plain(name, addr string) []byte {
	return wire(reply(name, dns.TypeA, dns.Fqdn(name)+" 300 IN A "+addr))
}

// many is an answer of n A records: 198.51.101.0 and up.
func many(name string, n int) []byte {
	m := reply(name, dns.TypeA)
	for i := range n {
		m.Answer = append(m.Answer, record(fmt.Sprintf("%s 300 IN A 198.51.101.%d", dns.Fqdn(name), i)))
	}
	return wire(m)
}

// manyAddrs are the addresses of many.
func manyAddrs(n int) []string {
	out := make([]string, n)
	for i := range n {
		out[i] = fmt.Sprintf("198.51.101.%d", i)
	}
	return out
}

// question is the header and question of an answer that says it holds n records.
func question(wireName []byte, qtype uint16, n int) []byte {
	b := []byte{0, 1, 0x81, 0x80, 0, 1, 0, byte(n), 0, 0, 0, 0}
	b = append(b, wireName...)
	return binary.BigEndian.AppendUint32(b, uint32(qtype)<<16|1)
}

// raw is one record behind a pointer to the question's name.
func raw(qtype uint16, ttl uint32, size int, data ...byte) []byte {
	b := []byte{0xc0, 12}
	b = binary.BigEndian.AppendUint32(b, uint32(qtype)<<16|1)
	b = binary.BigEndian.AppendUint32(b, ttl)
	return append(binary.BigEndian.AppendUint16(b, uint16(size)), data...)
}

// handmade is an answer for closed.example made of raw records.
func handmade(qtype uint16, records ...[]byte) []byte {
	b := question(labels("closed", "example"), qtype, len(records))
	for _, r := range records {
		b = append(b, r...)
	}
	return b
}

// labels is a name in wire form.
func labels(list ...string) []byte {
	var b []byte
	for _, l := range list {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

// longName is a name below closed.example with a wire form of n octets: 253
// characters of presentation form are 255 octets.
func longName(n int) []byte {
	tail := labels("closed", "example")
	var b []byte
	for rest := n - len(tail); rest > 0; {
		size := min(rest, 50)
		b = append(append(b, byte(size-1)), strings.Repeat("x", size-1)...)
		rest -= size
	}
	return append(b, tail...)
}

// carry puts a DNS message into a packet from the resolver to alice.
func carry(message []byte) frame {
	return frame{
		src: netip.AddrPortFrom(resolver, 53), dst: netip.AddrPortFrom(alice, 40000),
		srcMAC: routerMAC, dstMAC: aliceMAC, proto: udp, payload: message,
	}
}

// carry6 does the same over IPv6, with extension headers.
func carry6(message []byte, chain ...ext) frame {
	f := carry(message)
	f.src, f.dst = netip.MustParseAddrPort("[2001:db8:53::53]:53"), netip.AddrPortFrom(alice6, 40000)
	f.ext, f.id = chain, 7
	return f
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

// mixedCase gives a name the case of DNS 0x20.
func mixedCase(name string) string {
	b := []byte(name)
	for i := range b {
		if i%3 != 1 {
			b[i] = strings.ToUpper(name)[i]
		}
	}
	return string(b)
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}
