package reach

import "time"

// Limits bound what scheduled checks take, of all destinations and paths
// together. A check here is one target over one path.
type Limits struct {
	Checks      int   // a minute, in the long run
	BurstChecks int   // at once, on top
	Routine     int   // a minute, of those that nothing but the time asks for; as many of what has failed for long
	Bytes       int64 // a minute, in the long run, of checks without a transfer
	DeepBytes   int64 // the same of those with one
	BurstBytes  int64 // at once, on top, of either
	Parallel    int   // checks at a time
}

// The processor time that routine checks may take: a check over TLS is some
// milliseconds of a PC's processor, but a tenth of a second of a small router's.
const (
	routineTime  = 180 * time.Millisecond // a minute: 0.3 % of one processor
	leastRoutine = 1                      // check a minute, whatever it takes
)

// DefaultLimits are those of the router: in no minute more than 120 checks begin,
// and no more than 6 MiB are taken, what runs already included. The rest waits.
// cost is the processor time of a check; 0: next to nothing.
func DefaultLimits(cost time.Duration) Limits {
	l := Limits{Checks: 96, BurstChecks: 24, Routine: 96, Bytes: 1 << 20, DeepBytes: 1 << 20, BurstBytes: 768 << 10, Parallel: 12}
	if cost > 0 {
		l.Routine = int(min(max(routineTime/cost, leastRoutine), time.Duration(l.Routine)))
	}
	return l
}

// bucket is a token bucket. What runs has been paid for at its greatest, and
// what it did not take is paid back.
type bucket struct {
	perMinute, size float64
	has             float64
	at              time.Time
}

func newBucket(perMinute, size float64, now time.Time) bucket {
	return bucket{perMinute: perMinute, size: size, has: size, at: now}
}

func (b *bucket) refill(now time.Time) {
	if gone := now.Sub(b.at); gone > 0 {
		b.has = min(b.size, b.has+b.perMinute*gone.Minutes())
		b.at = now
	}
}

// wait is how long until n can be taken. More than the bucket's size can be when
// it is full.
func (b *bucket) wait(now time.Time, n float64) time.Duration {
	b.refill(now)
	missing := min(n, b.size) - b.has
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / b.perMinute * float64(time.Minute))
}

// take takes n, also where that is more than there is.
func (b *bucket) take(now time.Time, n float64) {
	b.refill(now)
	b.has -= n
}

// back gives n back.
func (b *bucket) back(n float64) { b.has = min(b.size, b.has+n) }
