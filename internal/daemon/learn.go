package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/netcfg"
)

// fullEvery bounds how often a full map is told.
const fullEvery = time.Minute

// reader passes the data plane's events to the loop.
type reader struct {
	events *ebpf.Events
	done   chan struct{} // closed when its goroutine has ended
}

// openDataPlane opens the data plane, or opens it anew where an option that it
// is made with has changed.
func (d *daemon) openDataPlane(s *settings) error {
	m := s.cfg.Main
	if old := d.view.settings; d.dp != nil && old != nil {
		if old.cfg.Main.MarkMask == m.MarkMask && old.cfg.Main.MaxAddresses == m.MaxAddresses {
			return nil
		}
	}
	d.closeDataPlane()
	dp, err := ebpf.Open(ebpf.Options{Dir: d.o.BPFDir, Mask: m.MarkMask, MaxAddresses: m.MaxAddresses, Log: d.log})
	if err != nil {
		return fmt.Errorf("open data plane: %w", err)
	}
	events, err := dp.Events()
	if err != nil {
		return errors.Join(err, dp.Close())
	}
	r := &reader{events: events, done: make(chan struct{})}
	go d.read(r) // ends when r.events is closed
	d.set(func(*view) { d.dp = dp })
	d.reader = r
	return nil
}

func (d *daemon) closeDataPlane() {
	if d.dp == nil {
		return
	}
	d.warn("close ring of events", d.reader.events.Close())
	<-d.reader.done
	dp := d.dp
	d.set(func(*view) { d.dp = nil })
	d.warn("close data plane", dp.Close())
}

// read runs in a goroutine of its own. When the loop is behind, events are
// dropped: they only inform, and expire makes up for them.
func (d *daemon) read(r *reader) {
	defer close(r.done)
	for {
		ev, err := r.events.Next()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			d.log.Warn("cannot read events", "error", err)
			return
		}
		d.names.add(ev.Name, ev.Addrs)
		select {
		case d.learned <- ev:
		default:
		}
	}
}

// learn follows up on one DNS answer.
func (d *daemon) learn(ctx context.Context, ev ebpf.Event) {
	if d.dp == nil {
		return
	}
	switch ev.Kind {
	case ebpf.EventLearned:
		d.warn("keep learned addresses", d.dp.Ensure(ev))
		if ev.Client == ebpf.ClientSelf {
			d.learnOwn(ctx, ev)
		}
	case ebpf.EventFull:
		d.tellFull(ev)
		d.expire(ctx)
	case ebpf.EventUnparsed:
		d.fault("dns", fmt.Sprintf("an answer for %s could not be read whole, so its addresses are not known%s",
			ev.Name, withheld(ev)))
	}
}

func withheld(ev ebpf.Event) string {
	if ev.Withheld {
		return "; it was withheld from the client"
	}
	return "; the client got it and may use the direct path"
}

func (d *daemon) tellFull(ev ebpf.Event) {
	d.set(func(v *view) { v.full = true })
	if time.Since(d.lastFull) < fullEvery {
		return
	}
	d.lastFull = time.Now()
	limit := d.view.settings.cfg.Main.MaxAddresses
	reason := fmt.Sprintf("the address map is full (%d): addresses of %s found no room%s; raise option max_addresses",
		limit, ev.Name, withheld(ev))
	d.log.Error("address map full", "name", ev.Name, "max_addresses", limit, "withheld", ev.Withheld)
	d.fault("address map full", reason)
}

// learnOwn steers the router's own connections to what the router looked up.
func (d *daemon) learnOwn(ctx context.Context, ev ebpf.Event) {
	v := d.view
	if v.settings == nil || !v.settings.cfg.Main.OwnTraffic {
		return
	}
	chain, _, ok := v.settings.plan.Rules.Name(ev.Name)
	if !ok {
		return
	}
	i, ok := v.settings.plan.Taker(chain, netip.Addr{}, [6]byte{})
	if !ok {
		return
	}
	number := v.numbers[v.settings.plan.Destinations[i].Name]
	d.warn("steer own traffic", d.net.AddOwn(ctx, uint16(number), ev.Addrs))
}

