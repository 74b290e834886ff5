package daemon

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/sorting"
	"github.com/routerd/routerd/internal/steer"
)

// destinationMetrics are what there is to say of each destination.
func (d *daemon) destinationMetrics(x *control.Exposition, v *view, u use) {
	var all []control.DestinationStatus
	if v.settings != nil && v.settings.cfg.Main.Enabled {
		for i := range v.settings.plan.Destinations {
			all = append(all, destinationStatus(v, &v.settings.plan.Destinations[i], u))
		}
	}
	states := d.runner.Verdicts()
	addVerdicts(all, states)
	steerMetrics(x, all, pathLabels(v))
	verdictMetrics(x, all, states)
	trafficMetrics(x, v, u)
	connectionMetrics(x, v, u)
	changeMetrics(x, all, d.events.Counts())
}

// steerMetrics are where destinations go.
func steerMetrics(x *control.Exposition, all []control.DestinationStatus, paths []string) {
	states := []string{string(steer.StateOK), string(steer.StateDegraded), string(steer.StateDown), string(steer.StateBlocked)}
	state := x.Metric("routerd_destination_state", control.Gauge, "1 for the state of a destination, 0 for the others.")
	for _, s := range all {
		state.AddState("state", s.State, states, "destination", s.Name)
	}
	path := x.Metric("routerd_destination_path", control.Gauge, "1 for the path in use for a destination, 0 for the others.")
	for _, s := range all {
		path.AddState("path", s.Path, paths, "destination", s.Name)
	}
	addresses := x.Metric("routerd_destination_addresses", control.Gauge, "Known addresses of a destination.")
	for _, s := range all {
		addresses.Add(float64(s.Addresses), "destination", s.Name)
	}
	flows := x.Metric("routerd_destination_flows", control.Gauge, "Connections to a destination that are tracked.")
	for _, s := range all {
		flows.Add(float64(s.Flows), "destination", s.Name)
	}
}

// pathLabels are the paths that a destination can take.
func pathLabels(v *view) []string {
	out := []string{steer.PathDirect, steer.PathBlock}
	if v.settings != nil {
		out = append(out, tunnelNames(v.settings)...)
	}
	return out
}

// verdictMetrics are what checks say of destinations.
func verdictMetrics(x *control.Exposition, all []control.DestinationStatus, states []reach.State) {
	var words []string
	for _, v := range reach.Verdicts() {
		words = append(words, string(v))
	}
	verdict := x.Metric("routerd_destination_verdict", control.Gauge,
		"1 for what the checks of a destination say, 0 for the others; absent where it is not checked.")
	for _, s := range all {
		if s.Verdict != "" {
			verdict.AddState("verdict", s.Verdict, words, "destination", s.Name)
		}
	}
	targets := x.Metric("routerd_destination_targets", control.Gauge, "Targets of a destination that are checked, by verdict.")
	for _, s := range all {
		n := map[string]int{}
		for _, state := range statesOf(s.Name, states) {
			n[string(state.Verdict.Verdict)]++
		}
		for _, word := range words {
			targets.Add(float64(n[word]), "destination", s.Name, "verdict", word)
		}
	}
}

// changeMetrics are how often what is said of destinations has changed.
func changeMetrics(x *control.Exposition, all []control.DestinationStatus, events map[control.EventCount]uint64) {
	paths := x.Metric("routerd_path_changes_total", control.Counter, "How often a destination was moved to another path.")
	for _, s := range all {
		paths.Add(float64(events[control.EventCount{Kind: control.EventPath, Destination: s.Name}]), "destination", s.Name)
	}
	verdicts := x.Metric("routerd_verdict_changes_total", control.Counter, "How often the verdict on one of a destination's targets changed.")
	for _, s := range all {
		verdicts.Add(float64(events[control.EventCount{Kind: control.EventVerdict, Destination: s.Name}]), "destination", s.Name)
	}
}

// series names the samples of a destination over a path.
type series struct{ destination, path string }

func (s series) labels(more ...string) []string {
	return append([]string{"destination", s.destination, "path", s.path}, more...)
}

