package bench

import (
	"context"
	"errors"

	"github.com/routerd/routerd/test/lab"
)

// What lookups are asked for: names that dnsmasq keeps, and where.
const (
	namesAsked   = 100
	dnsmasqAt    = "192.168.1.1"
	publicServer = "22.8.8.8"
	manyAtOnce   = 100
)

// dnsTargets are those of the project: unlisted lookups within 2 % of a router
// without routerd, listed ones at 0.8 of dnsmasq's rate at least.
const (
	leastRate    = 0.98
	mostLatency  = 1.02
	leastByCache = 0.8
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

// unlisted measures by dnsmasq's cache and past it, at rest and under load.
func (r *run) unlisted(ctx context.Context) ([]Row, error) {
	rows := []Row{
		{What: "unlisted, dnsmasq's cache, one at a time", Unit: "µs", Target: mostLatency},
		{What: "unlisted, public resolver, one at a time", Unit: "µs", Target: mostLatency},
		{What: "unlisted, dnsmasq's cache, 100 at once", Unit: "/s", More: true, Target: leastRate},
		{What: "unlisted, public resolver, 100 at once", Unit: "/s", More: true, Target: leastRate},
	}
	for i := range rows {
		rows[i].Base, rows[i].Ours = "no routerd", "routerd, dns secure"
	}
	names := lab.PlainNames()[:namesAsked]
	measure := func(ctx context.Context, into func(*Row) *[]float64) error {
		for i := range rows {
			server, under := []string{dnsmasqAt, publicServer}[i%2], []int{1, manyAtOnce}[i/2]
			got, err := r.ask(ctx, server, names, under)
			if err != nil {
				return err
			}
			value := got.latency
			if rows[i].More {
				value = got.rate
			}
			*into(&rows[i]) = append(*into(&rows[i]), value)
		}
		return nil
	}
	if _, err := r.ask(ctx, dnsmasqAt, names, 1); err != nil { // fills dnsmasq's cache
		return nil, err
	}
	err := r.turns(ctx, "unlisted lookups", [2]func(context.Context) error{
		func(ctx context.Context) error {
			return measure(ctx, func(row *Row) *[]float64 { return &row.Theirs })
		},
		func(ctx context.Context) error {
			d, err := r.startDaemon(ctx)
			if err != nil {
				return err
			}
			err = measure(ctx, func(row *Row) *[]float64 { return &row.Got })
			return errors.Join(err, r.stopDaemon(ctx, d))
		},
	})
	return rows, err
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
		{What: "cached, one at a time", Unit: "µs"},
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
	one, err := r.ask(ctx, dnsmasqAt, names, 1) // and fills the cache
	if err != nil {
		return nil, err
	}
	before, err := r.spent(ctx, pid)
	if err != nil {
		return nil, err
	}
	many, err := r.ask(ctx, dnsmasqAt, names, manyAtOnce)
	if err != nil {
		return nil, err
	}
	after, err := r.spent(ctx, pid)
	if err != nil {
		return nil, err
	}
	return []float64{many.rate, many.queries / max(after-before, 1.0/ticksPerSecond), one.latency}, nil
}
