package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what struct sockaddr_un holds, with its final zero.
const maxSocketPath = 107

// dialTimeout bounds asking whether somebody answers on a socket.
const dialTimeout = 2 * time.Second

// ErrRunning says that another daemon holds the socket.
var ErrRunning = errors.New("another routerd is running")

// Listen takes the control socket: it makes it with mode 0600, removes one that
// a dead daemon left behind, and returns ErrRunning when a live one has it.
// Call it before touching the kernel.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %s: the path is %d bytes long, the kernel takes %d; give a shorter one with --socket", path, len(path), maxSocketPath)
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, err
	}
	ln, err := listenUnix(path)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &socket{Listener: ln, path: path, lock: lock}, nil
}

// socket is a listening control socket with the lock that guards it.
type socket struct {
	net.Listener
	path string
	lock *os.File
	once sync.Once
	err  error
}

// Close stops listening, removes the socket and lets go of the lock, once.
func (s *socket) Close() error {
	s.once.Do(func() {
		// Removed while the lock is held: it cannot be a successor's.
		_ = os.Remove(s.path)
		s.err = s.Listener.Close()
		_ = s.lock.Close()
	})
	return s.err
}

// lockSocket takes the lock beside the socket. It, and not the socket, decides
// between two daemons that start at once and both find a stale socket. The file
// stays: removing a lock file would let two processes lock two files.
func lockSocket(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the control socket's directory: %w", err)
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the control socket's lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, runningError(path)
	}
	return nil, fmt.Errorf("lock %s: %w", path+".lock", err)
}

func runningError(path string) error {
	return fmt.Errorf("%w on %s: two cannot share one state; stop it with `/etc/init.d/routerd stop`, or give this one its own --socket, --state-dir and --bpf-dir", ErrRunning, path)
}

// listenUnix binds the socket after making room for it.
func listenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) {
			// bind(2) gives the file the mode of the socket's inode less the
			// umask (net/unix/af_unix.c): it is never open to others, not even
			// between bind and chmod.
			chmod = unix.Fchmod(int(fd), 0o600)
		})
		return errors.Join(err, chmod)
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	return ln, nil
}

// removeStale removes a socket that nobody answers on. Anything else of that
// name is left alone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %s: a file that is not a socket stands there; move it away or give another --socket", path)
	}
	if answers(path) {
		return runningError(path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale control socket: %w", err)
	}
	return nil
}

// answers says whether a process listens on a socket. Only a refused connection
// says no: one whose backlog is full is alive too.
func answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist)
}
