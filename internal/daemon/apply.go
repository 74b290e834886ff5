package daemon

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
	"github.com/routerd/routerd/netcfg"
)

// view is the daemon's state as the handlers and the next decision see it.
// Values inside are replaced, never changed, except under daemon.mu.
type view struct {
	settings *settings
	numbers  map[string]ebpf.Destination // by name of destination
	paths    map[string]owned.PathIndex  // by name of tunnel
	tunnels  []tunnel.State
	choices  map[string]steer.Choice // by name of destination
	lan, wan []string                // devices
	problems []string                // of the last apply
	full     bool                    // an address found no room lately
	applied  bool                    // the kernel has been in line with settings once
	// rules are the plan's rules over names as learned entries name them.
	rules map[ruleKey]steer.NameRule
}

type reloadRequest struct{ answer chan reloadAnswer }

type reloadAnswer struct {
	problems []config.Problem
	err      error
}

// reload reads the settings again. Where they are refused, or cannot be applied,
// the old ones stay in force.
func (d *daemon) reload(ctx context.Context) ([]config.Problem, error) {
	s, problems, err := loadSettings(d.o.ConfigFile)
	if err != nil {
		d.events.Add(control.Event{Kind: control.EventFault, To: "settings refused", Reason: err.Error()})
		return problems, err
	}
	old := d.view.settings
	if err := d.use(ctx, s); err != nil {
		if back := d.use(ctx, old); back != nil {
			d.dirty = true
		}
		return problems, err
	}
	d.events.Add(control.Event{Kind: control.EventConfig, To: "applied", Reason: fmt.Sprintf(
		"%d destinations, %d names, %d networks, %d tunnels",
		len(s.plan.Destinations), len(s.plan.Names), len(s.plan.Networks), len(s.specs))})
	return problems, nil
}

// use makes settings the ones in force.
func (d *daemon) use(ctx context.Context, s *settings) error {
	if d.o.LogLevel != nil {
		d.o.LogLevel.Set(s.cfg.Main.LogLevel)
	}
	if !s.cfg.Main.Enabled {
		d.closeDataPlane()
		d.set(func(v *view) { *v = view{settings: s, applied: true} })
		return cleanup(ctx, d.o, d.net)
	}
	if err := d.openDataPlane(s); err != nil {
		return err
	}
	before := d.view
	numbers, err := d.dp.Destinations(destinationNames(s.plan))
	if err != nil {
		return err
	}
	paths, err := d.dp.Paths(tunnelNames(s), pathLimit(s.cfg.Main.MarkMask))
	if err != nil {
		return err
	}
	rules := rulesByKey(d.dp, s.plan)
	d.set(func(v *view) {
		v.settings, v.numbers, v.paths, v.rules = s, numbers, paths, rules
		v.tunnels = expected(s.specs, v.tunnels)
	})
	// Marks must lead somewhere before there are any, and programs be there
	// before the tunnels are made, which takes time.
	if err := d.apply(ctx); err != nil {
		return err
	}
	states, err := d.tunnels.Ensure(ctx, d.resolved(ctx, s.specs))
	if err != nil {
		d.log.Error("a tunnel cannot be made", "error", err)
	}
	d.set(func(v *view) { v.tunnels = states })
	d.release(before)
	return d.apply(ctx)
}

// expected is what to say of tunnels until they have been made: what is known
// already, and of new ones that they are on their way.
func expected(specs []tunnel.Spec, known []tunnel.State) []tunnel.State {
	out := make([]tunnel.State, len(specs))
	for i, spec := range specs {
		out[i] = tunnel.State{Name: spec.Name, Device: spec.Device, Health: tunnel.Connecting, Reason: "the tunnel is being made"}
		for _, t := range known {
			if t.Name == spec.Name {
				out[i] = t
			}
		}
	}
	return out
}

// release frees the numbers of tunnels that are gone, and ends their flows.
func (d *daemon) release(before view) {
	for name, index := range before.paths {
		if _, ok := d.view.paths[name]; ok {
			continue
		}
		d.endFlows(context.Background(), func(f ebpf.Flow) bool { return f.Path == index })
		if err := d.dp.ReleasePath(name); err != nil {
			d.log.Warn("cannot free a path's number", "error", err)
		}
	}
}

