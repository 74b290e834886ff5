package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/netcfg"
)

const (
	// learnedMax is how many events wait for the loop, and how many it takes at
	// once: a second of a busy network, or of a loop that makes a tunnel.
	learnedMax = 1024
	// fullEvery bounds how often room is made in a full map.
	fullEvery = 5 * time.Second
	// catchUpTime is how often the loop looks whether events were lost.
	catchUpTime = 5 * time.Second
)

// waiting takes what has been learned up to now, without waiting for more.
func (d *daemon) waiting(first ebpf.Event) []ebpf.Event {
	out := []ebpf.Event{first}
	for len(out) < learnedMax {
		select {
		case ev := <-d.learned:
			out = append(out, ev)
		default:
			return out
		}
	}
	return out
}

// learn follows up on DNS answers.
func (d *daemon) learn(ctx context.Context, events []ebpf.Event) {
	if d.dp == nil || d.view.settings == nil {
		return
	}
	own := map[ebpf.Destination][]netip.Addr{}
	for _, ev := range events {
		switch ev.Kind {
		case ebpf.EventLearned:
			d.keep(ev)
			d.collectOwn(own, ev)
		case ebpf.EventFull:
			d.keep(ev)
			d.makeRoom(ctx, ev)
		case ebpf.EventUnparsed:
			d.tellUnparsed(ev)
		}
	}
	d.steerOwn(ctx, own)
}

// steerOwn steers the router's own connections to what it looked up. One that
// began in the moment between the answer and now was translated for the WAN and
// stopped there by the guard: it is translated anew when its next packet comes,
// where the tunnel's peer would refuse it otherwise.
func (d *daemon) steerOwn(ctx context.Context, own map[ebpf.Destination][]netip.Addr) {
	if len(own) == 0 {
		return
	}
	begun := map[netip.Addr]bool{}
	for number, addrs := range own {
		d.warn("steer own traffic", d.net.AddOwn(ctx, uint16(number), addrs))
		for _, a := range addrs {
			begun[a] = true
		}
	}
	addrs, _, err := d.net.OwnAddresses()
	d.warn("list own addresses", err)
	_, err = d.net.DropConntrack(ctx, func(src, dst netip.AddrPort, _ uint8, reply netip.Addr) bool {
		return begun[dst.Addr()] && reply == src.Addr() && slices.Contains(addrs, src.Addr())
	})
	d.warn("forget tracked connections", err)
}

// keep puts back what an expiry or a change of the maps at the same moment has
// taken away.
func (d *daemon) keep(ev ebpf.Event) {
	if _, _, ok := d.view.rule(ruleKey{ev.Rule, ev.Full}); !ok {
		return // of settings before these
	}
	d.warn("keep learned addresses", d.dp.Ensure(ev))
	// It may name the rule's target of settings before these.
	if d.filled != nil && ev.Time <= d.filled.at {
		d.filled = nil
		d.soil(pathsOnly)
	}
}

func (d *daemon) tellUnparsed(ev ebpf.Event) {
	_, rule, _ := d.view.rule(ruleKey{ev.Rule, ev.Full})
	held, ok := d.limits.allow("unparsed " + rule.Name)
	if !ok {
		return
	}
	d.fault("dns", fmt.Sprintf("an answer for %s could not be read whole, so its addresses are not known%s%s",
		ev.Name, withheld(ev), others(held)))
}

func withheld(ev ebpf.Event) string {
	if ev.Withheld {
		return "; it was withheld from the client"
	}
	return "; the client got it and may use the direct path"
}

// others tells of messages that were held back.
func others(held int) string {
	if held == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more like it)", held)
}

