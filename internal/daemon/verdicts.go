package daemon

import (
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/reach"
)

// addVerdicts says of each destination what the checks of its targets together
// say; nothing of one that is not checked.
func addVerdicts(destinations []control.DestinationStatus, states []reach.State) {
	for i := range destinations {
		d := &destinations[i]
		if own := statesOf(d.Name, states); len(own) > 0 {
			s := reach.Summarize(own)
			d.Verdict, d.VerdictReason = string(s.Verdict), s.Reason
		}
	}
}

// addRoundTrips says of each tunnel the shortest round trip of the latest checks
// that worked over it: that of the service which is nearest to its exit.
func addRoundTrips(tunnels []control.TunnelStatus, states []reach.State) {
	for i := range tunnels {
		var shortest time.Duration
		for _, s := range states {
			for _, r := range s.Results {
				if r.Path == tunnels[i].Name && r.Outcome == reach.OutcomeOK && r.RTT > 0 && (shortest == 0 || r.RTT < shortest) {
					shortest = r.RTT
				}
			}
		}
		tunnels[i].RTTMs = milliseconds(shortest)
	}
}

// statesOf picks a destination's.
func statesOf(destination string, states []reach.State) []reach.State {
	var out []reach.State
	for _, s := range states {
		if s.Spec.Destination == destination {
			out = append(out, s)
		}
	}
	return out
}

// checksOf gives the checks of a destination's host, or where that is not checked
// itself those of all its hosts.
func (v *view) checksOf(destination, host string, states []reach.State) []control.Check {
	own := statesOf(destination, states)
	if destination == "" {
		own = nil
	}
	isHost := func(s reach.State) bool { return strings.EqualFold(s.Spec.Target.Host, host) }
	if slices.ContainsFunc(own, isHost) {
		own = slices.DeleteFunc(own, func(s reach.State) bool { return !isHost(s) })
	}
	return toldChecks(v, own)
}

// lastCheck is when the last of some checks was made, nil: none was.
func lastCheck(checks []control.Check) *time.Time {
	var last *time.Time
	for _, c := range checks {
		if c.Checked != nil && (last == nil || c.Checked.After(*last)) {
			last = c.Checked
		}
	}
	return last
}
