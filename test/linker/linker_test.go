// Package linker_test tests what small_linker of scripts/lib.sh makes of the installed
// Go's linker, and what it does where that looks otherwise.
package linker_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// crash is built once for all tests: by the linker of scripts/lib.sh, into ours, and
// by Go's own, into ordinary, and with symbols into debug.
type crash struct {
	ours, ordinary, debug string
}

func TestTracesOfTheSmallBinary(t *testing.T) {
	c := build(t)
	t.Run("tell functions and offsets, no lines", c.tell)
	t.Run("of a panic", c.panics)
	t.Run("of all goroutines", c.dumps)
	t.Run("of a stack without end", c.overflows)
	t.Run("get their lines back", c.traced)
	t.Run("the same bytes each time", c.sameBytes)
}

// tell looks at all ways in which a program asks where it is.
func (c crash) tell(t *testing.T) {
	out, err := exec.Command(c.ours, "tell").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	inOrder(t, string(out),
		"caller main.tell ? 0 true\n", "frame main.tell ? 0\n", "frame main.main ? 0\n",
		`source=?:0 msg="with source"`, "recovered runtime error: invalid memory address",
		"main.(*box).number()\n\t?:0 +0x", "main.(*box).size(...)\n\t?:0\n", "main.(*box).depth(...)\n\t?:0\n",
		"main.open()\n\t?:0 +0x", "main.tell(", "\t?:0 +0x", "main.main(", "\t?:0 +0x")
	noLines(t, out)
	lined, err := exec.Command(c.ordinary, "tell").CombinedOutput()
	if err != nil || !bytes.Contains(lined, []byte("main.go:")) {
		t.Errorf("what Go's own linker makes tells no lines (%v):\n%s", err, lined)
	}
}

func (c crash) panics(t *testing.T) {
	out, err := exec.Command(c.ours, "panic").CombinedOutput()
	if status(err) != 2 {
		t.Errorf("ended with %v, want 2", err)
	}
	inOrder(t, string(out), "panic: runtime error: invalid memory address", "[signal SIGSEGV", "goroutine ",
		"main.(*box).number()\n\t?:0 +0x", "main.(*box).depth(...)\n\t?:0\n", "main.open()\n\t?:0 +0x",
		"created by main.main in goroutine 1\n\t?:0 +0x")
	noLines(t, out)
}

func (c crash) dumps(t *testing.T) {
	cmd := exec.Command(c.ours, "dump")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); status(err) != 2 {
		t.Errorf("ended with %v, want 2", err)
	}
	inOrder(t, stderr.String(), "SIGQUIT: quit", "goroutine 1 ", "main.main(", "\t?:0 +0x",
		"main.wait(", "\t?:0 +0x", "created by main.main in goroutine 1\n\t?:0 +0x")
	noLines(t, stderr.Bytes())
}

func (c crash) overflows(t *testing.T) {
	out, err := exec.Command(c.ours, "overflow").CombinedOutput()
	if status(err) != 2 {
		t.Errorf("ended with %v, want 2", err)
	}
	inOrder(t, string(out), "fatal error: stack overflow", "runtime.morestack(", "main.main.func1(", "frames elided", "main.main(")
	noLines(t, out)
}

// scripts/trace says what a binary with lines says by itself, also where the trace
// went through procd's log or slog.
func (c crash) traced(t *testing.T) {
	for _, mode := range []string{"panic", "tell"} {
		bare, _ := exec.Command(c.ours, mode).CombinedOutput()
		lined, _ := exec.Command(c.ordinary, mode).CombinedOutput()
		_, stack, _ := strings.Cut(string(bare), "goroutine ")
		want := places(string(lined))
		if len(want) < 5 {
			t.Fatalf("%s: only %q", mode, want)
		}
		for form, text := range map[string]string{
			"as it is": string(bare),
			"logread":  strings.ReplaceAll("\n"+string(bare), "\n", "\nMon Nov 30 18:22:34 2026 daemon.err routerd[1234]: "),
			"slog":     `level=ERROR msg="a handler failed" stack="goroutine ` + strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(stack) + `"`,
		} {
			if form == "slog" && mode == "panic" {
				continue // the signal's line, which says where the first place is, is not in a handler's trace
			}
			cmd := exec.Command("../../scripts/trace", "--binary", c.debug, "linux/amd64")
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.CombinedOutput()
			if got := places(string(out)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %s: %v\n%s\nwant %q", mode, form, err, out, want)
			}
		}
	}
}

