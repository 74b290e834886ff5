package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestSocketIsForItsOwnerOnlyWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "run", "routerd.sock")
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for file, want := range map[string]os.FileMode{path: os.ModeSocket | 0o600, path + ".lock": 0o600} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(file), info.Mode(), want)
		}
	}
}

func TestCloseRemovesTheSocketAndLetsTheNextDaemonIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routerd.sock")
	for range 2 {
		ln, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(ln.Close(), ln.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Fatalf("the socket stands after Close: %v", err)
		}
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routerd.sock")
	makeStale(t, path)
	ln, err := Listen(path)
	if err != nil {
		t.Fatalf("Listen over a stale socket: %v", err)
	}
	_ = ln.Close()
}

// makeStale leaves a socket that nobody listens on, as a killed daemon does.
func makeStale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
}

func TestSecondDaemonIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routerd.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	refused(t, path)
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	refused(t, path) // by the live socket alone
}

// refused says that Listen names the live daemon and leaves its socket.
func refused(t *testing.T, path string) {
	t.Helper()
	_, err := Listen(path)
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "/etc/init.d/routerd stop") {
		t.Fatalf("second Listen: %v, want ErrRunning and what to do", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("the live daemon's socket is gone: %v", err)
	}
}

func TestOfManyDaemonsStartedAtOnceOneWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routerd.sock")
	makeStale(t, path)
	const daemons = 16
	var wg sync.WaitGroup
	listeners := make([]net.Listener, daemons)
	errs := make([]error, daemons)
	for i := range daemons {
		wg.Go(func() { listeners[i], errs[i] = Listen(path) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			defer func() { _ = listeners[i].Close() }()
		} else if !errors.Is(err, ErrRunning) {
			t.Errorf("a loser got %v, want ErrRunning", err)
		}
	}
	if won != 1 {
		t.Errorf("%d daemons hold the socket, want 1", won)
	}
}

func TestListenNamesWhatStandsInTheWay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"a file", file, "not a socket"},
		{"a directory", dir, "not a socket"},
		{"a path too long", filepath.Join(dir, strings.Repeat("x", 120)), "--socket"},
		{"a file for a directory", filepath.Join(file, "s"), "make the control socket's directory"},
	} {
		if _, err := Listen(tc.path); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", tc.name, err, tc.want)
		}
	}
	if got, _ := os.ReadFile(file); string(got) != "keep" {
		t.Error("a foreign file was changed")
	}
}
