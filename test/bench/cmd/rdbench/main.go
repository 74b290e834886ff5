// Command rdbench measures what routerd costs, in labs of its own; scripts/bench
// builds and calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/bench"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// request is what was asked for.
type request struct {
	bench.Options
	names   []string
	record  string // file that takes the tables; "": none
	commit  string
	machine string // target of the virtual machine that this is; "": none
	take    string // file with a table that another one printed; "": none
}

// run gives the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	r, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "rdbench:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if r.take != "" {
		err = r.takeOver()
	} else {
		err = r.measureAll(ctx, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rdbench:", err)
		return exitFailed
	}
	return 0
}

// parse reads the arguments. No name stands for all.
func parse(args []string, stderr io.Writer) (*request, error) {
	r := &request{Options: bench.Options{Progress: stderr}}
	flags := flag.NewFlagSet("rdbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("routerd", "", "`FILE` of the daemon")
	flags.IntVar(&r.Rounds, "rounds", 7, "how often what is compared is measured in turns")
	seconds := flags.Int("seconds", 2, "how long one measurement takes")
	flags.StringVar(&r.record, "record", "", "`FILE` that takes the tables too")
	flags.StringVar(&r.commit, "commit", "unknown", "what is measured")
	flags.StringVar(&r.Lab, "rdlab", "", "`FILE` of rdlab, which is built otherwise")
	flags.StringVar(&r.machine, "machine", "", "`TARGET` of the virtual machine that this runs in")
	flags.StringVar(&r.take, "take", "", "`FILE` with a table that was printed in a machine, to record")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if r.take != "" && r.record != "" {
		return r, nil
	}
	if *program == "" || r.Rounds < 1 || *seconds < 1 {
		return nil, errors.New("give --routerd FILE and positive numbers")
	}
	var err error
	if r.names, err = chosen(flags.Args()); err != nil {
		return nil, err
	}
	r.Program, err = filepath.Abs(*program)
	r.Each = time.Duration(*seconds) * time.Second
	return r, err
}

// chosen are the measurements of these names; none: all.
func chosen(names []string) ([]string, error) {
	known := bench.Names()
	for _, name := range names {
		if !contains(known, name) {
			return nil, fmt.Errorf("there is no measurement %q, but:%s", name, list(known))
		}
	}
	if len(names) > 0 {
		return names, nil
	}
	for _, m := range known {
		names = append(names, m[0])
	}
	return names, nil
}

func contains(known [][2]string, name string) bool {
	for _, m := range known {
		if m[0] == name {
			return true
		}
	}
	return false
}

func list(known [][2]string) string {
	var b strings.Builder
	for _, m := range known {
		fmt.Fprintf(&b, "\n  %-10s %s", m[0], m[1])
	}
	return b.String()
}

func (r *request) measureAll(ctx context.Context, out io.Writer) error {
	for _, name := range r.names {
		if err := r.measure(ctx, name, out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// measure takes one measurement, prints its table and records it where that is asked
// for.
func (r *request) measure(ctx context.Context, name string, out io.Writer) error {
	rows, err := bench.Run(ctx, name, r.Options)
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := bench.Print(&text, rows); err != nil {
		return err
	}
	about, err := r.about()
	if err != nil {
		return err
	}
	fmt.Fprintf(&text, "\n%s\n", about)
	if r.machine != "" {
		name = "--machine " + r.machine + " " + name
	}
	if _, err := fmt.Fprintf(out, "%s%s\n\n%s\n", heading, name, text.String()); err != nil || r.record == "" {
		return err
	}
	return r.put(name, text.String())
}

// heading is what stands before a measurement's name in the line before its table.
const heading = "scripts/bench "

// takeOver records a table that was printed where no document could be written.
func (r *request) takeOver() error {
	printed, err := os.ReadFile(r.take)
	if err != nil {
		return fmt.Errorf("read table: %w", err)
	}
	first, text, found := strings.Cut(string(printed), "\n\n")
	name, isTable := strings.CutPrefix(first, heading)
	if !found || !isTable {
		return fmt.Errorf("%s does not begin with %q", r.take, heading)
	}
	return r.put(name, strings.TrimSuffix(text, "\n"))
}

// put records a measurement's table.
func (r *request) put(name, text string) error {
	document, err := os.ReadFile(r.record)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	if document, err = bench.Record(document, name, text); err != nil {
		return err
	}
	return os.WriteFile(r.record, document, 0o644)
}

// about says what was measured where and when.
func (r *request) about() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("ask for the kernel's version: %w", err)
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return fmt.Sprintf("%s, Linux %s, %d cores, %d rounds of %v, commit %s, %s.",
		runtime.GOARCH, release, runtime.NumCPU(), r.Rounds, r.Each, r.commit, time.Now().UTC().Format(time.DateOnly)), nil
}
