package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pid is that of a host's holder.
func (l *Lab) pid(host string) (int, error) {
	p, ok := l.state.Hosts[host]
	if !ok {
		return 0, fmt.Errorf("lab %s has no host %q; it has %s", l.Name(), host, strings.Join(Hosts(), ", "))
	}
	if !p.alive() {
		return 0, fmt.Errorf("host %s of lab %s has ended", host, l.Name())
	}
	return p.PID, nil
}

// Command is a program to run inside a host, in all of its namespaces. When ctx
// ends, the program and what it started in its process group are killed. The
// process that the Cmd shows is nsenter; use Start where signals must reach the
// program itself. An unknown host shows as the error of running it.
func (l *Lab) Command(ctx context.Context, host, name string, args ...string) *exec.Cmd {
	pid, err := l.pid(host)
	argv := append([]string{"--target", strconv.Itoa(pid), "--net", "--mount", "--pid", "--uts", "--ipc", "--wdns=/", "--", name}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", argv...)
	if err != nil {
		cmd.Err = err
	}
	cmd.Env = insideEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// Start starts cmd (made with exec.Command or exec.CommandContext) inside a
// host, in all of its namespaces, as a direct child of this process: signals
// and Wait mean the program itself. It dies with the host at the latest; Wait
// may give another error than how it ended if nobody waits by then. Paths of
// cmd are looked up on this machine, whose programs the hosts share.
func (l *Lab) Start(host string, cmd *exec.Cmd) error {
	if err := l.start(host, cmd); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, cmd.Process)
	return nil
}

func (l *Lab) start(host string, cmd *exec.Cmd) error {
	pid, err := l.pid(host)
	if err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = insideEnv()
	}
	return onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s on %s: %w", filepath.Base(cmd.Path), host, err)
		}
		return nil
	})
}

// Run runs a program inside a host and gives back its standard output. The
// error holds what it wrote to standard error.
func (l *Lab) Run(ctx context.Context, host, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := l.start(host, cmd); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return out.Bytes(), fmt.Errorf("run %s on %s: %w: %s", name, host, err, strings.TrimSpace(failed.String()))
	}
	return out.Bytes(), nil
}

// insideEnv is this process's environment with a PATH that holds the
// administrator's programs.
func insideEnv() []string {
	return append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
}

// onThread runs do on a thread that ends afterwards, so that namespaces it
// entered are nobody else's.
func onThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread cannot end: it would stay in the host and show
			// the host's namespaces as this process's. While it is held here,
			// do gets another one.
			defer runtime.UnlockOSThread()
			done <- onThread(do)
			return
		}
		done <- do() // never unlocked: the thread ends with the goroutine
	}()
	return <-done
}

// enter moves this thread into a host. The PID namespace takes effect for its
// children; the mount namespace is entered last because it hides /proc/PID.
func enter(pid int) error {
	// A mount namespace cannot be entered while the root and working directory
	// are shared with other threads.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare file system state: %w", err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open host process: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, namespaces); err != nil {
		return fmt.Errorf("enter namespaces: %w", err)
	}
	return nil
}

// Inside calls do on a thread that is in all namespaces of a host: the sockets and
// files that it opens are the host's, and stay so when they are used elsewhere. The
// thread ends with do.
func (l *Lab) Inside(host string, do func() error) error {
	pid, err := l.pid(host)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		return do()
	})
}

// inNetwork runs do on a thread in the network namespace of a host: sockets
// and /proc/sys/net there are the host's.
func inNetwork(pid int, do func() error) error {
	return onThread(func() error {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return fmt.Errorf("open host process: %w", err)
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return do()
	})
}

// WriteFile writes a file inside a host, with the directories above it.
func (l *Lab) WriteFile(host, path string, data []byte, mode os.FileMode) error {
	pid, err := l.pid(host)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write %s on %s: %w", path, host, err)
		}
		// A link there, as /etc/resolv.conf may be, points out of the file.
		if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			_ = os.Remove(path)
		}
		if err := os.WriteFile(path, data, mode); err != nil {
			return fmt.Errorf("write %s on %s: %w", path, host, err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			return fmt.Errorf("write %s on %s: %w", path, host, err)
		}
		return nil
	})
}

// ReadFile reads a file inside a host.
func (l *Lab) ReadFile(host, path string) ([]byte, error) {
	pid, err := l.pid(host)
	if err != nil {
		return nil, err
	}
	var data []byte
	err = onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		data, err = os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read %s on %s: %w", path, host, err)
		}
		return nil
	})
	return data, err
}
