package reach_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

var (
	checks = flag.Int("checks", 16, "checks on each line")
	atOnce = flag.Int("at-once", 2, "rounds of eight checks at a time on a line, four targets of each")
	netem  = flag.Bool("netem", false, "spoil lines by the kernel's netem, not by the lab's provider")
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

// line is one that nobody interferes with, however bad it is.
type line struct {
	name  string
	x     *lab.Interference // what the lab's provider does for it; nil: nothing
	tc    string            // what netem does, in each direction
	loses bool
}

func badLines() []line {
	return []line{
		{"a clean line", nil, "", false},
		{"5 % loss", &lab.Interference{Kind: interfere.Loss, Percent: 5}, "loss 5%", true},
		{"20 % loss", &lab.Interference{Kind: interfere.Loss, Percent: 20}, "loss 20%", true},
		{"300 ms", &lab.Interference{Kind: interfere.Delayed, Delay: 150 * time.Millisecond}, "delay 150ms", false},
	}
}

// TestBadLinesAreNotTakenForInterference: on a line that loses or delays packets
// in both directions, no round of checks, let alone three of them, finds
// interference.
func TestBadLinesAreNotTakenForInterference(t *testing.T) {
	for _, x := range badLines() {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			w := theWorld(t)
			w.spoil(t, x)
			began := time.Now()
			rounds := (*checks + len(hosts()) - 1) / len(hosts())
			all := w.obey(t, order{Checks: hosts(), Rounds: rounds, AtOnce: *atOnce})
			t.Logf("%s: %d checks in %s\n%s", x.name, len(all), time.Since(began).Round(time.Second), tableOf(all))
			if len(all) != rounds*len(hosts()) {
				t.Errorf("%d checks were made, want %d", len(all), rounds*len(hosts()))
			}
			var resent int64
			for _, r := range all {
				resent += r.of("direct").Resent
				if r.Verdict == reach.Interfered {
					t.Errorf("%s: interfered: %s", r.Target, r.Sentence)
				} else if r.Verdict != reach.Reachable {
					t.Logf("%s: %s: %s", r.Target, r.Verdict, r.Sentence)
				}
			}
			if t.Logf("%d segments were sent again over the direct path", resent); x.loses && resent == 0 {
				t.Error("no loss was noticed on a line that loses packets")
			}
		})
	}
}

// spoil makes a line bad, in both directions, until the test ends.
func (w *world) spoil(t *testing.T, x line) {
	t.Helper()
	t.Cleanup(func() { w.settle(t) }) // once the line is mended
	switch {
	case x.x == nil:
	case *netem:
		for host, device := range map[string]string{lab.Router: "wan", lab.ISP: "cust"} {
			args := append([]string{"qdisc", "add", "dev", device, "root", "netem"}, strings.Fields(x.tc)...)
			if _, err := w.lab.Run(t.Context(), host, "tc", args...); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := w.lab.Run(context.Background(), host, "tc", "qdisc", "del", "dev", device, "root"); err != nil {
					t.Error(err)
				}
			})
		}
	default:
		w.interfere(t, *x.x)
	}
}

// tableOf counts verdicts, and outcomes by path.
func tableOf(all []report) string {
	verdicts, outcomes := map[string]int{}, map[string]map[string]int{}
	for _, r := range all {
		verdicts[string(r.Verdict)]++
		for _, x := range r.Results {
			if outcomes[x.Path] == nil {
				outcomes[x.Path] = map[string]int{}
			}
			outcomes[x.Path][string(x.Outcome)]++
		}
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "verdict\t%s\n", counts(verdicts))
	for _, path := range slices.Sorted(maps.Keys(outcomes)) {
		fmt.Fprintf(w, "%s\t%s\n", path, counts(outcomes[path]))
	}
	_ = w.Flush()
	return b.String()
}

// counts lists the most frequent first.
func counts(n map[string]int) string {
	words := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		if n[a] != n[b] {
			return n[b] - n[a]
		}
		return strings.Compare(a, b)
	})
	for i, word := range words {
		words[i] = fmt.Sprintf("%d %s", n[word], word)
	}
	return strings.Join(words, ", ")
}
