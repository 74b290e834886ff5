package bench

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const dnsperfText = `Statistics:

  Queries sent:         11223
  Queries completed:    11222 (99.99%)
  Queries lost:         1 (0.01%)

  Response codes:       NOERROR 11222 (100.00%)
  Average packet size:  request 35, response 51
  Run time (s):         1.000137
  Queries per second:   11220.462797

  Average Latency (s):  0.000123 (min 0.000030, max 0.022384)
`

func TestReadsWhatDNSPerfPrints(t *testing.T) {
	got, err := parseDNSPerf(dnsperfText)
	if err != nil || got != (answered{rate: 11220.462797, latency: 123, queries: 11222}) {
		t.Errorf("%+v, %v", got, err)
	}
	for what, text := range map[string]string{
		"failures": strings.Replace(dnsperfText, "NOERROR 11222 (100.00%)", "NOERROR 11000 (98.02%), SERVFAIL 222 (1.98%)", 1),
		"refused":  strings.Replace(dnsperfText, "NOERROR", "REFUSED", 1),
		"nothing":  strings.Replace(dnsperfText, "11222 (99", "0 (99", 1),
		"no rate":  strings.Replace(dnsperfText, "per second", "a second", 1),
		"empty":    "",
	} {
		if got, err := parseDNSPerf(text); err == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestReadsProcessorTime(t *testing.T) {
	const stat = "77 (a (b) c) S 1 77 77 0 -1 4194560 10 0 0 0 250 150 0 0 20 0 6 0 4711 1 1"
	if got, err := parseSpent(stat); err != nil || got != 4 {
		t.Errorf("%v, %v; want 4 s", got, err)
	}
	for _, bad := range []string{"", "77 (x) S 1", strings.Replace(stat, "250", "x", 1)} {
		if _, err := parseSpent(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestTurnsBeginWithTheOtherEachRound(t *testing.T) {
	r := &run{Options: Options{Rounds: 3, Progress: &bytes.Buffer{}}}
	var got []string
	one := func(name string) func(context.Context) error {
		return func(context.Context) error { got = append(got, name); return nil }
	}
	err := r.turns(t.Context(), "x", [2]func(context.Context) error{one("a"), one("b")})
	if want := []string{"a", "b", "b", "a", "a", "b"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	failed := errors.New("failed")
	fail := func(context.Context) error { return failed }
	if err := r.turns(t.Context(), "x", [2]func(context.Context) error{fail, fail}); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
}

func TestTablesTellTheSpreadAndTheTarget(t *testing.T) {
	rows := []Row{
		{What: "rate", Base: "dnsmasq", Ours: "ours", Unit: "/s", More: true, Target: 0.8, Theirs: []float64{100, 200, 100}, Got: []float64{90, 100, 85}},
		{What: "latency", Base: "none", Ours: "ours", Unit: "µs", Target: 1.02, Theirs: []float64{100, 100}, Got: []float64{110, 100}},
		{What: "no target", Base: "none", Ours: "ours", Unit: "µs", Theirs: []float64{4}, Got: []float64{2}},
		{What: "alone", Base: "–", Ours: "ours", Unit: "ms", Got: []float64{1234567.8}},
	}
	var out strings.Builder
	if err := Print(&out, rows); err != nil {
		t.Fatal(err)
	}
	want := `| what | compared with | its value | routerd's | unit | ratio (quartiles) | meant |
|---|---|---|---|---|---|---|
| rate, ours | dnsmasq | 100 | 90.0 | /s | 0.850 (0.675–0.875) | ≥ 0.80, met |
| latency, ours | none | 100 | 105 | µs | 1.050 (1.025–1.075) | ≤ 1.02, **not met** |
| no target, ours | none | 4.00 | 2.00 | µs | 0.500 (0.500–0.500) | – |
| alone, ours | – | – | 1,234,568 | ms | – | – |
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMeasuresDNS(t *testing.T) {
	measured(t, "dns", 6)
	if _, err := Run(t.Context(), "nothing", Options{}); err == nil {
		t.Error("a measurement that is not there was taken")
	}
}

func TestQuantilesLieBetweenValues(t *testing.T) {
	values := []float64{4, 1, 3, 2, 5}
	for share, want := range map[float64]float64{0: 1, 0.25: 2, 0.5: 3, 0.6: 3.4, 0.75: 4, 1: 5} {
		if got := quantile(values, share); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v of %v: %v, want %v", share, values, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// buildRouterd builds the daemon that is measured.
func buildRouterd(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "routerd")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/routerd").CombinedOutput(); err != nil {
		t.Fatalf("build routerd: %v\n%s", err, out)
	}
	return program
}
