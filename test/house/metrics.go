package house

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Metrics measures a tree's hand-written Go code. Sizes are of code without
// tests, in lines.
type Metrics struct {
	Files, Functions   Spread
	Complexity         Spread
	MostComplex        Function
	Exported           int // packages and exported names
	Documented         int
	CodeLines          int // neither blank nor comment only
	TestLines          int
	Tests, FuzzTargets int
}

// Spread is the distribution of a size.
type Spread struct {
	Count, Median, P95, Max int
}

// Measure takes the metrics of a tree; complexity is what gocyclo says of it.
func Measure(t *Tree, complexity []Function) Metrics {
	var m Metrics
	m.measureFiles(t)
	m.measureFunctions(Functions(t))
	m.measureComplexity(complexity)
	for _, name := range Names(t) {
		m.Exported++
		if name.Documented {
			m.Documented++
		}
	}
	return m
}

func (m *Metrics) measureFiles(t *Tree) {
	var sizes []int
	for _, f := range t.own(true) {
		lines := codeLines(f.Content)
		if f.Test || ruled(f.Dir) == "test" {
			m.TestLines += lines
			continue
		}
		m.CodeLines += lines
		sizes = append(sizes, f.Lines())
	}
	m.Files = spread(sizes)
}

func (m *Metrics) measureFunctions(all []Function) {
	var sizes []int
	for _, fn := range all {
		m.Tests += count(fn, "Test")
		m.FuzzTargets += count(fn, "Fuzz")
		if !fn.Test && !within(fn.File, "test") {
			sizes = append(sizes, fn.Lines)
		}
	}
	m.Functions = spread(sizes)
}

func (m *Metrics) measureComplexity(all []Function) {
	var values []int
	for _, fn := range all {
		if fn.Test || within(fn.File, "test") {
			continue
		}
		values = append(values, fn.Complexity)
		if fn.Complexity > m.MostComplex.Complexity {
			m.MostComplex = fn
		}
	}
	m.Complexity = spread(values)
}

// codeLines counts the lines that are neither blank nor only a // comment.
func codeLines(content []byte) int {
	n := 0
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			n++
		}
	}
	return n
}

func count(fn Function, prefix string) int {
	if fn.Test && strings.HasPrefix(fn.Name, prefix) {
		return 1
	}
	return 0
}

func spread(values []int) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	n := len(values)
	return Spread{n, values[n/2], values[min(n-1, n*95/100)], values[n-1]}
}

// Write prints the metrics for people.
func (m Metrics) Write(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "measure\tcount\tmedian\tp95\tmax\tlimit")
	row := func(name string, s Spread, limit int) {
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d\t%d\t%d\n", name, s.Count, s.Median, s.P95, s.Max, limit)
	}
	row("file, lines", m.Files, MaxFileLines)
	row("function, lines", m.Functions, MaxFunctionLines)
	row("function, complexity", m.Complexity, MaxComplexity)
	if err := tab.Flush(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	_, err := fmt.Fprintf(
		w, "most complex: %s in %s:%d\nexported names documented: %d of %d (%.1f %%)\ntest:code %d:%d lines = %.2f, %d tests, %d fuzz targets\n",
		m.MostComplex.Name, m.MostComplex.File, m.MostComplex.Line,
		m.Documented, m.Exported, ratio(100*m.Documented, m.Exported),
		m.TestLines, m.CodeLines, ratio(m.TestLines, m.CodeLines), m.Tests, m.FuzzTargets,
	)
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
