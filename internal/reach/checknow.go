package reach

import (
	"context"
	"sync"
)

// nowParallel is how many targets CheckNow checks at a time.
const nowParallel = 4

// CheckNow checks targets over paths, all at once, deeply, whether they are in the
// schedule or not; the limits of the schedule hold back the scheduled checks
// alone. progress, which may be nil, is called by one goroutine at a time. States
// come in the order of specs and hold the finding of this round, not the verdict,
// which it feeds. When ctx ends they are those of what was done, and its error.
func (r *Runner) CheckNow(ctx context.Context, specs []Spec, paths []Path, progress func(Progress)) ([]State, error) {
	n := &nowRun{runner: r, paths: paths, total: len(specs), progress: progress, states: make([]*State, len(specs))}
	slots := make(chan struct{}, nowParallel)
	var all sync.WaitGroup
	for i, s := range specs {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			n.check(ctx, i, s)
		})
	}
	all.Wait()
	var out []State
	for _, s := range n.states {
		if s != nil {
			out = append(out, *s)
		}
	}
	return out, context.Cause(ctx)
}

// nowRun is one call of CheckNow.
type nowRun struct {
	runner *Runner
	paths  []Path
	total  int

	mu       sync.Mutex // guards what follows
	progress func(Progress)
	done     int
	states   []*State
}

func (n *nowRun) check(ctx context.Context, i int, s Spec) {
	r := n.runner
	depth := Depth{Deep: s.transfers(), Large: s.Large}
	round := r.round(ctx, s.over(n.paths), s.Target, depth, func(x Result) { n.tell(Progress{Spec: s, Result: &x}) })
	if round.Cancelled {
		return
	}
	done := r.take(s, round)
	now := r.now()
	r.mu.Lock()
	r.schedule.Checked(now, s.key(), done)
	r.mu.Unlock()
	r.look()
	state := &State{Spec: s, Verdict: round.Finding, Since: now, Checked: now, Results: round.Results}
	n.mu.Lock()
	n.done++
	n.states[i] = state
	n.mu.Unlock()
	n.tell(Progress{Spec: s, State: state})
}

func (n *nowRun) tell(p Progress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.Done, p.Total = n.done, n.total
	if n.progress != nil {
		n.progress(p)
	}
}
