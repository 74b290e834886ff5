package daemon

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

const (
	// trafficHolds is how long a path that failed clients' connections counts as
	// failing: once they have left it, nothing tells any more but checks.
	trafficHolds = time.Minute
	// countEvery is how often the data plane's counters of trouble are read, and
	// troubleTime how long connections are looked at one by one after they moved.
	countEvery  = 500 * time.Millisecond
	troubleTime = 3 * time.Second
	// carriedEvery is how often it is looked which standby tunnels clients'
	// connections still use.
	carriedEvery = 30 * time.Second
	// restTime is the time between two looks while nothing is steered.
	restTime = time.Second
)

// health is what the loop knows of paths beside the tunnels' state. The loop's
// goroutine owns it.
type health struct {
	timer    *time.Timer // the next look
	memories map[string]steer.Memory
	// verdicts are what checks found, by destination.
	verdicts map[string]steer.Evidence
	// traffic is what clients' connections run into, by destination and path.
	traffic map[string]map[string]shown
	// early asks for a check before its time; nil: nobody checks.
	early   func(destination, reason string)
	needed  map[string]bool // tunnels that destinations are on
	wake    bool            // one of them sleeps
	again   time.Time       // when choices may be others by time alone; zero: never
	counted map[ebpf.HealthKey]uint32
	// countedAt is when counted was read; trouble until when connections are
	// looked at.
	countedAt, trouble time.Time
	carried            map[owned.PathIndex]uint64 // packets of clients, when last counted
	carriedAt          time.Time
}

// shown is a finding that counts for a while.
type shown struct {
	steer.Finding
	until time.Time
}

func newHealth() *health {
	return &health{
		timer: time.NewTimer(restTime), memories: map[string]steer.Memory{},
		traffic: map[string]map[string]shown{}, counted: map[ebpf.HealthKey]uint32{},
	}
}

// setVerdicts takes over what checks have found, by destination: of each path
// whether the destination works over it. It is called by the loop's goroutine,
// and moves destinations before the loop goes on.
func (d *daemon) setVerdicts(found map[string]steer.Evidence) {
	d.health.verdicts = found
	d.soil(pathsOnly)
}

// evidence is what is known of a destination now.
func (h *health) evidence(destination string, now time.Time) steer.Evidence {
	e := h.verdicts[destination]
	e.Traffic = map[string]steer.Finding{}
	for path, s := range h.traffic[destination] {
		if now.Before(s.until) {
			e.Traffic[path] = s.Finding
			h.lookAgain(s.until)
		}
	}
	return e
}

// lookAgain has the choices made again at a time, if not before.
func (h *health) lookAgain(at time.Time) {
	if !at.IsZero() && (h.again.IsZero() || at.Before(h.again)) {
		h.again = at
	}
}

// choose picks every destination's path for what is known now.
func (d *daemon) choose(p *steer.Plan) map[string]steer.Choice {
	now, h := time.Now(), d.health
	tunnels := map[string]steer.Tunnel{}
	for _, t := range d.view.tunnels {
		tunnels[t.Name] = steer.Tunnel{
			Up: t.Health == tunnel.Up, Maybe: t.Health == tunnel.Connecting, Asleep: t.Cause == tunnel.CauseStandby, Reason: t.Reason,
		}
	}
	h.again, h.needed, h.wake = time.Time{}, map[string]bool{}, false
	out := make(map[string]steer.Choice, len(p.Destinations))
	memories := make(map[string]steer.Memory, len(p.Destinations))
	for i := range p.Destinations {
		dest := &p.Destinations[i]
		c, m := steer.Choose(dest, tunnels, h.evidence(dest.Name, now), h.memories[dest.Name], now)
		out[dest.Name], memories[dest.Name] = c, m
		h.lookAgain(c.Again)
		h.needed[c.Path] = true
		h.wake = h.wake || tunnels[c.Path].Asleep
	}
	h.memories = memories
	d.tunnels.Need(h.needed)
	if h.wake {
		h.timer.Reset(0)
	}
	return out
}

// watchPaths looks several times a second whether paths still answer.
func (d *daemon) watchPaths(ctx context.Context) {
	h := d.health
	if d.unmet || d.dp == nil || d.view.settings == nil || !d.view.settings.cfg.Main.Enabled {
		h.timer.Reset(restTime)
		return
	}
	d.tunnels.Need(h.needed)
	w := d.tunnels.Watch(ctx, d.view.wan)
	if w.Changed || h.wake {
		h.wake = false
		d.refreshTunnels(ctx)
	}
	now := time.Now()
	d.needUsed(now)
	d.judgeTraffic(now, w.Heard)
	d.mendOffload(ctx, now)
	if !h.again.IsZero() && !now.Before(h.again) {
		d.soil(pathsOnly)
	}
	if now.Before(h.trouble) {
		w.Again = min(w.Again, countEvery)
	}
	h.timer.Reset(w.Again)
}

// needUsed keeps standby tunnels awake that clients' connections use, though their
// destinations have left them. Checks count for nothing here.
func (d *daemon) needUsed(now time.Time) {
	h := d.health
	if now.Sub(h.carriedAt) < carriedEvery {
		return
	}
	h.carriedAt = now
	counts, err := d.dp.Counts()
	if err != nil {
		d.warn("read counters", err)
		return
	}
	sums := map[owned.PathIndex]uint64{}
	for k, c := range counts {
		sums[k.Path] += c.Packets
	}
	used := map[string]bool{}
	for name, path := range d.view.paths {
		used[name] = sums[path] != h.carried[path] && h.carried != nil
	}
	h.carried = sums
	d.tunnels.Need(used)
}

