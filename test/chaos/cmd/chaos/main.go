// Command chaos does to a router what happens to routers; scripts/chaos builds
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
	"time"

	"github.com/routerd/routerd/test/chaos"
	"github.com/routerd/routerd/test/chaos/crowd"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// crowdCommand is the argument with which the program is a client's crowd.
const crowdCommand = "crowd"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run gives the exit status: 0 only if there was no violation.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if len(args) == 1 && args[0] == crowdCommand {
		if err := crowd.Run(ctx, stdin, stdout); err != nil {
			fmt.Fprintln(stderr, "chaos:", err)
			return exitFailed
		}
		return 0
	}
	o, asJSON, err := options(args, stderr)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintln(stderr, "chaos:", err)
		return exitUsage
	}
	r, err := chaos.Run(ctx, o)
	if err == nil {
		err = show(stdout, r, asJSON)
	}
	if err != nil {
		fmt.Fprintf(stderr, "chaos: %v (seed %d)\n", err, o.Seed)
		return exitFailed
	}
	if len(r.Violations) > 0 {
		return exitFailed
	}
	return 0
}

// options reads the command line.
func options(args []string, stderr io.Writer) (o chaos.Options, asJSON bool, err error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Programs[0], "routerd", "", "`FILE` of the daemon")
	flags.StringVar(&o.Programs[1], "upgrade", "", "`FILE` of another build of it")
	flags.StringVar(&o.Log, "log", "", "`FILE` of what routerd writes")
	flags.StringVar(&o.RDLab, "rdlab", "", "`FILE` of the lab's program; without it, it is built")
	flags.Uint64Var(&o.Seed, "seed", 0, "of the schedule; 0 takes one by the clock")
	minutes := flags.Float64("minutes", 5, "how long events go on")
	only := flags.String("only", "", "kinds of events, with commas")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return o, false, err
	}
	if flags.NArg() > 0 || o.Programs[0] == "" || o.Programs[1] == "" || o.Log == "" || *minutes <= 0 {
		return o, false, errors.New("give --routerd, --upgrade and --log, minutes above 0, and no arguments")
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())%999_999 + 1
	}
	o.Kinds, err = kinds(*only)
	if err != nil {
		return o, false, err
	}
	self, err := os.Executable()
	o.Crowd, o.Lasting, o.Progress = []string{self, crowdCommand}, time.Duration(*minutes*float64(time.Minute)), stderr
	return o, asJSON, err
}

// kinds reads a list of kinds; none is all that any machine can have.
func kinds(list string) ([]chaos.Kind, error) {
	if list == "" {
		return chaos.Kinds(), nil
	}
	var out []chaos.Kind
	for name := range strings.SplitSeq(list, ",") {
		k, err := chaos.KindOf(name)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func show(w io.Writer, r chaos.Report, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(r)
	}
	_, err := io.WriteString(w, "\n"+r.Text())
	return err
}
