package reach

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestSilenceOnALineThatLosesPacketsIsConfirmed(t *testing.T) {
	answer := func(n *internet) { n.set(pathDirect, at, says(okPage), nil) }
	for _, c := range []struct {
		name   string
		resent int64 // by the controls
		later  func(*internet)
		want   Verdict
		says   string
		seen   int // observations of the direct path
	}{
		{"a clean line", 0, answer, Interfered, "no answer to the request", 1},
		{"it works after all", 3, answer, Reachable, "it works", 2},
		{"it is another thing each time", 3, func(n *internet) { n.set(pathDirect, at, nil, nil) }, Unknown, "another thing each time", 2},
		{"it is a deed after all", 3, func(n *internet) { n.set(pathDirect, at, says(""), nil) }, Interfered, "closed after the request", 2},
		{"it is the same each time", 3, func(*internet) {}, Interfered, "no answer to the request", 1 + confirmations},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				r := newRunner(t, n)
				n.set(pathDirect, at, silent, nil)
				first := r.round(t.Context(), bothPaths, target(t, site), Depth{}, func(Result) {})
				if first.Finding.Verdict != Interfered {
					t.Fatalf("%+v", first)
				}
				before := n.count(at)
				lines := map[string]Line{"direct": {Asked: 3, Answered: 3, Working: 3, Resent: c.resent}}
				seen := 1
				if i := doubtful(first, lines); i >= 0 {
					c.later(n)
					var told []Result
					first.Results[i] = r.confirm(t.Context(), first.Results[i], func() Observation {
						seen++
						return r.prober.Observe(t.Context(), bothPaths[i], target(t, site), Truth{}, Depth{})
					}, nil, func(x Result) { told = append(told, x) })
					first.Finding = Compare(target(t, site), first.Results, lines)
					if slices.ContainsFunc(told, func(x Result) bool { return x.Outcome == HTTPTimeout }) {
						t.Errorf("the same was told again: %+v", told)
					}
				}
				if f := first.Finding; f.Verdict != c.want || !strings.Contains(f.Sentence, c.says) {
					t.Errorf("%s: %s, want %s: …%s…", f.Verdict, f.Sentence, c.want, c.says)
				}
				if seen != c.seen || seen > 1 == (n.count(at) == before) {
					t.Errorf("%d observations, want %d", seen, c.seen)
				}
			})
		})
	}
}

func TestControlsTellOfLostPackets(t *testing.T) {
	l := LineOf([]Result{{Outcome: OutcomeOK, Resent: 2}, {Outcome: TCPTimeout}, {Outcome: OutcomeOK, Resent: 1}})
	if want := (Line{Asked: 3, Answered: 2, Working: 2, Resent: 3}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
}