// ownRoutes are the sets for the router's own traffic: networks of the rules,
// and what the router's own lookups learned.
func (d *daemon) ownRoutes(s *settings, choices map[string]steer.Choice) []netcfg.OwnRoute {
	p := s.plan
	routes := make([]netcfg.OwnRoute, len(p.Destinations))
	for i, dest := range p.Destinations {
		routes[i] = netcfg.OwnRoute{
			Destination: dest.Name, ID: uint16(d.view.numbers[dest.Name]), Path: d.pathIndex(choices[dest.Name].Path),
		}
	}
	for _, n := range p.Networks {
		if i, ok := p.Taker(n.Chain, netip.Addr{}, [6]byte{}); ok {
			routes[i].Prefixes = append(routes[i].Prefixes, n.Prefix)
		}
	}
	for number, addrs := range d.ownAddresses(s) {
		routes[number].Addresses = addrs
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
func (d *daemon) ownAddresses(s *settings) map[int][]netip.Addr {
	grants, err := d.dp.Grants()
	if err != nil {
		d.log.Warn("cannot read grants", "error", err)
		return nil
	}
	out := map[int][]netip.Addr{}
	for _, g := range grants {
		if g.Client != ebpf.ClientSelf || g.Draining {
			continue
		}
		key := ruleKey{g.Rule, g.Full}
		if i, ok := s.plan.Taker(key.chain(d.view.rules[key]), netip.Addr{}, [6]byte{}); ok {
			out[i] = append(out[i], g.Addr)
		}
	}
	return out
}

// ruleKey names a rule over names as learned entries do.
type ruleKey struct {
	hash uint64
	full bool
}

// chain is the part of a name's rule that the key is about.
func (k ruleKey) chain(r steer.NameRule) steer.Chain {
	if k.full {
		return r.Full
	}
	return r.Suffix
}

func rulesByKey(dp *ebpf.DataPlane, p *steer.Plan) map[ruleKey]steer.NameRule {
	out := make(map[ruleKey]steer.NameRule, len(p.Names))
	for _, r := range p.Names {
		hash, err := dp.Hash(r.Name)
		if err != nil {
			continue // SetTables tells of it
		}
		for _, full := range []bool{false, true} {
			if key := (ruleKey{hash, full}); len(key.chain(r)) > 0 {
				out[key] = r
			}
		}
	}
	return out
}

// expire forgets what is over: learned entries and flows.
func (d *daemon) expire(ctx context.Context) {
	if d.dp == nil {
		return
	}
	addresses, err := d.dp.Addresses()
	if err != nil {
		d.log.Warn("cannot expire addresses", "error", err)
		return
	}
	grants, err := d.dp.Grants()
	if err != nil {
		d.log.Warn("cannot expire addresses", "error", err)
		return
	}
	limit := d.view.settings.cfg.Main.MaxAddresses
	gone := expired(ebpf.Now(), addresses, grants, limit)
	d.warn("expire addresses", d.dp.Forget(gone))
	for _, k := range gone {
		if k.Client == 0 {
			d.names.forget(k.Addr)
		} else if k.Client == ebpf.ClientSelf {
			d.forgetOwn(ctx, k.Addr)
		}
	}
	if d.view.full && len(grants)-len(gone) < limit*9/10 {
		d.set(func(v *view) { v.full = false })
	}
	flows, err := d.dp.Flows()
	if err == nil {
		err = d.dp.ForgetFlows(stale(ebpf.Now(), flows))
	}
	d.warn("expire flows", err)
}

// forgetOwn takes an address out of every destination's own set: which one held
// it does not matter.
func (d *daemon) forgetOwn(ctx context.Context, a netip.Addr) {
	for _, number := range d.view.numbers {
		d.warn("stop steering own traffic", d.net.RemoveOwn(ctx, uint16(number), []netip.Addr{a}))
	}
}
