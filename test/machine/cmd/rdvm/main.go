// Command rdvm runs programs and tests in machines of other architectures; see
// docs/machines.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run gives the exit status: that of the command in the machine, 1 for any other
// failure, 2 for wrong usage.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	a := &app{}
	if err := a.command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "vm: error:", err)
		if wrong(err) {
			return 2
		}
		return 1
	}
	return a.status
}
