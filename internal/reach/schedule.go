package reach

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

// The schedule's times.
const (
	// jitter is how far an interval varies, to both sides: routers must not ask in
	// step.
	jitter = 0.1
	// startSpread is over how long the first checks of new targets are spread.
	startSpread = 20 * time.Second
	// confirmAfter is how soon a finding that changes something is looked at again;
	// it is more than spacing, whatever the jitter.
	confirmAfter = 8 * time.Second
	// maxConfirms bounds how often in a row that is done; then the interval counts.
	maxConfirms = 2 * repeats
	// earlySpread is over how long early checks are spread.
	earlySpread = 2 * time.Second
	// earlyRest is how long a target rests between checks, however many signs ask
	// for one.
	earlyRest = 10 * time.Second
	// maxBackOff bounds the interval of targets that keep failing, which doubles
	// mostDoublings times.
	maxBackOff    = 10 * time.Minute
	mostDoublings = 4
	// unusedAfter is when a destination counts as unused; it is then checked every
	// unusedInterval.
	unusedAfter    = 24 * time.Hour
	unusedInterval = time.Hour
	// deepInterval is how often a transfer past 64 KiB is part of a check.
	deepInterval = 10 * time.Minute
)

// Item is one target in the schedule.
type Item struct {
	Key         string // unique
	Destination string
	Interval    time.Duration
	Transfers   bool // a deep check makes sense
}

// Start is one check over all paths that is due now.
type Start struct {
	Key  string
	Deep bool
}

// Done is what the schedule needs to know of a check that has ended.
type Done struct {
	Bytes   int64 // taken over all paths
	Failing bool  // the verdict is not that it works
	Pending bool  // a finding waits to be repeated
	Stalled bool  // a transfer stalled over some path: it is tried again each time
}

// Schedule says when which target is checked. It has no clock and does nothing
// by itself. It is not safe for concurrent use.
type Schedule struct {
	limits  Limits
	random  *rand.Rand
	items   map[string]*item
	paths   int // checks that one start makes
	running int // checks under way
	checks  bucket
	routine bucket // checks that nothing but the time asks for
	lasting bucket // checks of what has failed for long
	bytes   bucket // of checks without a transfer
	deep    bucket // bytes of checks with one
}

type item struct {
	Item
	due     time.Time
	early   bool // it is asked for, not only due
	confirm bool // its finding waits to be repeated: it goes first
	// confirms is how often it went first; findings that never repeat must not
	// starve others.
	confirms int
	begun    time.Time
	deepAt   time.Time // a deep check is due from then on
	// stalled says that a transfer did: checks without one would see nothing of it.
	stalled bool
	deep    bool      // the check that runs has a transfer
	used    time.Time // its destination
	fails   int
	running int // checks that it was charged; 0: it does not run
	charged float64
}

// NewSchedule makes an empty schedule; now is the present time.
func NewSchedule(limits Limits, random *rand.Rand, now time.Time) *Schedule {
	return &Schedule{
		limits: limits, random: random, items: map[string]*item{}, paths: 1,
		checks: newBucket(float64(limits.Checks), float64(limits.BurstChecks), now),
		// No more than a minute's worth at once.
		routine: newBucket(float64(limits.Routine), float64(limits.Routine), now),
		lasting: newBucket(float64(limits.Routine), float64(limits.Routine), now),
		bytes:   newBucket(float64(limits.Bytes), float64(limits.BurstBytes), now),
		deep:    newBucket(float64(limits.DeepBytes), float64(limits.BurstBytes), now),
	}
}

