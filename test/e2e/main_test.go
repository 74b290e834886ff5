package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// Where there is no Go, as in a virtual machine, both programs are built before.
var (
	routerdFile = flag.String("routerd", "", "the routerd to test; without it, one is built")
	rdlabFile   = flag.String("rdlab", "", "the lab's program; without it, it is built")
)

// shared is the lab of the tests that need no other: each begins and ends with
// a router without routerd.
var shared = sync.OnceValues(func() (*lab.Lab, error) {
	return lab.Up(context.Background(), lab.Options{Name: "shared", Program: *rdlabFile})
})

// TestMain builds routerd once, and gives the labs a state directory of their
// own.
func TestMain(m *testing.M) { os.Exit(run(m)) }

// parallel is how many of the tests that wait for WireGuard's timers, each with
// a lab of its own, run at once: they hardly compute.
const parallel = "8"

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "routerd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make state directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("XDG_RUNTIME_DIR", dir); err != nil {
		fmt.Fprintln(os.Stderr, "choose state directory:", err)
		return 1
	}
	build := exec.Command("go", "build", "-o", binary(), "../../cmd/routerd")
	if *routerdFile != "" {
		build = exec.Command("cp", *routerdFile, binary())
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build routerd: %v\n%s", err, out)
		return 1
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, "let tests run at once:", err)
		return 1
	}
	defer func() {
		if l, err := lab.Open("shared"); err == nil {
			_ = l.Down()
		}
	}()
	return m.Run()
}

// binary is the path of the routerd under test; the hosts of a lab see it too.
func binary() string { return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "routerd") }

// sharedLab raises the shared lab or fails with what is missing.
func sharedLab(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ownLab raises a lab that only this test has.
func ownLab(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	o.Program = *rdlabFile
	l, err := lab.Up(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// within waits until ok says so, and fails the test when that takes too long. It asks
// less and less often: to ask mostly starts a program, which takes 20 ms of a
// processor that the router under test needs.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for pause := 20 * time.Millisecond; !ok(); pause = min(pause*5/4, 200*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(pause)
	}
}

// usual bounds waits for what takes a moment on an idle machine.
const usual = 30 * time.Second
