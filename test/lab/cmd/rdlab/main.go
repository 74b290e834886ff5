// Command rdlab raises and uses labs; see docs/lab.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run gives the exit status: that of the program run inside a host, 1 for any
// other failure, 2 for wrong usage.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var inside *exec.ExitError
	if errors.As(err, &inside) {
		return inside.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "rdlab:", err)
	var wrong usageError
	if errors.As(err, &wrong) {
		return 2
	}
	return 1
}
