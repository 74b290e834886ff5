package control

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MetricType is the type of a metric, as a scraper is told it.
type MetricType string

// The values of MetricType.
const (
	Counter MetricType = "counter" // grows, and begins at 0 when the daemon or its maps are made
	Gauge   MetricType = "gauge"   // goes up and down
	Summary MetricType = "summary" // a sum and a count
)

// Exposition writes metrics in Prometheus' text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). That every
// value is read when it is scraped leaves nothing to a library but the format.
type Exposition struct {
	text bytes.Buffer
}

// Metric begins a metric; its samples follow before the next one begins. It is
// there without any sample too.
func (x *Exposition) Metric(name string, kind MetricType, help string) *Metric {
	x.text.WriteString("# HELP " + name + " " + strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help) + "\n")
	x.text.WriteString("# TYPE " + name + " " + string(kind) + "\n")
	return &Metric{x, name}
}

// WriteTo writes what there is, once.
func (x *Exposition) WriteTo(w io.Writer) (int64, error) { return x.text.WriteTo(w) }

// Metric is a metric whose samples are being written.
type Metric struct {
	x    *Exposition
	name string
}

// Add writes a sample. Labels are pairs of name and value; no two samples of a
// metric have the same.
func (m *Metric) Add(value float64, labels ...string) { m.sample("", value, labels) }

// AddSummary writes the sum and the count of a summary.
func (m *Metric) AddSummary(sum float64, count uint64, labels ...string) {
	m.sample("_sum", sum, labels)
	m.sample("_count", float64(count), labels)
}

// AddState writes a sample for each possible state: 1 for the present one, else 0.
func (m *Metric) AddState(label, present string, states []string, labels ...string) {
	for _, s := range states {
		m.Add(truth(s == present), append(slices.Clone(labels), label, s)...)
	}
}

// AddBool writes 1 for true and 0 for false.
func (m *Metric) AddBool(value bool, labels ...string) { m.Add(truth(value), labels...) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *Metric) sample(suffix string, value float64, labels []string) {
	out := &m.x.text
	out.WriteString(m.name + suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		out.WriteString(separator + labels[i] + `="` + escapeLabel(labels[i+1]) + `"`)
	}
	if len(labels) > 1 {
		out.WriteByte('}')
	}
	out.WriteString(" " + formatValue(value) + "\n")
}

func escapeLabel(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

// formatValue writes a number; whole ones in full, as people read them.
func formatValue(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// ServeMetrics answers GET /metrics, and nothing else, on a listener until ctx
// ends, which is no error, and closes it. Who may connect is for the listener's
// address and the firewall to say.
func ServeMetrics(ctx context.Context, ln net.Listener, metrics func(io.Writer), log *slog.Logger) error {
	return ServeOn(ctx, ln, Handlers{Metrics: metrics}, log)
}
