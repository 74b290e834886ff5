// Package promtext reads Prometheus' text format, version 0.0.4, more strictly
// than scrapers do, and names the metrics that queries use.
package promtext

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Metric is a metric with its samples by their labels, as they are written, "" for
// none. Those of a summary are under `_sum` and `_count` before their labels.
type Metric struct {
	Name, Type, Help string
	Samples          map[string]float64
}

// syntax of names, and of a sample: name, labels, value.
var (
	nameForm   = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelForm  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)`)
	sampleForm = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
)

// Parse reads a text. Beyond what scrapers ask for, every metric has a HELP and a
// TYPE before its samples, samples stand together, and no comment stands elsewhere.
func Parse(text string) (map[string]Metric, error) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		return nil, errors.New("the last line has no end")
	}
	all := map[string]Metric{}
	if text == "" {
		return all, nil
	}
	var now *Metric
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		var err error
		switch {
		case strings.HasPrefix(line, "# HELP "):
			now, err = begin(all, line[len("# HELP "):])
		case now == nil:
			err = errors.New("stands before any HELP")
		case strings.HasPrefix(line, "# TYPE "):
			err = now.setType(line[len("# TYPE "):])
		default:
			err = now.add(line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", i+1, line, err)
		}
		all[now.Name] = *now
	}
	return all, nil
}

func begin(all map[string]Metric, rest string) (*Metric, error) {
	name, help, _ := strings.Cut(rest, " ")
	switch {
	case !nameForm.MatchString(name):
		return nil, errors.New("the name is none")
	case help == "":
		return nil, errors.New("there is no help")
	case all[name].Name != "":
		return nil, errors.New("the metric was there before")
	}
	return &Metric{Name: name, Help: help, Samples: map[string]float64{}}, nil
}

func (m *Metric) setType(rest string) error {
	name, kind, _ := strings.Cut(rest, " ")
	switch {
	case name != m.Name:
		return fmt.Errorf("is not of %s, whose HELP came last", m.Name)
	case m.Type != "" || len(m.Samples) > 0:
		return errors.New("comes too late")
	case !slices.Contains([]string{"counter", "gauge", "summary", "histogram", "untyped"}, kind):
		return errors.New("is no type")
	}
	m.Type = kind
	return nil
}

func (m *Metric) add(line string) error {
	f := sampleForm.FindStringSubmatch(line)
	if f == nil {
		return errors.New("is no sample")
	}
	suffix, of := strings.CutPrefix(f[1], m.Name)
	if !of || !slices.Contains(suffixes(m.Type), suffix) {
		return fmt.Errorf("is no sample of %s %s", m.Type, m.Name)
	}
	if err := checkLabels(f[2]); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(f[3], 64)
	if err != nil {
		return errors.New("the value is no number")
	}
	key := suffix + f[2]
	if _, twice := m.Samples[key]; twice {
		return errors.New("these labels were there before")
	}
	m.Samples[key] = value
	return nil
}

// suffixes are what the names of a type's samples may end in.
func suffixes(kind string) []string {
	switch kind {
	case "":
		return nil
	case "summary":
		return []string{"_sum", "_count"}
	}
	return []string{""}
}

func checkLabels(text string) error {
	seen := map[string]bool{}
	for text != "" {
		f := labelForm.FindStringSubmatch(text)
		if f == nil {
			return errors.New("the labels are malformed")
		}
		if seen[f[1]] {
			return fmt.Errorf("label %s is there twice", f[1])
		}
		seen[f[1]] = true
		text = text[len(f[0]):]
	}
	return nil
}

// Lint names what is against Prometheus' conventions
// (https://prometheus.io/docs/practices/naming/), in order of names.
func Lint(all map[string]Metric) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		for _, c := range conventions() {
			if !c.holds(m) {
				out = append(out, name+": "+c.words)
			}
		}
	}
	return out
}

// convention is one of them, in words.
type convention struct {
	words string
	holds func(Metric) bool
}

// wrongUnit finds units other than the basic ones.
var wrongUnit = regexp.MustCompile(`_(milliseconds|ms|minutes|hours|kilobytes|megabytes|bits|percent)(_total)?$`)

func conventions() []convention {
	return []convention{
		{"counters, and they alone, end in _total", func(m Metric) bool {
			return strings.HasSuffix(m.Name, "_total") == (m.Type == "counter")
		}},
		{"the help is no sentence", func(m Metric) bool {
			return strings.HasSuffix(m.Help, ".") && !strings.Contains(m.Help, m.Name)
		}},
		{"units are seconds, bytes and ratios", func(m Metric) bool { return !wrongUnit.MatchString(m.Name) }},
		{"names are of lower-case words, with one _ between", func(m Metric) bool {
			return strings.ToLower(m.Name) == m.Name && !strings.Contains(m.Name, "__") && !strings.Contains(m.Name, ":")
		}},
		{"what counts is never negative", func(m Metric) bool {
			values := slices.Collect(maps.Values(m.Samples))
			return m.Type == "gauge" || len(values) == 0 || slices.Min(values) >= 0
		}},
	}
}

// queried finds names of metrics of routerd's in queries.
var queried = regexp.MustCompile(`\b(?:routerd|process)_[a-z0-9_]+`)

// Missing names the metrics of a query, in PromQL, that are not among all.
func Missing(query string, all map[string]Metric) []string {
	var out []string
	for _, name := range queried.FindAllString(query, -1) {
		m, ok := all[name]
		for _, suffix := range []string{"_sum", "_count"} {
			base, of := strings.CutSuffix(name, suffix)
			if of && all[base].Type == "summary" {
				ok = true
			}
		}
		if !ok || m.Type == "summary" {
			out = append(out, name)
		}
	}
	return out
}
