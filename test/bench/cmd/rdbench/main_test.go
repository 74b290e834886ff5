package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoNameStandsForAll(t *testing.T) {
	r, err := parse([]string{"--routerd", "x"}, &bytes.Buffer{})
	if err != nil || strings.Join(r.names, " ") != "dns forward programs reload wireguard" {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = parse([]string{"--routerd", "x", "--seconds", "3", "--rounds", "9", "reload", "dns"}, &bytes.Buffer{})
	if err != nil || strings.Join(r.names, " ") != "reload dns" || r.Each != 3*time.Second || r.Rounds != 9 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "give --routerd"},
		{"--routerd x --rounds 0", "positive"},
		{"--routerd x --seconds -1", "positive"},
		{"--routerd x everything", `no measurement "everything", but:`},
		{"--nothing", "nothing"},
	} {
		var out bytes.Buffer
		if got := run(strings.Fields(c.args), &out, &out); got != exitUsage || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: status %d, %q", c.args, got, out.String())
		}
	}
	if got := run([]string{"--help"}, &bytes.Buffer{}, &bytes.Buffer{}); got != 0 {
		t.Errorf("--help ends %d", got)
	}
}

func TestATableFromAMachineIsRecorded(t *testing.T) {
	dir := t.TempDir()
	document, table := filepath.Join(dir, "performance.md"), filepath.Join(dir, "table.md")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(document, "<!-- scripts/bench --machine amd64 forward -->\nold\n<!-- end -->\n")
	for _, c := range []struct{ printed, want string }{
		{"scripts/bench --machine amd64 forward\n\n| a |\n\nabout it\n\n", ""},
		{"scripts/bench forward\n\n| a |\n", "no line"},
		{"rdbench: failed\n", "does not begin"},
		{"", "does not begin"},
	} {
		write(table, c.printed)
		var out bytes.Buffer
		got := run([]string{"--take", table, "--record", document}, &out, &out)
		if c.want == "" && got != 0 || c.want != "" && (got != exitFailed || !strings.Contains(out.String(), c.want)) {
			t.Errorf("%q: status %d, %q", c.printed, got, out.String())
		}
	}
	text, err := os.ReadFile(document)
	if want := "<!-- scripts/bench --machine amd64 forward -->\n| a |\n\nabout it\n<!-- end -->\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
}
