package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/sorting"
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
	led      map[string]int          // by name of tunnel, the device that a route leads into it by
	choices  map[string]steer.Choice // by name of destination
	lan, wan []string                // devices
	attached []string                // devices of lan whose clients are steered by now
	slow     string                  // why no connection is forwarded past the rules; "": established ones are
	problems []string                // of the last apply
	refused  []string                // why the settings in the file are not in force
	failed   string                  // why the kernel is not as it should be; "": it is
	full     bool                    // an address found no room lately
	unheard  string                  // why metrics are not listened for; "": they are, or shall not be
	applied  bool                    // the kernel has been in line with settings once
	// rules finds the plan's rules over names by the hash that learned entries
	// name them by: indexes of plan.Names.
	rules    map[uint64]int32
	own      []netip.Addr  // the router's own addresses
	askedAt  []int         // devices by which queries may come to the resolver
	resolver *dns.Resolver // nil: none runs
}

// extent is how much there is to apply.
type extent uint8

const (
	clean      extent = iota
	pathsOnly         // tunnels have changed: paths, slots, what is exempt
	everything        // devices too, and what others have in the kernel
)

// soil notes that something is to be applied.
func (d *daemon) soil(e extent) { d.dirty = max(d.dirty, e) }

// fill is what the data plane's maps were filled with.
type fill struct {
	around ebpf.Surroundings
	at     ebpf.Ticks // when all was in the maps
}

// set changes what the handlers see.
func (d *daemon) set(change func(*view)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.view)
}

// seen is a copy for whoever is not the loop. A tunnel that no route leads into is
// on its way there, whatever its peer says: nothing could go by it.
func (d *daemon) seen() view {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v := d.view
	if slices.ContainsFunc(v.tunnels, v.unreached) {
		v.tunnels = slices.Clone(v.tunnels)
		for i := range v.tunnels {
			if t := &v.tunnels[i]; v.unreached(*t) {
				t.Health, t.Index = tunnel.Connecting, 0
				t.Reason = cmp.Or(t.Reason, "no route leads into the tunnel yet")
			}
		}
	}
	return v
}

// unreached says whether a tunnel has a device that no route leads to, and shall
// have one.
func (v *view) unreached(t tunnel.State) bool {
	return t.Index != 0 && t.Health != tunnel.Down && v.led[t.Name] != t.Index
}

// leads takes note of the tunnels that routes lead into, as the kernel has them.
func (d *daemon) leads(paths []netcfg.PathState) {
	led := make(map[string]int, len(paths))
	for _, t := range d.view.tunnels {
		for _, p := range paths {
			if p.Name == t.Name && (p.IPv4 || p.IPv6) {
				led[t.Name] = t.Index
			}
		}
	}
	d.set(func(v *view) { v.led = led })
}

// resolved puts devices in the place of netifd networks.
func (d *daemon) resolved(ctx context.Context, specs []tunnel.Spec) []tunnel.Spec {
	out := slices.Clone(specs)
	for i, s := range out {
		if s.Type != config.TunnelInterface {
			continue
		}
		// What cannot be found stands under the tunnel's state.
		if dev, _ := d.networks.device(ctx, s.Device); dev != "" {
			out[i].Device = dev
		}
	}
	return out
}

