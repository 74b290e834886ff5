package ebpf

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/miekg/dns"

	"github.com/routerd/routerd/internal/owned"
)

// bypassWorld refuses DNS over TLS and knows one resolver over HTTPS a family.
func bypassWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.tables.LocalDNS = true
	w.tables.DoH = prefixes("192.0.2.8/32", "2001:db8:8::/48", "198.51.100.1/32")
	mustSet(t, w.DataPlane, w.tables)
	inside(t, w.ns, func() {
		address(t, "lan0", "192.168.1.1/24", "2001:db8:aaaa::1/64")
		address(t, "wan0", "198.18.0.2/24", "2001:db8:53::2/64")
		route(t, w.ns, "198.18.0.1", "2001:db8:53::1")
		// The kernel looks routes up for none but a router.
		for _, path := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+path, []byte("1"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	return w
}

func TestRefusesDNSOverTLS(t *testing.T) {
	w := bypassWorld(t)
	events := openEvents(t, w.DataPlane)
	dot := func(server string, change ...func(*frame)) frame {
		f := to(server, change...)
		f.dst = netip.AddrPortFrom(f.dst.Addr(), 853)
		return f
	}
	for _, c := range []struct {
		name  string
		frame frame
		want  owned.PathIndex
		told  bool
	}{
		{"SYN", dot("192.0.2.8"), reset, true},
		{"SYN again", dot("192.0.2.8"), reset, false},
		{"of another client", dot("192.0.2.8", from("192.168.1.11", bobMAC)), reset, true},
		{"mid-connection", dot("192.0.2.9", flags(ack), carrying(50)), reset, true},
		{"IPv6", dot("2001:db8:9::9"), reset, true},
		{"QUIC", dot("192.0.2.10", protocol(udp), carrying(1200)), owned.PathBlock, true},
		{"VLAN", dot("192.0.2.11", tagged(0x8100)), reset, true},
		{"to a listed address", dot("203.0.113.1"), reset, true},
		{"to the router", dot("192.168.1.1"), unsteered, false},
		{"to the router, IPv6", dot("2001:db8:aaaa::1"), unsteered, false},
		{"another port", to("192.0.2.9"), unsteered, false},
	} {
		got := w.send(t, c.frame)
		if way(got) != c.want {
			t.Errorf("%s: way %d, want %d", c.name, way(got), c.want)
		}
		if c.want == reset {
			checkReset(t, c.frame, got.data)
		}
		want := []string{}
		if c.told {
			want = append(want, fmt.Sprintf("5  [%s] %s", c.frame.dst.Addr(), ClientMAC(c.frame.srcMAC)))
		}
		diff(t, told(t, events), want)
	}
	if s, err := w.Stats(); err != nil || s.Bypass != 8 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}

// told is what the events say: kind, name, addresses, client.
func told(t *testing.T, events *Events) []string {
	t.Helper()
	out := []string{}
	for _, ev := range pending(t, events) {
		out = append(out, fmt.Sprintf("%d %s %v %s", ev.Kind, ev.Name, ev.Addrs, ev.Client))
	}
	return out
}

func TestTellsOfDNSOverHTTPS(t *testing.T) {
	w := bypassWorld(t)
	events := openEvents(t, w.DataPlane)
	quic := func(first byte) func(*frame) {
		return func(f *frame) { f.proto, f.payload = udp, append([]byte{first}, make([]byte, 1199)...) }
	}
	for _, c := range []struct {
		name  string
		frame frame
		want  owned.PathIndex
		told  bool
	}{
		{"SYN", to("192.0.2.8"), unsteered, true},
		{"SYN again", to("192.0.2.8"), unsteered, false},
		{"mid-connection", to("192.0.2.8", flags(ack), carrying(10), from("192.168.1.11", bobMAC)), unsteered, false},
		{"IPv6", to("2001:db8:8::8"), unsteered, true},
		{"QUIC", to("192.0.2.8", quic(0xc3), from("192.168.1.11", bobMAC)), unsteered, true},
		{"QUIC, mid-connection", to("192.0.2.8", quic(0x43), from("192.168.1.12", routerMAC)), unsteered, false},
		{"another", to("192.0.2.9"), unsteered, false},
	} {
		if got := way(w.send(t, c.frame)); got != c.want {
			t.Errorf("%s: way %d, want %d", c.name, got, c.want)
		}
		if ev := pending(t, events); (len(ev) == 1) != c.told || (c.told && ev[0].Kind != EventDoH) {
			t.Errorf("%s: events %+v", c.name, ev)
		}
	}
}

// What a packet that concerns nobody costs with everything turned on, against
// nothing.
func BenchmarkWatch(b *testing.B) {
	for name, f := range map[string]frame{
		"TCP 443":  to("192.0.2.1", flags(ack), carrying(1000)),
		"UDP 443":  to("192.0.2.1", protocol(udp), carrying(1000)),
		"TCP 80":   to("192.0.2.1", flags(ack), func(f *frame) { f.dst = netip.AddrPortFrom(f.dst.Addr(), 80) }),
		"IPv6 443": to("2001:db8:9::9", flags(ack), carrying(1000)),
		"DNS":      ask("www.example", dns.TypeA),
	} {
		b.Run(name, func(b *testing.B) {
			w := resolvingWorld(b)
			w.tables.LocalDNS, w.tables.TLSNames = true, true
			mustSet(b, w.DataPlane, w.tables)
			w.ratio(b, bpfProgRouterdSteer, f.build(), flagNetworks,
				flagNetworks|flagResolve|flagResolveOwn|flagLocalDNS|flagTLS)
		})
	}
}
