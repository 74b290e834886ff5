package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/test/chaos/crowd"
	"github.com/routerd/routerd/test/lab"
)

// KindReport is what came of all events of a kind.
type KindReport struct {
	Kind  Kind          `json:"kind"`
	Done  int           `json:"done"`
	Worst time.Duration `json:"worst_ns"` // convergence
}

// Packets are what the witnesses counted.
type Packets struct {
	ListedWAN      uint64 `json:"listed_wan"` // must be 0
	ListedTunnel   uint64 `json:"listed_tunnel"`
	UnlistedWAN    uint64 `json:"unlisted_wan"`
	UnlistedTunnel uint64 `json:"unlisted_tunnel"` // must be 0
}

// Report is what came of a run.
type Report struct {
	Seed       uint64               `json:"seed"`
	Minutes    float64              `json:"minutes"`
	Strain     float64              `json:"strain"` // how many times slower than usual the machine was, at most
	Events     []KindReport         `json:"events"`
	Listed     map[crowd.Kind]Tally `json:"listed"`
	Unlisted   map[crowd.Kind]Tally `json:"unlisted"`
	Packets    Packets              `json:"packets"`
	Violations []Violation          `json:"violations"`
}

// report puts together what was counted.
func (r *run) report() Report {
	out := Report{Seed: r.o.Seed, Minutes: (crowd.Now() - r.ledger.begin).Minutes(), Strain: r.strain}
	out.Listed, out.Unlisted, out.Violations = r.ledger.results()
	for _, k := range r.o.Kinds {
		if r.done[k] > 0 {
			out.Events = append(out.Events, KindReport{k, r.done[k], r.worst[k]})
		}
	}
	for host, s := range r.counted {
		if host == lab.ISP {
			out.Packets.ListedWAN, out.Packets.UnlistedWAN = s.closed, s.plain
			continue
		}
		out.Packets.ListedTunnel += s.closed
		out.Packets.UnlistedTunnel += s.plain
	}
	return out
}

// shownViolations bounds how many of one sort the text tells.
const shownViolations = 8

// Text is the report as people read it.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %.1f minutes\n", r.Seed, r.Minutes)
	if r.Strain > 1 {
		fmt.Fprintf(&b, "others used the machine, which was up to %.1f times slower than usual\n", r.Strain)
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "EVENT         TIMES  CONVERGED AFTER, AT MOST\n")
	total := 0
	for _, k := range r.Events {
		total += k.Done
		fmt.Fprintf(&b, "%-13s %5d  %5.2f s\n", k.Kind, k.Done, k.Worst.Seconds())
	}
	fmt.Fprintf(&b, "%-13s %5d\n\nCONNECTIONS         MADE  FAILED  EXCUSED\n", "all", total)
	tallies(&b, "listed", r.Listed)
	tallies(&b, "unlisted", r.Unlisted)
	p := r.Packets
	fmt.Fprintf(&b, "\nPACKETS            WAN  TUNNELS\nlisted      %10d %8d\nunlisted    %10d %8d\n",
		p.ListedWAN, p.ListedTunnel, p.UnlistedWAN, p.UnlistedTunnel)
	r.violations(&b)
	return b.String()
}

func tallies(b *strings.Builder, title string, all map[crowd.Kind]Tally) {
	for _, k := range slices.Sorted(maps.Keys(all)) {
		t := all[k]
		fmt.Fprintf(b, "%-8s %-8s %6d  %6d  %7d\n", title, k, t.Made, t.Failed, t.Excused)
	}
}

// violations tells the first of each sort, with what happened before.
func (r Report) violations(b *strings.Builder) {
	if len(r.Violations) == 0 {
		b.WriteString("\nno violation\n")
		return
	}
	told := map[string]int{}
	for _, v := range r.Violations {
		told[v.What]++
	}
	fmt.Fprintf(b, "\n%d VIOLATIONS; the same again: scripts/chaos --seed %d\n", len(r.Violations), r.Seed)
	for _, what := range slices.Sorted(maps.Keys(told)) {
		fmt.Fprintf(b, "%s, %d times:\n", what, told[what])
		left := shownViolations
		for _, v := range r.Violations {
			if v.What != what {
				continue
			}
			if left--; left < 0 {
				b.WriteString("  …\n")
				break
			}
			event := v.Event
			if event == "" {
				event = "no event"
			}
			fmt.Fprintf(b, "  %7.1f s, after %s: %s\n", v.At.Seconds(), event, v.Detail)
		}
	}
}
