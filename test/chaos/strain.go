package chaos

import (
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/test/chaos/crowd"
)

// The controls open an unlisted page over a path on which routerd does next to
// nothing. How long they take tells how much of the machine is left for the run:
// on one that others use, nothing in it is as fast as on a router.
const (
	controlAge   = 10 * time.Second
	controlUsual = 25 * time.Millisecond // some five times what an idle machine needs
	// starving is how many times slower the machine is when connections time out
	// for want of a processor.
	starving = 4
	// unjudged is from where on times say nothing of routerd.
	unjudged = 10
)

// takeControl is called with mu held. One that fails at an event may have lost its
// line and says nothing.
func (l *ledger) takeControl(a crowd.Attempt) {
	old := func(c crowd.Attempt) bool { return a.End-c.End > controlAge }
	l.controls = slices.DeleteFunc(l.controls, old)
	if a.OK || !slices.ContainsFunc(l.windows, func(w window) bool { return w.excuses(a) }) {
		l.controls = append(l.controls, a)
	}
}

// starves says whether an attempt timed out where others' work is reason enough. It
// is called with mu held.
func (l *ledger) starves(a crowd.Attempt) bool {
	limit := float64(starving)
	if a.Kind == crowd.Probe {
		limit = 1 // it has a second
	}
	return l.strain() > limit && strings.Contains(a.Error, "timeout")
}

// strain is called with mu held: how many times slower than usual the machine is,
// from 1 on.
func (l *ledger) strain() float64 {
	if len(l.controls) == 0 {
		return 1
	}
	took := make([]time.Duration, len(l.controls))
	for i, c := range l.controls {
		took[i] = c.End - c.Begin
	}
	slices.Sort(took)
	slow := took[len(took)*3/4]
	return max(1, float64(slow)/float64(controlUsual))
}

// strained is strain for those that do not hold mu.
func (l *ledger) strained() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.strain()
}
