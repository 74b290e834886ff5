package machine

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
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
	Failures         []string // names of tests
	Took             time.Duration
	// Total and Peak are the machine's memory and the most that was in use at
	// once, KiB.
	Total, Peak int
}

// OK says whether nothing failed and anything was run.
func (r Report) OK() bool { return r.Failed == 0 && len(r.Broken) == 0 && r.Run > 0 }

// Header and Line are a table's, in columns divided by tabs.
func Header() string {
	return "TARGET\tKERNEL\tHOOK\tJIT\tRUN\tFAILED\tSKIPPED\tSECONDS\tPEAK\tRATIO"
}

// Line is the target's line under Header.
func (r Report) Line() string {
	peak := "-"
	if r.Total > 0 {
		peak = fmt.Sprintf("%d of %d MiB", r.Peak>>10, r.Total>>10)
	}
	failed := r.Failed + len(r.Broken)
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.0f\t%s\t%s", r.Target, r.Kernel, dash(r.Hook), dash(r.JIT),
		r.Run, failed, r.Skipped, r.Took.Seconds(), peak, dash(r.Ratio))
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
	switch e.Action {
	case "output":
		r.figures(e.Output)
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
			r.Failures = append(r.Failures, e.Package+" "+e.Test)
			failedTests[e.Package] = true
		case !failedTests[e.Package]:
			r.Broken = append(r.Broken, e.Package)
		}
	}
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

// Memory takes in what machines told of their memory, one job.Result a line of
// JSON.
func (r *Report) Memory(from io.Reader) error {
	for lines := json.NewDecoder(from); ; {
		var result job.Result
		switch err := lines.Decode(&result); err {
		case nil:
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
	if r.Run == 0 {
		fmt.Fprintf(&b, "%s: no test was run\n", r.Target)
	}
	return b.String()
}
