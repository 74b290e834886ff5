package reach

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/sorting"
)

// Truth is what a resolver says of a name that nobody on the way can change,
// for A (0) and AAAA (1).
type Truth [2]Trusted

// Trusted is one answer of it.
type Trusted struct {
	Answer  dns.Answer
	Failure Failure // there is none
}

// known says whether anything is true for certain.
func (t Truth) known() bool { return t[0].Failure.Fault == "" || t[1].Failure.Fault == "" }

const (
	// truthTime bounds the lookup of the truth.
	truthTime = 6 * time.Second
	// truthStagger is how long one path may take before the next one is asked
	// beside it.
	truthStagger = time.Second
)

func family(ipv6 bool) (i int, t dns.Type) {
	if ipv6 {
		return 1, dnsmessage.TypeAAAA
	}
	return 0, dnsmessage.TypeA
}

// Truth looks a host up by the trusted resolver, over the first path that
// brings an answer: tunnels, then the direct one. For an address it is empty.
func (p *Prober) Truth(ctx context.Context, paths []Path, host string) Truth {
	var t Truth
	if _, err := netip.ParseAddr(host); err == nil {
		return t
	}
	ordered := slices.Clone(paths)
	sorting.By(ordered, func(a, b Path) int { return btoi(a.Direct) - btoi(b.Direct) })
	var both sync.WaitGroup
	for _, ipv6 := range []bool{false, true} {
		both.Go(func() {
			i, kind := family(ipv6)
			t[i] = p.trusted(ctx, ordered, host, kind)
		})
	}
	both.Wait()
	return t
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// trusted asks over one path after the other, the next one beside those that
// take long, and gives the first answer that tells of the name.
func (p *Prober) trusted(ctx context.Context, paths []Path, host string, kind dns.Type) Trusted {
	out := Trusted{Failure: failure(errNoResolver)}
	if p.o.Resolver == nil {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, truthTime)
	defer cancel()
	answers := make(chan Trusted, len(paths))
	next := time.NewTimer(0)
	defer next.Stop()
	for asked, heard := 0, 0; heard < len(paths); {
		select {
		case out = <-answers:
			if heard++; out.Failure.Fault == FaultNone && out.Answer.Settled() {
				return out
			}
			next.Reset(0)
		case <-next.C:
			if asked == len(paths) {
				continue
			}
			path := paths[asked]
			// Ends with ctx; the channel has room for its answer.
			go func() {
				a, err := p.o.Resolver.Lookup(ctx, path.Index, host, kind)
				answers <- Trusted{a, lookupFailure(err)}
			}()
			asked++
			next.Reset(truthStagger)
		}
	}
	return out
}

// rcodeName is the response code of a name that does not exist, RFC 1035 4.1.1.
const rcodeName = 3

// lookups asks as a client of the path does.
func (x *probe) lookups(ctx context.Context, truth Truth) []Lookup {
	out := make([]Lookup, 2)
	var both sync.WaitGroup
	for i := range out {
		both.Go(func() {
			began := time.Now()
			l := Lookup{IPv6: i == 1, Provider: len(x.providers()) > 0, Trusted: truth[i].Answer, TrustedFailure: truth[i].Failure}
			answers, err := x.lookup(ctx, l.IPv6)
			l.Answers, l.Failure, l.Took = answers, lookupFailure(err), time.Since(began)
			out[i] = l
		})
	}
	both.Wait()
	return out
}

func (x *probe) lookup(ctx context.Context, ipv6 bool) ([]dns.Answer, error) {
	_, kind := family(ipv6)
	if x.o.Resolver == nil {
		return nil, errNoResolver
	}
	servers := x.providers()
	if len(servers) == 0 {
		a, err := x.o.Resolver.Lookup(ctx, x.path.Index, x.target.Host, kind)
		return []dns.Answer{a}, err
	}
	if len(servers) == 1 {
		// All sendings of one question are lost now and then.
		servers = []netip.AddrPort{servers[0], servers[0]}
	}
	var answers []dns.Answer
	var err error
	for _, server := range servers {
		answers, err = x.o.Resolver.AskAsClient(ctx, server, x.path.Index, x.target.Host, kind)
		if err == nil && (answers[0].Settled() || ctx.Err() != nil) {
			return answers, nil
		}
	}
	return answers, err
}

// maxServers bounds the provider's servers that are asked.
const maxServers = 2

// providers are the servers that clients of this path ask; none: trusted ones.
func (x *probe) providers() []netip.AddrPort {
	if !x.path.Direct || x.o.Provider == nil {
		return nil
	}
	servers := x.o.Provider()
	return servers[:min(len(servers), maxServers)]
}

// lookupFailure is failure for errors of the resolver, which knows better.
func lookupFailure(err error) Failure {
	f := failure(err)
	upstream := (*dns.UpstreamError)(nil)
	if errors.As(err, &upstream) && upstream.Layer == dns.LayerTimeout {
		f.Fault = FaultTimeout
	}
	return f
}

// routes gives the addresses to walk to: the true ones, and beside them those
// that the provider's resolver gave where they belong to other networks.
func (x *probe) routes(lookups []Lookup, truth Truth) []route {
	var out []route
	for i, t := range truth {
		ipv6 := i == 1
		given := usable(answerOf(lookups, i).Addrs, ipv6)
		real := usable(t.Answer.Addrs, ipv6)
		trusted := len(x.providers()) == 0 || t.Failure.Fault != FaultNone // what is given, or nothing better is there
		if len(given) > 0 && trusted {
			real, given = given, nil
		}
		if len(real) > 0 {
			out = append(out, route{ipv6: ipv6, addrs: real})
		}
		if len(given) > 0 && (len(real) == 0 || dns.Compare(answerOf(lookups, i), t.Answer).Reason == dns.ReasonDisjoint) {
			out = append(out, route{ipv6: ipv6, given: true, addrs: given})
		}
	}
	return out
}

// answerOf is what the path's resolver answered; nothing where it did not.
func answerOf(lookups []Lookup, i int) dns.Answer {
	if len(lookups) <= i || len(lookups[i].Answers) == 0 {
		return dns.Answer{}
	}
	return lookups[i].Answers[0]
}

// usable are the addresses of a family that a check may connect to.
func usable(addrs []netip.Addr, ipv6 bool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		return a.Is6() != ipv6 || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback()
	})
}
