package cli

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// keepMemory has the kernel never write this process' memory to a file, nor show
// it to others of its user: tunnels' private keys are in it. A crash then leaves
// no core, whatever the system's limits are; nor do processes that it starts.
func keepMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