// set changes what the handlers see.
func (d *daemon) set(change func(*view)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.view)
}

// seen is a copy for a handler.
func (d *daemon) seen() view {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.view
}

func destinationNames(p *steer.Plan) []string {
	out := make([]string, len(p.Destinations))
	for i, d := range p.Destinations {
		out[i] = d.Name
	}
	return out
}

func tunnelNames(s *settings) []string {
	out := make([]string, len(s.specs))
	for i, t := range s.specs {
		out[i] = t.Name
	}
	return out
}

// resolved puts devices in the place of netifd networks.
func (d *daemon) resolved(ctx context.Context, specs []tunnel.Spec) []tunnel.Spec {
	out := slices.Clone(specs)
	for i, s := range out {
		if s.Type != config.TunnelInterface {
			continue
		}
		if dev, err := device(ctx, s.Device); err == nil {
			out[i].Device = dev
		}
	}
	return out
}

// apply brings the whole kernel state in line with settings, devices and
// tunnels. It may be called at any time and changes only what differs.
func (d *daemon) apply(ctx context.Context) error {
	if !d.view.settings.cfg.Main.Enabled {
		return nil
	}
	s := d.view.settings
	lan, problems := devices(ctx, "lan", s.cfg.Main.LAN)
	wan, wanProblems := d.wanDevices(ctx)
	problems = append(problems, wanProblems...)
	choices := d.choose(s.plan)
	d.set(func(v *view) { v.lan, v.wan = lan, wan })

	reached, err := d.net.Apply(ctx, d.desired(s, choices))
	if err != nil {
		return fmt.Errorf("apply network state: %w", err)
	}
	if len(reached.Changes) > 0 {
		d.log.Debug("network state changed", "changes", reached.Changes)
	}
	problems = append(problems, reached.Warnings...)
	if err := d.dp.SetTables(d.tables(s, choices)); err != nil {
		return fmt.Errorf("fill maps: %w", err)
	}
	if err := d.dp.Attach(lan, wan, s.cfg.Main.OwnTraffic); err != nil {
		return fmt.Errorf("attach programs: %w", err)
	}
	if collisions, err := d.net.Collisions(s.cfg.Main.MarkMask); err == nil {
		for _, c := range collisions {
			problems = append(problems, c.Text)
		}
	}
	d.tellProblems(problems)
	d.moved(ctx, choices)
	d.set(func(v *view) { v.applied = true })
	return nil
}

// tellProblems makes a fault of each problem that is new.
func (d *daemon) tellProblems(problems []string) {
	for _, p := range problems {
		if !slices.Contains(d.view.problems, p) {
			d.log.Warn("not as it should be", "problem", p)
			d.fault("network", p)
		}
	}
	d.set(func(v *view) { v.problems = problems })
}

// wanDevices are those of the direct path: the one that is set, or those of the
// default routes.
func (d *daemon) wanDevices(ctx context.Context) (found, problems []string) {
	m := d.view.settings.cfg.Main
	if m.WAN != "" {
		return devices(ctx, "wan", []string{m.WAN})
	}
	found, err := d.net.DefaultDevices()
	if err != nil {
		return nil, []string{err.Error()}
	}
	// A tunnel of type interface may carry a default route of its own.
	found = slices.DeleteFunc(found, func(dev string) bool {
		return slices.ContainsFunc(d.view.tunnels, func(t tunnel.State) bool { return t.Device == dev })
	})
	if len(found) == 0 {
		problems = append(problems, "there is no default route: the direct path is down")
	}
	return found, problems
}

// desired is the network state for the present choices.
func (d *daemon) desired(s *settings, choices map[string]steer.Choice) netcfg.Desired {
	out := netcfg.Desired{
		Mask: s.cfg.Main.MarkMask, LAN: d.view.lan, WAN: d.view.wan, IPv6: s.cfg.Main.IPv6,
		Paths: []netcfg.Path{
			{Index: owned.PathDirect, Name: steer.PathDirect, Up: true, IPv4: true, IPv6: true},
			{Index: owned.PathBlock, Name: steer.PathBlock, End: netcfg.EndProhibit},
		},
	}
	states := map[string]tunnel.State{}
	for _, t := range d.view.tunnels {
		states[t.Name] = t
	}
	for _, spec := range s.specs {
		out.Paths = append(out.Paths, tunnelPath(spec, states[spec.Name], d.view.paths[spec.Name]))
	}
	if s.cfg.Main.OwnTraffic {
		out.Own = d.ownRoutes(s, choices)
	}
	return out
}

