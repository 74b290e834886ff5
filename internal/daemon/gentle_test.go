package daemon

import (
	"testing"
	"time"
)

func TestGentleKeepsToHalfOfAProcessor(t *testing.T) {
	type step struct{ passed, used, want time.Duration }
	const ms = time.Millisecond
	for name, steps := range map[string][]step{
		"an idle process waits for nothing":  {{0, 5 * ms, 0}, {time.Second, 0, 0}, {time.Second, 10 * ms, 0}},
		"a busy one rests as long as it ran": {{0, 0, 0}, {40 * ms, 40 * ms, 40 * ms}, {40 * ms, 0, 0}},
		"half of a processor is its due":     {{0, 0, 0}, {80 * ms, 40 * ms, 0}},
		"several processors count as one":    {{0, 0, 0}, {100 * ms, 200 * ms, 300 * ms}},
		"no wait is longer than a second":    {{0, 0, 0}, {10 * time.Second, 10 * time.Second, gentleMost}},
		"what came before is no debt":        {{0, time.Hour, 0}, {time.Second, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var used time.Duration
			g := gentle{used: func() time.Duration { return used }}
			now := time.Now()
			for i, s := range steps {
				now, used = now.Add(s.passed), used+s.used
				if got := g.pause(now); got != s.want {
					t.Errorf("step %d: waits %s, want %s", i, got, s.want)
				}
			}
		})
	}
}

func TestProcessorTimePasses(t *testing.T) {
	before := processorTime()
	if before <= 0 {
		t.Fatalf("this process has used %s of the processor", before)
	}
	for deadline := time.Now().Add(10 * time.Second); processorTime() == before; {
		if time.Now().After(deadline) {
			t.Fatal("the processor time of a busy process stands still")
		}
	}
}
