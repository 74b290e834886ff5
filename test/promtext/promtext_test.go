package promtext_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/promtext"
)

const good = `# HELP routerd_checks_total Checks, by "outcome" \\ and path.
# TYPE routerd_checks_total counter
routerd_checks_total{path="direct",outcome="ok"} 12
routerd_checks_total{path="a \"b\" \\ c\n,d=}",outcome="tls_reset"} 1e+06
# HELP routerd_rtt_seconds Round trips.
# TYPE routerd_rtt_seconds summary
routerd_rtt_seconds_sum 0.25
routerd_rtt_seconds_count 3
# HELP routerd_none Nothing yet.
# TYPE routerd_none gauge
`

func TestParseReadsWhatIsInOrder(t *testing.T) {
	all, err := promtext.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	for metric, want := range map[string]promtext.Metric{
		"routerd_checks_total": {Name: "routerd_checks_total", Type: "counter", Help: `Checks, by "outcome" \\ and path.`, Samples: map[string]float64{
			`path="direct",outcome="ok"`: 12, `path="a \"b\" \\ c\n,d=}",outcome="tls_reset"`: 1e6,
		}},
		"routerd_rtt_seconds": {Name: "routerd_rtt_seconds", Type: "summary", Help: "Round trips.", Samples: map[string]float64{"_sum": 0.25, "_count": 3}},
		"routerd_none":        {Name: "routerd_none", Type: "gauge", Help: "Nothing yet.", Samples: map[string]float64{}},
	} {
		if !reflect.DeepEqual(all[metric], want) {
			t.Errorf("read %+v, want %+v", all[metric], want)
		}
	}
	if faults := promtext.Lint(all); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
	if all, err := promtext.Parse(""); err != nil || len(all) > 0 {
		t.Errorf("nothing is read as %v, %v", all, err)
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "# HELP a_b Help.\n# TYPE a_b gauge\n"
	for text, want := range map[string]string{
		"a_b 1\n":                                  "before any HELP",
		head + "a_b 1":                             "no end",
		head + "a_b one\n":                         "no number",
		head + "a_b  1\n":                          "is no sample",
		head + "\n":                                "is no sample",
		head + "a_c 1\n":                           "no sample of gauge a_b",
		head + "a_b_sum 1\n":                       "no sample of gauge a_b",
		head + "a_b 1\na_b 2\n":                    "were there before",
		head + `a_b{x="1",x="2"} 1` + "\n":         "twice",
		head + `a_b{x=1} 1` + "\n":                 "malformed",
		head + `a_b{x="a\q"} 1` + "\n":             "malformed",
		head + `a_b{1x="a"} 1` + "\n":              "malformed",
		head + `a_b{x="a"y="b"} 1` + "\n":          "malformed",
		head + "a_b 1\n# TYPE a_b gauge\n":         "too late",
		head + head:                                "was there before",
		"# HELP a_b\n":                             "no help",
		"# HELP a-b Help.\n":                       "name is none",
		"# HELP a_b Help.\n# TYPE a_b thing\n":     "no type",
		"# HELP a_b Help.\n# TYPE a_c gauge\n":     "HELP came last",
		"# HELP a_b Help.\na_b 1\n":                "no sample of",
		head + "# HELP a_c Help.\n" + "# remark\n": "is no sample",
	} {
		if _, err := promtext.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestLintKnowsTheConventions(t *testing.T) {
	for name, kind := range map[string]string{
		"routerd_checks": "counter", "routerd_flows_total": "gauge", "routerd_rtt_milliseconds": "gauge",
		"routerd_Flows": "gauge", "routerd__flows": "gauge", "routerd_sent_megabytes_total": "counter",
	} {
		all := map[string]promtext.Metric{name: {Name: name, Type: kind, Help: "Help."}}
		if len(promtext.Lint(all)) != 1 {
			t.Errorf("%s %s: %q", kind, name, promtext.Lint(all))
		}
	}
	all := map[string]promtext.Metric{"a_total": {Name: "a_total", Type: "counter", Help: "a_total", Samples: map[string]float64{"": -1}}}
	if len(promtext.Lint(all)) != 2 {
		t.Errorf("%q", promtext.Lint(all))
	}
}

func TestMissingFindsWhatAQueryUsesInVain(t *testing.T) {
	all, err := promtext.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	const query = `sum by (path) (rate(routerd_checks_total{outcome!="ok"}[5m])) / routerd_gone > routerd_rtt_seconds_sum / routerd_rtt_seconds_count + routerd_rtt_seconds`
	if got := promtext.Missing(query, all); !slices.Equal(got, []string{"routerd_gone", "routerd_rtt_seconds"}) {
		t.Errorf("missing: %q", got)
	}
}
