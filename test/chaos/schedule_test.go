package chaos

import (
	"slices"
	"testing"
)

func take(s *Schedule, n int) []Event {
	var out []Event
	for range n {
		out = append(out, s.Next())
	}
	return out
}

func TestSameSeedGivesTheSameSchedule(t *testing.T) {
	const n = 200
	one := take(NewSchedule(7, Kinds()), n)
	if two := take(NewSchedule(7, Kinds()), n); !slices.Equal(one, two) {
		t.Errorf("got %v, then %v", one, two)
	}
	if other := take(NewSchedule(8, Kinds()), n); slices.Equal(one, other) {
		t.Error("another seed gives the same schedule")
	}
}

func TestEveryKindComesOnceBeforeAnyComesAgain(t *testing.T) {
	s, all := NewSchedule(3, Kinds()), len(Kinds())
	for round := range 3 {
		seen := map[Kind]bool{}
		for _, e := range take(s, all) {
			seen[e.Kind] = true
		}
		if len(seen) != all {
			t.Errorf("round %d: %d kinds of %d", round, len(seen), all)
		}
	}
}

func TestVariantsOfAKindComeInTurn(t *testing.T) {
	s := NewSchedule(11, []Kind{Kill, LAN})
	last := map[Kind]int{}
	for i, e := range take(s, 60) {
		if e.Number != i+1 {
			t.Errorf("event %d has number %d", i+1, e.Number)
		}
		if before, ok := last[e.Kind]; ok && e.Variant != (before+1)%variants {
			t.Errorf("%s comes as variant %d after %d", e.Kind, e.Variant, before)
		}
		last[e.Kind] = e.Variant
	}
}

func TestEventsHaveTheirTimes(t *testing.T) {
	for _, e := range take(NewSchedule(5, Kinds()), 500) {
		if e.Gap < gapLeast || e.Gap > gapLeast+gapMore || e.Hold < holdLeast || e.Hold > holdLeast+holdMore {
			t.Errorf("%s: gap %s, hold %s", e, e.Gap, e.Hold)
		}
	}
}

func TestEveryKindHasAnAction(t *testing.T) {
	all := actions()
	for _, k := range append(Kinds(), Clock) {
		if all[k].do == nil {
			t.Errorf("nothing is done for %s", k)
		}
		if got, err := KindOf(string(k)); got != k || err != nil {
			t.Errorf("kind %q is found as %q, %v", k, got, err)
		}
	}
	if len(all) != len(Kinds())+1 {
		t.Errorf("%d actions for %d kinds", len(all), len(Kinds())+1)
	}
	if _, err := KindOf("rain"); err == nil {
		t.Error("a kind that is none is found")
	}
}

func TestVariantsAreReachedEvenly(t *testing.T) {
	for what, n := range map[string]int{
		"changes of settings": len(changes()), "broken settings": len(corruptions()), "interferences": len(interferences()),
	} {
		if variants%n != 0 {
			t.Errorf("%d %s do not divide %d variants", n, what, variants)
		}
	}
}
