package reach

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/sorting"
)

// Spec is one target of a destination.
type Spec struct {
	Destination string
	Target      catalogue.Target
	Large       string        // catalogue.Service.Large, for https targets on its host
	Interval    time.Duration // between checks; 60 s
	Paths       []string      // over which it is checked, by name; nil: all
}

// over picks the paths of a target.
func (s Spec) over(paths []Path) []Path {
	if s.Paths == nil {
		return paths
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p Path) bool { return !slices.Contains(s.Paths, p.Name) })
}

// key tells targets apart.
func (s Spec) key() string { return s.Destination + " " + s.Target.String() }

// State is what is known of a target.
type State struct {
	Spec    Spec
	Verdict Finding
	Since   time.Time // when the verdict began to hold; zero: it has not been checked
	Checked time.Time // when the last round ended; zero: none has
	Results []Result  // of the last round, by path
	Pending bool      // a finding that differs waits to be repeated
}

// Change is a verdict that is another now.
type Change struct {
	Time     time.Time
	Spec     Spec
	From, To Finding
}

// Progress tells how far CheckNow is. Result or State is set, not both.
type Progress struct {
	Spec        Spec
	Result      *Result // one path's
	State       *State  // the target is done: the finding of this round
	Done, Total int     // targets
}

// RunnerOptions are what a Runner is made with; Prober is needed.
type RunnerOptions struct {
	Prober *Prober
	Limits Limits           // the zero value: DefaultLimits for this processor
	Now    func() time.Time // time.Now
	Random *rand.Rand       // nil: seeded at random
	Log    *slog.Logger     // nil: none
}

// Runner checks targets over paths as long as it runs. Its methods are safe for
// concurrent use.
type Runner struct {
	prober   *Prober
	now      func() time.Time
	log      *slog.Logger
	controls *controls
	wake     chan struct{} // the loop looks again
	changed  chan struct{}

	mu       sync.Mutex // guards what follows
	schedule *Schedule
	history  *History
	totals   totals
	paths    []Path
	targets  map[string]*watched
	changes  []Change // not yet fetched
	news     uint64   // rounds that have ended and sets that were made
}

// watched is a target with what is known of it.
type watched struct {
	spec    Spec
	tracker Tracker
	results []Result
	checked time.Time
}

// maxChanges bounds the changes that wait to be fetched; the oldest go.
const maxChanges = 1024

// defaultInterval is for a Spec without one.
const defaultInterval = time.Minute

// NewRunner makes a runner with the default controls and nothing to check.
func NewRunner(o RunnerOptions) *Runner {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits(checkCost())
	}
	if o.Random == nil {
		o.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Runner{
		prober: o.Prober, now: o.Now, log: o.Log, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		schedule: NewSchedule(o.Limits, o.Random, o.Now()), history: NewHistory(), totals: totals{}, targets: map[string]*watched{},
	}
	r.controls = &controls{prober: o.Prober, now: o.Now, spent: r.spent}
	r.controls.set(DefaultControls())
	return r
}

func (r *Runner) spent(checks int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule.Spent(r.now(), checks, bytes)
}

// SetControls replaces the neutral services; fewer than three cannot tell a
// blocked service from a dead line well.
func (r *Runner) SetControls(targets []catalogue.Target) { r.controls.set(slices.Clone(targets)) }

// Set replaces what is checked and over which paths. Targets that stay keep what
// is known of them, as long as their destination and target are the same.
func (r *Runner) Set(specs []Spec, paths []Path) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := make(map[string]*watched, len(specs))
	items := make([]Item, 0, len(specs))
	for _, s := range specs {
		if s.Interval <= 0 {
			s.Interval = defaultInterval
		}
		if next[s.key()] != nil {
			continue
		}
		w := r.targets[s.key()]
		if w == nil {
			w = &watched{}
		}
		w.spec = s
		next[s.key()] = w
		items = append(items, Item{Key: s.key(), Destination: s.Destination, Interval: s.Interval, Transfers: s.transfers()})
	}
	r.targets, r.paths = next, slices.Clone(paths)
	r.news++
	r.schedule.Set(r.now(), items, len(paths))
	keep := func(destination, path string) bool {
		return slices.ContainsFunc(specs, func(s Spec) bool { return s.Destination == destination }) &&
			slices.ContainsFunc(paths, func(p Path) bool { return p.Name == path })
	}
	r.history.Keep(keep)
	r.totals.keep(keep)
	r.look()
}

func (s Spec) transfers() bool {
	return s.Target.Scheme == catalogue.SchemeHTTPS || s.Target.Scheme == catalogue.SchemeHTTP
}

