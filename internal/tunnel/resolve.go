package tunnel

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// lookupFunc finds the addresses of a name. It may block until ctx ends.
type lookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// maxResolveWait bounds the back-off between attempts at one name.
const maxResolveWait = 5 * time.Minute

// resolver looks names up in the background. ask and known never block. Its
// goroutines, one a running lookup, end with close.
type resolver struct {
	log    *slog.Logger
	lookup lookupFunc
	every  time.Duration // at most one lookup of a name in this time
	clock  func() time.Time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	names map[string]*resolved // guarded by mu, entries too
}

// resolved is what is known of one name.
type resolved struct {
	addrs    []netip.Addr // of the last lookup that worked
	err      error        // of the last lookup
	running  bool
	failures int
	next     time.Time // no lookup before
}

func newResolver(log *slog.Logger, lookup lookupFunc, every time.Duration, clock func() time.Time) *resolver {
	ctx, cancel := context.WithCancel(context.Background())
	return &resolver{
		log: log, lookup: lookup, every: every, clock: clock,
		ctx: ctx, cancel: cancel, names: map[string]*resolved{},
	}
}

// ask begins a lookup unless one is running or it is too early.
func (r *resolver) ask(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[host]
	if n == nil {
		n = &resolved{}
		r.names[host] = n
	}
	now := r.clock()
	if n.running || now.Before(n.next) || r.ctx.Err() != nil {
		return
	}
	n.running = true
	r.wg.Go(func() { r.run(host, n) })
}

// run does one lookup.
func (r *resolver) run(host string, n *resolved) {
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	addrs, err := r.lookup(ctx, host)
	r.mu.Lock()
	defer r.mu.Unlock()
	n.running, n.err = false, err
	if err == nil {
		n.addrs, n.failures = addrs, 0
		n.next = r.clock().Add(r.every)
		return
	}
	r.log.Debug("endpoint not resolved", "host", host, "error", err)
	n.next = r.clock().Add(backoff(r.every, maxResolveWait, n.failures))
	n.failures++
}

// known is what the last lookups of a name gave: addresses outlive failures.
func (r *resolver) known(host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[host]
	if n == nil {
		return nil, nil
	}
	return n.addrs, n.err
}

// keep forgets every name but these.
func (r *resolver) keep(hosts map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for host := range r.names {
		if !hosts[host] {
			delete(r.names, host)
		}
	}
}

// close ends all lookups and waits for their goroutines.
func (r *resolver) close() {
	r.cancel()
	r.wg.Wait()
}

// backoff is base, doubled for each failure, up to limit.
func backoff(base, limit time.Duration, failures int) time.Duration {
	for range failures {
		if base >= limit {
			break
		}
		base *= 2
	}
	return min(base, limit)
}