// namer gives the names of the data plane's numbers, false for what is of earlier
// settings and has no name any more.
func namer(v *view) func(ebpf.Destination, owned.PathIndex) (series, bool) {
	destinations, paths := map[ebpf.Destination]string{}, pathNames(v)
	for name, n := range v.numbers {
		destinations[n] = name
	}
	return func(d ebpf.Destination, p owned.PathIndex) (series, bool) {
		s := series{destinations[d], paths[p]}
		return s, s.destination != "" && s.destination != canaryDestination && s.path != ""
	}
}

// inOrder gives what is known of series, by destination and path.
func inOrder[T any](all map[series]T) []series {
	out := slices.Collect(maps.Keys(all))
	sorting.By(out, func(a, b series) int {
		return cmp.Or(strings.Compare(a.destination, b.destination), strings.Compare(a.path, b.path))
	})
	return out
}

// trafficMetrics are what went over each path to and from each destination.
func trafficMetrics(x *control.Exposition, v *view, u use) {
	name := namer(v)
	counts := map[string]map[series]ebpf.Count{"receive": {}, "transmit": {}}
	for k, c := range u.counts {
		direction := "transmit"
		if k.ToClient {
			direction = "receive"
		}
		if s, ok := name(k.Destination, k.Path); ok {
			counts[direction][s] = c
		}
	}
	each := func(metric, help string, value func(ebpf.Count) uint64) {
		m := x.Metric(metric, control.Counter, help)
		for _, direction := range []string{"receive", "transmit"} {
			for _, s := range inOrder(counts[direction]) {
				m.Add(float64(value(counts[direction][s])), s.labels("direction", direction)...)
			}
		}
	}
	each("routerd_destination_bytes_total", "Bytes of IP packets of a destination over a path, seen from the clients.",
		func(c ebpf.Count) uint64 { return c.Bytes })
	each("routerd_destination_packets_total", "IP packets of a destination over a path, seen from the clients.",
		func(c ebpf.Count) uint64 { return c.Packets })
}

// connectionMetrics are what clients' own connections came to.
func connectionMetrics(x *control.Exposition, v *view, u use) {
	name := namer(v)
	all := map[series]ebpf.Health{}
	for k, h := range u.health {
		if s, ok := name(k.Destination, k.Path); ok {
			all[s] = h
		}
	}
	events := x.Metric("routerd_connections_total", control.Counter,
		"Clients' connections to a destination over a path, by how far they came; each of them is counted at every stage it reached.")
	for _, s := range inOrder(all) {
		h := all[s]
		for _, e := range []struct {
			word string
			n    uint32
		}{{"begun", h.Begun}, {"established", h.Established}, {"answered", h.Answered}, {"reset", h.Reset}, {"refused", h.Refused}} {
			events.Add(float64(e.n), s.labels("stage", e.word)...)
		}
	}
	again := x.Metric("routerd_connection_repeats_total", control.Counter, "Packets that clients sent again because no answer came.")
	for _, s := range inOrder(all) {
		again.Add(float64(all[s].Again), s.labels()...)
	}
	rtt := x.Metric("routerd_connection_round_trip_seconds", control.Summary, "Round trips of the TCP handshakes of clients' connections.")
	for _, s := range inOrder(all) {
		rtt.AddSummary(all[s].RTT.Seconds(), uint64(all[s].Established), s.labels()...)
	}
}

// checkMetrics are how checks went.
func checkMetrics(x *control.Exposition, totals []reach.Total) {
	checks := x.Metric("routerd_checks_total", control.Counter, "Checks of a destination's targets over a path, by outcome.")
	for _, t := range totals {
		for _, o := range reach.Outcomes() {
			// That of success is there from the first check on, so that a share can be had.
			if n := t.Outcomes[o]; n > 0 || o == reach.OutcomeOK {
				checks.Add(float64(n), "destination", t.Destination, "path", t.Path, "outcome", string(o))
			}
		}
	}
	rtt := x.Metric("routerd_check_round_trip_seconds", control.Summary, "Round trips of checks that went well.")
	for _, t := range totals {
		rtt.AddSummary(t.RTT.Seconds(), t.RTTs, "destination", t.Destination, "path", t.Path)
	}
}
