package reach

import (
	"context"
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
	out.Finding = Compare(target, out.Results, r.linesFor(ctx, paths, out.Results))
	out.Cancelled = ctx.Err() != nil
	return out
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