// Set replaces the items and says over how many paths each is checked. What is
// known of items that stay is kept. A new destination counts as used now.
func (s *Schedule) Set(now time.Time, items []Item, paths int) {
	s.paths = max(1, paths)
	next := make(map[string]*item, len(items))
	for _, it := range items {
		old := s.items[it.Key]
		if old == nil {
			old = &item{due: now.Add(s.upTo(min(startSpread, it.Interval))), early: true, deepAt: now, used: s.usedAt(it.Destination, now)}
		}
		if it.Interval < old.Interval {
			old.due = earlier(old.due, now.Add(it.Interval))
		}
		old.Item = it
		next[it.Key] = old
	}
	for key, it := range s.items {
		if next[key] == nil {
			s.running -= it.running
		}
	}
	s.items = next
}

// usedAt is when a destination was last used: what its other items know.
func (s *Schedule) usedAt(destination string, now time.Time) time.Time {
	for _, it := range s.items {
		if it.Destination == destination {
			return it.used
		}
	}
	return now
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// upTo is a random part of a time.
func (s *Schedule) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.random.Int64N(int64(d)))
}

// jittered is a time, a little more or less.
func (s *Schedule) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*s.random.Float64()))
}

// Due gives the checks to begin now, within the limits, and counts them as
// running until Finished.
func (s *Schedule) Due(now time.Time) []Start {
	var out []Start
	for _, it := range s.order(now) {
		deep, wait := s.choose(now, it)
		switch {
		case s.rest(now, it) > 0:
			// It waits by itself: others are asked for.
		case wait == 0:
			out = append(out, s.start(now, it, deep))
		case !deep:
			return out // nobody overtakes, so that nobody starves
		}
	}
	return out
}

// leisure is what bounds a check for the processor's sake, nil where something but
// the time asks for it. Neither what works nor what has failed for long keeps the
// other waiting.
func (s *Schedule) leisure(it *item) *bucket {
	switch {
	case it.early || it.confirm:
		return nil
	case it.fails == 0:
		return &s.routine
	case it.fails > mostDoublings:
		return &s.lasting
	}
	return nil
}

// rest is how long a check waits for the processor's sake.
func (s *Schedule) rest(now time.Time, it *item) time.Duration {
	b := s.leisure(it)
	if b == nil {
		return 0
	}
	return b.wait(now, float64(s.paths))
}

// choose says whether a target's next check has a transfer, and how long until
// the limits allow it. A transfer that has to wait is left out, unless without it
// there is nothing to see.
func (s *Schedule) choose(now time.Time, it *item) (deep bool, wait time.Duration) {
	wait = s.checks.wait(now, float64(s.paths))
	if s.full() {
		wait = forever
	}
	if it.Transfers && (it.stalled || !now.Before(it.deepAt)) {
		more := s.deep.wait(now, s.cost(true))
		if it.stalled || more == 0 {
			return true, max(wait, more)
		}
	}
	return false, max(wait, s.bytes.wait(now, s.cost(false)))
}

// forever is the wait for something that no time brings about.
const forever time.Duration = 1 << 62

func (s *Schedule) start(now time.Time, it *item, deep bool) Start {
	it.begun, it.running, it.charged, it.deep = now, s.paths, s.cost(deep), deep
	s.running += it.running
	s.checks.take(now, float64(s.paths))
	if b := s.leisure(it); b != nil {
		b.take(now, float64(s.paths))
	}
	it.early = false
	s.bucketOf(deep).take(now, it.charged)
	if deep {
		it.deepAt = now.Add(s.jittered(deepInterval))
	}
	return Start{it.Key, deep}
}

func (s *Schedule) bucketOf(deep bool) *bucket {
	if deep {
		return &s.deep
	}
	return &s.bytes
}

// cost is the most that one start can take.
func (s *Schedule) cost(deep bool) float64 {
	if deep {
		return float64(s.paths * MaxDeepBytes)
	}
	return float64(s.paths * MaxBytes)
}

// full says that no check can begin until another ends.
func (s *Schedule) full() bool { return s.running > 0 && s.running+s.paths > s.limits.Parallel }

