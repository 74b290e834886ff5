package main

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// in changes to a folder with a sample tree and an empty list of exceptions.
func in(t *testing.T, sample string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, dir := range []string{"netcfg", "test/house"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"netcfg/netcfg.go": sample, "test/house/exceptions.txt": "# none\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunFailsOnFindingsAndPrintsThem(t *testing.T) {
	const clean = "// Package netcfg is a sample.\npackage netcfg\n"
	tests := []struct {
		name, command, sample, input, prints string
		found                                bool
	}{
		{"clean tree", "check", clean, "", "", false},
		{"bad tree", "check", clean + "\nfunc init() {}\n", "", "netcfg/netcfg.go:4: init: no init functions", true},
		{"simple functions", "complexity", clean, "10 netcfg F netcfg/netcfg.go:4:1\n", "", false},
		{"a complex function", "complexity", clean, "11 netcfg F netcfg/netcfg.go:4:1\n", "F has cyclomatic complexity 11", true},
		{"measures", "metrics", clean, "3 netcfg F netcfg/netcfg.go:4:1\n", "most complex: F", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in(t, test.sample)
			var out strings.Builder
			err := run(test.command, strings.NewReader(test.input), &out)
			if errors.Is(err, errFound) != test.found || err != nil && !test.found {
				t.Errorf("error %v, want findings %v", err, test.found)
			}
			if !strings.Contains(out.String(), test.prints) {
				t.Errorf("printed %q, want %q in it", out.String(), test.prints)
			}
		})
	}
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	tests := []struct{ name, command, input, exceptions, want string }{
		{"unknown command", "frobnicate", "", "", "check, complexity or metrics"},
		{"other output", "complexity", "gocyclo: broken\n", "", "not in the form of gocyclo"},
		{"other output to measure", "metrics", "gocyclo: broken\n", "", "not in the form of gocyclo"},
		{"exception without a reason", "check", "", "doc netcfg/netcfg.go\n", "reason of at least"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in(t, "package netcfg\n")
			if err := os.WriteFile("test/house/exceptions.txt", []byte(test.exceptions), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := run(test.command, strings.NewReader(test.input), &out)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestRunNamesAMissingListOfExceptions(t *testing.T) {
	t.Chdir(t.TempDir())
	var out strings.Builder
	if err := run("check", strings.NewReader(""), &out); err == nil || !strings.Contains(err.Error(), "exceptions.txt") {
		t.Errorf("error %v, want one that names the file", err)
	}
}
