package crowd

import (
	"context"
	"math/rand/v2"
	"time"
)

// ProbeTime is what a probe takes at the most, its lookup included.
const ProbeTime = time.Second

// The times between probes.
const (
	probeLeast = 100 * time.Millisecond
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
