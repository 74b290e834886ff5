package cli

import (
	"context"
	"errors"

	"github.com/routerd/routerd/internal/control"
)

// checksAnswer holds targets with what their checks say.
type checksAnswer struct {
	Checks []control.Check `json:"checks"`
	// Complete is false when the time of a call did not do for all of them: ask
	// for the rest in a call of its own.
	Complete bool `json:"complete"`
}

// rpcChecks gives what is known of every target.
func (a *app) rpcChecks(ctx context.Context, _ nothing) (any, error) {
	checks, err := a.client().Checks(ctx)
	if err != nil {
		return nil, err
	}
	return checksAnswer{Checks: checks[:min(len(checks), maxRPCRows)], Complete: len(checks) <= maxRPCRows}, nil
}

// rpcCheck checks now and gives the targets that were done in time. A page that
// shows progress asks for a few targets in each call.
func (a *app) rpcCheck(ctx context.Context, in checkRequest) (any, error) {
	for _, what := range in.What {
		if _, err := control.ParseCheck(what); err != nil {
			return nil, err
		}
	}
	answer := checksAnswer{Checks: []control.Check{}, Complete: true}
	for p, err := range a.client().Check(ctx, in.What...) {
		if err != nil {
			return nil, err
		}
		if p.Check != nil {
			answer.Checks = append(answer.Checks, *p.Check)
		}
		answer.Complete = p.Done == p.Total
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		answer.Complete = false
	}
	return answer, nil
}

type historyAnswer struct {
	History []control.History `json:"history"`
}

// rpcHistory gives the last day by destination and path.
func (a *app) rpcHistory(ctx context.Context, in historyRequest) (any, error) {
	history, err := a.client().History(ctx, in.Destination)
	if err != nil {
		return nil, err
	}
	// Each takes some 16 KiB: this many fit one message of ubus.
	const most = 40
	return historyAnswer{history[:min(len(history), most)]}, nil
}
