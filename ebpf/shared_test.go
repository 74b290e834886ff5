package ebpf

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/miekg/dns"
)

// sharedWorld has one address that alice looked up as a listed name, and that is
// known for everybody.
func sharedWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.tables.Shared = true
	mustSet(t, w.DataPlane, w.tables)
	for _, a := range []string{"198.51.100.1", "2001:db8:5::1"} {
		if ev, err := w.LearnVerified("closed.example", ClientMAC(aliceMAC), addrs(a), 300*time.Second); err != nil || len(ev.Addrs) != 1 {
			t.Fatalf("learned %v, %v", ev.Addrs, err)
		}
	}
	return w
}

func TestAnAddressThatUnlistedNamesHaveTooIsShared(t *testing.T) {
	bobs := from("192.168.1.11", bobMAC)
	for _, c := range []struct {
		name   string
		frame  frame
		shared bool
	}{
		{"unlisted name", carry(plain("cdn.example", "198.51.100.1")), true},
		{"among others", answer("cdn.example", addrs("192.0.2.1", "198.51.100.1")...), true},
		{"behind a CNAME", carry(wire(reply("www.example", dns.TypeA,
			"www.example. 60 IN CNAME cdn.example.", "cdn.example. 60 IN A 198.51.100.1"))), true},
		{"hint", carry(wire(reply("cdn.example", dns.TypeHTTPS, "cdn.example. 60 IN HTTPS 1 . ipv4hint=198.51.100.1"))), true},
		{"another address", carry(plain("cdn.example", "198.51.100.2")), false},
		{"listed name", carry(plain("open.example", "198.51.100.1")), false},
		{"truncated", carry(with(reply("cdn.example", dns.TypeA, "cdn.example. 60 IN A 198.51.100.1"),
			func(m *dns.Msg) { m.Truncated = true })), false},
		{"more than can be read", carry(many("cdn.example", 70)), false},
		{"cannot be read", carry(patched(plain("cdn.example", "198.51.100.1"), atAncount, 0, 9)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := sharedWorld(t)
			events := openEvents(t, w.DataPlane)
			w.goes(t, "bob before", to("198.51.100.1", bobs), tunnelA)
			for range 2 {
				if got := w.run(t, bpfProgRouterdLearn, c.frame.build(), via{out: w.lan}); got.verdict != passed {
					t.Errorf("%s", got.verdict)
				}
			}
			shared := slices.DeleteFunc(pending(t, events), func(ev Event) bool { return ev.Kind != EventShared })
			want, times := tunnelA, 0
			if c.shared {
				want, times = unsteered, 1
			}
			if len(shared) != times || (c.shared && !slices.Equal(shared[0].Addrs, addrs("198.51.100.1"))) {
				t.Errorf("events %+v, want %d", shared, times)
			}
			w.goes(t, "bob", to("198.51.100.1", bobs, port(50001)), want)
			if c.name != "listed name" {
				w.goes(t, "alice", to("198.51.100.1"), tunnelA)
			}
		})
	}
}

func TestASharedAddressStaysSharedWhenItIsLearnedAnew(t *testing.T) {
	w := sharedWorld(t)
	w.run(t, bpfProgRouterdLearn, carry(plain("cdn.example", "198.51.100.1")).build(), via{out: w.lan})
	w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
	if _, err := w.LearnVerified("closed.example", 0, addrs("198.51.100.1"), 300*time.Second); err != nil {
		t.Fatal(err)
	}
	w.goes(t, "bob", to("198.51.100.1", from("192.168.1.11", bobMAC)), unsteered)
	w.learned(t, "closed.example", bobMAC, addrs("198.51.100.1")...)
	w.goes(t, "bob, who looked it up", to("198.51.100.1", from("192.168.1.11", bobMAC)), tunnelA)
}

