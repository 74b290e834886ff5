package steer

import (
	"maps"
	"slices"
	"time"
)

// How the choice keeps from swinging to and fro. A path that does not work is
// left at once; all this is about where to and when back.
const (
	// minimumStay is how long a destination stays where it has moved before it
	// goes back to a path it prefers: connections that clients have made anew
	// because of a move live on average shorter than this.
	minimumStay = 30 * time.Second
	// tunnelHold is how long a tunnel that failed must have worked without a gap
	// before it is gone back to: two exchanges of WireGuard's keepalive, so that
	// one lucky packet is not enough.
	tunnelHold = 30 * time.Second
	// directHold is the same for the direct path: who interferes does so for
	// longer than a tunnel is ill, and each attempt costs users connections.
	directHold = 2 * time.Minute
	// holdMost bounds the holds, which double with each failure of the hour.
	holdMost = 15 * time.Minute
	// remembered is how long failures and moves count.
	remembered = time.Hour
	// freeMoves is how many moves of the last hour are as fast as they can be. So
	// many honest failures do not happen in an hour; where every path comes and
	// goes, each further move waits twice as long, up to moveGapMost.
	freeMoves   = 8
	moveGap     = 10 * time.Second
	moveGapMost = 5 * time.Minute
	// logMost bounds what is kept.
	logMost = 32
)

// Memory is what the choice remembers of a destination. The zero value is that of
// a destination that was never chosen for. It is a value: Choose returns the next
// one and leaves the old one as it was.
type Memory struct {
	path  string
	since time.Time
	moves []time.Time // oldest first
	paths map[string]record
}

// record is what is remembered of one path, for one destination.
type record struct {
	works    bool
	since    time.Time   // works is as it is
	failures []time.Time // when it ceased to work, oldest first
}

// Path is the path that was chosen last; "" when none was.
func (m Memory) Path() string { return m.path }

// Since is when it was.
func (m Memory) Since() time.Time { return m.since }

// observe takes note of how the paths are now.
func (m Memory) observe(paths []candidate, now time.Time) Memory {
	next := make(map[string]record, len(paths))
	for _, p := range paths {
		works := p.grade == works
		r, known := m.paths[p.path]
		if !known {
			r = record{works: works, since: now}
		}
		if r.works != works {
			if r.works {
				r.failures = logged(r.failures, now)
			}
			r.works, r.since = works, now
		}
		next[p.path] = r
	}
	if !maps.EqualFunc(next, m.paths, record.equal) {
		m.paths = next
	}
	return m
}

func (r record) equal(o record) bool {
	return r.works == o.works && r.since.Equal(o.since) && len(r.failures) == len(o.failures)
}

// moved is the memory of a destination that takes another path from now on.
func (m Memory) moved(path string, now time.Time) Memory {
	if m.path != "" {
		m.moves = logged(m.moves, now)
	}
	m.path, m.since = path, now
	return m
}

// steadyAt is from when on a path can be trusted again after its failures of the
// last hour: at once where there were none.
func (m Memory) steadyAt(path string, now time.Time) time.Time {
	r := m.paths[path]
	n := recent(r.failures, now)
	if n == 0 {
		return now
	}
	hold := tunnelHold
	if path == PathDirect {
		hold = directHold
	}
	return r.since.Add(doubled(hold, n-1, holdMost))
}

// backAt is from when on the present path, which works, may be left for one that
// is preferred.
func (m Memory) backAt(path string, now time.Time) time.Time {
	at := m.steadyAt(path, now)
	if at.Equal(now) && len(m.paths[path].failures) == 0 {
		return now // it has always worked: nothing is to be feared of it
	}
	return later(at, m.since.Add(minimumStay), m.freeAt(now))
}

// freeAt is from when on there may be another move at all.
func (m Memory) freeAt(now time.Time) time.Time {
	n := recent(m.moves, now)
	if n < freeMoves {
		return now
	}
	return m.moves[len(m.moves)-1].Add(doubled(moveGap, n-freeMoves, moveGapMost))
}

// logged appends a moment to a new list that keeps the last ones.
func logged(log []time.Time, now time.Time) []time.Time {
	log = append(slices.Clone(log), now)
	return log[max(len(log)-logMost, 0):]
}

// recent counts what was within the last hour.
func recent(log []time.Time, now time.Time) int {
	n := 0
	for _, t := range log {
		if now.Sub(t) < remembered {
			n++
		}
	}
	return n
}

// doubled is base * 2^n, at most the limit.
func doubled(base time.Duration, n int, limit time.Duration) time.Duration {
	for range n {
		if base *= 2; base >= limit {
			return limit
		}
	}
	return base
}

func later(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
