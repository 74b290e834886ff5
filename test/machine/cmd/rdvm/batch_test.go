package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/machine"
	"github.com/routerd/routerd/test/machine/job"
)

func TestEveryTellingTestIsThere(t *testing.T) {
	all := maps.Clone(telling)
	for pkg, names := range measuring {
		all[pkg] = append(slices.Clone(all[pkg]), names...)
	}
	for pkg, names := range all {
		list := exec.Command("grep", "-rhoE", "--include=*_test.go", "^func Test[A-Za-z0-9]+", "../../../../"+pkg)
		out, err := list.Output()
		if err != nil {
			t.Fatalf("list the tests of %s: %v", pkg, err)
		}
		have := strings.Fields(string(bytes.ReplaceAll(out, []byte("func "), nil)))
		for _, name := range names {
			name, _, _ = strings.Cut(name, "/")
			if !slices.Contains(have, name) {
				t.Errorf("%s has no %s", pkg, name)
			}
		}
	}
}

func TestQuickLeavesOutTestsButNoPackageThatNoOtherTargetRuns(t *testing.T) {
	if n := len(batches(true, "armv7", "/routerd")); n != len(batches(false, "armv7", "/routerd"))-1 {
		t.Errorf("armv7: %d packages", n)
	}
	whole, quick := batches(false, "mipsel", "/routerd"), batches(true, "mipsel", "/routerd")
	if len(whole) != len(quick) {
		t.Fatalf("%d packages, %d with --quick", len(whole), len(quick))
	}
	for i, b := range quick {
		if b.pkg != whole[i].pkg || len(b.must) == 0 {
			t.Errorf("%s: %q must run of %s", b.pkg, b.must, whole[i].pkg)
		}
		limited := strings.Contains(strings.Join(b.args(), " "), "-run=")
		if _, is := telling[b.pkg]; is != limited {
			t.Errorf("%s: arguments %q", b.pkg, b.args())
		}
	}
}

func TestQuickMeasuresTheDaemonOnOneTarget(t *testing.T) {
	for _, target := range []string{"mipsel", "mips", "armv7", "arm64"} {
		for _, b := range batches(true, target, "/routerd") {
			if short := slices.Contains(b.args(), "-short"); short == (target == measured) {
				t.Errorf("%s: %s with %q", target, b.pkg, b.args())
			}
			for _, test := range measuring[b.pkg] {
				if slices.Contains(b.must, test) != (target == measured) {
					t.Errorf("%s: %q must run of %s", target, b.must, b.pkg)
				}
			}
		}
	}
}

func TestABatchGetsTheMemoryThatItNeedsAndNeverLess(t *testing.T) {
	b := batch{memory: 96, counted: true}
	if got := b.machineFlags("f", 64); !slices.Equal(got, []string{"--figures", "f", "--counted", "--memory", "96"}) {
		t.Errorf("64 MiB: %q", got)
	}
	if got := b.machineFlags("f", 128); !slices.Equal(got, []string{"--figures", "f", "--counted"}) {
		t.Errorf("128 MiB: %q", got)
	}
}

func TestEmulatorsThatHungAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures")
	if n, err := hung(file); n != 0 || err != nil {
		t.Errorf("%d have hung before any ran: %v", n, err)
	}
	a := app{figures: file}
	for _, r := range []job.Result{{Status: 1, Work: 5}, {Hung: true}, {}, {Hung: true}} {
		if err := a.note(r); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := hung(file); n != 2 || err != nil {
		t.Errorf("%d have hung: %v", n, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hung(file); err == nil {
		t.Error("half a line is a figure")
	}
}

func TestWhatTakesLongestIsBegunFirst(t *testing.T) {
	var names []string
	all := machine.Targets()
	for _, i := range sequence(all) {
		names = append(names, all[i].Name)
	}
	if len(names) != len(all) || names[0] != "mips" || names[1] != measured {
		t.Errorf("begun in the order %v", names)
	}
}