// BenchmarkShared tells what the marking costs an unlisted answer.
func BenchmarkShared(b *testing.B) {
	for name, f := range map[string]frame{
		"1 address":   carry(plain("www.shop.example", "192.0.2.1")),
		"4 addresses": answer("www.shop.example", addrs("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")...),
		"CNAME chain": carry(wire(reply("www.shop.example", dns.TypeA, "www.shop.example. 60 IN CNAME a.cdn.example.",
			"a.cdn.example. 60 IN CNAME b.cdn.example.", "b.cdn.example. 60 IN A 192.0.2.1"))),
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			w.ratio(b, bpfProgRouterdLearn, f.build(), flagNetworks, flagNetworks|flagShared)
		})
	}
}

// ratio runs a program over a packet with two sets of flags in turn. The least
// time of each counts: others use the machine too.
func (w *world) ratio(b *testing.B, program string, data []byte, off, on uint32) {
	b.Helper()
	p, err := w.program(program)
	if err != nil {
		b.Fatal(err)
	}
	const runs = 10_000
	least := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		for i, flags := range []uint32{off, on} {
			if err := w.setConfig(func(c *bpfRdConfig) { c.Flags = flags }); err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			_, err := p.Run(&ebpf.RunOptions{Data: data, Context: skb{Ifindex: uint32(w.lan)}, Repeat: runs})
			if err != nil {
				b.Fatal(err)
			}
			least[i] = min(least[i], time.Since(start))
		}
	}
	b.ReportMetric(float64(least[0].Nanoseconds())/runs, "ns/off")
	b.ReportMetric(float64(least[1].Nanoseconds())/runs, "ns/on")
	b.ReportMetric(float64(least[1])/float64(least[0]), "on/off")
}

func TestLearnVerified(t *testing.T) {
	w := newWorld(t)
	ip := func(s string) []netip.Addr { return addrs(s) }
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
		n     int
		full  bool
	}{
		{"closed.example", ip("198.51.100.1"), 1, false},
		{"a.b.CLOSED.example", ip("198.51.100.2"), 1, false},
		{"only.example", ip("198.51.100.3"), 1, true},
		{"www.only.example", ip("198.51.100.4"), 0, false},
		{"both.example", ip("198.51.100.5"), 1, true},
		{"www.both.example", ip("2001:db8:5::5"), 1, false},
		{"www.example", ip("198.51.100.6"), 0, false},
		{"closed.example", addrs("10.0.0.1", "198.51.100.200", "198.51.100.7"), 1, false},
	} {
		w.forgetAll(t)
		ev, err := w.LearnVerified(c.name, ClientSelf, c.addrs, time.Minute)
		n := len(ev.Addrs)
		if err != nil || n != c.n {
			t.Errorf("%s: %d, %v; want %d", c.name, n, err, c.n)
		}
		if n == 1 {
			w.checkVerified(t, c.addrs[len(c.addrs)-1].String(), ClientSelf)
			all, err := w.Addresses()
			if err != nil || all[0].Full != c.full {
				t.Errorf("%s: %+v, %v", c.name, all, err)
			}
		} else if got := w.knownAddrs(t); len(got) > 0 {
			t.Errorf("%s: known %v", c.name, got)
		}
	}
	if _, err := w.LearnVerified("..", 0, ip("198.51.100.1"), time.Minute); err == nil {
		t.Error("a name that is none was learned")
	}
}

func TestLearningOpensTheMapOfNamesOnce(t *testing.T) {
	w := newWorld(t)
	learn := func(name string) *ebpf.Map {
		if ev, err := w.LearnVerified(name, 0, addrs("198.51.100.1"), time.Minute); err != nil || len(ev.Addrs) != 1 {
			t.Errorf("%s: %+v, %v", name, ev, err)
		}
		return w.openNames
	}
	before := learn("closed.example")
	if again := learn("www.closed.example"); again != before {
		t.Error("it was opened again")
	}
	tables := w.rules(t)
	tables.Names = append(tables.Names, NameRule{Name: "late.example", Suffix: tables.Names[0].Suffix})
	if err := w.SetTables(tables); err != nil {
		t.Fatal(err)
	}
	if after := learn("late.example"); after == before || after == nil {
		t.Error("after other rules it was not opened anew")
	}
}
