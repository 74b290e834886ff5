package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
	"github.com/routerd/routerd/netcfg"
)

// moved takes note of the choices that are in force now, tells of those that
// changed, and ends the flows that are on a dead path, whether another takes its
// place or not: a client that is told connects anew, one that is not hangs.
func (d *daemon) moved(ctx context.Context, now map[string]steer.Choice) {
	before := d.view.choices
	d.set(func(v *view) { v.choices = now })
	left, died, stranded := d.tellMoves(before, now), d.died(), d.stranded(before, now)
	if len(left) == 0 && len(died) == 0 && len(stranded) == 0 {
		return
	}
	d.endFlows(ctx, func(f ebpf.Flow) bool {
		if died[f.Path] {
			return true
		}
		index, moved := left[f.Destination]
		from, fails := stranded[f.Destination]
		return moved && f.Path == index || fails && f.Path == from && f.Waiting >= reach.PassiveStall
	})
}

// tellMoves tells of destinations that go another way now, and gives the path of
// each that left one which is not up.
func (d *daemon) tellMoves(before, now map[string]steer.Choice) map[ebpf.Destination]owned.PathIndex {
	left := map[ebpf.Destination]owned.PathIndex{}
	for name, c := range now {
		old, known := before[name]
		if !known || old.Path == c.Path {
			continue
		}
		d.log.Info("destination moved", "destination", name, "from", old.Path, "to", c.Path, "reason", c.Reason)
		d.events.Add(control.Event{Kind: control.EventPath, Destination: name, From: old.Path, To: c.Path, Reason: c.Reason})
		if !d.pathUp(old.Path) {
			left[d.view.numbers[name]] = d.pathIndex(old.Path)
		}
	}
	return left
}

// died gives the paths that went down since it was last asked.
func (d *daemon) died() map[owned.PathIndex]bool {
	down := map[string]bool{}
	died := map[owned.PathIndex]bool{}
	for _, t := range d.view.tunnels {
		if t.Health != tunnel.Down {
			continue
		}
		down[t.Name] = true
		if index, ok := d.view.paths[t.Name]; ok && !d.down[t.Name] {
			died[index] = true
		}
	}
	d.down = down
	return died
}

// pathUp says whether flows can go on over a path.
func (d *daemon) pathUp(path string) bool {
	if path == steer.PathDirect {
		return true
	}
	for _, t := range d.view.tunnels {
		if t.Name == path {
			return t.Health == tunnel.Up
		}
	}
	return false
}

// endFlows ends flows at once, rather than leave them hanging: the clients get a
// reset or an ICMP error, the kernel forgets how it translated them.
func (d *daemon) endFlows(ctx context.Context, match func(ebpf.Flow) bool) {
	all, err := d.dp.Flows()
	if err != nil {
		d.warn("list flows", err)
		return
	}
	var end, forget []ebpf.Flow
	type pair struct{ client, server netip.AddrPort }
	ended := map[pair]bool{}
	var resets []netcfg.Reset
	deviceOf := deviceNames()
	for _, f := range all {
		if !match(f) || f.Flags&ebpf.FlowEnded != 0 {
			continue
		}
		ended[pair{f.Client, f.Server}] = true
		if f.Protocol == protoTCP {
			end = append(end, f)
		} else {
			// The next packet of the same socket takes the new path.
			forget = append(forget, f)
		}
		if device := deviceOf(f.Ifindex); device != "" {
			resets = append(resets, netcfg.Reset{Proto: f.Protocol, Client: f.Client, Server: f.Server, Seq: f.Ack, Device: device})
		}
	}
	if len(ended) == 0 {
		return
	}
	d.warn("end flows", d.dp.EndFlows(end))
	d.warn("forget flows", d.dp.ForgetFlows(forget))
	_, err = d.net.DropConntrack(ctx, func(src, dst netip.AddrPort, _ uint8, _ netip.Addr) bool {
		return ended[pair{src, dst}]
	})
	d.warn("forget tracked connections", err)
	d.warn("reset clients' connections", d.net.Reset(ctx, resets))
	d.log.Info("flows ended", "count", len(ended))
}

// deviceNames gives devices' names by their indices, "" where there is none. It asks
// the kernel once a device: an answer has all devices in it, and thousands of flows
// come by a few.
func deviceNames() func(index int) string {
	known := map[int]string{}
	return func(index int) string {
		name, ok := known[index]
		if !ok {
			if i, err := net.InterfaceByIndex(index); err == nil {
				name = i.Name
			}
			known[index] = name
		}
		return name
	}
}

// warn logs an error, each kind of it once a minute at the most.
func (d *daemon) warn(what string, err error) {
	if err == nil {
		return
	}
	if held, ok := d.limits.allow(what); ok {
		d.log.Warn("cannot "+what, "error", err, "more", held)
	}
}

// refreshTunnels measures all tunnels and has a change applied.
func (d *daemon) refreshTunnels(ctx context.Context) {
	if d.tended() {
		d.tunnelsAre(d.tunnels.Refresh(ctx))
	}
}

// tendTunnels does so with those that it is time for.
func (d *daemon) tendTunnels(ctx context.Context) {
	if !d.tended() {
		return
	}
	if now, any := d.tunnels.Tend(ctx); any {
		d.tunnelsAre(now)
	}
}

// tended says whether there are tunnels to look after.
func (d *daemon) tended() bool {
	return !d.unmet && d.view.settings != nil && d.view.settings.cfg.Main.Enabled
}

// tunnelsAre takes note of how tunnels are, and has a change applied.
func (d *daemon) tunnelsAre(now []tunnel.State) {
	before := d.view.tunnels
	d.set(func(v *view) { v.tunnels = now })
	old := map[string]tunnel.State{}
	for _, t := range before {
		old[t.Name] = t
	}
	for _, t := range now {
		was, known := old[t.Name]
		if known && was.Health != t.Health {
			d.log.Info("tunnel changed", "tunnel", t.Name, "from", was.Health, "to", t.Health, "reason", t.Reason)
			d.events.Add(control.Event{Kind: control.EventTunnel, Tunnel: t.Name, From: string(was.Health), To: string(t.Health), Reason: t.Reason})
		}
		if !known || differs(was, t) {
			d.soil(pathsOnly)
			d.turned = append(d.turned, t.Name)
		}
	}
}

// tellPaths has the resolver, those who wait for it and failed lists try the paths
// anew of the first so many tunnels that have changed, once their routes are what they
// shall be: sooner would fail.
func (d *daemon) tellPaths(first int) {
	if first == 0 {
		return
	}
	if d.resolver != nil {
		for _, name := range d.turned[:first] {
			d.resolver.PathChanged(d.view.paths[name])
		}
	}
	d.turned = d.turned[first:]
	d.keeper.retry()
	d.lists.Wake()
}

// differs says whether a tunnel's change concerns the kernel's state.
func differs(a, b tunnel.State) bool {
	return a.Health != b.Health || a.Index != b.Index || a.Device != b.Device || a.IPv4 != b.IPv4 || a.IPv6 != b.IPv6 ||
		!slices.Equal(a.Endpoints, b.Endpoints) || !slices.Equal(a.Addresses, b.Addresses)
}
