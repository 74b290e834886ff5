package crowd

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"
)

// ProbeTime is what a probe takes at the most, its lookup included, and what a
// control does.
const ProbeTime = time.Second

// The times between probes.
const (
	probeLeast = 150 * time.Millisecond
	probeMore  = 50 * time.Millisecond
)

// probe opens one listed name after another: they tell when traffic works again.
func (c *crowd) probe(ctx context.Context, r *rand.Rand, family int) {
	for pause(ctx, r, probeLeast, probeMore) {
		t := c.o.Listed[r.IntN(len(c.o.Listed))]
		if t.Port != 0 {
			continue // on a pool's address port 80 may be its Stratum server's
		}
		within, stop := context.WithTimeout(ctx, ProbeTime)
		a := c.attempt(within, r, Attempt{Kind: Probe, Name: t.Name, Listed: true, Family: family}, t)
		stop()
		c.tell(ctx, a)
	}
}

// control opens an unlisted page again and again, over the families in turn, at
// the address that was found first.
func (c *crowd) control(ctx context.Context, r *rand.Rand) {
	t := c.o.Unlisted[r.IntN(len(c.o.Unlisted))]
	known := map[int]netip.Addr{}
	for family := 4; pause(ctx, r, probeLeast, probeMore); family = 10 - family {
		a := Attempt{Kind: Control, Name: t.Name, Family: family}
		if !known[family].IsValid() {
			to, err := c.find(ctx, r, &a)
			if err != nil {
				continue // short connections tell of lookups
			}
			known[family] = to
		}
		a.Address, a.Begin = known[family].String(), Now()
		within, stop := context.WithTimeout(ctx, ProbeTime)
		var err error
		a.Seen, err = get(within, netip.AddrPortFrom(known[family], 80), a.Name, false)
		stop()
		if a.End, a.OK = Now(), err == nil; err != nil {
			a.Error = err.Error()
		}
		c.tell(ctx, a)
	}
}
