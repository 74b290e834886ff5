package steer

import (
	"fmt"
	"strings"
	"time"

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

// Choice is the path of a destination now.
type Choice struct {
	Path   string // PathDirect, PathBlock or a tunnel's name
	State  State
	Reason string // for people; "" where all is as set
	// Again is when the choice may be another though nothing else changes; zero:
	// never.
	Again time.Time
}

// grade says how good a path is, the better the higher.
type grade uint8

const (
	down     grade = iota // no device, or a peer that does not answer
	failing               // it is there, and the destination fails over it
	instead               // the WAN by fallback direct
	possible              // a tunnel of which it is not known yet
	works
)

// candidate is a path that a destination may take.
type candidate struct {
	path   string
	grade  grade
	reason string // why it does not work
	doubt  string // it fails too, which may be the service's own fault; "" else
}

// Choose picks a destination's path, given what was chosen before, and returns
// what to remember. A present path that does not work is left at once for the
// best that does. One that works is left only for a path that is preferred and
// has worked long enough not to be left again in a moment. Where none works and
// the WAN is not allowed, the path is the present or preferred tunnel: its table
// then prohibits what it gets, and flows go on when it comes back.
func Choose(d *Destination, tunnels map[string]Tunnel, e Evidence, m Memory, now time.Time) (Choice, Memory) {
	if c, fixed := fixedChoice(d); fixed {
		return c, remembering(m, c.Path, now)
	}
	paths := candidates(d, tunnels, &e)
	m = m.observe(paths, now)
	to, again := pick(paths, m, now)
	m = remembering(m, paths[to].path, now)
	c := explain(d, paths, to, e.Offline)
	c.Again = again
	return c, m
}

// fixedChoice is the choice where there is none.
func fixedChoice(d *Destination) (Choice, bool) {
	switch {
	case d.Policy == config.PolicyBlock:
		return Choice{Path: PathBlock, State: StateBlocked, Reason: "policy block"}, true
	case d.Policy == config.PolicyDirect:
		return Choice{Path: PathDirect, State: StateOK, Reason: "policy direct"}, true
	case d.Policy == config.PolicyAuto || len(d.Tunnels) > 0:
		return Choice{}, false
	case d.Unset:
		return Choice{Path: PathDirect, State: StateDegraded, Reason: "no tunnel is set up: nothing is steered until there is one"}, true
	case d.Fallback == config.FallbackDirect:
		return Choice{Path: PathDirect, State: StateDegraded, Reason: "fallback direct: no tunnel is set up"}, true
	}
	return Choice{Path: PathBlock, State: StateDown, Reason: "fallback block: no tunnel is set up"}, true
}

func remembering(m Memory, path string, now time.Time) Memory {
	if m.path == path {
		return m
	}
	return m.moved(path, now)
}

// candidates are the paths that a destination may take, in order of preference.
// The WAN is among them only where the policy or the fallback says so.
func candidates(d *Destination, tunnels map[string]Tunnel, e *Evidence) []candidate {
	var out []candidate
	if d.Policy == config.PolicyAuto {
		out = append(out, directCandidate(works, e))
	}
	for _, name := range d.Tunnels {
		out = append(out, tunnelCandidate(name, tunnels[name], e))
	}
	if d.Policy == config.PolicyTunnel && d.MayGoDirect() {
		out = append(out, directCandidate(instead, e))
	}
	return out
}

func directCandidate(g grade, e *Evidence) candidate {
	c := candidate{path: PathDirect, grade: g}
	if reason, fails := e.fails(PathDirect); fails {
		c.grade, c.reason = failing, reason
	} else if f := e.Checks[PathDirect]; f.Sign == SignUnknown {
		c.doubt = f.Reason
	}
	return c
}

func tunnelCandidate(name string, t Tunnel, e *Evidence) candidate {
	c := candidate{path: name, grade: down, reason: reasonOr(t.Reason, "not up")}
	switch {
	case t.Up:
		c.grade, c.reason = works, ""
		if reason, fails := e.fails(name); fails {
			c.grade, c.reason = failing, reason
		}
	case t.Maybe || t.Asleep:
		c.grade = possible
	}
	return c
}

// pick is the index of the path to take, and when that may change by itself.
func pick(paths []candidate, m Memory, now time.Time) (int, time.Time) {
	present, best := indexOf(paths, m.path), bestOf(paths)
	if present < 0 {
		return best, time.Time{}
	}
	switch {
	case paths[present].grade < paths[best].grade:
		return away(paths, present, m, now)
	case paths[present].grade == works:
		return back(paths, present, m, now)
	}
	return present, time.Time{}
}

// away picks the path in place of one that does not work: the first that has
// been steady, else the first of the best. The WAN by fallback works well enough
// not to be left for a tunnel that comes and goes.
func away(paths []candidate, present int, m Memory, now time.Time) (int, time.Time) {
	if paths[present].grade == instead {
		return back(paths, present, m, now)
	}
	if free := m.freeAt(now); free.After(now) {
		return present, free
	}
	to := bestOf(paths)
	if paths[to].grade != works {
		return to, time.Time{}
	}
	for i, p := range paths {
		if p.grade == works && !m.steadyAt(p.path, now).After(now) {
			to = i
			break
		}
	}
	_, again := back(paths, to, m, now)
	return to, again
}

// back picks the most preferred path that may be gone back to from one that
// works.
func back(paths []candidate, present int, m Memory, now time.Time) (int, time.Time) {
	var again time.Time
	for i, p := range paths[:present] {
		if p.grade != works {
			continue
		}
		at := m.backAt(p.path, now)
		if !at.After(now) {
			return i, time.Time{}
		}
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return present, again
}

func indexOf(paths []candidate, path string) int {
	for i, p := range paths {
		if p.path == path {
			return i
		}
	}
	return -1
}

// bestOf is the first of the best.
func bestOf(paths []candidate) int {
	best := 0
	for i, p := range paths {
		if p.grade > paths[best].grade {
			best = i
		}
	}
	return best
}

// explain tells people of a choice.
func explain(d *Destination, paths []candidate, to int, offline bool) Choice {
	p := paths[to]
	c := Choice{Path: p.path, State: StateDegraded}
	switch {
	case p.grade < paths[bestOf(paths)].grade && p.grade != instead:
		c.State, c.Reason = StateDown, "too many moves within the hour, the next one waits: "+reasons(paths)
	case p.grade == down:
		c.State, c.Reason = StateDown, "fallback block: "+reasons(paths)
	case offline:
		c.Reason = "the line is down: nothing answers on the direct path"
	case p.grade == works && to == 0 && p.doubt != "":
		c.Reason = "it fails over " + p.path + ", and nothing tells whose fault that is: " + p.doubt
	case p.grade == works && to == 0:
		c.State, c.Reason = StateOK, asPreferred(d)
	default:
		c.Reason = secondBest(paths, to)
	}
	return c
}

// asPreferred is what to say of a destination on its first path.
func asPreferred(d *Destination) string {
	if d.Policy == config.PolicyAuto {
		return "policy auto: the direct path is preferred"
	}
	return ""
}

// secondBest says why a destination is on a path that is not its first, or does
// not work well.
func secondBest(paths []candidate, to int) string {
	switch paths[to].grade {
	case works:
		return "preferred before it: " + reasons(paths[:to])
	case possible:
		return "no tunnel is up yet: " + reasons(paths)
	case instead:
		return "fallback direct: " + reasons(paths[:to])
	}
	return "it works over no path: " + reasons(paths)
}

func reasons(paths []candidate) string {
	parts := make([]string, 0, len(paths))
	for _, p := range paths {
		switch {
		case p.grade == works:
			parts = append(parts, p.path+": works again, and is watched before connections go back to it")
		case p.reason != "":
			parts = append(parts, fmt.Sprintf("%s: %s", p.path, p.reason))
		}
	}
	return strings.Join(parts, "; ")
}
