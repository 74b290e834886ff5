package dns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestManyQueriesAtOnce sends more datagrams than one batch holds before it reads
// an answer: short and long ones, of one socket and of both families, with some
// between them that get no answer.
func TestManyQueriesAtOnce(t *testing.T) {
	r := newResolver(t, nil, nil, "udp://127.0.0.60")
	newPeer(t, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg {
		name := q.Question[0].Name
		if q.Question[0].Qtype != peer.TypeTXT {
			return answerOf(t, q, name+" 60 IN A 198.51.100.7")
		}
		return answerOf(t, q, name+` 60 IN TXT "`+strings.Repeat("x", 250)+`" "`+strings.Repeat("y", 250)+`" "`+strings.Repeat("z", 250)+`"`)
	})
	serve(t, r, nil)
	const queries = 5 * batchSize
	name := func(i int) string {
		return fmt.Sprintf("%s%d.test.", map[bool]string{true: "long", false: "short"}[i%3 == 0], i)
	}
	kind := func(i int) uint16 {
		return map[bool]uint16{true: peer.TypeTXT, false: peer.TypeA}[i%3 == 0]
	}
	ask := func(i int) *peer.Msg {
		q := question(name(i), kind(i))
		q.Id = uint16(i)
		return q.SetEdns0(1232, false)
	}
	for _, server := range []string{serverAddress, "[::1]:5399"} {
		conn, err := net.Dial("udp", server)
		must(t, err)
		defer conn.Close()
		// The second time they come from the cache, whole batches at once.
		for range 2 {
			for i := range queries {
				wire, err := ask(i).Pack()
				must(t, err)
				_, err = conn.Write(wire)
				must(t, err)
				_, err = conn.Write([]byte{byte(i), 0, 0x80}) // not a query
				must(t, err)
			}
			must(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			seen := map[uint16]bool{}
			for buf := make([]byte, 4096); len(seen) < queries; {
				n, err := conn.Read(buf)
				must(t, err)
				m := new(peer.Msg)
				must(t, m.Unpack(buf[:n]))
				if i := int(m.Id); m.Question[0].Name != name(i) || m.Rcode != 0 || len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != kind(i) {
					t.Fatalf("query %d for %s got\n%v", i, name(i), m)
				}
				seen[m.Id] = true
			}
		}
	}
}

func TestReadSockaddr(t *testing.T) {
	family := func(n uint16) []byte { return binary.NativeEndian.AppendUint16(nil, n) }
	v6 := func(addr string, zone uint32) []byte {
		b := append(family(unix.AF_INET6), 0x14, 0xe9, 0, 0, 0, 0)
		b = append(b, netip.MustParseAddr(addr).AsSlice()...)
		return binary.NativeEndian.AppendUint32(b, zone)
	}
	v4 := append(family(unix.AF_INET), 0x14, 0xe9, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, c := range []struct {
		what string
		give []byte
		want string // empty: refused
	}{
		{"IPv4", v4, "192.0.2.1:5353"},
		{"IPv6", v6("2001:db8::1", 0), "[2001:db8::1]:5353"},
		{"a global address has no zone", v6("2001:db8::1", 3), "[2001:db8::1]:5353"},
		{"link-local", v6("fe80::1", 3), "[fe80::1%3]:5353"},
		{"nothing", nil, ""},
		{"IPv4, cut off", v4[:8], ""},
		{"IPv6, cut off", v6("2001:db8::1", 0)[:24], ""},
		{"another family", append(family(unix.AF_UNIX), make([]byte, 30)...), ""},
	} {
		got, ok := readSockaddr(c.give)
		if !ok && c.want == "" {
			continue
		}
		if !ok || got.String() != c.want {
			t.Errorf("%s: %v, %v, want %q", c.what, got, ok, c.want)
		}
	}
}
