package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/demo"
)

func TestWrongUsageEndsWithTwo(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--json"}, {"--routerd", "x", "more"}, {"--nothing"}, {"--keep=maybe"},
	} {
		var out, failed bytes.Buffer
		if got := run(args, &out, &failed); got != exitUsage || failed.Len() == 0 || out.Len() > 0 {
			t.Errorf("%q: status %d, %q", args, got, failed.String())
		}
	}
}

func TestHelpEndsWithZero(t *testing.T) {
	var out, failed bytes.Buffer
	if got := run([]string{"--help"}, &out, &failed); got != 0 || !strings.Contains(failed.String(), "-keep") {
		t.Errorf("status %d, %q", got, failed.String())
	}
}

func TestMissingDaemonEndsWithOne(t *testing.T) {
	var out, failed bytes.Buffer
	if got := run([]string{"--routerd", t.TempDir() + "/none"}, &out, &failed); got != exitFailed || out.Len() > 0 {
		t.Errorf("status %d, %q, %q", got, out.String(), failed.String())
	}
}

func TestJSONIsAllOfTheOutput(t *testing.T) {
	var out bytes.Buffer
	if err := show(&out, demo.Report{Kept: true, Lab: "demo"}, "routerd", true); err != nil {
		t.Fatal(err)
	}
	var back demo.Report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Lab != "demo" {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestHintsComeOnlyWithAKeptLab(t *testing.T) {
	for _, kept := range []bool{false, true} {
		var out bytes.Buffer
		if err := show(&out, demo.Report{Kept: kept, Lab: "demo"}, "routerd", false); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "scripts/lab down --name demo"); got != kept {
			t.Errorf("kept %t: hints %t", kept, got)
		}
	}
}

func TestNoColoursAwayFromATerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	none := func(string) string { return "" }
	if colors(f, none) || colors(&bytes.Buffer{}, none) {
		t.Error("a file gets colours")
	}
}
