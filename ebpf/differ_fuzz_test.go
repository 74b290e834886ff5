package ebpf

import (
	"testing"

	"github.com/miekg/dns"
)

// The kernel's code is not seen by the fuzzer; the reference's is, and both must
// say the same of whatever it finds.

func FuzzAnswers(f *testing.F) {
	for _, m := range [][]byte{
		plain("closed.example", "198.51.100.1"), many("www.open.example", 8), wire(services(2)),
		wire(reply("closed.example", dns.TypeA, "closed.example. 60 IN CNAME a.example.", "a.example. 60 IN A 198.51.100.1")),
		wire(reply("closed.example", dns.TypeHTTPS, "closed.example. 60 IN HTTPS 1 a.example. alpn=h2 ipv4hint=198.51.100.1 ipv6hint=2001:db8:5::1")),
	} {
		f.Add(m, false)
	}
	w := newWorld(f)
	d := newDiffer(f, w, bpfProgRouterdLearn)
	f.Fuzz(func(t *testing.T, m []byte, shared bool) {
		if len(m) > runMax {
			t.Skip()
		}
		d.t = t
		inside(t, w.ns, func() {
			d.markShared(shared)
			d.clear()
			p := differPacket{frame: carry(m)}
			want := d.answers(p, alice, shared)
			got, data := d.send(p, 0, d.lan)
			if err := d.check(p, want, got, data); err != nil {
				t.Error(err)
			}
		})
	})
}

func FuzzQueries(f *testing.F) {
	f.Add(wire(query("closed.example", dns.TypeA)))
	f.Add(with(query("Www.Open.Example", dns.TypeHTTPS), func(m *dns.Msg) { m.SetEdns0(1232, true) }))
	w := resolvingWorld(f)
	d := newDiffer(f, w, bpfProgRouterdSteer)
	f.Fuzz(func(t *testing.T, m []byte) {
		if len(m) > runMax {
			t.Skip()
		}
		d.t = t
		inside(t, w.ns, func() {
			p := differPacket{frame: ask("x", dns.TypeA, message(m))}
			want := d.queries(p, alice)
			got, data := d.send(p, d.lan, d.lan)
			if err := d.checkTurn(p, want, got, data); err != nil {
				t.Error(err)
			}
		})
	})
}

func FuzzHellos(f *testing.F) {
	w := tlsWorld(f)
	d := newDiffer(f, w, bpfProgRouterdSteer)
	h := newHellos(f, 1, w)
	for i, hello := range h.real {
		f.Add(hello, uint16(60*i))
	}
	f.Add(madeHello(32, 16, filler(51, 300), serverName(listedHost)), uint16(300))
	f.Fuzz(func(t *testing.T, hello []byte, cut uint16) {
		if len(hello) < 6 || len(hello) > partMax {
			t.Skip()
		}
		ends := []int{len(hello)}
		if at := int(cut); at > 0 && at < len(hello) {
			ends = []int{at, len(hello)}
		}
		d.t = t
		inside(t, w.ns, func() { d.hello(0, h.Uint32(), hello, ends) })
	})
}
