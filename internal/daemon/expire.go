package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
)

// drainTime is how long an address of a removed rule stays for its old flows
// after the last packet.
const drainTime = 10 * time.Minute

// idleTime is how long a learned entry outlives its TTL unused: clients keep
// answers longer than they should, so as long as there is room for it.
func idleTime(used, capacity int) time.Duration {
	switch fill := used * 100 / max(capacity, 1); {
	case fill < 50:
		return 24 * time.Hour
	case fill < 75:
		return 6 * time.Hour
	case fill < 90:
		return time.Hour
	}
	return 10 * time.Minute
}

// expired picks the entries to forget: grants whose TTL is over and which no
// packet has used for the idle time, and addresses that have no grant left.
func expired(now ebpf.Ticks, addresses, grants []ebpf.Known, capacity int) []ebpf.Known {
	idle := idleTime(max(len(addresses), len(grants)), capacity)
	held := map[netip.Addr]bool{}
	var out []ebpf.Known
	for _, g := range grants {
		if old(g, now, idle) {
			out = append(out, g)
		} else {
			held[g.Addr] = true
		}
	}
	for _, a := range addresses {
		if !held[a.Addr] && old(a, now, idle) {
			out = append(out, a)
		}
	}
	return out
}

func old(k ebpf.Known, now ebpf.Ticks, idle time.Duration) bool {
	if k.Draining {
		return k.Used.Since(now) > drainTime
	}
	return k.Expires < now && k.Used.Since(now) > idle && k.Seen.Since(now) > idle
}

// Times after which a flow that says nothing is taken off the table.
const (
	flowClosedTime = 30 * time.Second
	flowUDPTime    = 3 * time.Minute
	flowTCPTime    = 24 * time.Hour
)

// stale picks the flows that are over.
func stale(now ebpf.Ticks, flows []ebpf.Flow) []ebpf.Flow {
	var out []ebpf.Flow
	for _, f := range flows {
		limit := flowUDPTime
		if f.Protocol == protoTCP {
			limit = flowTCPTime
		}
		if f.Flags&(ebpf.FlowFIN|ebpf.FlowResetClient|ebpf.FlowResetServer|ebpf.FlowEnded) != 0 {
			limit = flowClosedTime
		}
		if max(f.LastTx, f.LastRx).Since(now) > limit {
			out = append(out, f)
		}
	}
	return out
}

// snapshot is what the data plane has learned, read at one time.
type snapshot struct{ addresses, grants []ebpf.Known }

func (d *daemon) snapshot() (snapshot, error) {
	addresses, err := d.dp.Addresses()
	if err != nil {
		return snapshot{}, err
	}
	grants, err := d.dp.Grants()
	return snapshot{addresses, grants}, err
}

// expire forgets what is over: learned entries, flows, numbers.
func (d *daemon) expire(ctx context.Context) {
	if d.dp == nil || d.view.settings == nil {
		return
	}
	known, err := d.snapshot()
	if err != nil {
		d.warn("expire addresses", err)
		return
	}
	limit := d.opened.maxAddresses
	gone, err := d.dp.ForgetUnused(expired(ebpf.Now(), known.addresses, known.grants, limit))
	d.warn("expire addresses", err)
	addresses, grants := len(known.addresses), len(known.grants)
	var own []netip.Addr
	for _, k := range gone {
		switch k.Client {
		case 0:
			addresses--
		case ebpf.ClientSelf:
			own = append(own, k.Addr)
			grants--
		default:
			grants--
		}
	}
	d.forgetOwn(ctx, own)
	d.names.keep(known.addresses, gone)
	d.sharers.keep(known.addresses, gone)
	d.tellRoom(max(addresses, grants), limit)
	d.checkTargets(known)
	d.expireFlows()
	d.noteUse()
	d.freeDestinations(d.view.settings)
}

// forgetExempt takes out what was learned before it became exempt: an address
// that is the router's own now, or a tunnel's endpoint.
func (d *daemon) forgetExempt(ctx context.Context, exempt []netip.Prefix) {
	known, err := d.snapshot()
	if err != nil {
		d.warn("forget exempt addresses", err)
		return
	}
	var gone []ebpf.Known
	var own []netip.Addr
	for _, k := range slices.Concat(known.grants, known.addresses) {
		if !slices.ContainsFunc(exempt, func(p netip.Prefix) bool { return p.Contains(k.Addr) }) {
			continue
		}
		gone = append(gone, k)
		if k.Client == ebpf.ClientSelf {
			own = append(own, k.Addr)
		}
	}
	d.warn("forget exempt addresses", d.dp.Forget(gone))
	d.forgetOwn(ctx, own)
}

// tellRoom takes note that a map which was full has room again.
func (d *daemon) tellRoom(used, limit int) {
	if !d.view.full || used >= limit*9/10 {
		return
	}
	d.set(func(v *view) { v.full = false })
	d.log.Info("address map has room again", "used", used, "max_addresses", limit)
	d.events.Add(control.Event{Kind: control.EventFault, From: "address map full", To: "address map has room again"})
}

// checkTargets has the maps brought in line where an entry was learned by a rule
// that went away at the same moment: SetTables could not see it yet.
func (d *daemon) checkTargets(known snapshot) {
	strange := func(k ebpf.Known) bool {
		if i, ok := d.view.rules[k.Rule]; ok && i == noRule {
			return false
		}
		_, _, ok := d.view.rule(ruleKey{k.Rule, k.Full})
		return !ok && !k.Draining
	}
	if slices.ContainsFunc(known.addresses, strange) || slices.ContainsFunc(known.grants, strange) {
		d.filled = nil
		d.soil(pathsOnly)
	}
}

func (d *daemon) expireFlows() {
	flows, err := d.dp.Flows()
	if err == nil {
		err = d.dp.ForgetFlows(stale(ebpf.Now(), flows))
	}
	d.warn("expire flows", err)
}

// freeDestinations frees the numbers of destinations that are gone, of this
// process or an earlier one, once no flow holds them. A learned entry does so
// only while its rule is in force, and then the destination is not gone: one
// that drains serves the flows it has, which hold their destination themselves.
func (d *daemon) freeDestinations(s *settings) {
	// Entries that SetTables has not brought in line may name any number.
	if d.filled == nil {
		return
	}
	gone, err := d.dp.GoneDestinations(destinationNames(s))
	if err != nil || len(gone) == 0 {
		d.warn("find the numbers of destinations that are gone", err)
		return
	}
	flows, err := d.dp.Flows()
	if err != nil {
		d.warn("list flows", err)
		return
	}
	var errs []error
	for _, n := range gone {
		if !slices.ContainsFunc(flows, func(f ebpf.Flow) bool { return f.Destination == n }) {
			errs = append(errs, d.dp.FreeDestination(n))
		}
	}
	d.warn("free a destination's number", errors.Join(errs...))
}

// IANA protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)
