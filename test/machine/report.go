package machine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/test/machine/job"
)

// Report is what came of all tests in one machine.
type Report struct {
	Target, Kernel string
	// Hook, JIT and Ratio are what the tests said of the data plane: "tcx" or
	// "clsact", "on" or "off", throughput of traffic that is not steered against
	// plain forwarding; "" where no test said it.
	Hook, JIT, Ratio string
	Run, Failed      int // tests, subtests included
	Skipped          int
	Broken           []string // packages that failed otherwise than by a test
	Missing          []string // tests that should have been there and were not
	Failures         []string // names of tests, each with what it printed
	Took             time.Duration
	seen             map[string]bool     // tests, skipped ones too
	said             map[string][]string // lines of each test that has not ended, "" for a package
	// Work is what the emulators took of this machine's processors: unlike Took,
	// that does not depend on who else is at work here.
	Work time.Duration
	// Total and Peak are the machine's memory and the most that was in use at
	// once, KiB.
	Total, Peak int
}

// OK says whether nothing failed and anything was run.
func (r Report) OK() bool { return r.Bad() == 0 && r.Run > 0 }

// Bad counts what failed: tests, packages, and tests that did not run.
func (r Report) Bad() int { return r.Failed + len(r.Broken) + len(r.Missing) }

// Add takes in what came of some of the target's tests.
func (r *Report) Add(part Report) {
	r.Hook, r.JIT, r.Ratio = cmp.Or(part.Hook, r.Hook), cmp.Or(part.JIT, r.JIT), cmp.Or(part.Ratio, r.Ratio)
	r.Run, r.Failed, r.Skipped = r.Run+part.Run, r.Failed+part.Failed, r.Skipped+part.Skipped
	r.Broken = append(r.Broken, part.Broken...)
	r.Missing = append(r.Missing, part.Missing...)
	r.Failures = append(r.Failures, part.Failures...)
}

// Require notes those tests that were not there: their names have changed, or the
// program broke down ahead of them. That one was skipped is for its reader to judge.
func (r *Report) Require(tests ...string) {
	for _, name := range tests {
		if !r.seen[name] {
			r.Missing = append(r.Missing, name)
		}
	}
}

// Header and Line are a table's, in columns divided by tabs.
func Header() string {
	return "TARGET\tKERNEL\tHOOK\tJIT\tRUN\tFAILED\tSKIPPED\tSECONDS\tWORKED\tPEAK\tRATIO"
}

// Line is the target's line under Header.
func (r Report) Line() string {
	peak := "-"
	if r.Total > 0 {
		peak = fmt.Sprintf("%d of %d MiB", r.Peak>>10, r.Total>>10)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.0f\t%.0f\t%s\t%s", r.Target, r.Kernel, dash(r.Hook), dash(r.JIT),
		r.Run, r.Bad(), r.Skipped, r.Took.Seconds(), r.Work.Seconds(), peak, dash(r.Ratio))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// event is a line of go test -json (cmd/test2json).
type event struct{ Action, Package, Test, Output string }

// figure is a line that a test prints for the report: "figure hook tcx".
var figure = regexp.MustCompile(`figure (hook|jit|ratio) (\S+)`)

// Read takes the output of go test -json in.
func (r *Report) Read(from io.Reader) error {
	lines := json.NewDecoder(from)
	failedTests := map[string]bool{}
	if r.seen == nil {
		r.seen, r.said = map[string]bool{}, map[string][]string{}
	}
	for {
		var e event
		switch err := lines.Decode(&e); err {
		case nil:
			r.take(e, failedTests)
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("read go test's output: %w", err)
		}
	}
}

func (r *Report) take(e event, failedTests map[string]bool) {
	r.seen[e.Test] = true
	id := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.figures(e.Output)
		r.said[id] = append(r.said[id], e.Output)
		return
	case "build-fail":
		r.Broken = append(r.Broken, e.Package)
	case "skip":
		if e.Test != "" {
			r.Skipped++
		}
	case "pass":
		if e.Test != "" {
			r.Run++
		}
	case "fail":
		switch {
		case e.Test != "":
			r.Run++
			r.Failed++
			r.Failures = append(r.Failures, id+excerpt(r.said[id]))
			failedTests[e.Package] = true
		case !failedTests[e.Package]:
			r.Broken = append(r.Broken, e.Package+excerpt(r.said[id]))
		}
	}
	delete(r.said, id)
}

// mostSaid bounds what is shown of a test that failed, in lines: its beginning, where an
// error names itself, and its end.
const mostSaid = 80

// excerpt is what a test printed, each line set in, for a line that names the test.
func excerpt(lines []string) string {
	if left := len(lines) - mostSaid; left > 0 {
		lines = slices.Concat(lines[:mostSaid/2], []string{fmt.Sprintf("… %d lines …\n", left)}, lines[len(lines)-mostSaid/2:])
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("\n    " + strings.TrimRight(line, "\n"))
	}
	return b.String()
}

func (r *Report) figures(line string) {
	m := figure.FindStringSubmatch(line)
	if m == nil {
		return
	}
	switch m[1] {
	case "hook":
		r.Hook = m[2]
	case "jit":
		r.JIT = m[2]
	case "ratio":
		if _, err := strconv.ParseFloat(m[2], 64); err == nil {
			r.Ratio = m[2]
		}
	}
}

// Results takes in what came of each machine, one job.Result a line of JSON.
func (r *Report) Results(from io.Reader) error {
	for lines := json.NewDecoder(from); ; {
		var result job.Result
		switch err := lines.Decode(&result); err {
		case nil:
			r.Work += time.Duration(result.Work) * time.Millisecond
			if result.Peak > r.Peak {
				r.Peak, r.Total = result.Peak, result.Total
			}
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("read machines' figures: %w", err)
		}
	}
}

// Summary names what failed, one a line; "" where nothing did.
func (r Report) Summary() string {
	var b strings.Builder
	for _, name := range r.Failures {
		fmt.Fprintf(&b, "%s: failed: %s\n", r.Target, name)
	}
	for _, name := range r.Broken {
		fmt.Fprintf(&b, "%s: package broke down: %s\n", r.Target, name)
	}
	for _, name := range r.Missing {
		fmt.Fprintf(&b, "%s: was not there: %s\n", r.Target, name)
	}
	if r.Run == 0 {
		fmt.Fprintf(&b, "%s: no test was run\n", r.Target)
	}
	return b.String()
}
