package reach

import (
	"cmp"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

// Total counts the checks of a destination over a path since the runner was made.
// Where a destination or a path goes and comes again it begins anew.
type Total struct {
	Destination string
	Path        string
	Outcomes    map[Outcome]uint64 // those that there were
	RTT         time.Duration      // sum of the round trips of those that went well
	RTTs        uint64             // how many that are
}

// totals are by destination and path, as many as the settings name.
type totals map[historyKey]*Total

func (t totals) add(destination string, r Result) {
	key := historyKey{destination, r.Path}
	x := t[key]
	if x == nil {
		x = &Total{Destination: destination, Path: r.Path, Outcomes: map[Outcome]uint64{}}
		t[key] = x
	}
	x.Outcomes[r.Outcome]++
	if r.Outcome == OutcomeOK && r.RTT > 0 {
		x.RTT += r.RTT
		x.RTTs++
	}
}

// keep forgets every destination and path that is not wanted.
func (t totals) keep(want func(destination, path string) bool) {
	for key := range t {
		if !want(key.destination, key.path) {
			delete(t, key)
		}
	}
}

// Totals gives the counters, in order of destination and path.
func (r *Runner) Totals() []Total {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Total, 0, len(r.totals))
	for _, x := range r.totals {
		total := *x
		total.Outcomes = make(map[Outcome]uint64, len(x.Outcomes))
		for o, n := range x.Outcomes {
			total.Outcomes[o] = n
		}
		out = append(out, total)
	}
	sorting.By(out, func(a, b Total) int {
		return cmp.Or(strings.Compare(a.Destination, b.Destination), strings.Compare(a.Path, b.Path))
	})
	return out
}
