package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryLimit is a control group of the daemon and what it starts.
type memoryLimit struct {
	dir          string
	limit, usage string // files
	none         string // what lifts the limit
}

// newMemoryLimit makes a group, of version 1 where the machine has its memory
// controller there, else of version 2.
func newMemoryLimit(name string) (*memoryLimit, error) {
	const one, two = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
	m := &memoryLimit{filepath.Join(two, name), "memory.max", "memory.current", "max"}
	if _, err := os.Stat(filepath.Join(one, "memory.limit_in_bytes")); err == nil {
		m = &memoryLimit{filepath.Join(one, name), "memory.limit_in_bytes", "memory.usage_in_bytes", "-1"}
	} else if err := os.WriteFile(filepath.Join(two, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
		return nil, fmt.Errorf("find the memory controller of control groups: %w", err)
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	return m, nil
}

func (m *memoryLimit) write(file, text string) error {
	if err := os.WriteFile(filepath.Join(m.dir, file), []byte(text), 0); err != nil {
		return fmt.Errorf("write to control group: %w", err)
	}
	return nil
}

// add puts a process into the group, and with it what it will start.
func (m *memoryLimit) add(pid int) error { return m.write("cgroup.procs", strconv.Itoa(pid)) }

// used is what the group uses, bytes.
func (m *memoryLimit) used() (int64, error) {
	raw, err := os.ReadFile(filepath.Join(m.dir, m.usage))
	if err != nil {
		return 0, fmt.Errorf("read control group: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read control group: %w", err)
	}
	return n, nil
}

// set limits the group. The kernel refuses a limit that it cannot bring about by
// ending processes (version 1); then the next lowest that it takes is as good.
func (m *memoryLimit) set(bytes int64) error {
	var err error
	for ; bytes < 1<<30; bytes += bytes / 20 {
		if err = m.write(m.limit, strconv.FormatInt(bytes, 10)); err == nil {
			return nil
		}
	}
	return err
}

// lift takes the limit away.
func (m *memoryLimit) lift() error { return m.write(m.limit, m.none) }

// remove removes the group, whose processes have ended.
func (m *memoryLimit) remove() error {
	if err := os.Remove(m.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove control group: %w", err)
	}
	return nil
}
