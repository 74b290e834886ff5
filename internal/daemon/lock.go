package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
)

// lockState makes this process the only one on a state directory until it closes
// what is returned, or ends. The lock lies beside the directory, which is removed
// while routerd is disabled, and stays: removing a lock file would let two
// processes lock two files.
func lockState(dir string) (io.Closer, error) {
	path := filepath.Clean(dir) + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the state's lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the state's lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w on state directory %s: two cannot share one; give this one its own --state-dir and --bpf-dir", control.ErrRunning, dir)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
