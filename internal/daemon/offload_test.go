package daemon

import (
	"testing"
	"time"
)

func TestTheFlowtableIsFlushedWhenTheGuardStopsPackets(t *testing.T) {
	var f fast
	start := time.Now()
	for _, step := range []struct {
		at      time.Duration
		guarded uint64
		want    bool
	}{
		{0, 0, false},
		{1 * time.Second, 3, true},
		{1500 * time.Millisecond, 3, false}, // nothing new
		{1600 * time.Millisecond, 5, false}, // too soon
		{2 * time.Second, 5, true},          // what was stopped meanwhile counts
		{3 * time.Second, 6, false},         // it did not help: twice as long
		{4 * time.Second, 6, true},
		{7 * time.Second, 7, false},
		{8 * time.Second, 8, true},
		{60 * time.Second, 8, false},
		{61 * time.Second, 9, true}, // at once again after quiet
		{62 * time.Second, 10, true},
	} {
		if got := f.due(step.guarded, start.Add(step.at)); got != step.want {
			t.Errorf("after %s, with %d packets stopped: flush is %t, want %t", step.at, step.guarded, got, step.want)
		}
	}
	for n := range uint64(20) {
		f.due(100+n, start.Add(f.flushed.Sub(start)+f.pause))
	}
	if f.pause != flushAgainMax {
		t.Errorf("the pause has grown to %s, want %s", f.pause, flushAgainMax)
	}
}
