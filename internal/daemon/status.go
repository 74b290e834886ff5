package daemon

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/sorting"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

// The answers to requests that cannot be answered now.
const (
	errNotReady unavailable = "routerd is starting, ask again in a moment"
	errDisabled unavailable = "routerd is disabled: set option enabled '1' in section main and reload"
	errRefused  unavailable = "the settings are refused and there are no earlier ones: see `routerd validate`, mend them, then `routerd reload`"
)

// unavailable is a control.ErrUnavailable whose text is meant for the user alone.
type unavailable string

// Error implements error.
func (e unavailable) Error() string { return string(e) }

// Unwrap implements the interface of package errors.
func (e unavailable) Unwrap() error { return control.ErrUnavailable }

// handlers answer the control socket, from many goroutines.
func (d *daemon) handlers() control.Handlers {
	return control.Handlers{
		Status: d.status, Why: d.why, Flows: d.flows, Events: d.events,
		Catalogue: d.catalogue,
		Reload:    d.requestReload,
		Restart:   d.requestRestart,
		Lists:     d.listStatus, UpdateList: d.updateList,
		Doctor: d.doctor,
		Checks: d.checks, Check: d.check, History: d.history,
		Metrics: d.metrics,
	}
}

// requestReload has the loop reload and waits for the outcome.
func (d *daemon) requestReload(ctx context.Context) ([]control.Problem, error) {
	r := reloadRequest{answer: make(chan reloadAnswer, 1)}
	select {
	case d.reloads <- r:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-r.answer:
		return controlProblems(a.problems), a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func controlProblems(in []config.Problem) []control.Problem {
	out := make([]control.Problem, len(in))
	for i, p := range in {
		out[i] = control.Problem{
			Level: string(p.Level), Section: p.Section, Option: p.Option, Value: p.Value, Text: p.Text, Mend: p.Mend, Line: p.Line,
		}
	}
	return out
}

func (d *daemon) catalogue(_ context.Context, words []string) ([]control.Service, error) {
	v := d.seen()
	if v.settings == nil {
		return nil, v.ready()
	}
	found := v.settings.services.Services()
	if len(words) > 0 {
		found = v.settings.services.Search(words...)
	}
	return Services(found), nil
}

// Services gives services of the catalogue the shape that they have in JSON.
func Services(list []catalogue.Service) []control.Service {
	out := make([]control.Service, len(list))
	for i, s := range list {
		out[i] = control.Service{
			ID: s.ID, Name: s.Name, Category: string(s.Category),
			Domains: []string{}, Checks: nonNil(s.Checks), Ports: []string{},
		}
		for _, r := range s.Rules {
			out[i].Domains = append(out[i].Domains, r.String())
		}
		for _, p := range s.Pools {
			out[i].Ports = append(out[i].Ports, p.Address())
		}
	}
	return out
}

// ready says why a request that needs settings cannot be answered.
func (v *view) ready() error {
	switch {
	case v.applied:
		return nil
	case v.settings == nil && v.refused != nil:
		return errRefused
	}
	return errNotReady
}

// noPlane says why there is no data plane.
func (v *view) noPlane() error {
	if v.settings.cfg.Main.Enabled {
		return errNotReady // it is being opened anew
	}
	return errDisabled
}

func (d *daemon) status(context.Context) (control.Status, error) {
	dp, done := d.plane()
	defer done()
	v := d.seen()
	out := control.Status{
		Version: d.o.Version, UptimeS: int64(time.Since(d.started).Seconds()), Started: d.started.UTC(), Problems: allProblems(&v),
		DataPlane: control.DataPlaneStatus{Devices: []string{}},
		Tunnels:   []control.TunnelStatus{}, Destinations: []control.DestinationStatus{},
	}
	switch err := v.ready(); {
	case err != nil && len(out.Problems) == 0:
		return control.Status{}, err
	case v.settings == nil:
		return out, nil
	}
	main := v.settings.cfg.Main
	out.Running, out.DNS.Mode = main.Enabled, string(main.DNS)
	if dp == nil {
		return out, nil
	}
	use, err := measureUse(dp, &v)
	if err != nil {
		return control.Status{}, err
	}
	out.DataPlane = control.DataPlaneStatus{
		Hook: string(dp.Hook()), Devices: nonNil(v.attached), Addresses: use.addresses, MaxAddresses: use.room,
		Names: len(v.settings.plan.Names), Flows: use.flows, Pinned: true,
		FlowOffload: cmp.Or(v.slow, control.OffloadOn),
	}
	out.DNS = d.dnsStatus(&v, use.stats)
	for _, t := range v.tunnels {
		out.Tunnels = append(out.Tunnels, tunnelStatus(t))
	}
	for i := range v.settings.plan.Destinations {
		out.Destinations = append(out.Destinations, destinationStatus(&v, &v.settings.plan.Destinations[i], use))
	}
	states := d.runner.Verdicts()
	addVerdicts(out.Destinations, states)
	addRoundTrips(out.Tunnels, states)
	return out, nil
}

func nonNil(s []string) []string { return append([]string{}, s...) }

// allProblems are what is wrong now, the gravest first.
func allProblems(v *view) []string {
	out := nonNil(v.refused)
	if len(out) > 0 && v.settings != nil {
		out = append(out, "the last good settings stay in force until these are mended and reloaded")
	}
	if v.failed != "" {
		out = append(out, "the settings cannot be applied, routerd goes on trying: "+v.failed)
	}
	switch {
	case v.settings == nil:
		return out
	case !v.settings.cfg.Main.Enabled:
		return append(out, errDisabled.Error())
	case !v.applied:
		return out // nothing is known yet
	}
	return append(out, v.kernelProblems()...)
}

// kernelProblems are what is wrong with settings that are in force.
func (v *view) kernelProblems() []string {
	var out []string
	if v.full {
		out = append(out, "the address map is full: new names of listed services are withheld; raise option max_addresses")
	}
	for i := range v.settings.plan.Destinations {
		dest := &v.settings.plan.Destinations[i]
		if c := v.choices[dest.Name]; c.State == steer.StateDown {
			out = append(out, "destination "+dest.Name+" is down: "+c.Reason)
		}
	}
	out = append(out, v.problems...)
	if v.unheard != "" {
		out = append(out, v.unheard)
	}
	for _, t := range v.tunnels {
		if t.Health != tunnel.Up && t.Cause != tunnel.CauseStandby {
			out = append(out, "tunnel "+t.Name+" is "+string(t.Health)+": "+t.Reason)
		}
	}
	return out
}

// use is what the data plane holds, by destination.
type use struct {
	stats     ebpf.Stats
	addresses int
	room      int // for addresses
	flows     int
	byDest    map[ebpf.Destination]destinationUse
	counts    map[ebpf.CountKey]ebpf.Count
	health    map[ebpf.HealthKey]ebpf.Health // for metrics alone
}

type destinationUse struct {
	addresses int // learned ones whose rule names the destination first
	flows     int
	rx, tx    uint64
}

func measureUse(dp *ebpf.DataPlane, v *view) (use, error) {
	u := use{byDest: map[ebpf.Destination]destinationUse{}}
	var err error
	if u.stats, err = dp.Stats(); err != nil {
		return u, err
	}
	addresses, err := dp.Addresses()
	if err != nil {
		return u, err
	}
	u.addresses, u.room = len(addresses), dp.MaxAddresses()
	for _, a := range addresses {
		chain, _, ok := v.rule(ruleKey{a.Rule, a.Full})
		if !ok {
			continue
		}
		n := v.numbers[v.settings.plan.Destinations[chain[0].Destination].Name]
		d := u.byDest[n]
		d.addresses++
		u.byDest[n] = d
	}
	flows, err := dp.Flows()
	if err != nil {
		return u, err
	}
	u.flows = len(flows)
	for _, f := range flows {
		d := u.byDest[f.Destination]
		d.flows++
		u.byDest[f.Destination] = d
	}
	if u.counts, err = dp.Counts(); err != nil {
		return u, err
	}
	for k, c := range u.counts {
		d := u.byDest[k.Destination]
		if k.ToClient {
			d.rx += c.Bytes
		} else {
			d.tx += c.Bytes
		}
		u.byDest[k.Destination] = d
	}
	return u, nil
}

func tunnelStatus(t tunnel.State) control.TunnelStatus {
	out := control.TunnelStatus{
		Name: t.Name, Device: t.Device, Backend: string(t.Backend), State: string(t.Health), Reason: t.Reason, Cause: string(t.Cause), Watched: t.Watched,
		RxBytes: t.RxBytes, TxBytes: t.TxBytes,
	}
	if !t.LastHandshake.IsZero() {
		age := max(int64(time.Since(t.LastHandshake).Seconds()), 0)
		out.LastHandshakeS = &age
	}
	var ends []string
	for _, e := range t.Endpoints {
		ends = append(ends, e.String())
	}
	out.Endpoint = strings.Join(ends, " ")
	return out
}

func destinationStatus(v *view, dest *steer.Destination, u use) control.DestinationStatus {
	c := v.choices[dest.Name]
	d := u.byDest[v.numbers[dest.Name]]
	return control.DestinationStatus{
		Name: dest.Name, Label: dest.Label, Policy: string(dest.Policy), Path: c.Path, State: string(c.State), Reason: c.Reason,
		Addresses: d.addresses, Flows: d.flows, RxBytes: d.rx, TxBytes: d.tx,
	}
}

func (d *daemon) flows(context.Context) ([]control.Flow, error) {
	dp, done := d.plane()
	defer done()
	v := d.seen()
	if err := v.ready(); err != nil {
		return nil, err
	}
	if dp == nil {
		return nil, v.noPlane()
	}
	all, err := dp.Flows()
	if err != nil {
		return nil, err
	}
	destinations, paths := map[ebpf.Destination]string{}, pathNames(&v)
	for name, n := range v.numbers {
		destinations[n] = name
	}
	now := ebpf.Now()
	sorting.By(all, func(a, b ebpf.Flow) int { return int(int64(a.Created) - int64(b.Created)) })
	out := make([]control.Flow, len(all))
	for i, f := range all {
		out[i] = control.Flow{
			Destination: destinations[f.Destination], Path: paths[f.Path], Protocol: protocolName(f.Protocol),
			Source: f.Client.String(), Target: f.Server.String(), State: flowState(f),
			AgeS: int64(f.Created.Since(now).Seconds()), IdleS: int64(max(f.LastTx, f.LastRx).Since(now).Seconds()),
			RxBytes: f.RxBytes, TxBytes: f.TxBytes,
		}
		if names := d.names.of(f.Server.Addr()); len(names) > 0 {
			out[i].Name = names[len(names)-1]
		}
		if f.RTT > 0 {
			ms := float64(f.RTT.Microseconds()) / 1000
			out[i].RTTMs = &ms
		}
	}
	return out, nil
}

func pathNames(v *view) map[owned.PathIndex]string {
	out := map[owned.PathIndex]string{owned.PathDirect: steer.PathDirect, owned.PathBlock: steer.PathBlock}
	for name, i := range v.paths {
		out[i] = name
	}
	return out
}
