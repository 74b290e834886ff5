// Command demo shows what routerd does, in a lab of its own; scripts/demo builds
// and calls it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/routerd/routerd/test/demo"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run gives the exit status: 0 only if everything is as it must be.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("routerd", "", "`FILE` of the daemon")
	name := flags.String("name", "", "`NAME` of the lab")
	keep := flags.Bool("keep", false, "leave the lab and routerd running")
	asJSON := flags.Bool("json", false, "print JSON")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() > 0 || *program == "":
		fmt.Fprintln(stderr, "demo: give --routerd FILE and no arguments (see --help)")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r, err := demo.Run(ctx, demo.Options{Program: *program, Lab: *name, Keep: *keep, Progress: stderr})
	if err != nil {
		complain(stderr, err, ctx.Err() != nil)
		return exitFailed
	}
	if err := show(stdout, r, *program, *asJSON); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	if !r.OK {
		return exitFailed
	}
	return 0
}

// complain says why there is no report.
func complain(w io.Writer, err error, interrupted bool) {
	if interrupted && !errors.Is(err, demo.ErrLeft) {
		fmt.Fprintln(w, "demo: interrupted; nothing of it is left")
		return
	}
	fmt.Fprintln(w, "demo:", err)
}

// show prints the report and, for a lab that was kept, what to try.
func show(w io.Writer, r demo.Report, program string, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(r)
	}
	text := "\n" + r.Text(colors(w, os.Getenv))
	if r.Kept {
		text += "\n" + demo.Hints(r.Lab, strings.TrimSpace(program))
	}
	_, err := io.WriteString(w, text)
	return err
}

// colors says whether the output shows colours and its user wants them
// (no-color.org).
func colors(w io.Writer, env func(string) string) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && env("NO_COLOR") == "" && env("TERM") != "dumb"
}
