package control

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// deadline is how long a test waits for what should take milliseconds.
const deadline = 10 * time.Second

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// server runs an API with given limits and gives its socket. It must end
// without error.
func server(t *testing.T, h Handlers, lim limits) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "routerd.sock")
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, ln, h, lim)
	return path
}

// serveOn serves until the test ends or stop is called.
func serveOn(t *testing.T, ln net.Listener, h Handlers, lim limits) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, h, quiet(), lim) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve ended with %v", err)
			}
		case <-time.After(deadline):
			t.Error("serve did not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", deadline, what)
		}
	}
}
