package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stateDirName is the directory under the run-time directory that holds one
// file a lab. It exists only while there is a lab.
const stateDirName = "routerd-lab"

// A killed host is late after lateAfter, and stuck after endTimeout more.
const (
	lateAfter  = 500 * time.Millisecond
	endTimeout = 10 * time.Second
)

// state is what another process needs to use or end a lab.
type state struct {
	ID       string             `json:"id"`       // random, of this raising
	Attached bool               `json:"attached"` // ends with the process that raised it
	Program  string             `json:"program"`  // rdlab
	Options  Options            `json:"options"`
	Hosts    map[string]process `json:"hosts"`
}

// process names a process beyond reuse of its number.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // field 22 of /proc/PID/stat, in clock ticks since boot
}

// stateFile is the name of a lab's file in the state directory.
func stateFile(name string) string { return name + ".json" }

// stateDir is where the state files are: memory that a reboot clears.
func stateDir() string {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = "/run"
	}
	return filepath.Join(base, stateDirName)
}

// writeState makes a lab known. The file appears whole or not at all, and never
// replaces that of another lab (fs.ErrExist).
func writeState(dir, name string, s state) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	for {
		err := commitFile(dir, stateFile(name), raw)
		// The end of another lab may have removed the directory meanwhile.
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// commitFile makes dir and a file in it that appears with all of its contents;
// fs.ErrNotExist when dir went away meanwhile.
func commitFile(dir, name string, data []byte) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.New("create state directory: " + err.Error()) // never ErrNotExist
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("create state file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("commit state file: %w", err)
	}
	return nil
}

// readState finds a lab; fs.ErrNotExist when there is none of that name.
func readState(dir, name string) (state, error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile(name)))
	if err != nil {
		return state{}, fmt.Errorf("read state of lab %s: %w", name, err)
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return state{}, fmt.Errorf("read state of lab %s: %w", name, err)
	}
	return s, nil
}

// removeState forgets a lab, and the directory with the last one.
func removeState(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, stateFile(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state file: %w", err)
	}
	_ = os.Remove(dir) // fails while another lab's file is in it
	return nil
}

// List names the labs that are known on this machine, in order.
func List() ([]string, error) {
	entries, err := os.ReadDir(stateDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			out = append(out, name)
		}
	}
	return out, nil
}

// processOf reads what tells a process from a later one with its number.
func processOf(pid int) (process, error) {
	fields, err := statFields(pid)
	if err != nil {
		return process{}, err
	}
	return process{PID: pid, Start: fields[19]}, nil
}

// alive says whether the process still runs; a zombie does not.
func (p process) alive() bool {
	fields, err := statFields(p.PID)
	return err == nil && fields[19] == p.Start && fields[0] != "Z"
}

// statFields are those of /proc/PID/stat from the third, the state, on.
func statFields(pid int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("read process: %w", err)
	}
	text := string(raw)
	// The second field, the name, may hold blanks and brackets.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return nil, fmt.Errorf("read process %d: %d fields", pid, len(fields))
	}
	return fields, nil
}

// end kills a process and waits until it has gone with all of its threads and,
// being PID 1 of a host, with everything in the host. When that takes long,
// late is called once.
func (p process) end(late func()) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	if !p.alive() { // the number may be another process's by now
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	if waitPidfd(fd, lateAfter) {
		return nil
	}
	late()
	if waitPidfd(fd, endTimeout) {
		return nil
	}
	return fmt.Errorf("process %d does not end", p.PID)
}

// waitPidfd says whether the process of a pidfd ends in time.
func waitPidfd(fd int, wait time.Duration) bool {
	deadline := time.Now().Add(wait)
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, left.Milliseconds())))
		if n > 0 || left <= 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}