// apply brings the kernel's state in line with settings, devices and tunnels. It
// may be called at any time and changes only what differs. A change of tunnels
// alone looks at no device and at no name.
func (d *daemon) apply(ctx context.Context, e extent) error {
	s := d.view.settings
	if !s.cfg.Main.Enabled {
		return nil
	}
	turned := len(d.turned)
	newest, err := d.survey(ctx, s, e)
	if err != nil {
		return err
	}
	choices := d.choose(s.plan)
	want := d.desired(s, choices)
	reached, err := d.net.Apply(ctx, want)
	if err != nil {
		return fmt.Errorf("apply network state: %w", err)
	}
	d.leads(reached.Paths)
	if len(reached.Changes) > 0 {
		d.log.Debug("network state changed", "changes", reached.Changes)
	}
	if err := d.fillMaps(ctx, s, choices); err != nil {
		return fmt.Errorf("fill maps: %w", err)
	}
	if d.view.choices == nil {
		// Lookups may have waited since the last process, whose programs are at work:
		// loading others takes seconds on a slow processor.
		d.set(func(v *view) { v.choices = choices })
		d.serveNames(ctx)
	}
	if e == everything {
		if err := d.attach(ctx, s, newest); err != nil {
			return err
		}
	}
	d.offload(ctx, want, e)
	d.warnings = reached.Warnings
	d.moved(ctx, choices)
	d.tellPaths(turned)
	if !d.view.applied {
		d.setChecks(s) // whoever is told that settings are in force may ask for one
	}
	d.set(func(v *view) { v.applied = true })
	return nil
}

// attach puts the programs on the devices, which takes a slow processor seconds.
// Tunnels that are new are made meanwhile.
func (d *daemon) attach(ctx context.Context, s *settings, newest ebpf.Device) error {
	made := d.beginTunnels(ctx, s)
	err := d.dp.Attach(d.view.lan, d.view.wan, s.cfg.Main.OwnTraffic, newest)
	made(err == nil)
	if err != nil {
		return fmt.Errorf("attach programs: %w", err)
	}
	d.set(func(v *view) { v.attached = v.lan })
	return nil
}

// survey finds the devices, makes tunnels again whose devices have other names
// now, and notes what is not as it should be; newest is from before it looked. In a new
// process it is an error where netifd does not say what the devices are: an earlier
// one's programs may be on them, which it would take off.
func (d *daemon) survey(ctx context.Context, s *settings, e extent) (newest ebpf.Device, err error) {
	if e != everything {
		return 0, nil
	}
	if newest, err = ebpf.NewestDevice(); err != nil {
		return 0, err
	}
	lan, problems, silent := d.networks.devices(ctx, "lan", s.cfg.Main.LAN)
	wan, wanProblems, silentToo := d.wanDevices(ctx)
	if (silent || silentToo) && !d.view.applied {
		return 0, errSilent
	}
	d.found(ctx, s, lan, wan, append(problems, wanProblems...))
	return newest, nil
}

// found takes note of the devices, and finds what else survey does.
func (d *daemon) found(ctx context.Context, s *settings, lan, wan, problems []string) {
	own, _, err := d.net.OwnAddresses()
	d.warn("list own addresses", err)
	if !slices.Equal(wan, d.view.wan) || !slices.Equal(own, d.view.own) {
		d.runner.Early("the network has changed")
	}
	askedAt := append(wanIndexes(lan), loIndex)
	d.set(func(v *view) { v.lan, v.wan, v.own, v.askedAt = lan, wan, own, askedAt })
	d.surveyed = problems
	specs := d.resolved(ctx, s.specs)
	moved := func(a, b tunnel.Spec) bool { return a.Name == b.Name && a.Device == b.Device }
	// Before the first time they are made, use does it.
	if d.ensured != nil && !d.unmet && !slices.EqualFunc(specs, d.ensured, moved) {
		d.ensureTunnels(ctx, specs)
	}
}

// fillMaps makes the data plane's maps say what there is. Names, networks and
// clients change with the settings only.
func (d *daemon) fillMaps(ctx context.Context, s *settings, choices map[string]steer.Choice) error {
	slots := d.slots(s, choices)
	around := ebpf.Surroundings{Exempt: d.exempt(s), WAN: wanIndexes(d.view.wan), Resolver: d.resolverAddresses(s)}
	if d.filled == nil {
		t := d.tables(s)
		t.Slots, t.Exempt, t.WAN, t.Resolver = slots, around.Exempt, around.WAN, around.Resolver
		if b := d.before; b != nil {
			t.Moved = func(rule uint64) uint64 { return b.moved(d.dp, s, rule) }
		}
		if err := d.dp.SetTables(t); err != nil {
			return err
		}
		d.before = nil
		d.forgetExempt(ctx, around.Exempt)
		d.filled = &fill{around: around, at: ebpf.Now()}
		return nil
	}
	if !reflect.DeepEqual(around, d.filled.around) {
		if err := d.dp.SetSurroundings(around); err != nil {
			return err
		}
		d.forgetExempt(ctx, around.Exempt)
		d.filled.around = around
	}
	for n, slot := range slots {
		if err := d.dp.SetSlot(n, slot); err != nil {
			return err
		}
	}
	return nil
}

