package reach

import (
	"slices"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/web"
)

// Line is what the controls say of a path at the time of a check. The zero value
// is that they were not asked.
type Line struct {
	Asked    int
	Answered int // anything came back from them, if only a refusal
	Working  int
	Resent   int64 // segments that were sent again: some were lost
	Late     bool  // one took long: the line or this machine is strained
}

// works says whether at least half of the controls work: one of them may be
// blocked or down itself.
func (l Line) works() bool { return l.Asked > 0 && 2*l.Working >= l.Asked }

// strained says whether silence on this line may be of its own: it loses packets,
// or things take long, here or on the way.
func (l Line) strained() bool { return l.Resent > 0 || l.Late }

// Finding is what one round of checks says of a target.
type Finding struct {
	Verdict  Verdict
	Outcome  Outcome // of the direct path
	Sentence string  // for people; it begins in lower case
}

// key is what must be the same for a finding to repeat. Timeouts of different
// layers are different findings: loss makes them at random. What only somebody's
// deed can be is one, since some networks change their ways from try to try.
func (f Finding) key() string {
	if f.Verdict != Interfered {
		return string(f.Verdict)
	}
	if f.Outcome.silent() {
		return string(f.Verdict) + " " + string(f.Outcome)
	}
	return string(f.Verdict) + " by a deed"
}

// Compare says what the results of all paths, of one round, and the controls'
// lines by path mean together.
func Compare(target catalogue.Target, results []Result, lines map[string]Line) Finding {
	i := slices.IndexFunc(results, func(r Result) bool { return r.Direct })
	if i < 0 {
		return Finding{Unknown, OutcomeNone, "the direct path was not checked"}
	}
	c := comparison{target: target, direct: results[i], line: lines[results[i].Path]}
	for _, r := range results {
		switch {
		case r.Direct || r.Outcome == PathDown:
		case r.Outcome.byService():
			c.reached = append(c.reached, r)
		case lines[r.Path].works():
			c.failing = append(c.failing, r)
		default:
			c.lame = append(c.lame, r) // the path itself is broken, or nobody knows
		}
	}
	verdict := c.verdict()
	return Finding{verdict, c.direct.Outcome, c.sentence(verdict)}
}

// comparison holds the direct path's result against those of the paths over
// which the service was reached, of those that work and did not reach it, and
// of those that do not work at all.
type comparison struct {
	target                 catalogue.Target
	direct                 Result
	line                   Line
	reached, failing, lame []Result
}

func (c comparison) verdict() Verdict {
	switch d := c.direct.Outcome; {
	case d == OutcomeOK:
		return Reachable
	case d == PathDown:
		return Offline
	case d.refuses():
		return VerdictRefused
	case d == HTTPError:
		return c.serviceError()
	}
	return c.networkError()
}

// networkError is for a service that the direct path did not reach.
func (c comparison) networkError() Verdict {
	switch d := c.direct.Outcome; {
	case d.silent() && c.line.Asked > 0 && c.line.Answered == 0:
		return Offline
	case d.silent() && !c.line.works():
		return Unknown
	case len(c.reached) > 0:
		return Interfered
	case len(c.failing) > 0 && c.alike():
		return ServiceDown
	}
	return Unknown
}

// serviceError is for a service that answers that it cannot, or does not want to.
func (c comparison) serviceError() Verdict {
	for _, r := range c.reached {
		if r.Outcome == OutcomeOK {
			return Unknown
		}
	}
	if c.direct.Status == web.StatusForbidden && len(c.reached) > 0 {
		return VerdictRefused // over every path: it is the service that says so
	}
	return ServiceDown
}

// alike says whether every working path fails as the direct one does.
func (c comparison) alike() bool {
	return !slices.ContainsFunc(c.failing, func(r Result) bool { return r.Rest != c.direct.Rest && r.Outcome != c.direct.Outcome })
}