// order gives what is due, in the order of beginning: findings to be repeated
// first, then who has waited the longest.
func (s *Schedule) order(now time.Time) []*item {
	var due []*item
	for _, it := range s.items {
		if it.running == 0 && !it.due.After(now) {
			due = append(due, it)
		}
	}
	sorting.By(due, func(a, b *item) int {
		switch {
		case a.confirm != b.confirm:
			return btoi(b.confirm) - btoi(a.confirm)
		case !a.due.Equal(b.due):
			return a.due.Compare(b.due)
		}
		return strings.Compare(a.Key, b.Key)
	})
	return due
}

// Next is when Due is to be called again; false: not before something changes,
// such as the end of a check.
func (s *Schedule) Next(now time.Time) (time.Time, bool) {
	wait := forever
	for _, it := range s.items {
		if it.running == 0 && it.due.After(now) {
			wait = min(wait, it.due.Sub(now))
		}
	}
	for _, it := range s.order(now) {
		deep, w := s.choose(now, it)
		rest := s.rest(now, it)
		wait = min(wait, max(w, rest, time.Millisecond))
		if rest == 0 && !deep && w > 0 {
			break // as in Due, nobody overtakes
		}
	}
	return now.Add(min(wait, time.Hour)), wait < forever
}

// Finished takes what came of a check that Due began.
func (s *Schedule) Finished(now time.Time, key string, d Done) {
	it := s.items[key]
	if it == nil || it.running == 0 {
		return // it was taken off the schedule while it ran
	}
	s.running -= it.running
	s.bucketOf(it.deep).back(max(0, it.charged-float64(d.Bytes)))
	it.running = 0
	s.plan(now, it, d)
}

// Checked takes what came of a check that was made beside the schedule.
func (s *Schedule) Checked(now time.Time, key string, d Done) {
	if it := s.items[key]; it != nil && it.running == 0 {
		it.begun = now
		s.plan(now, it, d)
	}
}

// plan says when a target is checked next.
func (s *Schedule) plan(now time.Time, it *item, d Done) {
	it.stalled = d.Stalled
	it.confirms++
	it.confirm = d.Pending && it.confirms <= maxConfirms
	if !d.Pending {
		it.confirms = 0
	}
	switch {
	case it.confirm:
		it.due = now.Add(s.jittered(confirmAfter))
		return
	case d.Failing:
		it.fails++
	default:
		it.fails = 0
	}
	it.due = now.Add(s.jittered(it.interval(now)))
}

// interval is the time to the next check.
func (it *item) interval(now time.Time) time.Duration {
	d := it.Interval
	if it.fails > 0 {
		d = min(d<<min(it.fails-1, mostDoublings), max(d, maxBackOff))
	}
	if now.Sub(it.used) >= unusedAfter {
		d = max(d, unusedInterval)
	}
	return d
}

// Spent counts what was taken beside the schedule, such as by controls.
func (s *Schedule) Spent(now time.Time, checks int, bytes int64) {
	s.checks.take(now, float64(checks))
	s.bytes.take(now, float64(bytes))
}

// Early has targets checked soon: those of some destinations, or all when none
// is named.
func (s *Schedule) Early(now time.Time, destinations ...string) {
	for _, it := range s.items {
		if len(destinations) > 0 && !slices.Contains(destinations, it.Destination) {
			continue
		}
		it.fails, it.confirms, it.early = 0, 0, true
		at := now.Add(s.upTo(earlySpread))
		if rested := it.begun.Add(earlyRest); rested.After(at) {
			at = rested
		}
		it.due = earlier(it.due, at)
	}
}

// Used notes that destinations are used now. One that was not for long is checked
// early.
func (s *Schedule) Used(now time.Time, destinations ...string) {
	for _, it := range s.items {
		if !slices.Contains(destinations, it.Destination) {
			continue
		}
		if now.Sub(it.used) >= unusedAfter {
			it.due, it.early = earlier(it.due, now.Add(s.upTo(earlySpread))), true
		}
		it.used = now
	}
}
