package chaos

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/routerd/routerd/test/chaos/crowd"
)

// What the bounded run of scripts/test does; scripts/chaos is for longer ones.
var (
	seed    = flag.Uint64("seed", 1, "of the schedule")
	minutes = flag.Float64("minutes", 2.5, "how long events go on")
)

// crowdArgument makes the test's program a client's crowd.
const crowdArgument = "crowd"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == crowdArgument {
		os.Exit(beCrowd())
	}
	os.Exit(m.Run())
}

func beCrowd() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := crowd.Run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// build makes a routerd; id tells one build from another.
func build(t *testing.T, id string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "routerd")
	cmd := exec.Command("go", "build", "-ldflags=-buildid="+id, "-o", path, "../../cmd/routerd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build routerd: %v\n%s", err, out)
	}
	return path
}

// lines passes progress to the test's log.
type lines struct{ *testing.T }

func (l lines) Write(line []byte) (int, error) {
	l.Logf("%s", line)
	return len(line), nil
}

// patience is far longer than the 5 s that scripts/chaos judges by: a test asserts
// no time of a machine that others use.
const patience = 30 * time.Second

func TestNothingLeaksUnderChaos(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // no lab of anybody else is seen
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "routerd.log")
	r, err := Run(t.Context(), Options{
		Programs: [2]string{build(t, "one"), build(t, "another")}, Crowd: []string{self, crowdArgument},
		Seed: *seed, Lasting: time.Duration(*minutes * float64(time.Minute)), Log: log, Progress: lines{t},
		Converge: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r.Text())
	if len(r.Violations) == 0 {
		return
	}
	t.Errorf("%d violations", len(r.Violations))
	if raw, err := os.ReadFile(log); err == nil {
		t.Logf("routerd wrote:\n%s", raw)
	}
}