// tellProblems makes a fault of each problem that is new. It comes behind what has been
// applied: who else uses marks and tables takes long to find, and steers nobody.
func (d *daemon) tellProblems(e extent) {
	main := d.view.settings.cfg.Main
	if !main.Enabled {
		return
	}
	if e == everything {
		collisions, err := d.net.Collisions(main.MarkMask)
		d.warn("look for other users of marks and tables", err)
		for _, c := range collisions {
			d.surveyed = append(d.surveyed, c.Text)
		}
	}
	problems := slices.Concat(d.surveyed, d.warnings)
	for _, p := range problems {
		if !slices.Contains(d.view.problems, p) {
			d.log.Warn("not as it should be", "problem", p)
			d.fault("network", p)
		}
	}
	d.set(func(v *view) { v.problems = problems })
}

// wanDevices are those of the direct path: the one that is set, or those of the
// default routes. silent is that of devices.
func (d *daemon) wanDevices(ctx context.Context) (found, problems []string, silent bool) {
	m := d.view.settings.cfg.Main
	if m.WAN != "" {
		return d.networks.devices(ctx, "wan", []string{m.WAN})
	}
	found, err := d.net.DefaultDevices()
	if err != nil {
		return nil, []string{err.Error()}, false
	}
	// A tunnel of type interface may carry a default route of its own.
	found = slices.DeleteFunc(found, func(dev string) bool {
		return slices.ContainsFunc(d.view.tunnels, func(t tunnel.State) bool { return t.Device == dev })
	})
	if len(found) == 0 {
		problems = append(problems, "there is no default route: the direct path is down")
	}
	return found, problems, false
}

