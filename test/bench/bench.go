package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// Options say what to measure.
type Options struct {
	Program  string        // routerd, an absolute path
	Lab      string        // rdlab; "": it is built
	Rounds   int           // how often what is compared is measured in turns
	Each     time.Duration // how long one measurement takes, whole seconds
	Progress io.Writer     // gets one line a step
}

// Row is one comparison.
type Row struct {
	What        string
	Base, Ours  string    // what is compared
	Unit        string    // of the values
	Theirs, Got []float64 // one value a round
	// More says that a larger value is better; Target is the least ratio, or
	// where less is better the greatest, that is meant. 0: none.
	More   bool
	Target float64
}

// measurement is one of those that Run knows.
type measurement struct {
	name, about string
	run         func(context.Context, *run) ([]Row, error)
}

func measurements() []measurement {
	return []measurement{
		{"dns", "lookups: unlisted ones with and without routerd, listed ones beside dnsmasq", inLab(measureDNS)},
		{"forward", "packets: unsteered ones beside no routerd, steered ones beside an nftables set", measureForwarding},
		{"programs", "BPF programs: each over packets of each kind, beside one that does nothing", measurePrograms},
		{"reload", "rules: starts, reloads and memory beside dnsmasq with the same names; fail-over", measureReload},
		{"wireguard", "the tunnel in userspace beside wireguard-go with its own defaults", inLab(measureWireGuard)},
	}
}

// Names lists the measurements, each with what it is about.
func Names() [][2]string {
	var out [][2]string
	for _, m := range measurements() {
		out = append(out, [2]string{m.name, m.about})
	}
	return out
}

// Run takes a measurement.
func Run(ctx context.Context, name string, o Options) ([]Row, error) {
	all := measurements()
	i := slices.IndexFunc(all, func(m measurement) bool { return m.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no measurement is called %q", name)
	}
	return all[i].run(ctx, &run{Options: o})
}

// inLab gives a measurement a lab.
func inLab(measure func(context.Context, *run) ([]Row, error)) func(context.Context, *run) ([]Row, error) {
	return func(ctx context.Context, r *run) (rows []Row, err error) {
		if r.lab, err = lab.Up(ctx, lab.Options{Program: r.Lab, Progress: r.Progress}); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.lab.Down()) }()
		return measure(ctx, r)
	}
}

// run is a lab in which something is measured.
type run struct {
	Options
	lab *lab.Lab // nil: each part raises its own
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Progress, format+"\n", args...) }

// turns calls both in each round, the other one first in each second round, so
// that neither always meets what the one before has left.
func (r *run) turns(ctx context.Context, what string, both [2]func(context.Context) error) error {
	for i := range r.Rounds {
		r.say("%s, round %d of %d", what, i+1, r.Rounds)
		for j := range both {
			if err := both[(i+j)%2](ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
