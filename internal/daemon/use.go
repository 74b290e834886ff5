package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/tunnel"
)

type reloadRequest struct{ answer chan reloadAnswer }

type reloadAnswer struct {
	problems []config.Problem
	err      error
}

// reload reads the settings again. Where they are refused, or cannot be applied,
// the old ones stay in force.
func (d *daemon) reload(ctx context.Context) ([]config.Problem, error) {
	s, problems, err := loadSettings(d.o.ConfigFile, d.lists.Rules)
	if err == nil {
		err = errors.Join(s.unreadable(), s.cutOff(d.target))
	}
	if err != nil {
		d.refuse(problems, err)
		return problems, err
	}
	err = d.adopt(ctx, s)
	return append(problems, d.exporter.problems(s)...), err
}

// adopt brings settings about that were read from the file just now.
func (d *daemon) adopt(ctx context.Context, s *settings) error {
	d.inFile = s
	if err := d.change(ctx, s); err != nil {
		d.fault("settings not applied", err.Error())
		d.set(func(v *view) { v.refused = []string{"settings not applied: " + err.Error()} })
		return err
	}
	d.inForce(ctx, s)
	return nil
}

// inForce takes note of settings that have been applied.
func (d *daemon) inForce(ctx context.Context, s *settings) {
	if s == d.inFile {
		d.set(func(v *view) { v.refused = nil })
	}
	d.lists.Set(s.cfg.Lists)
	d.keeper.set(fixedHosts(s))
	d.setChecks(s)
	d.serveMetrics(ctx, s)
	d.warn("keep a copy of the settings", saveGood(d.o.StateDir, s.text))
	d.events.Add(control.Event{Kind: control.EventConfig, To: "applied", Reason: fmt.Sprintf(
		"%d destinations, %d names, %d networks, %d tunnels",
		len(s.plan.Destinations), len(s.plan.Names), len(s.plan.Networks), len(s.specs))})
	// Reading long lists takes several times the memory that they keep.
	debug.FreeOSMemory()
	d.release = time.Now().Add(settleTime)
	d.log.Info("settings applied", "enabled", s.cfg.Main.Enabled, "destinations", len(s.plan.Destinations),
		"names", len(s.plan.Names), "networks", len(s.plan.Networks), "tunnels", len(s.specs))
}

// refuse tells of settings that cannot be used.
func (d *daemon) refuse(problems []config.Problem, err error) {
	lines := refusal(problems, err)
	d.set(func(v *view) { v.refused = lines })
	for _, line := range lines {
		d.log.Error(line)
	}
	d.fault("settings refused", err.Error())
}

// refusal is why settings cannot be used, a line each.
func refusal(problems []config.Problem, err error) []string {
	var out []string
	for _, p := range problems {
		if p.Level == config.LevelError {
			out = append(out, "settings refused: "+p.String())
		}
	}
	if len(out) == 0 {
		out = append(out, "settings refused: "+err.Error())
	}
	return out
}

// change brings settings into force, or back those that were. Whichever it is,
// the loop goes on trying until the kernel agrees with them.
func (d *daemon) change(ctx context.Context, s *settings) error {
	old := d.target
	err := d.pursue(ctx, s)
	// Switching off is never taken back: less is steered than was asked for,
	// not more. The first settings have nothing to go back to.
	if err == nil || old == nil || !s.cfg.Main.Enabled {
		return err
	}
	if back := d.pursue(ctx, old); back != nil {
		d.log.Error("cannot go back to the old settings, will try again", "error", back, "after", retryTime)
	}
	return err
}

// pursue makes settings the ones that the daemon is to bring about, and tries.
func (d *daemon) pursue(ctx context.Context, s *settings) error {
	d.target, d.unmet = s, true
	err := d.use(ctx, s)
	d.tellFailure(err)
	if err != nil {
		return err
	}
	d.tellProblems(everything)
	d.unmet, d.dirty = false, clean
	return nil
}

// tellFailure takes note of what keeps the kernel from being as it should, nil
// for nothing, and puts the next attempt off.
func (d *daemon) tellFailure(err error) {
	failed := ""
	if err != nil {
		failed = err.Error()
		d.retryIn(retryTime)
	}
	if failed != d.view.failed {
		d.set(func(v *view) { v.failed = failed })
	}
}

// use makes the kernel's state what settings say, from whatever it is.
func (d *daemon) use(ctx context.Context, s *settings) error {
	if d.o.LogLevel != nil {
		d.o.LogLevel.Set(s.cfg.Main.LogLevel)
	}
	if !s.cfg.Main.Enabled {
		return d.disable(ctx, s)
	}
	if err := d.prepare(ctx, s); err != nil {
		return err
	}
	specs := d.resolved(ctx, s.specs)
	if d.ensured == nil && !d.begun && standing(specs) {
		d.ensureTunnels(ctx, specs)
	}
	first := d.ensured == nil
	// Marks must lead somewhere before there are any, and programs be there
	// before tunnels are taken, which are made meanwhile the first time.
	err := d.apply(ctx, everything)
	d.serveNames(ctx)
	if err != nil {
		return err
	}
	if !s.secure() {
		d.closeServer() // nothing is turned to it any more
	}
	d.releasePaths(ctx, s)
	if !first {
		d.ensureTunnels(ctx, specs)
	}
	return d.apply(ctx, pathsOnly)
}

