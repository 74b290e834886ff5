package reach_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// hosts are enough exchanges and pools for many checks at a time.
func hosts() []check {
	return []check{
		{exchange, large},
		{plain, large},
		{pool, ""},
		{poolTLS, ""},
		{"https://api.binance.com/api/v3/ping", large},
		{"https://api.kraken.com/0/public/Time", ""},
		{"stratum+tcp://btc.f2pool.com:1314", ""},
		{"tls://www.bybit.com", ""},
	}
}

// rounds is how often each of hosts is checked on each bad line; 125 make 1,000
// checks of a line and take an hour.
var rounds = flag.Int("rounds", 2, "rounds of checks on each bad line")

// TestBadLinesAreNotTakenForInterference: on a line that loses or delays packets
// in both directions, no round of checks, let alone three of them, finds
// interference.
func TestBadLinesAreNotTakenForInterference(t *testing.T) {
	for _, x := range []struct {
		name string
		x    lab.Interference
	}{
		{"5 %", lab.Interference{Kind: interfere.Loss, Percent: 5}},
		{"20 %", lab.Interference{Kind: interfere.Loss, Percent: 20}},
		{"300 ms", lab.Interference{Kind: interfere.Delayed, Delay: 150 * time.Millisecond}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := theWorld(t)
			undo, err := w.lab.Interfere(t.Context(), x.x)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := undo(); err != nil {
					t.Error(err)
				}
				w.settle(t)
			}()
			count := map[reach.Verdict]int{}
			findings := map[string]int{}
			for _, r := range w.obey(t, order{Checks: hosts(), Rounds: *rounds}) {
				count[r.Verdict]++
				if r.Verdict != reach.Reachable {
					findings[fmt.Sprint(r.Target, ": ", r.Verdict, ": ", r.Sentence)]++
				}
			}
			t.Log(count)
			for f, n := range findings {
				t.Log(n, "×", f)
			}
			if count[reach.Interfered] > 0 {
				t.Errorf("%d findings of interference", count[reach.Interfered])
			}
		})
	}
}
