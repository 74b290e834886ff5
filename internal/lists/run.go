package lists

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/routerd/routerd/internal/config"
)

// Times between fetches.
const (
	firstBackoff = 15 * time.Second
	maxBackoff   = time.Hour
	// startSpread is within which lists that have a copy are looked after at
	// a start: not all at once, and not all routers at once after a power cut.
	startSpread = time.Minute
	// intervalSpread is the part of the interval by which fetches are moved.
	intervalSpread = 0.1
	// idle is how long Run waits where there is no list.
	idle = 24 * time.Hour
)

// Run fetches each list when it is due, until ctx ends. It is called once.
func (m *Manager) Run(ctx context.Context) {
	for ctx.Err() == nil {
		name, wait := m.due()
		if wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-m.poke:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		// The outcome is in the status and in the log.
		_ = m.Update(ctx, name, nil)
	}
}

// due gives the list that is due first, and how long it has time.
func (m *Manager) due() (string, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opts.Now()
	name, wait := "", idle
	for _, e := range m.entries {
		if d := e.next.Sub(now); d < wait {
			name, wait = e.list.Name, d
		}
	}
	return name, wait
}

// newBackoff is for a list of an interval.
func newBackoff(l config.List) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: firstBackoff, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: min(l.Interval, maxBackoff),
	}
}

// afterCheck says when a list that was fetched in order is due again. Times of
// another process are on the wall clock, which may have been set meanwhile: the
// result lies within one interval from now. mu is held.
func (m *Manager) afterCheck(e *entry) time.Time {
	now := m.opts.Now()
	since := max(now.Sub(e.meta.Checked), 0)
	if e.meta.Checked.IsZero() {
		since = e.list.Interval
	}
	left := e.list.Interval - since
	if left <= 0 {
		return now.Add(time.Duration(m.spread() * float64(startSpread)))
	}
	return now.Add(left)
}

// afterSuccess says when a list is due after it was fetched.
func (m *Manager) afterSuccess(l config.List) time.Time {
	part := 1 + intervalSpread*(m.spread()-0.5)
	return m.opts.Now().Add(time.Duration(part * float64(l.Interval)))
}
