package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

// Answer is what a lookup found.
type Answer struct {
	Rcode int          // RFC 1035 4.1.1; 0: no error, 3: no such name
	Addrs []netip.Addr // of A and AAAA records and SVCB hints
	TTL   uint32       // seconds that all of it holds
	Stale bool         // served beyond its time, since upstreams fail
}

// Stats count since the resolver was made.
type Stats struct {
	Hits, Misses, Stale, Failures, Prefetches uint64
	Entries, Bytes                            int // of the cache, now
}

// Stats gives the counters.
func (r *Resolver) Stats() Stats {
	s := Stats{
		Hits: r.stats.hits.Load(), Misses: r.stats.misses.Load(), Stale: r.stats.stale.Load(),
		Failures: r.stats.failures.Load(), Prefetches: r.stats.prefetches.Load(),
	}
	s.Entries, s.Bytes = r.cache.usage()
	return s
}

// UpstreamState is the health of one upstream by one path.
type UpstreamState struct {
	Upstream Upstream
	Path     Path
	Err      error // an *UpstreamError; nil: it answered when it was last asked
	Failures int   // one after the other
	Resting  bool  // it is asked last for now
}

// Upstreams gives the health of all that have been asked, by path and order.
func (r *Resolver) Upstreams() []UpstreamState {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []UpstreamState
	for _, links := range r.links {
		for _, l := range links {
			out = append(out, l.state())
		}
	}
	sorting.By(out, func(a, b UpstreamState) int { return int(a.Path) - int(b.Path) })
	return out
}

// Lookup asks for a name's records of a type, through the cache. An answer such
// as "no such name" is no error.
func (r *Resolver) Lookup(ctx context.Context, p Path, name string, qtype Type) (Answer, error) {
	wire, err := nameWire(name)
	if err != nil {
		return Answer{}, fmt.Errorf("look up: %w", err)
	}
	f, err := r.resolve(ctx, newKey(wire, qtype, p))
	if err != nil {
		return Answer{}, fmt.Errorf("look up %s: %w", name, err)
	}
	return f.describe(), nil
}

func (f found) describe() Answer {
	return Answer{Rcode: f.answer.rcode, Addrs: slices.Clone(f.answer.addrs), TTL: f.answer.minTTL(f.age), Stale: f.age.stale}
}

// Ask asks one server by a path, past cache and upstreams, over a connection
// of its own: to compare what different servers say.
func (r *Resolver) Ask(ctx context.Context, u Upstream, p Path, name string, qtype Type) (Answer, error) {
	wire, err := nameWire(name)
	if err != nil {
		return Answer{}, fmt.Errorf("look up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	l := newLink(u, p, &r.o)
	defer l.exchanger.close()
	a, err := l.exchanger.exchange(ctx, newKey(wire, qtype, p).message())
	if err != nil {
		return Answer{}, fmt.Errorf("look up %s: %w", name, l.describe(err))
	}
	return found{a, aged{limit: uint32(r.o.MaxTTL / time.Second)}}.describe(), nil
}

// Settled says whether the answer is one: addresses or none, or no such name.
// Others are refusals and failures, which another server may better.
func (a Answer) Settled() bool { return a.Rcode == rcodeSuccess || a.Rcode == rcodeName }
