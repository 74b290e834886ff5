package control

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/promtext"
)

func TestExpositionIsWhatScrapersRead(t *testing.T) {
	x := &Exposition{}
	m := x.Metric("routerd_a_total", Counter, "What \\ this\nis.")
	m.Add(1<<40+1, "name", "a \"b\" \\ c\nd")
	m.Add(0.125, "name", "\xff")
	x.Metric("routerd_b", Gauge, "Of numbers.").Add(math.Inf(-1))
	x.Metric("routerd_c", Gauge, "Of states.").AddState("state", "up", []string{"up", "down"}, "tunnel", "home")
	x.Metric("routerd_d_seconds", Summary, "Of times.").AddSummary(1.5, 3, "path", "direct")
	x.Metric("routerd_e", Gauge, "Of nothing.")
	x.Metric("routerd_f", Gauge, "Of truth.").AddBool(true)
	var out bytes.Buffer
	if _, err := x.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP routerd_a_total What \\ this\nis.
# TYPE routerd_a_total counter
routerd_a_total{name="a \"b\" \\ c\nd"} 1099511627777
routerd_a_total{name="` + "\uFFFD" + `"} 0.125
# HELP routerd_b Of numbers.
# TYPE routerd_b gauge
routerd_b -Inf
# HELP routerd_c Of states.
# TYPE routerd_c gauge
routerd_c{tunnel="home",state="up"} 1
routerd_c{tunnel="home",state="down"} 0
# HELP routerd_d_seconds Of times.
# TYPE routerd_d_seconds summary
routerd_d_seconds_sum{path="direct"} 1.5
routerd_d_seconds_count{path="direct"} 3
# HELP routerd_e Of nothing.
# TYPE routerd_e gauge
# HELP routerd_f Of truth.
# TYPE routerd_f gauge
routerd_f 1
`
	if out.String() != want {
		t.Errorf("wrote\n%swant\n%s", out.String(), want)
	}
	if _, err := promtext.Parse(out.String()); err != nil {
		t.Error(err)
	}
}

func TestNumbersAreWrittenAsScrapersReadThem(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", -3: "-3", 1e15: "1000000000000000", 1e20: "1e+20", 0.1: "0.1", math.Inf(1): "+Inf", 1.25e-7: "1.25e-07",
	} {
		if got := formatValue(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
	if got := formatValue(math.NaN()); got != "NaN" {
		t.Errorf("no number is written %q", got)
	}
}

func TestOverTCPThereAreMetricsAndNothingElse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends with ctx
		done <- ServeMetrics(ctx, ln, func(w io.Writer) { _, _ = io.WriteString(w, "routerd_up 1\n") }, quiet())
	}()
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/metrics", 200, "routerd_up 1\n"},
		{"GET", "/v1/status", 501, "does not answer"},
		{"POST", "/v1/reload", 501, "does not answer"},
		{"POST", "/v1/restart", 501, "does not answer"},
		{"POST", "/v1/check", 501, "does not answer"},
		{"POST", "/metrics", 405, "takes GET"},
		{"GET", "/", 404, "no such resource"},
	} {
		req, err := http.NewRequestWithContext(ctx, c.method, "http://"+ln.Addr().String()+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(body), c.body) {
			t.Errorf("%s %s: %d %q, want %d and %q", c.method, c.path, resp.StatusCode, body, c.status, c.body)
		}
		if kind := resp.Header.Get("Content-Type"); c.status == 200 && kind != "text/plain; version=0.0.4; charset=utf-8" {
			t.Errorf("the type is %q", kind)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestEventsAreCountedForEver(t *testing.T) {
	l := NewEventLog(fixedNow)
	for range 3 * eventLogSize {
		l.Add(Event{Kind: EventPath, Destination: "exchanges"})
	}
	l.Add(Event{Kind: EventFault})
	counts := l.Counts()
	if counts[EventCount{EventPath, "exchanges"}] != 3*eventLogSize || counts[EventCount{Kind: EventFault}] != 1 {
		t.Errorf("counted %v", counts)
	}
	for i := range 2 * maxEventCounts {
		l.Add(Event{Kind: EventVerdict, Destination: fmt.Sprint("d", i)})
	}
	counts = l.Counts()
	if len(counts) > maxEventCounts+1 || counts[EventCount{Kind: EventVerdict}] == 0 {
		t.Errorf("%d counters, %d events of none", len(counts), counts[EventCount{Kind: EventVerdict}])
	}
}
