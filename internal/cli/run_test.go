package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
)

func TestRunPassesItsFlagsToTheDaemon(t *testing.T) {
	a := testApp("", &bytes.Buffer{}, &bytes.Buffer{})
	line := "run --config /c --socket /s --state-dir /d --bpf-dir /b --help" // reads the flags, runs nothing
	if _, err := a.root().Execute(t.Context(), strings.Fields(line), io.Discard); err != nil {
		t.Fatal(err)
	}
	o, err := a.daemonOptions("warn")
	if err != nil {
		t.Fatal(err)
	}
	if o.ConfigFile != "/c" || o.Socket != "/s" || o.StateDir != "/d" || o.BPFDir != "/b" || o.Version != release {
		t.Errorf("options %+v", o)
	}
}

func TestTheDaemonsLogFollowsItsLevel(t *testing.T) {
	var stderr bytes.Buffer
	o, err := testApp("", &bytes.Buffer{}, &stderr).daemonOptions("warn")
	if err != nil {
		t.Fatal(err)
	}
	o.Log.Info("quiet")
	o.LogLevel.Set(slog.LevelDebug) // as the settings do at a reload
	o.Log.Debug("loud", "key", "value")
	if got := stderr.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "level=DEBUG msg=loud key=value") {
		t.Errorf("the log is %q", got)
	}
}

func TestLogLevels(t *testing.T) {
	for word, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "WARN": slog.LevelWarn, "error": slog.LevelError,
	} {
		lv := new(slog.LevelVar)
		if err := parseLevel(lv, word); err != nil || lv.Level() != want {
			t.Errorf("--log-level %s: %v, %v", word, lv.Level(), err)
		}
	}
}

func TestRunRefusesASecondDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, control.Handlers{})
	began := time.Now()
	call(t, "", "run", "--socket", socket, "--state-dir", t.TempDir(), "--bpf-dir", t.TempDir(), "--config", filepath.Join(t.TempDir(), "routerd")).
		want(t, exitFailed, "", "another routerd is running on "+socket)
	if took := time.Since(began); took > deadline {
		t.Errorf("the refusal took %v", took)
	}
}

func TestAStartThatASignalBreaksOffIsDone(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	applying := fmt.Errorf("apply network state: %w", context.Canceled)
	other := errors.New("no such device")
	for _, tc := range []struct {
		name     string
		ctx      context.Context
		err, get error
	}{
		{"broken off", ended, applying, nil},
		{"failed at the end", ended, other, other},
		{"cancelled by itself", t.Context(), applying, applying},
		{"nothing wrong", t.Context(), nil, nil},
	} {
		if got := unlessEnded(tc.ctx, tc.err); !errors.Is(got, tc.get) || (got == nil) != (tc.get == nil) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.get)
		}
	}
}

func TestWireGuardRefusesWhatIsNoDevice(t *testing.T) {
	call(t, "", "wireguard", "--device", "a/b").want(t, exitFailed, "", "not a device name")
}

func TestHostOfTakesURLsApart(t *testing.T) {
	for in, want := range map[string]string{
		"example.org":                     "example.org",
		"https://example.org:8443/a?b=c":  "example.org",
		"stratum+tcp://pool.example:3333": "pool.example",
		"https://[2001:db8::1]/":          "2001:db8::1",
		"https://":                        "https://",
		"://":                             "://",
	} {
		if got := hostOf(in); got != want {
			t.Errorf("hostOf(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPathAndTargetTexts(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{pathText(control.Why{Path: "direct"}), "direct"},
		{pathText(control.Why{Path: "block", Table: 29186}), "block (table 29186)"},
		{pathText(control.Why{Path: "home", Device: "rd-home", Mark: "0x03000000"}), "home (device rd-home, mark 0x03000000)"},
		{targetText(control.Flow{Protocol: "tcp", Target: "203.0.113.7:443"}), "203.0.113.7:443"},
		{targetText(control.Flow{Protocol: "udp", Target: "[2001:db8::1]:443", Name: "a.example"}), "a.example:443 udp"},
		{targetText(control.Flow{Protocol: "icmp", Target: "203.0.113.7", Name: "a.example"}), "203.0.113.7 icmp"},
		{hostPart("192.168.1.2:99"), "192.168.1.2"},
		{hostPart("192.168.1.2"), "192.168.1.2"},
		{dataPlaneText(control.DataPlaneStatus{Hook: "clsact"}), "clsact on no device; 0 of 0 addresses, 0 names, 0 flows; pinned"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}

func TestScreenShowsNoMoreThanItsRows(t *testing.T) {
	lines := []string{"1", "2", "3", "4", "5"}
	for rows, want := range map[int]string{
		0: "1 2 3 4 5", 1: "1 2 3 4 5", 2: "... and 5 more", 4: "1 2 ... and 3 more", 5: "1 2 3 ... and 2 more", 6: "1 2 3 4 5",
	} {
		if got := strings.Join(fitRows(lines, rows), " "); got != want {
			t.Errorf("on %d rows: %q, want %q", rows, got, want)
		}
	}
	var out bytes.Buffer
	s := &screen{out: &out}
	s.close() // never painted: nothing to give back
	if out.Len() > 0 {
		t.Errorf("a screen that was not painted writes %q", out.String())
	}
	if err := (&screen{out: brokenPipe{}}).paint(lines, 9); err == nil || !strings.Contains(err.Error(), "paint the terminal") {
		t.Errorf("a broken terminal: %v", err)
	}
}
