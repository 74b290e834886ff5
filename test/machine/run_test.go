package machine

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/machine/job"
)

// booting has this test's program boot an emulator that never says anything, and
// that writes its number to the file named next.
const booting = "boot-silence"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == booting {
		silent := exec.Command("sh", "-c", `echo $$ >"$1"; exec sleep 600`, "sh", os.Args[2])
		_, err := boot(context.Background(), silent, "none", job.Job{}, Options{Stdout: io.Discard})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestABootThatFailedIsToldByTheMachinesFirstProgram(t *testing.T) {
	const kernel = "the machine broke down before the command began\n[    0.1] Linux version 6.1\n"
	for said, want := range map[string]string{
		kernel: kernel,
		kernel + "init: error: load module x: none\n[    6.3] reboot: Restarting system\n": "load module x: none",
	} {
		if got := firstProgram(said); got != want {
			t.Errorf("of %q: %q, want %q", said, got, want)
		}
	}
}

func TestTheEmulatorEndsWithWhoStartedIt(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(self, booting, file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid string
	within(t, "the emulator runs", func() bool {
		raw, err := os.ReadFile(file)
		pid = strings.TrimSpace(string(raw))
		return err == nil && pid != "" && state(pid) != "Z"
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	within(t, "the emulator ends", func() bool { return strings.Contains("Z", state(pid)) })
}

func TestWhatACommandStartedEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := Together(exec.CommandContext(ctx, "sh", "-c", `sleep 600 & echo $! >"$1"; wait`, "sh", file))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid string
	within(t, "the child runs", func() bool {
		raw, err := os.ReadFile(file)
		pid = strings.TrimSpace(string(raw))
		return err == nil && pid != "" && state(pid) != "Z"
	})
	cancel()
	_ = cmd.Wait() // it was ended
	within(t, "the child ends", func() bool { return strings.Contains("Z", state(pid)) })
}

// state is a process's, of proc_pid_stat(5); "" where there is none.
func state(pid string) string {
	raw, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return rest[:1]
}

func within(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
