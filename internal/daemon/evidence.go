package daemon

import (
	"reflect"
	"time"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
)

const (
	// findingRepeats is how often in a row a target must fail over a tunnel while it
	// works over another path, until the tunnel counts as one that does not work for
	// it, and over the WAN where nothing tells why: as often as a finding must repeat
	// to be a verdict.
	findingRepeats = 3
	// evidenceEvery is how often what checks found is looked at, beside changes of
	// verdicts, which are looked at when they come.
	evidenceEvery = 2 * time.Second
)

// overPath is a target over a path.
type overPath struct{ destination, target, path string }

// failures counts, for each target over each path, the rounds in a row in which it
// failed there; over a tunnel, and worked elsewhere. The loop owns it.
type failures struct {
	rounds map[string]time.Time // by destination and target: the last one counted
	counts map[overPath]int
}

func newFailures() *failures {
	return &failures{rounds: map[string]time.Time{}, counts: map[overPath]int{}}
}

// observe counts the rounds that have ended since it was last asked, and forgets
// targets that are gone.
func (f *failures) observe(states []reach.State) {
	rounds, counts := make(map[string]time.Time, len(states)), make(map[overPath]int)
	for _, s := range states {
		key := s.Spec.Destination + " " + s.Spec.Target.String()
		rounds[key] = s.Checked
		fresh := !s.Checked.Equal(f.rounds[key])
		for i, r := range s.Results {
			at := overPath{s.Spec.Destination, s.Spec.Target.String(), r.Path}
			counts[at] = f.counts[at]
			switch {
			case !fresh:
			case r.Outcome == reach.PathDown || r.Outcome.Reached() || !r.Direct && !reachedElsewhere(s.Results, i):
				counts[at] = 0
			default:
				counts[at]++
			}
		}
	}
	f.rounds, f.counts = rounds, counts
}

// reachedElsewhere says whether another path than that of a result reaches the
// service: else the service may be down.
func reachedElsewhere(all []reach.Result, i int) bool {
	for k, r := range all {
		if k != i && r.Outcome.Reached() {
			return true
		}
	}
	return false
}

// evidence is what checks found, by destination. trusted says that clients get
// the true addresses whatever the provider's resolver says.
func evidence(states []reach.State, f *failures, trusted bool) map[string]steer.Evidence {
	out := map[string]steer.Evidence{}
	for _, s := range states {
		e, ok := out[s.Spec.Destination]
		if !ok {
			e.Checks = map[string]steer.Finding{}
		}
		e.Offline = e.Offline || s.Verdict.Verdict == reach.Offline
		note(e.Checks, steer.PathDirect, directFinding(&s, trusted, f))
		for _, r := range s.Results {
			if !r.Direct {
				note(e.Checks, r.Path, tunnelFinding(&s, r, f))
			}
		}
		out[s.Spec.Destination] = e
	}
	return out
}

// note adds a target's finding over a path to those of its destination. A failure
// of the WAN counts if one target has it, since a tunnel serves the others as
// well; one of a tunnel only if no target works there.
func note(all map[string]steer.Finding, path string, f steer.Finding) {
	old := all[path]
	stronger := rank(f.Sign, path) > rank(old.Sign, path)
	if stronger || old.Sign == steer.SignUnknown {
		all[path] = f
	}
}

func rank(s steer.Sign, path string) int {
	switch {
	case s == steer.SignFails && path == steer.PathDirect:
		return 3
	case s == steer.SignWorks:
		return 2
	case s == steer.SignFails || s == steer.SignRefused:
		return 1
	}
	return 0
}

// directFinding is what a target's verdict says of the WAN.
func directFinding(s *reach.State, trusted bool, f *failures) steer.Finding {
	switch s.Verdict.Verdict {
	case reach.Reachable:
		return steer.Finding{Sign: steer.SignWorks}
	case reach.VerdictRefused:
		return steer.Finding{Sign: steer.SignRefused}
	case reach.Interfered:
		for _, r := range s.Results {
			// Only the provider's lookups are forged, and clients do not get them.
			if r.Direct && trusted && r.Layer == reach.LayerDNS && r.Rest.Reached() {
				return steer.Finding{Sign: steer.SignWorks}
			}
		}
		return steer.Finding{Sign: steer.SignFails, Reason: s.Verdict.Sentence}
	case reach.Unknown:
		return doubt(s, f)
	}
	return steer.Finding{}
}

// doubt has a reason where a target fails over the WAN again and again and no other
// path tells whose fault that is.
func doubt(s *reach.State, f *failures) steer.Finding {
	for _, r := range s.Results {
		if r.Direct && f.counts[overPath{s.Spec.Destination, s.Spec.Target.String(), r.Path}] >= findingRepeats {
			return steer.Finding{Reason: s.Verdict.Sentence}
		}
	}
	return steer.Finding{}
}

// tunnelFinding is what a target's last rounds say of a tunnel.
func tunnelFinding(s *reach.State, r reach.Result, f *failures) steer.Finding {
	at := overPath{s.Spec.Destination, s.Spec.Target.String(), r.Path}
	switch {
	case r.Outcome == reach.OutcomeOK:
		return steer.Finding{Sign: steer.SignWorks}
	case r.Outcome.Reached():
		return steer.Finding{Sign: steer.SignRefused}
	case f.counts[at] >= findingRepeats:
		return steer.Finding{Sign: steer.SignFails, Reason: s.Spec.Target.String() + ": " + r.Detail + ", while it works by another path"}
	}
	return steer.Finding{}
}

// useChecks has paths chosen by what checks found, where that is news.
func (d *daemon) useChecks() {
	v := d.view.settings
	if v == nil || time.Since(d.lastEvidence) < evidenceEvery {
		return
	}
	d.lastEvidence = time.Now()
	news := d.runner.News()
	if news == d.news {
		return
	}
	d.news = news
	states := d.runner.Verdicts()
	d.failures.observe(states)
	if found := evidence(states, d.failures, v.secure()); !reflect.DeepEqual(found, d.health.verdicts) {
		d.setVerdicts(found)
	}
}
