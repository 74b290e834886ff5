package daemon

import (
	"slices"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/reach"
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

// trafficMetrics are what went over each path to and from each destination.
func trafficMetrics(x *control.Exposition, v *view, u use) {
	destinations, paths := map[ebpf.Destination]string{}, pathNames(v)
	for name, n := range v.numbers {
		destinations[n] = name
	}
	type series struct {
		destination, path, direction string
		ebpf.Count
	}
	var all []series
	for k, c := range u.counts {
		s := series{destinations[k.Destination], paths[k.Path], "transmit", c}
		if k.ToClient {
			s.direction = "receive"
		}
		// What is of earlier settings has no name any more.
		if s.destination != "" && s.destination != canaryDestination && s.path != "" {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b series) int {
		return slices.Compare([]string{a.destination, a.path, a.direction}, []string{b.destination, b.path, b.direction})
	})
	bytes := x.Metric("routerd_destination_bytes_total", control.Counter, "Bytes of IP packets of a destination over a path, seen from the clients.")
	for _, s := range all {
		bytes.Add(float64(s.Bytes), "destination", s.destination, "path", s.path, "direction", s.direction)
	}
	packets := x.Metric("routerd_destination_packets_total", control.Counter, "IP packets of a destination over a path, seen from the clients.")
	for _, s := range all {
		packets.Add(float64(s.Packets), "destination", s.destination, "path", s.path, "direction", s.direction)
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
