package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/machine"
	"github.com/routerd/routerd/test/machine/job"
)

// suite is a run of all tests in machines.
type suite struct {
	app      *app
	store    machine.Cache
	logs     string
	parallel int
	quick    bool
}

func (a *app) allCommand() *cobra.Command {
	s := &suite{app: a}
	c := &cobra.Command{
		Use: "all [TARGET …]", Short: "run all tests in machines, and print a line for each",
		Long: `Run the tests of ebpf, netcfg, internal/tunnel and test/machine/router in
machines of every target, or of those that are named, and print a line for each:
its kernel, how programs attach, whether they are compiled (JIT), tests,
seconds, the most memory that was in use, and the throughput of traffic that is
not steered against plain forwarding. go test's output is kept in build/vm.
SECONDS are by the clock, from the build of the tests on; WORKED are seconds of
processor that the emulators took.`,
		Example: "  scripts/vm all\n  scripts/vm all --quick mipsel mips armv7 arm64\n  scripts/vm all mips mipsel --parallel 1",
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := chosen(args)
			if err != nil {
				return err
			}
			if s.store, err = a.store(); err != nil {
				return err
			}
			s.logs = filepath.Join(a.root, "build/vm")
			if err := os.MkdirAll(s.logs, 0o755); err != nil {
				return fmt.Errorf("make folder for logs: %w", err)
			}
			return s.run(c.Context(), targets)
		},
	}
	c.Flags().BoolVar(&s.quick, "quick", false, "of ebpf, only what tells kernels apart: minutes instead of half an hour a target")
	c.Flags().IntVar(&s.parallel, "parallel", 2, "machines at a time")
	return c
}

// run tests the targets and prints their lines in the order of the targets.
func (s *suite) run(ctx context.Context, targets []machine.Target) error {
	if s.parallel < 1 {
		return usageError{fmt.Errorf("--parallel %d: 1 or more is allowed", s.parallel)}
	}
	reports := make([]machine.Report, len(targets))
	failed := make([]error, len(targets))
	order := sequence(targets)
	work := make(chan int)
	var all sync.WaitGroup
	for range s.parallel {
		all.Go(func() {
			for i := range work {
				reports[i], failed[i] = s.one(ctx, targets[i])
			}
		})
	}
	for _, i := range order {
		work <- i
	}
	close(work)
	all.Wait()
	return s.tell(reports, failed)
}

// sequence is the order in which targets are begun, by their indices: what takes longest
// comes first, so that nothing else waits for it at the end. A kernel that is built takes
// as long as all tests; what the daemon takes is measured in guests' idle time.
func sequence(targets []machine.Target) []int {
	weight := func(t machine.Target) int {
		switch {
		case t.Debian == "":
			return 0
		case t.Name == measured:
			return 1
		}
		return 2
	}
	order := make([]int, len(targets))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return weight(targets[a]) - weight(targets[b]) })
	return order
}

// tell prints the table and what failed.
func (s *suite) tell(reports []machine.Report, failed []error) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, machine.Header())
	run, bad := 0, 0
	for i, r := range reports {
		if failed[i] == nil {
			fmt.Fprintln(w, r.Line())
			run, bad = run+r.Run-r.Failed, bad+r.Bad()
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	for i, r := range reports {
		if failed[i] == nil && !r.OK() {
			fmt.Print(r.Summary())
			failed[i] = fmt.Errorf("%s: tests failed; their output is in build/vm/%s.json", r.Target, r.Target)
		}
	}
	fmt.Printf("%d passed, %d failed\n", run, bad)
	return errors.Join(failed...)
}

// one runs all tests in machines of one target.
func (s *suite) one(ctx context.Context, t machine.Target) (machine.Report, error) {
	r := machine.Report{Target: t.Name}
	if err := s.store.Fetch(ctx, t); err != nil {
		return r, err
	}
	var err error
	if r.Kernel, err = s.store.Version(t); err != nil {
		return r, err
	}
	start := time.Now()
	s.app.say("%s: testing on Linux %s", t.Name, r.Kernel)
	log, err := os.Create(filepath.Join(s.logs, t.Name+".json"))
	if err != nil {
		return r, fmt.Errorf("keep output: %w", err)
	}
	defer log.Close()
	figures := filepath.Join(s.logs, t.Name+".figures")
	if err := os.RemoveAll(figures); err != nil {
		return r, fmt.Errorf("keep figures: %w", err)
	}
	daemon, err := s.daemon(ctx, t)
	if err != nil {
		return r, err
	}
	for _, b := range s.batches(t, daemon) {
		part, err := s.batch(ctx, t, b, figures, log)
		if err != nil {
			return r, err
		}
		r.Add(part)
	}
	r.Took = time.Since(start)
	if err := results(&r, figures); err != nil {
		return r, err
	}
	s.app.say("%s: %s", t.Name, strings.ReplaceAll(r.Line(), "\t", " "))
	return r, nil
}

// batch runs one, and once more where the emulator hung.
func (s *suite) batch(ctx context.Context, t machine.Target, b batch, figures string, log io.Writer) (machine.Report, error) {
	for try := 1; ; try++ {
		before, err := hung(figures)
		if err != nil {
			return machine.Report{}, err
		}
		var part machine.Report
		if err := s.tests(ctx, goTest(ctx, s.app.root, t, b.machineFlags(figures, t.Memory), b.args()), &part, log); err != nil {
			return part, err
		}
		part.Require(b.must...)
		after, err := hung(figures)
		if err != nil || after == before || try == tries {
			return part, err
		}
		s.app.say("%s: the emulator hung in %s, which is begun again", t.Name, b.pkg)
	}
}

// tries is how often a batch is begun whose emulator hangs.
const tries = 3

// hung counts the emulators that hung, by the file of figures.
func hung(figures string) (n int, err error) {
	raw, err := os.ReadFile(figures)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read figures: %w", err)
	}
	for line := range bytes.Lines(raw) {
		var result job.Result
		if err := json.Unmarshal(line, &result); err != nil {
			return 0, fmt.Errorf("read figures: %w", err)
		}
		if result.Hung {
			n++
		}
	}
	return n, nil
}

// batches are those that a target can run.
func (s *suite) batches(t machine.Target, daemon string) []batch {
	return slices.DeleteFunc(batches(s.quick, t.Name, daemon), func(b batch) bool { return b.tools && t.Debian == "" })
}

// results takes in what came of the machines.
func results(r *machine.Report, figures string) error {
	f, err := os.Open(figures)
	if err != nil {
		return fmt.Errorf("read figures: %w", err)
	}
	defer f.Close()
	return r.Results(f)
}

// tests runs go test and takes its output in. That tests fail is no error here.
func (s *suite) tests(ctx context.Context, cmd *exec.Cmd, r *machine.Report, log io.Writer) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start tests: %w", err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start tests: %w", err)
	}
	failure := r.Read(io.TeeReader(out, log))
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("run tests: %w", err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("tests were stopped: %w", context.Cause(ctx))
	}
	return failure
}

// daemon builds routerd for a target as it is shipped, and gives its path.
func (s *suite) daemon(ctx context.Context, t machine.Target) (string, error) {
	file := filepath.Join(s.logs, "routerd-"+t.Name)
	cmd := exec.CommandContext(ctx, filepath.Join(s.app.root, "scripts/build"), "--output", file, "linux/"+t.Arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build routerd for %s: %w\n%s", t.Name, err, out)
	}
	return file, nil
}
