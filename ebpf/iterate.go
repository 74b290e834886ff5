package ebpf

import (
	"errors"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Tick is the data plane's unit of time: 2^30 ns of CLOCK_MONOTONIC.
const Tick = time.Duration(1 << 30)

// Ticks is a moment or a length of time in ticks.
type Ticks uint32

// Now is the present moment on the data plane's clock.
func Now() Ticks {
	var ts unix.Timespec
	// Cannot fail for this clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return Ticks(uint64(ts.Nano()) >> 30)
}

// Since is how long ago a moment was; never negative.
func (t Ticks) Since(now Ticks) time.Duration {
	if t > now {
		return 0
	}
	return time.Duration(now-t) * Tick
}

// Until is how long a moment lies ahead; never negative.
func (t Ticks) Until(now Ticks) time.Duration { return now.Since(t) }

// entries reads a whole map, in batches where the kernel has them for its type.
// Entries that come and go meanwhile may be missed or seen twice.
func entries[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	out := map[K]V{}
	err := batches(m, out)
	if err == nil || !errors.Is(err, ebpf.ErrNotSupported) {
		return out, err
	}
	clear(out)
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		out[k] = v
	}
	// A table that changes under the walk makes it start over; what was read is
	// good, and the next turn reads the rest.
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, err
	}
	return out, nil
}

// elements reads a whole array in one call.
func elements[V any](m *ebpf.Map) ([]V, error) {
	indexes, values := make([]uint32, m.MaxEntries()), make([]V, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, indexes, values, nil)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil // there are no more
	}
	return values[:n], err
}

// batchSize is more than a hash bucket holds.
const batchSize = 512

func batches[K comparable, V any](m *ebpf.Map, out map[K]V) error {
	keys, values := make([]K, batchSize), make([]V, batchSize)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			out[keys[i]] = values[i]
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
