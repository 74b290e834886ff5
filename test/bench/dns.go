package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// What lookups are asked for: names that dnsmasq keeps, and where.
const (
	namesAsked   = 100
	dnsmasqAt    = "192.168.1.1"
	publicServer = "22.8.8.8"
	manyAtOnce   = 100
)

// The targets are those of the project: unlisted lookups within 2 % of a router
// without routerd, listed ones at 0.8 of dnsmasq's rate at least.
const (
	mostLatency  = 1.02
	leastByCache = 0.8
)

const (
	// lineDelay is that of the line to the resolver, each way: of a good one.
	lineDelay = 5 * time.Millisecond
	// houseRate is how many lookups a second are more than a house has, and leave
	// the machine at rest.
	houseRate = 1000
)

// measureDNS compares lookups of unlisted names with and without routerd, and
// those of listed ones in routerd's cache with dnsmasq's of its own.
func measureDNS(ctx context.Context, r *run) ([]Row, error) {
	rows, err := r.unlisted(ctx)
	if err != nil {
		return nil, err
	}
	more, err := r.cached(ctx)
	return append(rows, more...), err
}

// unlisted measures lookups over a line, and what is left where there is none: by
// dnsmasq's cache, at rest and under load.
func (r *run) unlisted(ctx context.Context) (rows []Row, err error) {
	undo, err := r.lab.Interfere(ctx, lab.Interference{Kind: interfere.Delayed, Delay: lineDelay})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	d, err := r.startDaemon(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stopDaemon(ctx, d)) }()
	rows = []Row{
		{What: fmt.Sprintf("unlisted, public resolver, line of %v each way", lineDelay), Unit: "µs", Target: mostLatency},
		{What: "unlisted, dnsmasq's cache, no line", Unit: "µs"},
		{What: "unlisted, dnsmasq's cache, 100 at once", Unit: "/s", More: true},
	}
	for i := range rows {
		rows[i].Base, rows[i].Ours = "no routerd", "routerd, dns secure"
	}
	if _, err := r.ask(ctx, load{server: dnsmasqAt, names: unlistedNames(), under: 1}); err != nil { // fills dnsmasq's cache
		return nil, err
	}
	err = r.turns(ctx, "unlisted lookups", [2]func(context.Context) error{
		func(ctx context.Context) error { return r.askUnlisted(ctx, rows, false) },
		func(ctx context.Context) error { return r.askUnlisted(ctx, rows, true) },
	})
	return rows, err
}

func unlistedNames() []string { return lab.PlainNames()[:namesAsked] }

// askUnlisted measures the rows of unlisted, with routerd on or off.
func (r *run) askUnlisted(ctx context.Context, rows []Row, on bool) error {
	if err := r.enable(ctx, on); err != nil {
		return err
	}
	for i := range rows {
		q := load{server: dnsmasqAt, names: unlistedNames(), under: 10, rate: houseRate}
		switch {
		case i == 0:
			q.server, q.under = publicServer, manyAtOnce
		case rows[i].More:
			q.under, q.rate = manyAtOnce, 0
		}
		got, err := r.ask(ctx, q)
		if err != nil {
			return err
		}
		value, into := got.latency, &rows[i].Theirs
		if rows[i].More {
			value = got.rate
		}
		if on {
			into = &rows[i].Got
		}
		*into = append(*into, value)
	}
	return nil
}

// cached measures both caches of one router, each server on the first core, and
// dnsperf on the second. Answers by the second of the server's processor time bear
// other work on the machine; answers by the second do not.
func (r *run) cached(ctx context.Context) (rows []Row, err error) {
	d, err := r.startDaemon(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stopDaemon(ctx, d)) }()
	rows = []Row{
		{What: "cached, 100 at once", Unit: "/s", More: true, Target: leastByCache},
		{What: "cached, for a second of its processor time", Unit: "/s", More: true, Target: leastByCache},
		{What: "cached, a house's rate", Unit: "µs"},
	}
	for i := range rows {
		rows[i].Base, rows[i].Ours = "dnsmasq, unlisted", "routerd, listed"
	}
	one := func(program string, names []string, into func(*Row) *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			values, err := r.askPinned(ctx, program, names)
			for i := range values {
				*into(&rows[i]) = append(*into(&rows[i]), values[i])
			}
			return err
		}
	}
	return rows, r.turns(ctx, "lookups from caches", [2]func(context.Context) error{
		one("dnsmasq", lab.PlainNames()[:namesAsked], func(row *Row) *[]float64 { return &row.Theirs }),
		one("routerd", lab.FreshNames()[:namesAsked], func(row *Row) *[]float64 { return &row.Got }),
	})
}

// askPinned gives rate, answers by processor time and latency.
func (r *run) askPinned(ctx context.Context, program string, names []string) ([]float64, error) {
	pid, err := r.pin(ctx, program)
	if err != nil {
		return nil, err
	}
	one, err := r.ask(ctx, load{server: dnsmasqAt, names: names, under: 10, rate: houseRate}) // and fills the cache
	if err != nil {
		return nil, err
	}
	before, err := r.spent(ctx, pid)
	if err != nil {
		return nil, err
	}
	many, err := r.ask(ctx, load{server: dnsmasqAt, names: names, under: manyAtOnce})
	if err != nil {
		return nil, err
	}
	after, err := r.spent(ctx, pid)
	if err != nil {
		return nil, err
	}
	return []float64{many.rate, many.queries / max(after-before, 1.0/ticksPerSecond), one.latency}, nil
}
