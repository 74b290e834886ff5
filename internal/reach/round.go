package reach

import (
	"context"
	"slices"
	"sync"

	"github.com/routerd/routerd/internal/catalogue"
)

// Round is one check of a target over all paths, at the same time.
type Round struct {
	Results   []Result // in the order of the paths
	Finding   Finding
	Bytes     int64
	Cancelled bool // it was cut short: Results and Finding say nothing
}

// round checks a target. told gets each path's result as soon as it is known; it
// is called by one goroutine at a time.
func (r *Runner) round(ctx context.Context, paths []Path, target catalogue.Target, depth Depth, told func(Result)) Round {
	truth := r.prober.Truth(ctx, paths, target.Host)
	seen := r.observe(ctx, paths, target, truth, depth, told)
	out := Round{Cancelled: ctx.Err() != nil}
	reference := referenceOf(seen)
	for _, o := range seen {
		out.Bytes += o.Bytes
		result := Judge(o, nil)
		if o.Direct {
			result = Judge(o, reference)
		}
		if o.Direct && !target.Encrypted() && !out.Cancelled {
			told(result)
		}
		out.Results = append(out.Results, result)
	}
	lines := r.linesFor(ctx, paths, out.Results)
	out.Finding = Compare(target, out.Results, lines)
	if i := doubtful(out, lines); i >= 0 {
		out.Results[i] = r.confirm(ctx, out.Results[i], func() Observation {
			o := r.prober.Observe(ctx, paths[i], target, truth, depth)
			r.spent(1, o.Bytes)
			return o
		}, reference, told)
		out.Finding = Compare(target, out.Results, lines)
	}
	out.Cancelled = ctx.Err() != nil
	return out
}

// observe checks a target over all paths at once; as in round for told.
func (r *Runner) observe(ctx context.Context, paths []Path, target catalogue.Target, truth Truth, depth Depth, told func(Result)) []Observation {
	seen := make([]Observation, len(paths))
	var mu sync.Mutex // makes told's calls one at a time
	var all sync.WaitGroup
	for i, p := range paths {
		all.Go(func() {
			seen[i] = r.prober.Observe(ctx, p, target, truth, depth)
			// The direct path's plain answers are judged with another path's.
			if !seen[i].Cancelled && (!p.Direct || target.Encrypted()) {
				mu.Lock()
				defer mu.Unlock()
				told(Judge(seen[i], nil))
			}
		})
	}
	all.Wait()
	return seen
}

// confirmations is how often silence must come again on a strained line until
// somebody is blamed for it. A line that loses a fifth in each direction is
// silent for the time of a check some three times in a hundred.
const confirmations = 3

// doubtful gives the index of the direct path's result when it is silence that
// would be called interference, on a strained line or seen by a machine that was
// too busy to look; else -1.
func doubtful(round Round, lines map[string]Line) int {
	if round.Finding.Verdict != Interfered || !round.Finding.Outcome.silent() {
		return -1
	}
	return slices.IndexFunc(round.Results, func(x Result) bool { return x.Direct && (x.Late || lines[x.Path].strained()) })
}

// confirm observes a path again until it is not silent, or has been often enough:
// then the first result stands. What loss makes differs from time to time, and so
// does what a network makes of a line that also loses packets.
func (r *Runner) confirm(ctx context.Context, first Result, observe func() Observation, reference *Observation, told func(Result)) Result {
	for range confirmations {
		o := observe()
		if ctx.Err() != nil {
			return first
		}
		now := Judge(o, reference)
		if !now.Outcome.silent() {
			told(now)
			return now
		}
	}
	return first
}

// referenceOf is an observation over a path that the provider does not see into.
func referenceOf(seen []Observation) *Observation {
	for i := range seen {
		if !seen[i].Direct && pageOf(&seen[i]) != nil {
			return &seen[i]
		}
	}
	return nil
}

// linesFor asks the controls over the paths whose results need an explanation.
func (r *Runner) linesFor(ctx context.Context, paths []Path, results []Result) map[string]Line {
	lines := map[string]Line{}
	failed := false
	for _, x := range results {
		failed = failed || x.Direct && !x.Outcome.byService()
	}
	if !failed {
		return lines // nothing is to be compared
	}
	var mu sync.Mutex // guards lines
	var all sync.WaitGroup
	for i, x := range results {
		if x.Outcome.byService() || x.Outcome == PathDown {
			continue
		}
		all.Go(func() {
			l := r.controls.line(ctx, paths[i], paths)
			mu.Lock()
			defer mu.Unlock()
			lines[x.Path] = l
		})
	}
	all.Wait()
	return lines
}
