package demo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

var errNever = errors.New("it never is")

// stopAt cancels at the first line of progress that holds some words.
type stopAt struct {
	words string
	stop  context.CancelFunc
	lines []string
}

func (s *stopAt) Write(line []byte) (int, error) {
	s.lines = append(s.lines, string(line))
	if strings.Contains(string(line), s.words) {
		s.stop()
	}
	return len(line), nil
}

// buildRouterd builds the daemon for tests that need a real one.
func buildRouterd(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "routerd")
	out, err := exec.Command("go", "build", "-o", path, "github.com/routerd/routerd/cmd/routerd").CombinedOutput()
	if err != nil {
		t.Fatalf("build routerd: %v\n%s", err, out)
	}
	return path
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	program := buildRouterd(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // no lab of anybody else is seen
	for _, tc := range []struct {
		words string
		keep  bool
	}{
		{"raising lab", false},
		{"tunnel import", true},
		{"Mining pools", true},
		{"kill -9", false},
	} {
		t.Run(tc.words, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			progress := &stopAt{words: tc.words, stop: stop}
			name := "interrupted-" + strings.ToLower(filepath.Base(t.TempDir()))
			_, err := Run(ctx, Options{Program: program, Lab: name, Keep: tc.keep, Progress: progress})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v after %q", err, progress.lines)
			}
			left, err := lab.List()
			if err != nil || len(left) > 0 {
				t.Errorf("labs are left: %v, %v", left, err)
			}
			for _, p := range processesNaming(t, name, program) {
				t.Errorf("a process is left: %s", p)
			}
		})
	}
}

// processesNaming lists the command lines that hold one of the words.
func processesNaming(t *testing.T, words ...string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		raw, _ := os.ReadFile(f)
		line := strings.ReplaceAll(string(raw), "\x00", " ")
		for _, w := range words {
			if strings.Contains(line, w) {
				out = append(out, line)
			}
		}
	}
	return out
}

func TestMissingDaemonIsNamed(t *testing.T) {
	_, err := Run(t.Context(), Options{Program: filepath.Join(t.TempDir(), "routerd")})
	if err == nil || !strings.Contains(err.Error(), "scripts/build") {
		t.Errorf("got %v", err)
	}
}
