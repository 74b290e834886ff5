package crowd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/routerd/routerd/test/lab/client"
)

// keepTime is how long a client keeps an answer: less than the lab's TTL.
const keepTime = time.Minute

// question is what a client may know the answer of.
type question struct {
	name   string
	family int
}

// answer is what a client knows.
type answer struct {
	address netip.Addr
	at      time.Duration
}

// find gives the address of an attempt's name: for every other attempt one that
// the client knows, if it does.
func (c *crowd) find(ctx context.Context, r *rand.Rand, a *Attempt) (netip.Addr, error) {
	key := question{a.Name, a.Family}
	if to, ok := c.remember(key); ok && a.Kind != Probe && r.IntN(2) == 0 {
		return to, nil
	}
	a.Server = c.o.Servers[r.IntN(len(c.o.Servers))]
	found, err := client.Lookup(ctx, a.Server, a.Name, a.Family)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look up: %w", err)
	}
	to := found[r.IntN(len(found))]
	c.knownMu.Lock()
	defer c.knownMu.Unlock()
	c.known[key] = answer{to, Now()}
	return to, nil
}

func (c *crowd) remember(key question) (netip.Addr, bool) {
	c.knownMu.Lock()
	defer c.knownMu.Unlock()
	known, ok := c.known[key]
	return known.address, ok && Now()-known.at < keepTime
}
