package reach

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistoryOfADay(t *testing.T) {
	h := NewHistory()
	start := epoch.Truncate(SlotTime)
	h.Add(start, "exchanges", over("home", TLSReset, ""))
	now := start.Add(time.Hour)
	ok := over("direct", OutcomeOK, "")
	for _, rtt := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 9 * time.Second} {
		ok.RTT = rtt
		h.Add(now, "exchanges", ok)
	}
	h.Add(now, "exchanges", over("direct", TCPTimeout, ""))
	h.Add(now, "pools", ok)
	got := h.Of(now.Add(SlotTime), "exchanges")
	if len(got) != 2 || got[0].Path != "direct" || got[1].Path != "home" || len(got[0].Slots) != 144 {
		t.Fatalf("%+v", got)
	}
	mean := 6_583 * time.Millisecond / 3 // 9 s is beyond what is kept
	if diff := cmp.Diff(Slot{Start: now, OK: 3, Failed: 1, Outcome: TCPTimeout, RTT: mean.Truncate(100 * time.Microsecond)}, got[0].Slots[142], within(10*time.Millisecond)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{0.75, got[0].Slots[142].RTT}, []any{got[0].Rate(), got[0].RTT()}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Slot{Start: start, Failed: 1, Outcome: TLSReset}, got[1].Slots[136]); diff != "" || got[1].Rate()+got[1].RTT().Seconds() != 0 {
		t.Error(diff)
	}
}

func TestHistoryForgets(t *testing.T) {
	h := NewHistory()
	for _, destination := range []string{"exchanges", "pools"} {
		h.Add(epoch, destination, over("direct", OutcomeOK, ""))
	}
	if x := h.Of(epoch.Add(26*time.Hour), "exchanges")[0]; !math.IsNaN(x.Rate()) {
		t.Errorf("a day later the rate is %f", x.Rate())
	}
	h.Keep(func(destination, path string) bool { return destination == "pools" && path == "direct" })
	if len(h.Of(epoch, "exchanges")) != 0 || len(h.Of(epoch, "pools")) != 1 {
		t.Error("Keep keeps the wrong ones")
	}
}

// within takes round trips for equal that differ by no more.
func within(d time.Duration) cmp.Option {
	return cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= d })
}

func TestHistoryBearsAClockThatIsSet(t *testing.T) {
	h := NewHistory()
	for _, at := range []time.Time{time.Unix(300, 0), epoch, epoch.Add(-time.Hour), epoch.Add(-48 * time.Hour), time.Unix(-5000, 0), epoch} {
		h.Add(at, "d", over("direct", OutcomeOK, ""))
		if got := h.Of(at, "d"); len(got) != 1 || len(got[0].Slots) != 144 || got[0].Rate() != 1 {
			t.Errorf("at %s: %+v", at, got)
		}
	}
}

// TestHistoryIsSmall is what the docstring of ring says, for 128 destinations on
// three paths.
func TestHistoryIsSmall(t *testing.T) {
	h := NewHistory()
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			h = NewHistory()
			for i := range 128 {
				for _, p := range []string{"direct", "home", "other"} {
					h.Add(epoch, fmt.Sprint(i), over(p, OutcomeOK, ""))
				}
			}
		}
	})
	if n := got.AllocedBytesPerOp(); n > 512<<10 {
		t.Errorf("%d bytes", n)
	}
}
