package reach_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
)

// TestMain is also the program inside the router.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "probe" {
		os.Exit(probe())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "routerd-reach-")
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
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build routerd: %v\n%s", err, out)
		return 1
	}
	defer func() {
		if l, err := lab.Open("reach"); err == nil {
			_ = l.Down()
		}
	}()
	return m.Run()
}

func binary() string { return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "routerd") }

// settings give the paths their numbers: tunnels in the order of their names.
const settings = `
config routerd 'main'
	list lan 'br-lan'
	option dns 'observe'
config tunnel 'home'
	option config '/etc/routerd/home.conf'
	option priority '10'
config tunnel 'other'
	option config '/etc/routerd/other.conf'
	option priority '20'
config destination 'unrelated'
	list domain 'unrelated.example'
`

// world is a lab whose router has two tunnels, and a program that checks.
type world struct {
	lab *lab.Lab

	mu  sync.Mutex // one order at a time; guards in and out
	in  io.WriteCloser
	out *bufio.Scanner
}

// shared raises the one world of these tests.
var shared = sync.OnceValues(func() (*world, error) {
	l, err := lab.Up(context.Background(), lab.Options{Name: "reach"})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l}
	return w, w.raise()
})

func (w *world) raise() error {
	if err := w.lab.WriteFile(lab.Router, "/etc/config/routerd", []byte(settings), 0o600); err != nil {
		return err
	}
	var wrote bytes.Buffer
	daemon := exec.Command(binary(), "run")
	daemon.Stdout, daemon.Stderr = &wrote, &wrote
	if err := w.lab.Start(lab.Router, daemon); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); !w.ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("the tunnels do not come up: %s", wrote.String())
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program := exec.Command(self, "probe")
	program.Stderr = os.Stderr
	if w.in, err = program.StdinPipe(); err != nil {
		return err
	}
	out, err := program.StdoutPipe()
	if err != nil {
		return err
	}
	w.out = bufio.NewScanner(out)
	w.out.Buffer(nil, 1<<20)
	return w.lab.Start(lab.Router, program)
}

func (w *world) ready() bool {
	raw, err := w.lab.Run(context.Background(), lab.Router, binary(), "status", "--json")
	var s control.Status
	if err != nil || json.Unmarshal(raw, &s) != nil || !s.Running || len(s.Tunnels) != 2 {
		return false
	}
	return s.Tunnels[0].State == "up" && s.Tunnels[1].State == "up"
}

// theWorld gives the world, with nothing interfering.
func theWorld(t *testing.T) *world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.lab.ClearInterference(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// obey has the program check, and gives what it reports.
func (w *world) obey(t *testing.T, o order) []report {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.in.Write(append(raw, '\n')); err != nil {
		t.Fatal(err)
	}
	var all []report
	for w.out.Scan() {
		var r report
		if err := json.Unmarshal(w.out.Bytes(), &r); err != nil {
			t.Fatalf("%v in %s", err, w.out.Bytes())
		}
		if r.Last {
			return all
		}
		if r.Err != "" {
			t.Error(r.Err)
			continue
		}
		all = append(all, r)
	}
	t.Fatal("the program in the router ended")
	return nil
}

// brisk are times for a lab whose round trips are below a millisecond.
func brisk() reach.Times {
	return reach.Times{
		Connect: 2500 * time.Millisecond, TLS: 1500 * time.Millisecond, Answer: 1500 * time.Millisecond,
		Silence: 1500 * time.Millisecond, Other: time.Second, Whole: 30 * time.Second,
	}
}

// settle waits until both tunnels are up: a dead line takes them along.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !w.ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the tunnels do not come up again")
		}
	}
}