// desired is the network state for the present choices.
func (d *daemon) desired(s *settings, choices map[string]steer.Choice) netcfg.Desired {
	out := netcfg.Desired{
		Mask: s.cfg.Main.MarkMask, LAN: d.view.lan, WAN: d.view.wan, IPv6: s.cfg.Main.IPv6, Offload: s.cfg.Main.FlowOffload,
		Paths: []netcfg.Path{
			{Index: owned.PathDirect, Name: steer.PathDirect, Up: true, IPv4: true, IPv6: true},
			{Index: owned.PathBlock, Name: steer.PathBlock},
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
		out.Own = d.ownRoutes(s.plan, choices)
	}
	if s.secure() {
		out.ResolverPort = owned.ResolverPort
	}
	return out
}

// tunnelPath is a tunnel's table: with a device only while the peer answers or
// may yet, so that a client of a dead tunnel learns at once.
func tunnelPath(spec tunnel.Spec, t tunnel.State, index owned.PathIndex) netcfg.Path {
	p := netcfg.Path{
		Index: index, Name: spec.Name, Device: spec.Device, Up: t.Index != 0 && t.Health != tunnel.Down,
		IPv4: t.IPv4, IPv6: t.IPv6, Masquerade: spec.Type == config.TunnelWireGuard,
	}
	if t.Device != "" {
		p.Device = t.Device
	}
	for _, a := range t.Addresses {
		p.Addresses = append(p.Addresses, a.Addr())
	}
	return p
}

// slots are where destinations go now.
func (d *daemon) slots(s *settings, choices map[string]steer.Choice) map[ebpf.Destination]ebpf.Slot {
	p, resolve := s.plan, s.secure() && !s.unset()
	out := make(map[ebpf.Destination]ebpf.Slot, len(p.Destinations)+1)
	for i := range p.Destinations {
		dest := &p.Destinations[i]
		out[d.view.numbers[dest.Name]] = ebpf.Slot{
			Path: d.pathIndex(choices[dest.Name].Path), Closed: dest.Closed(), Resolve: resolve,
		}
	}
	if len(s.canaries) > 0 {
		out[d.view.numbers[canaryDestination]] = ebpf.Slot{Path: owned.PathDirect, Resolve: resolve}
	}
	return out
}

// tables are what the settings say of the data plane's maps.
func (d *daemon) tables(s *settings) *ebpf.Tables {
	p := s.plan
	to := chains{plan: p, numbers: d.view.numbers, done: map[*steer.Link]ebpf.Chain{}}
	steering := !s.unset()
	t := &ebpf.Tables{
		Own:   s.cfg.Main.OwnTraffic,
		Names: make([]ebpf.NameRule, 0, len(p.Names)+len(s.canaries)), Networks: make([]ebpf.NetworkRule, 0, len(p.Networks)),
		LocalDNS: steering && s.cfg.Main.LocalDNS, TLSNames: steering, Shared: steering,
	}
	if t.LocalDNS {
		t.DoH = dohAddresses(s)
	}
	for name := range s.canaries {
		t.Names = append(t.Names, ebpf.NameRule{Name: name, Full: ebpf.Chain{{Destination: d.view.numbers[canaryDestination]}}})
	}
	for i := range p.Destinations {
		t.TrackDirect = t.TrackDirect || p.Destinations[i].MayGoDirect()
	}
	for _, r := range p.Names {
		t.Names = append(t.Names, ebpf.NameRule{Name: r.Name, Full: to.of(r.Full), Suffix: to.of(r.Suffix)})
	}
	for _, r := range p.Networks {
		t.Networks = append(t.Networks, ebpf.NetworkRule{Prefix: r.Prefix, Chain: to.of(r.Chain)})
	}
	for _, r := range p.Clients {
		t.Clients = append(t.Clients, ebpf.ClientRule{Prefix: r.Prefix, MAC: r.MAC, Include: r.Include, Exclude: r.Exclude})
	}
	return t
}

func wanIndexes(names []string) []int {
	var out []int
	for _, name := range names {
		if i, err := net.InterfaceByName(name); err == nil {
			out = append(out, i.Index)
		}
	}
	return out
}

// chains turns a plan's chains into the data plane's, each that is shared once.
type chains struct {
	plan    *steer.Plan
	numbers map[string]ebpf.Destination
	done    map[*steer.Link]ebpf.Chain // by the chain's first link
}

func (t *chains) of(c steer.Chain) ebpf.Chain {
	if len(c) == 0 {
		return nil
	}
	if out, ok := t.done[&c[0]]; ok {
		return out
	}
	out := make(ebpf.Chain, len(c))
	for i, l := range c {
		out[i] = ebpf.Link{
			Destination: t.numbers[t.plan.Destinations[l.Destination].Name],
			Include:     l.Include, Exclude: l.Exclude, Bit: l.Bit,
		}
	}
	t.done[&c[0]] = out
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

// exempt lists what is never learned, in order.
func (d *daemon) exempt(s *settings) []netip.Prefix {
	out := steer.Reserved()
	addrs, nets, err := d.net.OwnAddresses()
	d.warn("list own addresses", err)
	for _, p := range nets {
		out = append(out, p.Masked())
	}
	single := func(a netip.Addr) { out = append(out, netip.PrefixFrom(a.WithZone("").Unmap(), a.Unmap().BitLen())) }
	for _, a := range addrs {
		single(a)
	}
	for _, t := range d.view.tunnels {
		for _, e := range t.Endpoints {
			single(e.Addr())
		}
	}
	for _, spec := range s.specs {
		for _, p := range spec.Settings.Peers {
			if e, ok := p.Endpoint.Addr(); ok {
				single(e.Addr())
			}
		}
	}
	// A default route's own network would exempt everything.
	out = slices.DeleteFunc(out, func(p netip.Prefix) bool { return p.Bits() == 0 })
	sorting.By(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(out)
}
