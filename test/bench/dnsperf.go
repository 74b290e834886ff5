package bench

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/routerd/routerd/test/lab"
)

// answered is what dnsperf saw.
type answered struct {
	rate    float64 // answers a second
	latency float64 // mean, microseconds
	queries float64 // that were answered
}

const queriesFile = "/run/bench.queries"

// load is what the client asks for.
type load struct {
	server string
	names  []string
	under  int // queries under way at a time, at most
	rate   int // queries a second; 0: as many as are answered
}

// ask has the client ask for A records.
func (r *run) ask(ctx context.Context, l load) (answered, error) {
	text := strings.Join(l.names, " A\n") + " A\n"
	if err := r.lab.WriteFile(lab.Client, queriesFile, []byte(text), 0o600); err != nil {
		return answered{}, err
	}
	args := []string{
		"-c", "1", "dnsperf", "-s", l.server, "-d", queriesFile, "-c", strconv.Itoa(min(l.under, 4)), "-q", strconv.Itoa(l.under),
		"-l", strconv.Itoa(max(1, int(r.Each.Seconds()))),
	}
	if l.rate > 0 {
		args = append(args, "-Q", strconv.Itoa(l.rate))
	}
	out, err := r.lab.Run(ctx, lab.Client, "taskset", args...)
	if err != nil {
		return answered{}, fmt.Errorf("ask %s: %w", l.server, err)
	}
	return parseDNSPerf(string(out))
}

var (
	perSecond   = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	meanLatency = regexp.MustCompile(`Average Latency \(s\):\s+([0-9.]+)`)
	completed   = regexp.MustCompile(`Queries completed:\s+([0-9]+)`)
	failedCodes = regexp.MustCompile(`Response codes:.*(SERVFAIL|REFUSED|NXDOMAIN) [0-9]+`)
)

// parseDNSPerf reads what dnsperf prints. Answers that are failures make it an
// error: their speed says nothing.
func parseDNSPerf(text string) (answered, error) {
	if m := failedCodes.FindString(text); m != "" {
		return answered{}, fmt.Errorf("the answers are not what was asked for: %s", m)
	}
	var out [3]float64
	for i, expr := range []*regexp.Regexp{perSecond, meanLatency, completed} {
		m := expr.FindStringSubmatch(text)
		if m == nil {
			return answered{}, fmt.Errorf("dnsperf printed no %s:\n%s", expr, text)
		}
		var err error
		if out[i], err = strconv.ParseFloat(m[1], 64); err != nil {
			return answered{}, fmt.Errorf("read what dnsperf printed: %w", err)
		}
	}
	if out[2] == 0 {
		return answered{}, fmt.Errorf("dnsperf got no answer:\n%s", text)
	}
	return answered{rate: out[0], latency: math.Round(out[1] * 1e6), queries: out[2]}, nil
}
