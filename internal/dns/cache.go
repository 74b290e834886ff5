package dns

import (
	"sync"
	"time"
)

// entryOverhead is what an entry takes beside its slices: itself, its answer,
// its part of the map.
const entryOverhead = 320

// entry is a cached answer. Times are counted from the resolver's start, so
// that setting the clock moves none of them.
type entry struct {
	key    cacheKey
	answer *answer
	stored time.Duration
	fresh  time.Duration // until then it is served as it is
	dead   time.Duration // until then it is served stale

	// Guarded by the cache's mu.
	retry      time.Duration // a stale entry is not asked for again before
	hits       uint32
	newer      *entry
	older      *entry
	prefetched bool
}

func (e *entry) size() int {
	a := e.answer
	return entryOverhead + len(e.key) + len(a.msg) + len(a.opt) + 2*len(a.ttls) + 24*len(a.addrs)
}

// cache holds answers up to a number of octets; the least recently used leave.
type cache struct {
	limit int

	mu      sync.Mutex // guards what follows and entries' own guarded fields
	entries map[cacheKey]*entry
	newest  *entry
	oldest  *entry
	bytes   int
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: map[cacheKey]*entry{}}
}

// prefetchHits is how often an entry must have been of use to be renewed before
// it ends.
const prefetchHits = 3

// get finds an entry; prefetch is true once for an entry that is popular and
// about to end. The key is not kept.
func (c *cache) get(key []byte, now time.Duration) (e *entry, prefetch bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e = c.entries[cacheKey(key)]
	if e == nil || now >= e.dead {
		return nil, false
	}
	e.hits++
	if c.newest != e {
		c.unlink(e)
		c.link(e)
	}
	if e.hits > prefetchHits && !e.prefetched && now < e.fresh && e.fresh-now < (e.fresh-e.stored)/10 {
		e.prefetched = true
		return e, true
	}
	return e, false
}

// resting says whether a stale entry was asked for in vain just before.
func (c *cache) resting(e *entry, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now < e.retry
}

func (c *cache) rest(e *entry, until time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.retry = until
}

func (c *cache) put(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[e.key]; old != nil {
		e.hits = old.hits / 2
		c.remove(old)
	}
	if e.size() > c.limit/4 {
		return
	}
	c.entries[e.key] = e
	c.link(e)
	for c.bytes += e.size(); c.bytes > c.limit; {
		c.remove(c.oldest)
	}
}

func (c *cache) usage() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries), c.bytes
}

func (c *cache) remove(e *entry) {
	delete(c.entries, e.key)
	c.unlink(e)
	c.bytes -= e.size()
}

func (c *cache) link(e *entry) {
	e.older, e.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = e
	}
	c.newest = e
	if c.oldest == nil {
		c.oldest = e
	}
}

func (c *cache) unlink(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		c.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		c.oldest = e.newer
	}
	e.newer, e.older = nil, nil
}
