package steer

import (
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/config"
)

// The paths that are no tunnel, as people read them.
const (
	PathDirect = "direct"
	PathBlock  = "block"
)

// State is a destination's state as people are told it.
type State string

// The values of State.
const (
	StateOK       State = "ok"
	StateDegraded State = "degraded" // not on its first path, or not sure of it
	StateDown     State = "down"     // no path works, and none may replace it
	StateBlocked  State = "blocked"  // policy block
)

// Tunnel is what the choice knows of a tunnel.
type Tunnel struct {
	Up     bool   // the peer answers
	Maybe  bool   // not known yet: connecting
	Reason string // why it is not up
}

// Choice is the path of a destination now.
type Choice struct {
	Path   string // PathDirect, PathBlock or a tunnel's name
	State  State
	Reason string // for people; "" where all is as set
}

// Choose picks a destination's path. Where none works and the WAN is not
// allowed, the path is the preferred tunnel: its table then ends in an
// unreachable route, and flows go on when it comes back.
func Choose(d *Destination, tunnels map[string]Tunnel) Choice {
	switch d.Policy {
	case config.PolicyBlock:
		return Choice{PathBlock, StateBlocked, "policy block"}
	case config.PolicyDirect:
		return Choice{PathDirect, StateOK, "policy direct"}
	case config.PolicyAuto:
		return Choice{PathDirect, StateOK, "policy auto: the direct path is preferred"}
	}
	return chooseTunnel(d, tunnels)
}

func chooseTunnel(d *Destination, tunnels map[string]Tunnel) Choice {
	for i, name := range d.Tunnels {
		if !tunnels[name].Up {
			continue
		}
		if i == 0 {
			return Choice{name, StateOK, ""}
		}
		return Choice{name, StateDegraded, "preferred before it: " + reasons(d.Tunnels[:i], tunnels)}
	}
	for _, name := range d.Tunnels {
		if tunnels[name].Maybe {
			return Choice{name, StateDegraded, "no tunnel is up yet: " + reasons(d.Tunnels, tunnels)}
		}
	}
	return noTunnel(d, tunnels)
}

func noTunnel(d *Destination, tunnels map[string]Tunnel) Choice {
	why := "no tunnel is set up"
	if len(d.Tunnels) > 0 {
		why = reasons(d.Tunnels, tunnels)
	}
	switch {
	case d.Unset:
		return Choice{PathDirect, StateDegraded, why + ": nothing is steered until there is one"}
	case d.Fallback == config.FallbackDirect:
		return Choice{PathDirect, StateDegraded, "fallback direct: " + why}
	case len(d.Tunnels) > 0:
		return Choice{d.Tunnels[0], StateDown, "fallback block: " + why}
	}
	return Choice{PathBlock, StateDown, "fallback block: " + why}
}

func reasons(names []string, tunnels map[string]Tunnel) string {
	parts := make([]string, 0, len(names))
	for _, n := range names {
		r := tunnels[n].Reason
		if r == "" {
			r = "not up"
		}
		parts = append(parts, fmt.Sprintf("%s: %s", n, r))
	}
	return strings.Join(parts, "; ")
}
