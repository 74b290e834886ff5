package dns

import (
	"context"
	"errors"
	"time"
)

// errOutrun is why a try's context ended: another was first.
var errOutrun = errors.New("another was faster")

// raceGrace is how long tries may take to tell why they failed, once their
// context has ended.
const raceGrace = 100 * time.Millisecond

type outcome[T any] struct {
	value T
	err   error
}

// race makes up to n tries, each of them when the one before has failed or has
// taken longer than stagger; those before go on beside it. The first success
// wins and ends the contexts of the others; drop gets what succeeds later. When
// all have failed the errors come back together, in the order they came.
func race[T any](ctx context.Context, n int, stagger time.Duration,
	try func(ctx context.Context, i int) (T, error), drop func(T),
) (T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(chan outcome[T], n)
	started, pending := 0, 0
	start := func() {
		i := started
		started, pending = started+1, pending+1
		// Ends with its context; its result is read below or by dropLate.
		go func() {
			value, err := try(ctx, i)
			results <- outcome[T]{value, err}
		}()
	}
	next := time.NewTimer(stagger)
	defer next.Stop()
	start()
	var errs []error
	var none T
	for pending > 0 {
		select {
		case o := <-results:
			pending--
			if o.err == nil {
				cancel(errOutrun)
				dropLate(results, pending, drop)
				return o.value, nil
			}
			errs = append(errs, o.err)
		case <-next.C:
		case <-ctx.Done():
			return none, errors.Join(append(errs, lastWords(ctx, results, pending, drop)...)...)
		}
		if started < n {
			start()
			next.Reset(stagger)
		}
	}
	return none, errors.Join(errs...)
}

// lastWords waits a moment for the errors of tries whose context has ended.
func lastWords[T any](ctx context.Context, results <-chan outcome[T], pending int, drop func(T)) (errs []error) {
	grace := time.NewTimer(raceGrace)
	defer grace.Stop()
	for ; pending > 0; pending-- {
		select {
		case o := <-results:
			if o.err == nil {
				drop(o.value)
				continue
			}
			errs = append(errs, o.err)
			continue
		case <-grace.C:
		}
		dropLate(results, pending, drop)
		return append(errs, context.Cause(ctx))
	}
	if len(errs) == 0 {
		errs = []error{context.Cause(ctx)}
	}
	return errs
}

// dropLate hands over what is still to come, beside the caller.
func dropLate[T any](results <-chan outcome[T], pending int, drop func(T)) {
	if pending == 0 {
		return
	}
	// Ends when the tries have ended; their contexts have.
	go func() {
		for range pending {
			if o := <-results; o.err == nil {
				drop(o.value)
			}
		}
	}()
}