// places gives the lines of a trace that tell a file, a line and an offset.
func places(trace string) []string {
	var found []string
	for line := range strings.Lines(trace) {
		if strings.HasPrefix(line, "\t") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func (c crash) sameBytes(t *testing.T) {
	again := filepath.Join(t.TempDir(), "again")
	script(t, `cd test/linker/testdata/crash; small_linker; go build -trimpath -ldflags='-s -w -buildid=' "${GO_LINKER[@]}" -o "$1" .`, again)
	if !bytes.Equal(read(t, c.ours), read(t, again)) {
		t.Error("a second build gives other bytes")
	}
	if ours, ordinary := len(read(t, c.ours)), len(read(t, c.ordinary)); ours >= ordinary {
		t.Errorf("%d octets, no less than the %d of Go's own linker", ours, ordinary)
	}
}

// Two that begin at the same time, with nothing there, both get a whole linker.
func TestLinkerBuiltTwiceAtOnce(t *testing.T) {
	dir := t.TempDir()
	out := script(t, `tools=$1; (small_linker; "${GO_LINKER[1]:1:-1}" link -V=full) & (small_linker; "${GO_LINKER[1]:1:-1}" link -V=full); wait $!`, dir)
	var said []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "link version ") {
			said = append(said, line)
		}
	}
	if len(said) != 2 || said[0] != said[1] {
		t.Errorf("said %q, want the same of both\n%s", said, out)
	}
	own, err := exec.Command("go", "tool", "link", "-V=full").Output()
	if err != nil || len(said) > 0 && said[0] == string(own) {
		t.Errorf("go cannot tell the linker from its own: %q, %v", own, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left %q, %v, want one linker", left, err)
	}
}

// A Go whose linker is not the known one, or has no source, links by itself.
func TestUnknownLinkerIsLeftAlone(t *testing.T) {
	source := read(t, strings.TrimSpace(script(t, `echo "$(go env GOROOT)/src/cmd/link/internal/ld/pcln.go"`)))
	line := []byte("startLine = fi.StartLine()")
	for name, text := range map[string][]byte{
		"without a line":   bytes.Replace(source, line, []byte("startLine = fi.Line()"), 1),
		"with a line more": append(bytes.Clone(source), append([]byte("// "), line...)...),
		"empty":            nil,
		"no source":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			goroot := t.TempDir()
			file := filepath.Join(goroot, "src/cmd/link/internal/ld/pcln.go")
			if name != "no source" {
				write(t, file, text)
			}
			out := script(t, `tools=$1
				go() { if [[ "$*" == "env GOROOT" ]]; then echo "$goroot"; else command go "$@"; fi; }
				goroot=$2; small_linker 2>/dev/null; echo "${#GO_LINKER[@]} arguments"; ls "$1"`, t.TempDir(), goroot)
			if !strings.Contains(out, "note: ") || !strings.HasSuffix(out, "\n0 arguments\n") {
				t.Errorf("said %q, want a note and no arguments, and nothing left", out)
			}
		})
	}
}

func TestLinkerThatDoesNotBuildIsLeft(t *testing.T) {
	out := script(t, `tools=$1; LINKER_EDITS[1]='pcSyms := nothing()'
		small_linker 2>/dev/null; echo "${#GO_LINKER[@]} arguments"; ls "$1"`, t.TempDir())
	if !strings.Contains(out, "note: ") || !strings.HasSuffix(out, "\n0 arguments\n") {
		t.Errorf("said %q, want a note and no arguments, and nothing left", out)
	}
}

func build(t *testing.T) crash {
	t.Helper()
	dir := t.TempDir()
	c := crash{ours: filepath.Join(dir, "ours"), ordinary: filepath.Join(dir, "ordinary"), debug: filepath.Join(dir, "debug")}
	out := script(t, `cd test/linker/testdata/crash; small_linker
		go build -trimpath -ldflags='-s -w -buildid=' "${GO_LINKER[@]}" -o "$1" .
		go build -trimpath -ldflags='-s -w -buildid=' -o "$2" .
		go build -trimpath -o "$3" .`, c.ours, c.ordinary, c.debug)
	if strings.Contains(out, "note: ") {
		t.Fatalf("LINKER_EDITS of scripts/lib.sh have to follow this Go: %s", out)
	}
	return c
}

// script runs bash in the root of the repository, with scripts/lib.sh.
func script(t *testing.T, text string, args ...string) string {
	t.Helper()
	cmd := exec.Command("bash", append([]string{"-c", "set -euo pipefail; source scripts/lib.sh; " + text, "linker_test"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	return string(out)
}

func inOrder(t *testing.T, text string, want ...string) {
	t.Helper()
	rest := text
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("no %q, or not in this order:\n%.4000s", w, text)
		}
		rest = after
	}
}

func noLines(t *testing.T, out []byte) {
	t.Helper()
	if bytes.Contains(out, []byte(".go:")) {
		t.Errorf("there are lines:\n%.4000s", out)
	}
}

func status(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