// tunnelPath is a tunnel's table: with a device only while the peer answers or
// may yet, so that a client of a dead tunnel learns at once.
func tunnelPath(spec tunnel.Spec, t tunnel.State, index owned.PathIndex) netcfg.Path {
	p := netcfg.Path{
		Index: index, Name: spec.Name, Device: spec.Device, Up: t.Index != 0 && t.Health != tunnel.Down,
		IPv4: t.IPv4, IPv6: t.IPv6, Masquerade: spec.Type == config.TunnelWireGuard, End: netcfg.EndUnreachable,
	}
	if t.Device != "" {
		p.Device = t.Device
	}
	for _, a := range t.Addresses {
		p.Addresses = append(p.Addresses, a.Addr())
	}
	return p
}

// tables are the data plane's maps for the present choices.
func (d *daemon) tables(s *settings, choices map[string]steer.Choice) *ebpf.Tables {
	p := s.plan
	t := &ebpf.Tables{Slots: map[ebpf.Destination]ebpf.Slot{}, Exempt: d.exempt(s), Own: s.cfg.Main.OwnTraffic}
	for i := range p.Destinations {
		dest := &p.Destinations[i]
		c := choices[dest.Name]
		t.Slots[d.view.numbers[dest.Name]] = ebpf.Slot{Path: d.pathIndex(c.Path), Closed: dest.Closed()}
		t.TrackDirect = t.TrackDirect || c.Path == steer.PathDirect
	}
	for _, r := range p.Names {
		t.Names = append(t.Names, ebpf.NameRule{Name: r.Name, Full: d.chain(p, r.Full), Suffix: d.chain(p, r.Suffix)})
	}
	for _, r := range p.Networks {
		t.Networks = append(t.Networks, ebpf.NetworkRule{Prefix: r.Prefix, Chain: d.chain(p, r.Chain)})
	}
	for _, r := range p.Clients {
		t.Clients = append(t.Clients, ebpf.ClientRule{Prefix: r.Prefix, MAC: r.MAC, Include: r.Include, Exclude: r.Exclude})
	}
	for _, name := range d.view.wan {
		if i, err := net.InterfaceByName(name); err == nil {
			t.WAN = append(t.WAN, i.Index)
		}
	}
	return t
}

func (d *daemon) chain(p *steer.Plan, c steer.Chain) ebpf.Chain {
	out := make(ebpf.Chain, len(c))
	for i, l := range c {
		out[i] = ebpf.Link{
			Destination: d.view.numbers[p.Destinations[l.Destination].Name],
			Include:     l.Include, Exclude: l.Exclude, Bit: l.Bit,
		}
	}
	return out
}

func (d *daemon) pathIndex(path string) owned.PathIndex { return pathIndex(&d.view, path) }

func pathIndex(v *view, path string) owned.PathIndex {
	switch path {
	case steer.PathDirect:
		return owned.PathDirect
	case steer.PathBlock:
		return owned.PathBlock
	}
	return v.paths[path]
}

// exempt lists what is never learned.
func (d *daemon) exempt(s *settings) []netip.Prefix {
	set := map[netip.Prefix]struct{}{}
	for _, p := range steer.Reserved() {
		set[p] = struct{}{}
	}
	addrs, nets, err := d.net.OwnAddresses()
	if err != nil {
		d.log.Warn("cannot list own addresses", "error", err)
	}
	for _, p := range nets {
		set[p.Masked()] = struct{}{}
	}
	for _, a := range addrs {
		set[netip.PrefixFrom(a.WithZone(""), a.BitLen())] = struct{}{}
	}
	for _, t := range d.view.tunnels {
		for _, e := range t.Endpoints {
			set[netip.PrefixFrom(e.Addr().WithZone(""), e.Addr().BitLen())] = struct{}{}
		}
	}
	// A default route's own network would exempt everything.
	maps.DeleteFunc(set, func(p netip.Prefix, _ struct{}) bool { return p.Bits() == 0 })
	return slices.Collect(maps.Keys(set))
}
