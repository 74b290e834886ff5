package house

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMeasureCountsCodeAndTestsApart(t *testing.T) {
	got := Measure(load(t, "testdata/good"), []Function{
		{File: "netcfg/netcfg.go", Name: "shadow", Complexity: 4},
		{File: "netcfg/netcfg.go", Name: "state.run", Complexity: 1},
		{File: "netcfg/netcfg_test.go", Name: "TestX", Complexity: 9, Test: true},
	})
	if got.MostComplex.Name != "shadow" || got.Complexity != (Spread{2, 4, 4, 4}) {
		t.Errorf("most complex %q, %+v: tests must not count", got.MostComplex.Name, got.Complexity)
	}
	if got.Files.Count != 3 || got.Tests != 3 || got.FuzzTargets != 0 {
		t.Errorf("%d files, %d tests, %d fuzz targets, want 3, 3, 0", got.Files.Count, got.Tests, got.FuzzTargets)
	}
	if got.Exported == 0 || got.Documented != got.Exported {
		t.Errorf("%d of %d names documented, want all", got.Documented, got.Exported)
	}
	if got.TestLines <= 80 || got.CodeLines >= got.TestLines {
		t.Errorf("%d lines of tests, %d of code", got.TestLines, got.CodeLines)
	}
}

func TestSpreadTakesOrderStatistics(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	tests := []struct {
		name   string
		values []int
		want   Spread
	}{
		{"none", nil, Spread{}},
		{"one", []int{7}, Spread{1, 7, 7, 7}},
		{"hundred", hundred, Spread{100, 51, 96, 100}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, spread(test.values)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCodeLinesLeavesOutBlanksAndComments(t *testing.T) {
	if n := codeLines([]byte("package x // why\n\n\t// comment\nvar y int\n")); n != 2 {
		t.Errorf("%d lines of code, want 2", n)
	}
}

func TestWritePrintsEveryMeasureWithItsLimit(t *testing.T) {
	var out strings.Builder
	m := Metrics{Files: Spread{3, 10, 20, 30}, Exported: 4, Documented: 3, CodeLines: 100, TestLines: 150}
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"file, lines", "500", "3 of 4 (75.0 %)", "= 1.50"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteReportsAFullDisk(t *testing.T) {
	if err := (Metrics{}).Write(broken{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v, want the one of the writer", err)
	}
}
