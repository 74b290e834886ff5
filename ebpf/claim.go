package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrClaimed says that another process works with the pins of a directory.
var ErrClaimed = errors.New("another process works with these pins")

// Claim makes this process the only one that may open the pins in dir, until it
// closes what is returned, or ends. Open does not ask for it: the next process of
// a test may open what is open.
func Claim(dir string) (io.Closer, error) {
	if err := mountBPF(dir); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory of pins: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", dir, ErrClaimed)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}
