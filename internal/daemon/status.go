package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

// errNotReady answers requests that come before the first settings are applied.
var errNotReady = errors.New("routerd is starting, ask again in a moment")

// errDisabled answers requests that need the data plane.
var errDisabled = errors.New("routerd is disabled: set option enabled '1' in section main and reload")

// handlers answer the control socket, from many goroutines.
func (d *daemon) handlers() control.Handlers {
	return control.Handlers{
		Status: d.status, Why: d.why, Flows: d.flows, Events: d.events,
		Catalogue: d.catalogue,
		Reload:    d.requestReload,
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
		text := p.Text
		if p.Mend != "" {
			text += "; " + p.Mend
		}
		out[i] = control.Problem{Level: string(p.Level), Section: p.Section, Option: p.Option, Value: p.Value, Text: text}
	}
	return out
}

func (d *daemon) catalogue(_ context.Context, words []string) ([]control.Service, error) {
	v := d.seen()
	if v.settings == nil {
		return nil, errNotReady
	}
	found := v.settings.services.Services()
	if len(words) > 0 {
		found = v.settings.services.Search(words...)
	}
	out := make([]control.Service, len(found))
	for i, s := range found {
		out[i] = control.Service{ID: s.ID, Name: s.Name, Category: string(s.Category), Checks: s.Checks}
		for _, r := range s.Rules {
			out[i].Domains = append(out[i].Domains, r.String())
		}
		for _, p := range s.Pools {
			out[i].Ports = append(out[i].Ports, p.Address())
		}
	}
	return out, nil
}

// plane is the open data plane, nil while there is none. It is only closed by
// the loop; a handler that is caught by that gets an error of a closed file.
func (d *daemon) plane() *ebpf.DataPlane {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.dp
}

func (d *daemon) status(context.Context) (control.Status, error) {
	v, dp := d.seen(), d.plane()
	if !v.applied {
		return control.Status{}, errNotReady
	}
	out := control.Status{
		Version: d.o.Version, Running: v.settings.cfg.Main.Enabled, UptimeS: int64(time.Since(d.started).Seconds()),
		DNS:      control.DNSStatus{Mode: string(v.settings.cfg.Main.DNS)},
		Problems: d.allProblems(v), Tunnels: []control.TunnelStatus{}, Destinations: []control.DestinationStatus{},
	}
	if dp == nil {
		return out, nil
	}
	use, err := measureUse(dp)
	if err != nil {
		return control.Status{}, err
	}
	out.DataPlane = control.DataPlaneStatus{
		Hook: string(dp.Hook()), Devices: nonNil(v.lan), Addresses: use.addresses, MaxAddresses: v.settings.cfg.Main.MaxAddresses,
		Names: len(v.settings.plan.Names), Flows: use.flows, Pinned: true,
	}
	out.DNS.Queries, out.DNS.Learned = use.stats.Answers, use.stats.Learned
	for _, t := range v.tunnels {
		out.Tunnels = append(out.Tunnels, tunnelStatus(t))
	}
	for i := range v.settings.plan.Destinations {
		out.Destinations = append(out.Destinations, destinationStatus(&v, &v.settings.plan.Destinations[i], use))
	}
	return out, nil
}

func nonNil(s []string) []string { return append([]string{}, s...) }

// allProblems are what is wrong now, the gravest first.
func (d *daemon) allProblems(v view) []string {
	out := []string{}
	if !v.settings.cfg.Main.Enabled {
		return append(out, errDisabled.Error())
	}
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
	for _, t := range v.tunnels {
		if t.Health != tunnel.Up {
			out = append(out, "tunnel "+t.Name+" is "+string(t.Health)+": "+t.Reason)
		}
	}
	return out
}

// use is what the data plane holds, by destination.
type use struct {
	stats     ebpf.Stats
	addresses int
	flows     int
	byDest    map[ebpf.Destination]destinationUse
	byRule    map[ruleKey]int // addresses
}

type destinationUse struct {
	flows  int
	rx, tx uint64
}

func measureUse(dp *ebpf.DataPlane) (use, error) {
	u := use{byDest: map[ebpf.Destination]destinationUse{}, byRule: map[ruleKey]int{}}
	var err error
	if u.stats, err = dp.Stats(); err != nil {
		return u, err
	}
	addresses, err := dp.Addresses()
	if err != nil {
		return u, err
	}
	u.addresses = len(addresses)
	for _, a := range addresses {
		u.byRule[ruleKey{a.Rule, a.Full}]++
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
	counts, err := dp.Counts()
	if err != nil {
		return u, err
	}
	for k, c := range counts {
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
		Name: t.Name, Device: t.Device, Backend: string(t.Backend), State: string(t.Health), Reason: t.Reason,
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
		Addresses: u.addressesOf(v, dest), Flows: d.flows, RxBytes: d.rx, TxBytes: d.tx,
	}
}

// addressesOf counts the learned addresses whose rule names the destination
// first.
func (u use) addressesOf(v *view, dest *steer.Destination) int {
	n := 0
	for key, count := range u.byRule {
		chain := key.chain(v.rules[key])
		if len(chain) > 0 && v.settings.plan.Destinations[chain[0].Destination].Name == dest.Name {
			n += count
		}
	}
	return n
}

func (d *daemon) flows(context.Context) ([]control.Flow, error) {
	v, dp := d.seen(), d.plane()
	if !v.applied {
		return nil, errNotReady
	}
	if dp == nil {
		return nil, errDisabled
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
	slices.SortFunc(all, func(a, b ebpf.Flow) int { return int(int64(a.Created) - int64(b.Created)) })
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
