package lab_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// shared is the lab of all tests that only look at one, raised by the first.
var shared = sync.OnceValues(func() (*lab.Lab, error) {
	return lab.Up(context.Background(), lab.Options{Name: "shared"})
})

// TestMain gives the tests a state directory of their own, so that no lab of
// anybody else is seen or counted.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make state directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("XDG_RUNTIME_DIR", dir); err != nil {
		fmt.Fprintln(os.Stderr, "choose state directory:", err)
		return 1
	}
	defer func() {
		for _, name := range []string{"shared", "troubled"} {
			if l, err := lab.Open(name); err == nil {
				_ = l.Down()
			}
		}
	}()
	return m.Run()
}

// sharedLab raises the shared lab or fails with what is missing.
func sharedLab(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// names gives the lab's names by name.
func names(t *testing.T) map[string]lab.Name {
	t.Helper()
	all, err := lab.Names()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]lab.Name, len(all))
	for _, n := range all {
		out[n.Name] = n
	}
	return out
}

// eventually waits until ok says so; 20 seconds are more than any step needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