// look wakes the loop.
func (r *Runner) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Early has the targets of some destinations checked within seconds, or all when
// none is named: after a passive sign, a change of settings, or when the WAN came
// up. It is cheap to call often.
func (r *Runner) Early(reason string, destinations ...string) {
	r.mu.Lock()
	r.schedule.Early(r.now(), destinations...)
	r.mu.Unlock()
	r.log.Debug("early checks", "reason", reason, "destinations", destinations)
	r.look()
}

// Used notes that destinations are used now: those that are not for a day are
// checked once an hour.
func (r *Runner) Used(destinations ...string) {
	r.mu.Lock()
	r.schedule.Used(r.now(), destinations...)
	r.mu.Unlock()
	r.look()
}

// Run checks until ctx ends, and returns when everything that it began has
// ended. It must not run twice at a time.
func (r *Runner) Run(ctx context.Context) {
	var rounds sync.WaitGroup
	defer rounds.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		for _, s := range r.due(timer) {
			rounds.Go(func() { r.scheduled(ctx, s) })
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// due takes what is to begin and sets the timer for what comes next.
func (r *Runner) due(timer *time.Timer) []Start {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	var starts []Start
	if len(r.paths) > 0 {
		starts = r.schedule.Due(now)
	}
	if next, ok := r.schedule.Next(now); ok && len(r.paths) > 0 {
		timer.Reset(max(0, next.Sub(now)))
	} else {
		timer.Stop()
	}
	return starts
}

// scheduled makes one round that the schedule asked for.
func (r *Runner) scheduled(ctx context.Context, s Start) {
	r.mu.Lock()
	w, paths := r.targets[s.Key], r.paths
	var spec Spec
	if w != nil {
		spec = w.spec
	}
	r.mu.Unlock()
	if w == nil {
		return
	}
	round := r.round(ctx, spec.over(paths), spec.Target, Depth{Deep: s.Deep, Large: spec.Large}, func(Result) {})
	done := Done{Bytes: round.Bytes}
	if !round.Cancelled {
		done = r.take(spec, round)
	}
	r.mu.Lock()
	r.schedule.Finished(r.now(), s.Key, done)
	r.mu.Unlock()
	r.look()
}

// take remembers a round. A target that was taken off meanwhile is forgotten.
func (r *Runner) take(spec Spec, round Round) Done {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := Done{Bytes: round.Bytes}
	w := r.targets[spec.key()]
	if w == nil {
		return done
	}
	now := r.now()
	r.news++
	w.results, w.checked = round.Results, now
	for _, x := range round.Results {
		done.Stalled = done.Stalled || x.Outcome == Stalled
		if slices.ContainsFunc(r.paths, func(p Path) bool { return p.Name == x.Path }) {
			r.history.Add(now, spec.Destination, x)
			r.totals.add(spec.Destination, x)
		}
	}
	from := w.tracker.Verdict()
	if w.tracker.Add(now, round.Finding) {
		r.note(Change{now, spec, from, round.Finding})
	}
	done.Failing, done.Pending = w.tracker.Verdict().Verdict != Reachable, w.tracker.Pending()
	return done
}

func (r *Runner) note(c Change) {
	r.changes = append(r.changes, c)
	r.changes = r.changes[max(0, len(r.changes)-maxChanges):]
	r.log.Info("verdict", "destination", c.Spec.Destination, "target", c.Spec.Target.String(),
		"from", c.From.Verdict, "to", c.To.Verdict, "reason", c.To.Sentence)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Changed gets a value when Changes has something.
func (r *Runner) Changed() <-chan struct{} { return r.changed }

// Changes gives the verdicts that changed since the last call, in order.
func (r *Runner) Changes() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.changes
	r.changes = nil
	return out
}

// Verdicts gives what is known of every target, in order of destination and
// target.
func (r *Runner) Verdicts() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]State, 0, len(r.targets))
	for _, w := range r.targets {
		out = append(out, w.state())
	}
	sorting.By(out, func(a, b State) int { return strings.Compare(a.Spec.key(), b.Spec.key()) })
	return out
}

// News counts what Verdicts depends on: it gives the same as long as News does.
func (r *Runner) News() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.news
}

func (w *watched) state() State {
	return State{w.spec, w.tracker.Verdict(), w.tracker.Since(), w.checked, slices.Clone(w.results), w.tracker.Pending()}
}

// History gives the last 24 hours of a destination by path.
func (r *Runner) History(destination string) []PathHistory {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.history.Of(r.now(), destination)
}