// makeRoom sees to a full map.
func (d *daemon) makeRoom(ctx context.Context, ev ebpf.Event) {
	d.set(func(v *view) { v.full = true })
	limit := d.dp.MaxAddresses()
	if held, ok := d.limits.allow("full"); ok {
		reason := fmt.Sprintf("the address map is full (%d): addresses of %s found no room%s%s; raise option max_addresses",
			limit, ev.Name, withheld(ev), others(held))
		d.log.Error("address map full", "name", ev.Name, "max_addresses", limit, "withheld", ev.Withheld, "more", held)
		d.fault("address map full", reason)
	}
	if time.Since(d.lastRoom) >= fullEvery {
		d.lastRoom = time.Now()
		d.expire(ctx)
	}
}

// collectOwn notes what the router itself looked up, by destination.
func (d *daemon) collectOwn(own map[ebpf.Destination][]netip.Addr, ev ebpf.Event) {
	if ev.Client != ebpf.ClientSelf || !d.view.settings.cfg.Main.OwnTraffic {
		return
	}
	chain, _, ok := d.view.rule(ruleKey{ev.Rule, ev.Full})
	if !ok {
		return
	}
	p := d.view.settings.plan
	if i, ok := p.Taker(chain, netip.Addr{}, [6]byte{}); ok {
		number := d.view.numbers[p.Destinations[i].Name]
		own[number] = append(own[number], ev.Addrs...)
	}
}

// catchUp makes up for events that were lost: the router's own addresses are
// read from the maps.
func (d *daemon) catchUp(ctx context.Context) {
	if d.dp == nil || d.view.settings == nil || time.Since(d.lastCatchUp) < catchUpTime {
		return
	}
	d.lastCatchUp = time.Now()
	stats, err := d.dp.Stats()
	if err != nil {
		d.warn("read statistics", err)
		return
	}
	lost := stats.LostEvents + d.dropped.Load()
	if lost == d.lost {
		return
	}
	d.log.Debug("events were lost", "count", lost-d.lost)
	d.lost = lost
	p := d.view.settings.plan
	if !d.view.settings.cfg.Main.OwnTraffic {
		return
	}
	for i, addrs := range d.ownAddresses(p) {
		number := d.view.numbers[p.Destinations[i].Name]
		d.warn("steer own traffic", d.net.AddOwn(ctx, uint16(number), addrs))
	}
}

// ownRoutes are the sets for the router's own traffic: networks of the rules,
// and what the router's own lookups learned.
func (d *daemon) ownRoutes(p *steer.Plan, choices map[string]steer.Choice) []netcfg.OwnRoute {
	routes := make([]netcfg.OwnRoute, len(p.Destinations))
	for i, dest := range p.Destinations {
		routes[i] = netcfg.OwnRoute{
			Destination: dest.Name, ID: uint16(d.view.numbers[dest.Name]), Path: d.pathIndex(choices[dest.Name].Path),
		}
	}
	for i, prefixes := range p.Own {
		routes[i].Prefixes = prefixes
	}
	for i, addrs := range d.ownAddresses(p) {
		routes[i].Addresses = addrs
	}
	out := routes[:0]
	for _, r := range routes {
		// Direct is where own traffic goes anyway.
		if r.Path != owned.PathDirect {
			out = append(out, r)
		}
	}
	return out
}

// ownAddresses are the addresses known to the router itself, by index of the
// destination in the plan.
func (d *daemon) ownAddresses(p *steer.Plan) map[int][]netip.Addr {
	grants, err := d.dp.Grants()
	if err != nil {
		d.warn("read grants", err)
		return nil
	}
	out := map[int][]netip.Addr{}
	for _, g := range grants {
		if g.Client != ebpf.ClientSelf || g.Draining {
			continue
		}
		chain, _, ok := d.view.rule(ruleKey{g.Rule, g.Full})
		if !ok {
			continue
		}
		if i, ok := p.Taker(chain, netip.Addr{}, [6]byte{}); ok {
			out[i] = append(out[i], g.Addr)
		}
	}
	return out
}

// forgetOwn takes addresses out of every destination's own set: which one held
// them does not matter.
func (d *daemon) forgetOwn(ctx context.Context, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	for _, number := range d.view.numbers {
		d.warn("stop steering own traffic", d.net.RemoveOwn(ctx, uint16(number), addrs))
	}
}
