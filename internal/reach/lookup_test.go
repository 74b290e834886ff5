package reach

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/routerd/routerd/internal/dns"
)

// provider is a resolver whose trusted servers know nothing, and whose provider's
// servers answer when told to.
type provider struct {
	answer func(server netip.AddrPort, asked int) ([]dns.Answer, error)

	mu    sync.Mutex // guards asked
	asked map[dns.Type]int
}

func (p *provider) Lookup(context.Context, dns.Path, string, dns.Type) (dns.Answer, error) {
	return dns.Answer{}, os.ErrDeadlineExceeded
}

func (p *provider) AskAsClient(_ context.Context, server netip.AddrPort, _ dns.Path, _ string, t dns.Type) ([]dns.Answer, error) {
	p.mu.Lock()
	p.asked[t]++
	n := p.asked[t]
	p.mu.Unlock()
	return p.answer(server, n)
}

func TestLookupsThatAreLostAreMadeAgain(t *testing.T) {
	first, second := netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:53")
	there := []dns.Answer{{Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")}}}
	lost := os.ErrDeadlineExceeded
	for _, c := range []struct {
		name    string
		servers []netip.AddrPort
		answer  func(netip.AddrPort, int) ([]dns.Answer, error)
		asked   int // for each family
		want    Outcome
	}{
		{"the first is lost", []netip.AddrPort{first}, func(_ netip.AddrPort, n int) ([]dns.Answer, error) {
			if n == 1 {
				return nil, lost
			}
			return there, nil
		}, 2, TCPRefused},
		{"all are lost", []netip.AddrPort{first}, func(netip.AddrPort, int) ([]dns.Answer, error) { return nil, lost }, 2, DNSTimeout},
		{"the other server answers", []netip.AddrPort{first, second}, func(s netip.AddrPort, _ int) ([]dns.Answer, error) {
			if s == first {
				return nil, lost
			}
			return there, nil
		}, 2, TCPRefused},
		{"answered at once", []netip.AddrPort{first}, func(netip.AddrPort, int) ([]dns.Answer, error) { return there, nil }, 1, TCPRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &provider{answer: c.answer, asked: map[dns.Type]int{}}
			n := newInternet()
			p := NewProber(ProberOptions{Dial: n.dial, Resolver: r, Times: short(), Provider: func() []netip.AddrPort { return c.servers }})
			n.set(pathDirect, "198.51.100.1:80", nil, syscall.ECONNREFUSED)
			o := p.Observe(t.Context(), Path{Name: "direct", Index: pathDirect, Direct: true}, target(t, "http://www.example.net/"),
				Truth{{Failure: failure(lost)}, {Failure: failure(lost)}}, Depth{})
			if got := Judge(o, nil); got.Outcome != c.want {
				t.Errorf("%s %q, want %s", got.Outcome, got.Detail, c.want)
			}
			for kind, asked := range r.asked {
				if asked != c.asked {
					t.Errorf("type %d was asked for %d times, want %d", kind, asked, c.asked)
				}
			}
		})
	}
}