// judgeTraffic looks at clients' connections, if counters say that some are in
// trouble, and takes note of paths that fail them.
func (d *daemon) judgeTraffic(now time.Time, heard map[string]time.Duration) {
	if !d.troubled(now) {
		return
	}
	flows, err := d.dp.Flows()
	if err != nil {
		d.warn("list flows", err)
		return
	}
	for _, f := range reach.JudgePassive(passiveFlows(flows, &d.view, d.names.of), heard) {
		if f.Sure {
			d.trafficFails(f, now)
		}
		if _, ok := d.limits.allow("passive sign " + f.Destination + " " + f.Path); ok {
			d.log.Info("connections fail", "destination", f.Destination, "path", f.Path, "sure", f.Sure, "reason", f.Reason)
			if d.health.early != nil {
				d.health.early(f.Destination, f.Path+": "+f.Reason)
			}
		}
	}
}

// trafficFails takes note of a path that fails a destination's connections.
func (d *daemon) trafficFails(f reach.PassiveFinding, now time.Time) {
	paths := d.health.traffic[f.Destination]
	if paths == nil {
		paths = map[string]shown{}
		d.health.traffic[f.Destination] = paths
	}
	if old := paths[f.Path]; now.After(old.until) {
		d.soil(pathsOnly)
	}
	paths[f.Path] = shown{steer.Finding{Sign: steer.SignFails, Reason: f.Reason}, now.Add(trafficHolds)}
}

// troubled says whether connections of clients had to repeat themselves, or were
// reset, in the last seconds: only then are they looked at one by one.
func (d *daemon) troubled(now time.Time) bool {
	h := d.health
	if now.Sub(h.countedAt) >= countEvery {
		h.countedAt = now
		all, err := d.dp.Health()
		if err != nil {
			d.warn("read health of paths", err)
			return false
		}
		for k, v := range all {
			n := v.Again + v.Reset + v.Refused
			if before, known := h.counted[k]; known && n != before {
				h.trouble = now.Add(troubleTime)
			}
			h.counted[k] = n
		}
	}
	return now.Before(h.trouble)
}

// passiveFlows are connections as package reach judges them, without those of
// destinations and tunnels that are gone. names gives those of a server.
func passiveFlows(flows []ebpf.Flow, v *view, names func(netip.Addr) []string) []reach.PassiveFlow {
	destinations, paths := map[ebpf.Destination]string{}, pathNames(v)
	for name, n := range v.numbers {
		destinations[n] = name
	}
	now := ebpf.Now()
	out := make([]reach.PassiveFlow, 0, len(flows))
	for _, f := range flows {
		dest, path := destinations[f.Destination], paths[f.Path]
		if dest == "" || path == "" || f.Path == owned.PathBlock {
			continue
		}
		one := passiveFlow(f, dest, path, now)
		if known := names(f.Server.Addr()); len(known) > 0 {
			one.Service = domain(known[len(known)-1])
		}
		out = append(out, one)
	}
	return out
}

func passiveFlow(f ebpf.Flow, dest, path string, now ebpf.Ticks) reach.PassiveFlow {
	out := reach.PassiveFlow{
		Destination: dest, Path: path, Server: f.Server, TCP: f.Protocol == protoTCP,
		Age: f.Created.Since(now), Said: f.LastTx.Since(now), Heard: -1, Waiting: f.Waiting, Again: int(f.Again),
		Established: f.Flags&ebpf.FlowSYNACK != 0, Asked: f.Flags&ebpf.FlowHello != 0, Answered: f.Flags&ebpf.FlowData != 0,
		Reset: f.Flags&ebpf.FlowResetServer != 0,
		Over:  f.Flags&(ebpf.FlowFIN|ebpf.FlowResetClient|ebpf.FlowEnded) != 0,
	}
	if f.RxPackets > 0 {
		out.Heard = f.LastRx.Since(now)
	}
	return out
}

// domain is what the names of one service have in common, near enough: the last
// two labels, or three where these are as short as in example.co.uk.
func domain(name string) string {
	labels := strings.Split(name, ".")
	n := len(labels)
	keep := 2
	if n > 2 && len(labels[n-1]) == 2 && len(labels[n-2]) <= 3 {
		keep = 3
	}
	return strings.Join(labels[max(n-keep, 0):], ".")
}

// stranded gives, by destination, the path that it left because that fails it
// though it is there: what waits for an answer on it is ended, what goes on is
// not.
func (d *daemon) stranded(before, now map[string]steer.Choice) map[ebpf.Destination]owned.PathIndex {
	out, at := map[ebpf.Destination]owned.PathIndex{}, time.Now()
	for name, c := range now {
		old, known := before[name]
		if !known || old.Path == c.Path {
			continue
		}
		e := d.health.evidence(name, at)
		if e.Traffic[old.Path].Sign == steer.SignFails || e.Checks[old.Path].Sign == steer.SignFails {
			out[d.view.numbers[name]] = d.pathIndex(old.Path)
		}
	}
	return out
}
