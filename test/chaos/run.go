package chaos

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/test/chaos/crowd"
	"github.com/routerd/routerd/test/lab"
)

// Options say what to do to which router.
type Options struct {
	// Programs are two builds of routerd: an upgrade goes from one to the other.
	Programs [2]string
	// Crowd is the program that calls crowd.Run, with its arguments.
	Crowd []string
	Seed  uint64
	// Lasting is for how long events go on.
	Lasting time.Duration
	// Converge is how long listed names may take to work again after an event; 0
	// is 5 s.
	Converge time.Duration
	// Kinds are what may happen; nil is Kinds().
	Kinds []Kind
	// RDLab is the lab's program; "" builds it.
	RDLab string
	// Log is the file of what routerd writes.
	Log string
	// Progress gets a line an event; nil is silence.
	Progress io.Writer
}

// The times of a run.
const (
	readyTime     = 30 * time.Second
	convergeTime  = 5 * time.Second // after an event, until listed names work
	recoverTime   = time.Minute     // after that, until the run is given up
	watchEvery    = 500 * time.Millisecond
	pollEvery     = 50 * time.Millisecond
	endTime       = 20 * time.Second
	stateDirBytes = 256 << 10
)

// Run does what the seed says and reports it. An error is only that it could not
// be done; what must not be stands in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Kinds == nil {
		o.Kinds = Kinds()
	}
	o.Converge = cmp.Or(o.Converge, convergeTime)
	for _, p := range []*string{&o.Programs[0], &o.Programs[1], &o.Log} {
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return Report{}, fmt.Errorf("find a file: %w", err)
		}
	}
	p, err := populate(o.Seed)
	if err != nil {
		return Report{}, err
	}
	l, err := lab.Up(ctx, lab.Options{Name: "chaos-" + strings.ToLower(rand.Text()[:6]), Program: o.RDLab})
	if err != nil {
		return Report{}, err
	}
	r, err := newRun(o, l, p)
	if err != nil {
		return Report{}, errors.Join(err, l.Down())
	}
	defer r.daemon.log.Close()
	err = r.play(ctx)
	if err := errors.Join(err, l.Down(), r.memory.remove()); err != nil {
		return Report{}, err
	}
	return r.report(), nil
}

// run is one run.
type run struct {
	o          Options
	lab        *lab.Lab
	population *population
	ledger     *ledger
	daemon     *supervisor
	memory     *memoryLimit
	settings   settings // in force
	spare      []string // listed names that nobody has used

	upgrades, addresses int // so far: which comes next
	done                map[Kind]int
	worst               map[Kind]time.Duration // convergence
	strain              float64                // the most
	counted             map[string]seen        // by the witnesses, last
}

func newRun(o Options, l *lab.Lab, p *population) (*run, error) {
	memory, err := newMemoryLimit(l.Name())
	if err != nil {
		return nil, err
	}
	log, err := os.Create(o.Log)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	tell := func(v Violation) {
		fmt.Fprintf(o.Progress, "%7.1fs  VIOLATION: %s: %s\n", v.At.Seconds(), v.What, v.Detail)
	}
	r := &run{
		o: o, lab: l, population: p, ledger: newLedger(clientHosts(), tell), settings: usual(), spare: p.spare, memory: memory,
		daemon: &supervisor{lab: l, log: log, program: o.Log + ".program", born: memory.add},
		worst:  map[Kind]time.Duration{}, done: map[Kind]int{},
	}
	if err := r.daemon.use(o.Programs[0]); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return r, nil
}

// say prints one line of progress.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.o.Progress, "%7.1fs  %s\n", (crowd.Now() - r.ledger.begin).Seconds(), fmt.Sprintf(format, args...))
}

// play raises everything, lets events happen, and ends all of it but the lab.
func (r *run) play(ctx context.Context) error {
	r.say("seed %d: %d listed and %d unlisted names, %d addresses that must not be seen behind the WAN",
		r.o.Seed, len(r.population.listed), len(r.population.unlisted), len(r.population.closed))
	if err := r.raise(ctx); err != nil {
		return err
	}
	crowds, err := startClients(r.lab, r.o.Crowd, r.o.Seed, r.population, r.ledger.take)
	if err != nil {
		return errors.Join(err, r.endClients(crowds))
	}
	watched, stop := context.WithCancel(ctx)
	seen := make(chan error, 1)
	go func() { seen <- r.watch(watched) }() // ends with watched
	err = r.events(ctx)
	err = errors.Join(err, r.endClients(crowds))
	stop()
	return errors.Join(err, <-seen, r.daemon.stop(ctx), r.daemon.fault())
}

func (r *run) endClients(c *clients) error {
	ctx, stop := context.WithTimeout(context.Background(), endTime)
	defer stop()
	return c.stop(ctx)
}

// raise prepares the router, starts routerd and places the witnesses.
func (r *run) raise(ctx context.Context) error {
	// The state directory is a file system of its own, which can be filled.
	mount := fmt.Sprintf("mkdir -p %[1]s && mount -t tmpfs -o mode=0700,size=%[2]d chaos %[1]s", owned.StateDir, stateDirBytes)
	if _, err := r.router(ctx, mount); err != nil {
		return err
	}
	if err := r.configure(r.settings.String()); err != nil {
		return err
	}
	// QUIC's port answers too.
	quic := exec.Command(r.lab.Program(), "serve", "--echo", ":443")
	if err := r.lab.Start(lab.Net, quic); err != nil {
		return err
	}
	go func() { _ = quic.Wait() }() // ends with the lab
	if err := r.daemon.start(); err != nil {
		return err
	}
	if err := r.until(ctx, readyTime, "routerd is ready, its tunnels are up", r.ready); err != nil {
		return err
	}
	return install(ctx, r.lab, r.population)
}

