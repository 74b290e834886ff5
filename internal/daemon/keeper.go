package daemon

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/time/rate"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
)

// The bounds of looking up names that nobody asked for.
const (
	keeperWorkers = 8  // names at a time
	keeperRate    = 25 // names a second, each asked for A and AAAA
	keeperBurst   = 10 // a start has other things to do, on the same processor
	// keepLeast and keepMost bound how long the addresses of a name are taken to
	// hold: a TTL of seconds is not worth a lookup every few seconds, since what
	// was known stays known for hours, and a day is long for a cloud's addresses.
	keepLeast = 5 * time.Minute
	keepMost  = 6 * time.Hour
	// keepSteady is how often keepLeast doubles, once for each lookup that brought
	// no address that was not known: most names never change theirs, and hundreds of
	// lookups every five minutes are what a small processor does while it is idle.
	keepSteady = 6
	// failLeast and failMost bound the time after a failed lookup.
	failLeast = 5 * time.Second
	failMost  = 10 * time.Minute
)

// keeper looks listed names with fixed hosts up at the start, and again before
// what is known of them is old: clients that cached their addresses before routerd
// ran, or that never ask the router, are steered too.
type keeper struct {
	wake chan struct{} // something is due earlier than it was

	mu    sync.Mutex // guards what follows
	state map[string]*held
	due   heldHeap // those whose time has come, the most important first
	later heldHeap // the others, the next one first
}

// held is a name's next lookup. It is in one of the heaps, unless it is done now.
type held struct {
	name     string
	rank     int // of importance; 0 is the most
	due      time.Time
	failures int
	steady   int          // lookups in a row that brought nothing new
	addrs    []netip.Addr // that lookups brought, the newest last
	busy     bool
}

// heldAddresses bounds held.addrs.
const heldAddresses = 16

// lookedUp is what came of a lookup.
type lookedUp struct {
	addrs []netip.Addr
	ttl   time.Duration // of them
}

// note keeps the addresses of a lookup and says whether there was a new one.
func (s *held) note(addrs []netip.Addr) (news bool) {
	for _, a := range addrs {
		if !slices.Contains(s.addrs, a) {
			news = true
			s.addrs = append(s.addrs[max(0, len(s.addrs)+1-heldAddresses):], a)
		}
	}
	return news
}

// heldHeap is a heap for container/heap.
type heldHeap struct {
	list []*held
	less func(a, b *held) bool
}

func (h heldHeap) Len() int           { return len(h.list) }
func (h heldHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h heldHeap) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }

// Push adds a *held.
func (h *heldHeap) Push(x any) { h.list = append(h.list, x.(*held)) }

// Pop takes the last off the list.
func (h *heldHeap) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}

func newKeeper() *keeper {
	return &keeper{
		wake: make(chan struct{}, 1), state: map[string]*held{},
		due:   heldHeap{less: func(a, b *held) bool { return a.rank < b.rank }},
		later: heldHeap{less: func(a, b *held) bool { return a.due.Before(b.due) }},
	}
}

// set replaces the names, which are in order of importance; those that were there
// keep their time.
func (k *keeper) set(names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.state
	k.state = make(map[string]*held, len(names))
	for i, n := range names {
		if k.state[n] = old[n]; k.state[n] == nil {
			k.state[n] = &held{name: n}
		}
		k.state[n].rank = i
	}
	k.plan()
}

// retry has the lookups that failed done again at once.
func (k *keeper) retry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.state {
		if s.failures > 0 {
			s.failures, s.due = 0, time.Time{}
		}
	}
	k.plan()
}

// plan puts every name in its place; mu must be held.
func (k *keeper) plan() {
	k.due.list, k.later.list = nil, nil
	for _, s := range k.state {
		if !s.busy {
			k.later.list = append(k.later.list, s)
		}
	}
	heap.Init(&k.later)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// next takes the most important name that is due, or says how long to wait before it
// is asked again: no longer than a lookup that is under way may want to be done again,
// of which nothing else tells.
func (k *keeper) next(now time.Time) (name string, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.later.list) > 0 && !k.later.list[0].due.After(now) {
		heap.Push(&k.due, heap.Pop(&k.later))
	}
	if len(k.due.list) > 0 {
		s := heap.Pop(&k.due).(*held)
		s.busy = true
		return s.name, 0
	}
	if len(k.later.list) > 0 {
		return "", min(k.later.list[0].due.Sub(now), failLeast)
	}
	return "", failLeast
}

