package daemon

import "time"

// The bounds of a limiter.
const (
	limitTime = time.Minute
	limitKeys = 256
)

// limiter lets each kind of message through once a minute, so that a busy
// network cannot flood the log. It belongs to one goroutine.
type limiter struct {
	now  func() time.Time
	seen map[string]*limited
}

type limited struct {
	last time.Time
	more int // held back since
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, seen: map[string]*limited{}}
}

// allow says whether a message may go out, and how many of its kind have been
// held back since the last one that did.
func (l *limiter) allow(key string) (held int, ok bool) {
	now := l.now()
	e := l.seen[key]
	if e == nil {
		if len(l.seen) >= limitKeys {
			l.sweep(now)
		}
		if len(l.seen) >= limitKeys {
			return 0, false
		}
		e = &limited{}
		l.seen[key] = e
	} else if now.Sub(e.last) < limitTime {
		e.more++
		return 0, false
	}
	held, e.last, e.more = e.more, now, 0
	return held, true
}

// sweep drops the kinds that are over.
func (l *limiter) sweep(now time.Time) {
	for key, e := range l.seen {
		if now.Sub(e.last) >= limitTime {
			delete(l.seen, key)
		}
	}
}
