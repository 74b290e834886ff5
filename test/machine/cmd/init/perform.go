package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/machine/job"
)

// upLoopback sets lo up, without netlink: this program stays small.
func upLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// perform runs the command and writes the line that tells its end.
func perform(j job.Job) error {
	environment := append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "TERM=linux", "TMPDIR=/tmp", "LC_ALL=C.UTF-8",
	}, j.Env...)
	if err := setConsole(j); err != nil {
		return err
	}
	// exec.Command looks the program up in this process's PATH.
	if err := os.Setenv("PATH", strings.TrimPrefix(environment[0], "PATH=")); err != nil {
		return err
	}
	fmt.Print(j.Begin())
	w := watchMemory()
	cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
	cmd.Dir, cmd.Env = j.Dir, environment
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Run()
	r := w.result()
	r.Status = status(err)
	if cmd.ProcessState != nil {
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			r.Resident = int(usage.Maxrss)
		}
	}
	if r.Status == 128+int(unix.SIGKILL) {
		tellOOM()
	}
	fmt.Print(j.End(r))
	return nil
}

// status is an exit status as a shell gives it; what could not be started is
// told, and is 127.
func status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			return 128 + int(w.Signal())
		}
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "machine: error:", err)
	return 127
}

// tellOOM prints what the kernel says of memory that ran out.
func tellOOM() {
	f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	line := make([]byte, 8192)
	for {
		n, err := unix.Read(int(f.Fd()), line)
		if err != nil || n == 0 {
			return
		}
		if s := string(line[:n]); strings.Contains(s, "Out of memory") || strings.Contains(s, "oom-kill") {
			_, text, _ := strings.Cut(s, ";")
			fmt.Fprintln(os.Stderr, "machine: the kernel says:", strings.TrimSpace(text))
		}
	}
}

// setConsole keeps the console from changing what passes: only a person wants
// line ends, echo and keys for signals.
func setConsole(j job.Job) error {
	if j.Terminal {
		size := unix.Winsize{Row: j.Rows, Col: j.Columns}
		if err := unix.IoctlSetWinsize(0, unix.TIOCSWINSZ, &size); err != nil {
			return fmt.Errorf("set size of terminal: %w", err)
		}
		return nil
	}
	t, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("get mode of console: %w", err)
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(0, unix.TCSETS, t); err != nil {
		return fmt.Errorf("set mode of console: %w", err)
	}
	return nil
}

// memoryWatch looks at the machine's memory until it is asked for the result.
type memoryWatch struct {
	total int
	least atomic.Int64 // KiB available
	end   chan struct{}
}

// between two looks; a look costs a small machine less than a thousandth.
const between = 200 * time.Millisecond

func watchMemory() *memoryWatch {
	w := &memoryWatch{end: make(chan struct{})}
	total, available := memory()
	w.total = total
	w.least.Store(int64(available))
	go func() { // ends with result
		tick := time.NewTicker(between)
		defer tick.Stop()
		for {
			select {
			case <-w.end:
				return
			case <-tick.C:
				w.look()
			}
		}
	}()
	return w
}

func (w *memoryWatch) look() {
	if _, available := memory(); int64(available) < w.least.Load() {
		w.least.Store(int64(available))
	}
}

func (w *memoryWatch) result() job.Result {
	w.look()
	close(w.end)
	return job.Result{Total: w.total, Peak: w.total - int(w.least.Load())}
}

// memory reads MemTotal and MemAvailable, KiB.
func memory() (total, available int) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		_, _ = fmt.Sscanf(s.Text(), "MemTotal: %d kB", &total)
		_, _ = fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &available)
	}
	return total, available
}
