package reach

import (
	"reflect"
	"testing"
	"time"
)

func TestTotalsCountOutcomesAndRoundTrips(t *testing.T) {
	r := NewRunner(RunnerOptions{})
	for _, x := range []struct {
		destination string
		Result
	}{
		{"b", Result{Path: "home", Outcome: OutcomeOK, RTT: 2 * time.Second}},
		{"a", Result{Path: "home", Outcome: OutcomeOK, RTT: time.Second}},
		{"a", Result{Path: "direct", Outcome: TLSReset, RTT: time.Second}},
		{"a", Result{Path: "home", Outcome: OutcomeOK, RTT: 3 * time.Second}},
		{"a", Result{Path: "home", Outcome: OutcomeOK}},
	} {
		r.totals.add(x.destination, x.Result)
	}
	want := []Total{
		{"a", "direct", map[Outcome]uint64{TLSReset: 1}, 0, 0},
		{"a", "home", map[Outcome]uint64{OutcomeOK: 3}, 4 * time.Second, 2},
		{"b", "home", map[Outcome]uint64{OutcomeOK: 1}, 2 * time.Second, 1},
	}
	got := r.Totals()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	got[0].Outcomes[TLSReset] = 7
	if again := r.Totals(); again[0].Outcomes[TLSReset] != 1 {
		t.Error("the caller can change the counters")
	}
	r.Set([]Spec{{Destination: "b"}}, []Path{{Name: "home"}})
	if left := r.Totals(); !reflect.DeepEqual(left, want[2:]) {
		t.Errorf("of what is not checked any more %+v is left", left)
	}
}
