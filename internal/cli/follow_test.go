package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
)

// sink is an output that can be read while it is written.
type sink struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// holds waits until the output has a text.
func (s *sink) holds(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(deadline); !strings.Contains(s.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v the output has no %q:\n%q", deadline, want, s.String())
		}
	}
}

// pty makes a terminal of the given size: what a program writes to the slave is
// collected from the master.
func pty(t *testing.T, columns, rows uint16) (slave *os.File, shown *sink) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(filepath.Join("/dev/pts", fmt.Sprint(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	shown = &sink{}
	copied := make(chan struct{})
	go func() { // ends when the slave is closed
		defer close(copied)
		_, _ = io.Copy(shown, master)
	}()
	t.Cleanup(func() {
		_ = slave.Close()
		<-copied
		_ = master.Close()
	})
	return slave, shown
}

// interrupt sends this process what Ctrl-C sends.
func interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func TestFollowedFlowsAreRepaintedInPlaceAndTheTerminalGivenBack(t *testing.T) {
	h := fixtures()
	h.Flows = func(context.Context) ([]control.Flow, error) {
		return append(fixtureFlows(), make([]control.Flow, 30)...), nil
	}
	socket, _ := daemonWith(t, h)
	slave, shown := pty(t, 100, 12)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int)
	go func() {
		ended <- Main([]string{"flows", "--follow", "--socket", socket}, strings.NewReader(""), slave, io.Discard)
	}()
	shown.holds(t, "33 flows at")
	shown.holds(t, clearBelow+goHome) // a second time, in the same place
	interrupt(t)
	if status := <-ended; status != exitDone {
		t.Errorf("Ctrl-C ends with status %d, want 0", status)
	}
	shown.holds(t, leaveScreen)
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal's modes are %+v, %v; want %+v", after, err, before)
	}
	got := shown.String()
	if strings.Count(got, enterScreen) != 1 || !strings.HasPrefix(got, enterScreen) || !strings.HasSuffix(got, leaveScreen) {
		t.Errorf("the screen is not entered once and left at the end: %q", got)
	}
	first, _, _ := strings.Cut(got, clearBelow)
	if n := strings.Count(first, "\r\n"); n >= 12 || !strings.Contains(first, "... and 2") {
		t.Errorf("%d lines are painted on 12 rows: %q", n, first)
	}
}

func TestTheTerminalIsGivenBackWhenTheDaemonStops(t *testing.T) {
	socket, stop := daemonWith(t, fixtures())
	slave, shown := pty(t, 80, 24)
	var stderr sink
	ended := make(chan int)
	go func() {
		a := newApp(strings.NewReader(""), slave, &stderr)
		ended <- a.main(context.Background(), []string{"flows", "--follow", "--socket", socket})
	}()
	shown.holds(t, "3 flows at")
	stop()
	if status := <-ended; status != exitNotRunning {
		t.Errorf("status %d, want 3", status)
	}
	shown.holds(t, leaveScreen)
	stderr.holds(t, "routerd is not running")
}

func TestFollowedFlowsAwayFromATerminalArePlain(t *testing.T) {
	socket, _ := daemonWith(t, fixtures())
	out := follow(t, "exchanges", "flows", "--follow", "--socket", socket)
	plain80(t, out)
	if !strings.HasPrefix(out, "2026-11-23 15:00:00Z\nDESTINATION") {
		t.Errorf("a moment begins with %.60q", out)
	}
}

func TestFollowedFlowsInJSONAreOneArrayALine(t *testing.T) {
	socket, _ := daemonWith(t, fixtures())
	out := follow(t, "]\n", "flows", "--follow", "--json", "--socket", socket)
	var flows []control.Flow
	line, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &flows); err != nil || len(flows) != 3 {
		t.Errorf("%d flows, %v in %q", len(flows), err, line)
	}
}

func TestFollowedEventsGoOnWithNewOnes(t *testing.T) {
	h := fixtures()
	socket, _ := daemonWith(t, h)
	out := follow(t, "raise option max_addresses\"}\n", "events", "--follow", "--json", "--socket", socket)
	everyLineOrAllIsJSON(t, out)
	h.Events.Add(control.Event{Kind: control.EventConfig, Reason: "settings applied"})
	follow(t, "config   -  settings applied", "events", "--follow", "--socket", socket)
}

// follow runs a command until its output holds a text, and ends it.
func follow(t *testing.T, until string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr sink
	ended := make(chan int)
	go func() { ended <- testApp("", &stdout, &stderr).main(ctx, args) }()
	stdout.holds(t, until)
	cancel()
	if status := <-ended; status != exitDone || stderr.String() != "" {
		t.Errorf("%v ends with status %d, stderr %q", args, status, stderr.String())
	}
	return stdout.String()
}

func TestColoursOnlyOnATerminalAndWithoutNoColor(t *testing.T) {
	slave, _ := pty(t, 132, 50)
	for _, tc := range []struct {
		name     string
		out      io.Writer
		env      map[string]string
		terminal bool
		color    bool
	}{
		{"a terminal", slave, nil, true, true},
		{"NO_COLOR", slave, map[string]string{"NO_COLOR": "1"}, true, false},
		{"NO_COLOR empty", slave, map[string]string{"NO_COLOR": ""}, true, true},
		{"dumb", slave, map[string]string{"TERM": "dumb"}, false, false},
		{"a pipe", io.Discard, nil, false, false},
	} {
		term := newTerminal(tc.out, func(k string) string { return tc.env[k] })
		if (term.file != nil) != tc.terminal || term.color != tc.color {
			t.Errorf("%s: terminal %v, colour %v", tc.name, term.file != nil, term.color)
		}
		painted := term.paint("down", bad)
		if (painted != "down") != tc.color {
			t.Errorf("%s: %q", tc.name, painted)
		}
	}
	term := newTerminal(slave, func(string) string { return "" })
	if columns, rows := term.size(); columns != 132 || rows != 50 {
		t.Errorf("the terminal's size is %d by %d, want 132 by 50", columns, rows)
	}
}

func TestASizelessTerminalIsTakenAs80By24(t *testing.T) {
	slave, _ := pty(t, 0, 0)
	if columns, rows := newTerminal(slave, func(string) string { return "" }).size(); columns != 80 || rows != 24 {
		t.Errorf("size %d by %d, want 80 by 24", columns, rows)
	}
}

func TestSIGHUPAsksForAReload(t *testing.T) {
	requests, stop := hangups(t.Context())
	defer stop()
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-requests:
		case <-time.After(deadline):
			t.Fatal("SIGHUP brought no request")
		}
	}
}
