package reach

import "slices"

// Summary is what the verdicts on a destination's targets mean for the
// destination.
type Summary struct {
	Verdict Verdict
	Reason  string // for people; names the target that decides where there are several
	Paths   map[string]PathSummary
}

// PathSummary is how a destination fares over one path, by its targets' last
// rounds.
type PathSummary struct {
	Working int // the service was reached and serves
	Failing int // in a way that a network does
	Refused int // the service itself says no, or fails
	Down    int // the path was down
}

// order of verdicts: the first that a target has is the destination's. What is
// interfered with decides, so that policy auto can act when it is one of many.
func precedence() []Verdict {
	return []Verdict{Interfered, Offline, Reachable, VerdictRefused, ServiceDown, Unknown}
}

// Summarize puts the states of one destination's targets together.
func Summarize(states []State) Summary {
	out := Summary{Verdict: Unknown, Reason: "not checked yet", Paths: map[string]PathSummary{}}
	best := len(precedence())
	for _, s := range states {
		if at := slices.Index(precedence(), s.Verdict.Verdict); at >= 0 && at < best {
			best, out.Verdict, out.Reason = at, s.Verdict.Verdict, s.Verdict.Sentence
			if len(states) > 1 {
				out.Reason = s.Spec.Target.String() + ": " + out.Reason
			}
		}
		for _, r := range s.Results {
			p := out.Paths[r.Path]
			p.add(r.Outcome)
			out.Paths[r.Path] = p
		}
	}
	return out
}

func (p *PathSummary) add(o Outcome) {
	switch {
	case o == OutcomeOK:
		p.Working++
	case o == PathDown:
		p.Down++
	case o.byService():
		p.Refused++
	default:
		p.Failing++
	}
}