// done notes what came of a lookup.
func (k *keeper) done(now time.Time, name string, got lookedUp, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state[name]
	if s == nil || !s.busy {
		return // of settings before these
	}
	s.busy = false
	if err != nil {
		s.due = now.Add(min(failLeast<<min(s.failures, 10), failMost))
		s.failures++
	} else {
		s.steady = min(s.steady+1, keepSteady)
		if s.note(got.addrs) {
			s.steady = 0
		}
		hold := min(max(got.ttl, keepLeast<<s.steady), keepMost)
		// Somewhat before the time, and not all at the same time.
		s.failures, s.due = 0, now.Add(hold*9/10-time.Duration(rand.Int64N(int64(hold/10))))
	}
	heap.Push(&k.later, s)
}

// pending is how many names have not been looked up with success yet, of how
// many.
func (k *keeper) pending() (left, all int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.state {
		if s.due.IsZero() || s.failures > 0 {
			left++
		}
	}
	return left, len(k.state)
}

// runKeeper looks names up until ctx ends, then closes what it returns.
func (d *daemon) runKeeper(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		d.keepNames(ctx)
	}()
	return ended
}

func (d *daemon) keepNames(ctx context.Context) {
	limit := rate.NewLimiter(keeperRate, keeperBurst)
	gentle := gentle{used: processorTime}
	slots := make(chan struct{}, keeperWorkers)
	var workers sync.WaitGroup
	defer workers.Wait()
	for ctx.Err() == nil {
		name, wait := d.keeper.next(time.Now())
		if name == "" {
			select {
			case <-ctx.Done():
			case <-d.keeper.wake:
			case <-time.After(wait):
			}
			continue
		}
		if limit.Wait(ctx) != nil || !gentle.wait(ctx) {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		workers.Go(func() { // ends with its lookup, which ctx bounds
			defer func() { <-slots }()
			got, err := d.keepName(ctx, name)
			d.keeper.done(time.Now(), name, got, err)
		})
	}
}

var errNoResolver = errors.New("the resolver does not run")

// keepName looks a name up and makes its addresses known.
func (d *daemon) keepName(ctx context.Context, name string) (got lookedUp, err error) {
	v := d.seen()
	if v.resolver == nil || v.settings == nil || !v.settings.secure() {
		return got, errNoResolver
	}
	chain, _, ok := v.settings.plan.Rules.Name(name)
	if !ok {
		return lookedUp{ttl: keepMost}, nil // of settings before these
	}
	decision := v.keeping(&v.settings.plan.Destinations[chain[0].Destination])
	var errs []error
	for _, t := range []dns.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		if t == dnsmessage.TypeAAAA && !v.settings.cfg.Main.IPv6 {
			continue
		}
		a, err := v.lookup(ctx, decision, name, t)
		if err == nil && len(a.Addrs) > 0 {
			got.ttl = max(got.ttl, time.Duration(a.TTL)*time.Second)
			got.addrs = append(got.addrs, a.Addrs...)
			err = d.learnVerified(name, 0, a.Addrs, a.TTL)
		}
		errs = append(errs, err)
	}
	return got, errors.Join(errs...)
}

// keeping is by which path a destination's names are looked up unasked. What is
// blocked is looked up as well, so that it is known what to block.
func (v *view) keeping(dest *steer.Destination) dns.Decision {
	if dest.Policy != config.PolicyBlock {
		return v.decision(dest)
	}
	return dns.Decision{Path: owned.PathDirect, Else: v.anyTunnel(dest)}
}

// lookup asks by the path of a decision, and by the other one where that fails.
func (v *view) lookup(ctx context.Context, d dns.Decision, name string, t dns.Type) (dns.Answer, error) {
	a, err := v.resolver.Lookup(ctx, d.Path, name, t)
	if (err != nil || !a.Settled()) && d.Else != owned.PathNone {
		a, err = v.resolver.Lookup(ctx, d.Else, name, t)
	}
	if err == nil && !a.Settled() {
		err = errors.New("the upstreams refuse or fail")
	}
	return a, err
}