// prepare opens what settings need, and has them be those that are decided by.
func (d *daemon) prepare(ctx context.Context, s *settings) error {
	if err := os.MkdirAll(d.o.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := d.openDataPlane(s); err != nil {
		return err
	}
	numbers, paths, err := d.number(ctx, s)
	if err != nil {
		return err
	}
	if err := d.openResolver(ctx, s); err != nil {
		return err
	}
	d.filled = nil
	if d.before == nil {
		d.before = &ruled{d.view.rules, d.view.settings}
	}
	d.set(func(v *view) {
		v.settings, v.numbers, v.paths, v.rules = s, numbers, paths, rulesByHash(d.dp, s)
		v.tunnels = expected(s.specs, v.tunnels)
	})
	return nil
}

// standing says whether tunnels are there from an earlier process, whose rules
// and programs are at work too: they must be known before anything is applied,
// or their routes would go for a moment, and connections be reset.
func standing(specs []tunnel.Spec) bool {
	missing := 0
	for _, s := range specs {
		_, err := net.InterfaceByName(s.Device)
		if err == nil && s.Type == config.TunnelWireGuard {
			return true
		}
		if err != nil {
			missing++
		}
	}
	return missing == 0 // then nothing takes time
}

// disable takes everything out of the kernel; the daemon stays.
func (d *daemon) disable(ctx context.Context, s *settings) error {
	d.closeDataPlane()
	defer d.closeResolver() // when no query is turned to it any more
	d.set(func(v *view) { *v = view{settings: s, applied: true, refused: v.refused, failed: v.failed} })
	d.filled, d.ensured, d.begun = nil, nil, false
	return cleanup(ctx, d.o, d.net, d.tunnels)
}

// number gives destinations and tunnels their numbers.
func (d *daemon) number(ctx context.Context, s *settings) (map[string]ebpf.Destination, map[string]owned.PathIndex, error) {
	numbers, err := d.dp.Destinations(destinationNames(s))
	if err != nil {
		// Those of destinations that are gone may be free by now.
		d.freeDestinations(s)
		if numbers, err = d.dp.Destinations(destinationNames(s)); err != nil {
			return nil, nil, err
		}
	}
	limit := pathLimit(s.cfg.Main.MarkMask)
	paths, err := d.dp.Paths(tunnelNames(s), limit)
	if err != nil || slices.ContainsFunc(tunnelNames(s), func(n string) bool { return paths[n] >= limit }) {
		// The numbers of tunnels that are gone are needed at once, or the mask
		// has become too narrow for some.
		d.releasePaths(ctx, s)
		d.renumber(ctx, paths, limit)
		paths, err = d.dp.Paths(tunnelNames(s), limit)
	}
	return numbers, paths, err
}

// renumber frees the numbers that a mask cannot hold.
func (d *daemon) renumber(ctx context.Context, paths map[string]owned.PathIndex, limit owned.PathIndex) {
	for name, index := range paths {
		if index >= limit {
			d.endFlows(ctx, func(f ebpf.Flow) bool { return f.Path == index })
			d.warn("free a path's number", d.dp.ReleasePath(name))
		}
	}
}

// releasePaths frees the numbers of tunnels that are gone, of this process or an
// earlier one, and ends their flows.
func (d *daemon) releasePaths(ctx context.Context, s *settings) {
	gone, err := d.dp.GonePaths(tunnelNames(s))
	d.warn("find the numbers of tunnels that are gone", err)
	if len(gone) == 0 {
		return
	}
	d.endFlows(ctx, func(f ebpf.Flow) bool { return slices.Contains(gone, f.Path) })
	for _, index := range gone {
		d.warn("free a path's number", d.dp.FreePath(index))
	}
}

// ensureTunnels makes the tunnels.
func (d *daemon) ensureTunnels(ctx context.Context, specs []tunnel.Spec) {
	states, err := d.tunnels.Ensure(ctx, specs)
	d.warn("make a tunnel", err)
	d.ensured = specs
	d.set(func(v *view) { v.tunnels = states })
}

// beginTunnels begins to make the tunnels if there are none yet, beside the loading
// of programs, which takes a slow processor seconds: their peers answer meanwhile.
// No table leads into a tunnel before what it gives is called, which waits for
// them, and takes note of them if the programs are at work.
func (d *daemon) beginTunnels(ctx context.Context, s *settings) (made func(take bool)) {
	if d.ensured != nil {
		return func(bool) {}
	}
	d.begun = true
	specs := d.resolved(ctx, s.specs)
	result := make(chan error, 1)
	go func() { // waited for by made
		_, err := d.tunnels.Ensure(ctx, specs)
		result <- err
	}()
	return func(take bool) {
		d.warn("make a tunnel", <-result)
		if !take {
			return
		}
		d.ensured = specs
		d.tunnelsAre(d.tunnels.Refresh(ctx))
	}
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

// canaryDestination is the data plane's name of a destination that only has its
// names turned to the resolver: no section of the settings can be called so.
const canaryDestination = "!canary"

func destinationNames(s *settings) []string {
	out := make([]string, 0, len(s.plan.Destinations)+1)
	for _, d := range s.plan.Destinations {
		out = append(out, d.Name)
	}
	if len(s.canaries) > 0 {
		out = append(out, canaryDestination)
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

// pathLimit is the first path index that a mask cannot hold.
func pathLimit(m owned.Mask) owned.PathIndex {
	return owned.PathTunnel0 + owned.PathIndex(m.Tunnels())
}
