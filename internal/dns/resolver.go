package dns

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Resolver is made with. Dial and Upstreams are needed, the
// rest has defaults.
type Options struct {
	Dial      Dialer
	Upstreams []Upstream // in order of preference, the same for every path

	CacheBytes int           // 512 KiB
	MinTTL     time.Duration // an answer is kept at least that long; 1 s
	MaxTTL     time.Duration // and at most; no TTL above it is shown; one day
	MaxStale   time.Duration // how long beyond its TTL it serves when upstreams fail; one day
	Timeout    time.Duration // of a whole question; 4 s

	Roots *x509.CertPool   // nil: the system's
	Now   func() time.Time // time.Now
	Floor time.Time        // the clock is unset while it shows less; BuildFloor()
	Log   *slog.Logger     // none
}

func (o *Options) defaults() {
	def(&o.CacheBytes, 512<<10)
	def(&o.MinTTL, time.Second)
	def(&o.MaxTTL, 24*time.Hour)
	def(&o.MaxStale, 24*time.Hour)
	def(&o.Timeout, 4*time.Second)
	def(&o.Log, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Floor.IsZero() {
		o.Floor = BuildFloor()
	}
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

const (
	// staleAfter is how long upstreams may take before a stale answer is served
	// in their place, RFC 8767 5.
	staleAfter = 1800 * time.Millisecond
	// staleRest is how long a stale answer is served without asking again.
	staleRest = 5 * time.Second
	// failureTTL is how long a failure is remembered, RFC 9520 3.2.
	failureTTL = time.Second
	// maxNegative bounds how long a name is taken not to exist, RFC 2308 5.
	maxNegative = time.Hour
	// maxPrefetch bounds the answers being renewed at a time.
	maxPrefetch = 8
)

// Resolver answers questions from its cache and its upstreams. It is safe for
// concurrent use.
type Resolver struct {
	o     Options
	cache *cache
	start time.Time
	stats counters

	ctx    context.Context // of all flights; ends with Close
	cancel context.CancelFunc
	ended  sync.WaitGroup // of the flights

	mu         sync.Mutex // guards what follows
	upstreams  []Upstream
	links      map[Path][]*link
	flights    map[cacheKey]*flight
	prefetches int
	closed     bool
}

// flight is a question being asked; all who want its answer wait for done.
type flight struct {
	done  chan struct{}
	entry *entry // nil: err
	err   error
}

// New makes a resolver. Close ends it.
func New(o Options) *Resolver {
	o.defaults()
	r := &Resolver{
		o: o, cache: newCache(o.CacheBytes), start: o.Now(), upstreams: slices.Clone(o.Upstreams),
		links: map[Path][]*link{}, flights: map[cacheKey]*flight{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Close ends all questions and closes all connections.
func (r *Resolver) Close() {
	r.cancel()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.ended.Wait()
	r.SetUpstreams(nil)
}

// SetUpstreams replaces the upstreams. The cache stays; so do the connections
// of those that are in both.
func (r *Resolver) SetUpstreams(upstreams []Upstream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstreams = slices.Clone(upstreams)
	for path, links := range r.links {
		kept := make([]*link, 0, len(upstreams))
		for _, u := range upstreams {
			i := slices.IndexFunc(links, func(l *link) bool { return l != nil && l.upstream.Equal(u) })
			if i < 0 {
				kept = append(kept, newLink(u, path, &r.o))
				continue
			}
			kept = append(kept, links[i])
			links[i] = nil
		}
		for _, l := range links {
			if l != nil {
				l.exchanger.close()
			}
		}
		r.links[path] = kept
	}
}

// PathChanged forgets connections and failures of a path: what is known of
// upstreams by it is not true any more.
func (r *Resolver) PathChanged(p Path) {
	r.mu.Lock()
	links := r.links[p]
	delete(r.links, p)
	r.mu.Unlock()
	for _, l := range links {
		l.exchanger.close()
	}
}

// linksOf gives the upstreams by a path, which it makes for a new one.
func (r *Resolver) linksOf(p Path) []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	links, ok := r.links[p]
	if !ok {
		for _, u := range r.upstreams {
			links = append(links, newLink(u, p, &r.o))
		}
		r.links[p] = links
	}
	return slices.Clone(links)
}

// found is an answer with its age.
type found struct {
	answer *answer
	age    aged
}

func (r *Resolver) elapsed() time.Duration { return r.o.Now().Sub(r.start) }

func (r *Resolver) found(e *entry, now time.Duration) found {
	return found{e.answer, aged{
		seconds: uint32(max(0, now-e.stored) / time.Second),
		limit:   uint32(r.o.MaxTTL / time.Second),
		stale:   now >= e.fresh,
	}}
}

// cached answers at once from the cache, or not at all. The key is not kept.
func (r *Resolver) cached(key []byte) (found, bool) {
	now := r.elapsed()
	e, prefetch := r.cache.get(key, now)
	if e == nil || now >= e.fresh && !r.cache.resting(e, now) {
		return found{}, false
	}
	if prefetch {
		r.prefetch(e.key)
	}
	r.stats.count(e, now)
	return r.found(e, now), true
}

// resolve answers from the cache or the upstreams. What has run out is served
// where the upstreams fail or take long.
func (r *Resolver) resolve(ctx context.Context, key cacheKey) (found, error) {
	if f, ok := r.cached([]byte(key)); ok {
		return f, nil
	}
	r.stats.misses.Add(1)
	stale, _ := r.cache.get([]byte(key), r.elapsed())
	f, err := r.fly(key)
	if err != nil {
		return found{}, err
	}
	if stale == nil {
		return r.wait(ctx, f)
	}
	short, cancel := context.WithTimeoutCause(ctx, staleAfter, errSlow)
	defer cancel()
	fresh, err := r.wait(short, f)
	if err != nil && ctx.Err() == nil || err == nil && f.err != nil {
		return r.serveStale(stale), nil
	}
	return fresh, err
}

// wait gives what a flight brings.
func (r *Resolver) wait(ctx context.Context, f *flight) (found, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return found{}, context.Cause(ctx)
	}
	if f.entry == nil {
		return found{}, f.err
	}
	return r.found(f.entry, r.elapsed()), nil
}

// serveStale keeps the next clients from waiting for upstreams that fail.
func (r *Resolver) serveStale(e *entry) found {
	now := r.elapsed()
	r.cache.rest(e, now+staleRest)
	r.stats.stale.Add(1)
	return r.found(e, now)
}

var (
	errResolverClosed = errors.New("the resolver is closed")
	errSlow           = errors.New("the upstreams are slow")
)

// fly asks the upstreams, or joins those who do.
func (r *Resolver) fly(key cacheKey) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[key]; f != nil {
		return f, nil
	}
	if r.closed {
		return nil, errResolverClosed
	}
	f := &flight{done: make(chan struct{})}
	r.flights[key] = f
	r.ended.Add(1)
	go r.run(key, f) // Close waits for it; ends by its timeout
	return f, nil
}

// run asks, keeps what came and ends the flight.
func (r *Resolver) run(key cacheKey, f *flight) {
	defer r.ended.Done()
	ctx, cancel := context.WithTimeout(r.ctx, r.o.Timeout)
	defer cancel()
	a, err := r.ask(ctx, key)
	f.err = err
	soft := (*softError)(nil)
	switch {
	case err == nil:
		f.entry = r.keep(key, a)
	case errors.As(err, &soft):
		f.entry = r.keepFailure(key, soft.answer)
	default:
		r.stats.failures.Add(1)
		r.o.Log.Debug("cannot resolve", "error", err)
		if !errors.Is(err, ErrPathDown) {
			r.keepFailure(key, failure(key))
		}
	}
	r.mu.Lock()
	delete(r.flights, key)
	r.mu.Unlock()
	close(f.done)
}

// ask asks the upstreams, once more where they were replaced meanwhile: that
// closes their connections.
func (r *Resolver) ask(ctx context.Context, key cacheKey) (*answer, error) {
	links := r.linksOf(key.path())
	a, err := askAll(ctx, links, key.message())
	if err == nil || ctx.Err() != nil {
		return a, err
	}
	if now := r.linksOf(key.path()); !slices.Equal(now, links) {
		return askAll(ctx, now, key.message())
	}
	return a, err
}

// failure is a SERVFAIL of our own.
func failure(key cacheKey) *answer {
	q := query{question: []byte(key[:len(key)-2]), flags: flagRD}
	return &answer{msg: q.appendEmpty(nil, rcodeFailure), rcode: rcodeFailure}
}

// keep puts an answer into the cache.
func (r *Resolver) keep(key cacheKey, a *answer) *entry {
	ttl := time.Duration(a.ttl) * time.Second
	if a.negative {
		ttl = min(ttl, maxNegative)
	}
	now := r.elapsed()
	e := &entry{key: key, answer: a, stored: now, fresh: now + min(max(ttl, r.o.MinTTL), r.o.MaxTTL)}
	e.dead = e.fresh + r.o.MaxStale
	r.cache.put(e)
	return e
}

// keepFailure remembers a failure for a moment, but not in place of an answer
// that can still be served stale.
func (r *Resolver) keepFailure(key cacheKey, a *answer) *entry {
	now := r.elapsed()
	e := &entry{key: key, answer: a, stored: now, fresh: now + failureTTL, dead: now + failureTTL}
	if old, _ := r.cache.get([]byte(key), now); old == nil {
		r.cache.put(e)
	}
	return e
}

// prefetch renews an answer that is about to end, unless many are being renewed.
func (r *Resolver) prefetch(key cacheKey) {
	r.mu.Lock()
	busy := r.closed || r.prefetches >= maxPrefetch
	if !busy {
		r.prefetches++
		r.ended.Add(1)
	}
	r.mu.Unlock()
	if busy {
		return
	}
	r.stats.prefetches.Add(1)
	// Close waits for it; the flight ends by its timeout.
	go func() {
		defer r.ended.Done()
		if f, err := r.fly(key); err == nil {
			<-f.done
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.prefetches--
	}()
}

// counters count what the resolver did.
type counters struct {
	hits, misses, stale, failures, prefetches atomic.Uint64
}

func (c *counters) count(e *entry, now time.Duration) {
	if now >= e.fresh {
		c.stale.Add(1)
	} else {
		c.hits.Add(1)
	}
}
