package reach_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
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

// Programs that are built beforehand: a machine has no compiler.
var (
	routerdFile = flag.String("routerd", "", "the routerd to test; without it, one is built")
	rdlabFile   = flag.String("rdlab", "", "the lab's program; without it, it is built")
)

// TestMain is also the program inside the router.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "probe" {
		os.Exit(probe(os.Args[2]))
	}
	os.Exit(run(m))
}

// parallel is how many cases run at once: they wait for timeouts, and hardly
// compute.
const parallel = "16"

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
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, "let tests run at once:", err)
		return 1
	}
	if *routerdFile == "" {
		build := exec.Command("go", "build", "-o", binary(), "../../cmd/routerd")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build routerd: %v\n%s", err, out)
			return 1
		}
	}
	defer func() {
		for _, name := range worldNames {
			if l, err := lab.Open(name); err == nil {
				_ = l.Down()
			}
		}
	}()
	return m.Run()
}

func binary() string {
	if *routerdFile != "" {
		return *routerdFile
	}
	return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "routerd")
}

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

// world is a lab whose router has two tunnels.
type world struct{ lab *lab.Lab }

// worldNames are those of the worlds of these tests: the first is everybody's, the
// others are for lines that are tried beside it.
var worldNames = []string{"reach", "reach-2", "reach-3"}

// shared raises the first world.
var shared = sync.OnceValues(func() (*world, error) { return newWorld(worldNames[0]) })

func newWorld(name string) (*world, error) {
	l, err := lab.Up(context.Background(), lab.Options{Name: name, Program: *rdlabFile})
	if err != nil {
		return nil, err
	}
	w := &world{l}
	return w, w.raise()
}

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
	for end := time.Now().Add(time.Minute); !w.ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("the tunnels do not come up: %s", wrote.String())
		}
	}
	return nil
}

func (w *world) ready() bool {
	raw, err := w.lab.Run(context.Background(), lab.Router, binary(), "status", "--json")
	var s control.Status
	if err != nil || json.Unmarshal(raw, &s) != nil || !s.Running || len(s.Tunnels) != 2 {
		return false
	}
	return s.Tunnels[0].State == "up" && s.Tunnels[1].State == "up"
}

// theWorld gives the world.
func theWorld(t *testing.T) *world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// worlds are all of them, each for one test at a time.
func worlds(t *testing.T) chan *world {
	t.Helper()
	free := make(chan *world, len(worldNames))
	free <- theWorld(t)
	for _, name := range worldNames[1:] {
		w, err := newWorld(name)
		if err != nil {
			t.Fatal(err)
		}
		free <- w
	}
	return free
}

// interfere has the provider, or a service, do something until the test ends.
func (w *world) interfere(t *testing.T, x lab.Interference) {
	t.Helper()
	undo, err := w.lab.Interfere(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
	})
}

// obey has a program inside the router check, and gives what it reports.
func (w *world) obey(t *testing.T, o order) []report {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.lab.Run(t.Context(), lab.Router, self, "probe", string(raw))
	if err != nil {
		t.Fatal(err)
	}
	var all []report
	for line := range bytes.Lines(out) {
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if r.Err != "" {
			t.Error(r.Err)
			continue
		}
		all = append(all, r)
	}
	return all
}

// brisk are times for a lab whose round trips are below a millisecond, on a
// machine that tries several cases at once.
func brisk() reach.Times {
	return reach.Times{
		Connect: 2500 * time.Millisecond, TLS: 3 * time.Second, Answer: 3 * time.Second,
		Silence: 3 * time.Second, Other: 3 * time.Second, Whole: time.Minute,
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
