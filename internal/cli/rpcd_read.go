package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/daemon"
	"github.com/routerd/routerd/internal/doctor"
)

// The requests of reading methods.
type (
	whyRequest struct {
		Query  string `json:"query"`
		Client string `json:"client"`
	}
	eventsRequest struct {
		Since uint64 `json:"since"`
	}
	catalogueRequest struct {
		Words []string `json:"words"`
	}
	checkRequest struct {
		What []string `json:"what"` // destinations, names or URLs
	}
	historyRequest struct {
		Destination string `json:"destination"` // "": all
	}
)

// rpcReading are the methods that change nothing; LuCI's read ACL names exactly
// these.
func (a *app) rpcReading() []rpcMethod {
	return []rpcMethod{
		method("status", func(ctx context.Context, _ nothing) (any, error) { return a.client().Status(ctx) }),
		method("why", a.rpcWhy),
		method("flows", a.rpcFlows),
		method("events", a.rpcEvents),
		method("doctor", a.rpcDoctor),
		method("catalogue", rpcCatalogue),
		method("lists", a.rpcLists),
		method("checks", a.rpcChecks),
		method("check", a.rpcCheck),
		method("history", a.rpcHistory),
		method("validate", a.rpcValidate),
		method("tunnel_list", a.rpcTunnels),
		method("report", a.rpcReport),
	}
}

func (a *app) rpcWhy(ctx context.Context, in whyRequest) (any, error) {
	target, err := control.ParseTarget(hostOf(strings.TrimSpace(in.Query)))
	if err != nil {
		return nil, err
	}
	client, err := control.ParseClient(strings.TrimSpace(in.Client))
	if err != nil {
		return nil, err
	}
	return a.client().Why(ctx, target, client)
}

// flowsAnswer is bounded; Total says how many there are.
type flowsAnswer struct {
	Flows []control.Flow `json:"flows"`
	Total int            `json:"total"`
}

// rpcFlows gives the newest flows; the daemon's are oldest first.
func (a *app) rpcFlows(ctx context.Context, _ nothing) (any, error) {
	flows, err := a.client().Flows(ctx)
	if err != nil {
		return nil, err
	}
	return flowsAnswer{Flows: flows[max(0, len(flows)-maxRPCRows):], Total: len(flows)}, nil
}

type eventsAnswer struct {
	Events []control.Event `json:"events"`
}

func (a *app) rpcEvents(ctx context.Context, in eventsRequest) (any, error) {
	events, err := a.client().Events(ctx, in.Since)
	if err != nil {
		return nil, err
	}
	return eventsAnswer{events[max(0, len(events)-maxRPCRows):]}, nil
}

type doctorAnswer struct {
	Findings []control.Finding `json:"findings"`
}

func (a *app) rpcDoctor(ctx context.Context, _ nothing) (any, error) {
	return doctorAnswer{doctor.Run(ctx, a.doctorOptions())}, nil
}

type catalogueAnswer struct {
	Services []control.Service `json:"services"`
}

// rpcCatalogue needs no daemon, so that a page can offer services before there
// is anything to run for.
func rpcCatalogue(_ context.Context, in catalogueRequest) (any, error) {
	const maxWords, maxWord = 8, 64
	if len(in.Words) > maxWords {
		return nil, usageError{fmt.Errorf("%d words, at most %d are allowed", len(in.Words), maxWords)}
	}
	for _, w := range in.Words {
		if w == "" || len(w) > maxWord {
			return nil, usageError{fmt.Errorf("a word of %d characters, 1 to %d are allowed", len(w), maxWord)}
		}
	}
	all, err := catalogue.Builtin()
	if err != nil {
		return nil, err
	}
	if len(in.Words) == 0 {
		return catalogueAnswer{daemon.Services(all.Services())}, nil
	}
	return catalogueAnswer{daemon.Services(all.Search(in.Words...))}, nil
}

type listsAnswer struct {
	Lists []control.List `json:"lists"`
}

func (a *app) rpcLists(ctx context.Context, _ nothing) (any, error) {
	lists, err := a.client().Lists(ctx)
	if err != nil {
		return nil, err
	}
	return listsAnswer{lists}, nil
}

type validateAnswer struct {
	Problems []control.Problem `json:"problems"`
}

func (a *app) rpcValidate(context.Context, nothing) (any, error) {
	_, problems, err := doctor.Settings(a.files.config)
	if err != nil {
		return nil, err
	}
	return validateAnswer{problems}, nil
}

type tunnelsAnswer struct {
	Tunnels []tunnelFacts `json:"tunnels"`
}

func (a *app) rpcTunnels(context.Context, nothing) (any, error) {
	facts, err := a.tunnelFacts()
	if err != nil {
		return nil, err
	}
	return tunnelsAnswer{facts}, nil
}

type reportAnswer struct {
	Name string `json:"name"` // a file name that fits
	Text string `json:"text"`
}

func (a *app) rpcReport(ctx context.Context, _ nothing) (any, error) {
	return reportAnswer{
		Name: "routerd-report-" + a.now().UTC().Format("20060102-150405") + ".txt",
		Text: a.supportReport(ctx),
	}, nil
}