// ready says whether the daemon answers and every tunnel is up and watched.
func (r *run) ready(ctx context.Context) bool {
	s, err := r.status(ctx)
	if err != nil || !s.Running {
		return false
	}
	for _, t := range s.Tunnels {
		if t.State != "up" || !t.Watched {
			return false
		}
	}
	return true
}

// events lets one after another happen until the time is over.
func (r *run) events(ctx context.Context) error {
	if err := r.settle(ctx, "traffic begins", readyTime); err != nil {
		return err
	}
	schedule := NewSchedule(r.o.Seed, r.o.Kinds)
	end := crowd.Now() + r.o.Lasting
	for crowd.Now() < end {
		e := schedule.Next()
		if err := r.wait(ctx, e.Gap); err != nil {
			return err
		}
		if err := r.event(ctx, e); err != nil {
			return fmt.Errorf("event %s: %w", e, err)
		}
	}
	return r.wait(ctx, time.Second) // what the last one left behind
}

// event lets one happen and waits until listed names work again.
func (r *run) event(ctx context.Context, e Event) error {
	act := actions()[e.Kind]
	if act.before != nil {
		if err := act.before(ctx, r, e); err != nil {
			return err
		}
	}
	r.ledger.beginEvent(e, act.gentle != nil && act.gentle(e))
	defer r.ledger.endEvent()
	detail, err := act.do(ctx, r, e)
	if err != nil {
		return err
	}
	r.done[e.Kind]++
	return r.settle(ctx, fmt.Sprintf("%-18s %s", e, detail), r.o.Converge)
}

// settle waits until listed names work, and says how long that took.
func (r *run) settle(ctx context.Context, what string, limit time.Duration) error {
	since := crowd.Now()
	var after time.Duration
	works := func(context.Context) (ok bool) {
		after, ok = r.ledger.converged(since)
		return ok
	}
	// The probes that show it need a moment more.
	err := r.until(ctx, limit+streak*crowd.ProbeTime, "listed names work", works)
	if err != nil && ctx.Err() == nil {
		long := time.Duration(float64(recoverTime) * r.ledger.strained())
		err = r.until(ctx, long, "listed names work", works)
	}
	kind := r.ledger.kind()
	if err != nil {
		r.ledger.violate("no convergence", "%s: listed names do not work: %s", what, r.ledger.lastFailure())
		return fmt.Errorf("%w: %s", err, r.ledger.lastFailure())
	}
	r.worst[kind] = max(r.worst[kind], after)
	verdict, strain := "", r.ledger.strained()
	if strain > 1 {
		verdict = fmt.Sprintf(", machine %.1f times slower than usual", strain)
	}
	if strain < unjudged && after.Seconds() > limit.Seconds()*strain {
		r.ledger.violate("late convergence", "%s: after %.2f s%s: %s", what, after.Seconds(), verdict, r.ledger.lastFailure())
	}
	r.strain = max(r.strain, strain)
	r.say("%-78s converged after %5.2f s%s", what, after.Seconds(), verdict)
	return nil
}

// watch looks at the witnesses until ctx ends, and once more.
func (r *run) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return r.lookAround(context.WithoutCancel(ctx))
		case <-time.After(watchEvery):
		}
		if err := r.lookAround(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// lookAround notes what the witnesses saw and should not have.
func (r *run) lookAround(ctx context.Context) error {
	now := map[string]seen{}
	for _, host := range witnesses() {
		s, err := look(r.lab, host)
		if err != nil {
			return err
		}
		now[host] = s
		more := s.wrong(host) - r.counted[host].wrong(host)
		if more == 0 {
			continue
		}
		who, err := culprits(ctx, r.lab, host)
		if err != nil {
			return err
		}
		what := "listed packets behind the WAN"
		if host != lab.ISP {
			what = "unlisted packets in a tunnel"
		}
		r.ledger.violate(what, "%d at %s: %s", more, host, strings.Join(who, "; "))
	}
	r.counted = now
	return nil
}

// router runs a shell script in the router.
func (r *run) router(ctx context.Context, script string) (string, error) {
	out, err := r.lab.Run(ctx, lab.Router, "sh", "-ec", script)
	return string(out), err
}

// configure writes the settings file.
func (r *run) configure(text string) error {
	return r.lab.WriteFile(lab.Router, owned.ConfigFile, []byte(text), 0o600)
}

// routerd runs a command of routerd and gives its exit status.
func (r *run) routerd(ctx context.Context, args ...string) (status int, said string, err error) {
	out, err := r.lab.Run(ctx, lab.Router, r.o.Programs[0], args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(out) + err.Error(), nil
	}
	return 0, string(out), err
}

func (r *run) status(ctx context.Context) (control.Status, error) {
	var s control.Status
	out, err := r.lab.Run(ctx, lab.Router, r.o.Programs[0], "status", "--json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	return s, nil
}

// wait waits, or until ctx ends.
func (r *run) wait(ctx context.Context, long time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return nil
	}
}

// until looks until something is so.
func (r *run) until(ctx context.Context, limit time.Duration, what string, so func(context.Context) bool) error {
	deadline := time.Now().Add(limit)
	for !so(ctx) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %s", limit, what)
		}
		if err := r.wait(ctx, pollEvery); err != nil {
			return err
		}
	}
	return nil
}
