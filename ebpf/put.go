package ebpf

import (
	"errors"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
)

// The kernel keeps a few free entries for maps that are not allocated ahead, and
// makes more by an interrupt of its own, which on MIPS waits for the timer. Until
// then there is said to be no memory.
const (
	putTries = 50
	putWait  = 10 * time.Millisecond
)

// put writes an entry, with patience.
func put(m *ebpf.Map, key, value any) error {
	for try := 1; ; try++ {
		err := m.Put(key, value)
		if !errors.Is(err, syscall.ENOMEM) || try == putTries {
			return err
		}
		time.Sleep(putWait)
	}
}
