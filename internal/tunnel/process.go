package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// child is a userspace process that this manager started and has not yet seen
// the end of. It is reaped by polling, so that no goroutine outlives the
// manager for it.
type child struct {
	pid     int
	started time.Time
	log     string // file with its standard error
	why     string // how it ended; "" while it runs
}

// startProcess starts the userspace process of a device. It runs in a session
// of its own with nothing of the daemon's but a log file, so that it outlives
// the daemon; above all it must not hold the daemon's standard error, which may
// be a pipe whose reader dies.
func (m *Manager) startProcess(device string, now time.Time) (*child, error) {
	exe := m.opts.Executable
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find own executable: %w", err)
		}
	}
	if err := checkTUN(); err != nil {
		return nil, err
	}
	if _, err := socketOwner(device); errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(socketPath(device)) // left by a process that was killed
	} else if errors.Is(err, errForeignSocket) {
		return nil, fmt.Errorf("start userspace WireGuard: %s: %w", socketPath(device), err)
	}
	if err := os.MkdirAll(m.opts.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	logFile := m.processLog(device)
	stderr, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of userspace process: %w", err)
	}
	defer stderr.Close()
	args := append(append([]string{}, m.opts.Args...), "--device", device)
	cmd := exec.Command(exe, args...)
	cmd.Stderr, cmd.Dir = stderr, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start userspace WireGuard: %w", err)
	}
	pid := cmd.Process.Pid
	_ = cmd.Process.Release()
	c := &child{pid: pid, started: now, log: logFile}
	m.children = append(m.children, c)
	return c, nil
}

// inherit takes note, once, of processes whose parent this process is already: it
// was another program when it started them, and became this one by exec. The caller
// holds mu.
func (m *Manager) inherit() {
	if m.inherited {
		return
	}
	m.inherited = true
	sockets, _ := filepath.Glob(socketPath(owned.DevicePrefix + "*")) // the pattern is sound
	for _, path := range sockets {
		pid, err := socketOwner(strings.TrimSuffix(filepath.Base(path), ".sock"))
		own := func(c *child) bool { return c.pid == pid }
		if err == nil && isChild(pid) && !slices.ContainsFunc(m.children, own) {
			m.children = append(m.children, &child{pid: pid, started: m.opts.Clock()})
		}
	}
}

// isChild says whether this process is the parent of another.
func isChild(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// pid (name) state parent …
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(fields) > 1 && string(fields[1]) == strconv.Itoa(os.Getpid())
}

// reap takes note of processes that ended, so that the kernel forgets them,
// also of those whose tunnel is gone. The caller holds mu.
func (m *Manager) reap() {
	m.children = slices.DeleteFunc(m.children, func(c *child) bool {
		_, ended := c.ended()
		return ended
	})
}

// checkTUN says what is missing before a process is started for nothing.
func checkTUN() error {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return errNoTUN
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", tunPath, err)
	}
	return unix.Close(fd)
}

func (m *Manager) processLog(device string) string {
	return filepath.Join(m.opts.StateDir, logPrefix+device+logSuffix)
}

const logPrefix, logSuffix = "wireguard-", ".log"

// logDevice is the device whose process wrote a log.
func logDevice(file string) (string, bool) {
	name, ok := strings.CutPrefix(file, logPrefix)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, logSuffix)
	return name, ok && owned.IsDevice(name)
}

// ended says whether the child has ended, and how.
func (c *child) ended() (string, bool) {
	if c.why == "" {
		c.why = c.wait()
	}
	return c.why, c.why != ""
}

// wait asks the kernel how the process ended; "" while it runs.
func (c *child) wait() string {
	var status unix.WaitStatus
	pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil)
	switch {
	case err == nil && pid == 0, errors.Is(err, unix.EINTR):
		return ""
	case err != nil:
		return "ended" // somebody else reaped it
	case status.Signaled():
		return "was ended by a signal: " + status.Signal().String()
	}
	why := fmt.Sprintf("ended with status %d", status.ExitStatus())
	if last := lastLine(c.log); last != "" {
		why += ": " + last
	}
	return why
}

// lastLine is the last line that a process wrote to its log.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 2048
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		_, _ = f.Seek(-tail, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(f, tail))
	text = bytes.TrimSpace(text)
	return strings.TrimSpace(string(text[bytes.LastIndexByte(text, '\n')+1:]))
}

// removeDevice removes a device of ours and, where there is one, its process.
// The link may be nil.
func (m *Manager) removeDevice(ctx context.Context, device string, link netlink.Link) error {
	// Asked first, for without its link the process closes the socket.
	pid, err := socketOwner(device)
	if link != nil {
		if err := removeLink(link); err != nil {
			return err
		}
	}
	if err == nil {
		if err := m.stopProcess(ctx, device, pid); err != nil {
			return err
		}
	}
	if _, err := socketOwner(device); errors.Is(err, unix.ECONNREFUSED) {
		return removeFile(socketPath(device)) // left by a process that was killed
	}
	return nil
}

// stopProcess waits for the end of a process whose link is gone. Most notice
// that by themselves; one that hangs is killed.
func (m *Manager) stopProcess(ctx context.Context, device string, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, m.opts.StartTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	signals := []unix.Signal{0, unix.SIGTERM, unix.SIGKILL}
	for n := 0; m.runs(pid); n++ {
		if n%patienceTicks == 0 && n/patienceTicks < len(signals) {
			_ = unix.Kill(pid, signals[n/patienceTicks])
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop userspace process %d of %s: %w", pid, device, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// runs says whether a process has not ended. A child of ours that has is reaped.
func (m *Manager) runs(pid int) bool {
	m.reap()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// pid (name) state …; Z and X are processes that their parent did not reap,
	// and first threads that ended before the others, which hold the sockets.
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	state := bytes.TrimSpace(after)
	if len(state) == 0 || state[0] != 'Z' && state[0] != 'X' {
		return len(state) > 0
	}
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	return err == nil && len(threads) > 1
}

// patienceTicks is how many looks a process gets before the next signal.
const patienceTicks = 40

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
