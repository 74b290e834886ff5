// Command rdbench measures what routerd costs, in a lab of its own; scripts/bench
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
	"syscall"
	"time"

	"github.com/routerd/routerd/test/bench"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run gives the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("rdbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("routerd", "", "`FILE` of the daemon")
	rounds := flags.Int("rounds", 7, "how often what is compared is measured in turns")
	seconds := flags.Int("seconds", 2, "how long one measurement takes")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() != 1 || *program == "" || *rounds < 1 || *seconds < 1:
		fmt.Fprintln(stderr, "rdbench: give --routerd FILE, positive numbers, and one of:")
		for _, m := range bench.Names() {
			fmt.Fprintf(stderr, "  %-8s %s\n", m[0], m[1])
		}
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	path, err := filepath.Abs(*program)
	if err == nil {
		err = measure(ctx, flags.Arg(0), bench.Options{
			Program: path, Rounds: *rounds, Each: time.Duration(*seconds) * time.Second, Progress: stderr,
		}, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rdbench:", err)
		return exitFailed
	}
	return 0
}

func measure(ctx context.Context, name string, o bench.Options, out io.Writer) error {
	rows, err := bench.Run(ctx, name, o)
	if err != nil {
		return err
	}
	return bench.Print(out, rows)
}
