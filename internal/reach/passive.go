package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

// What is known of a path from clients' own connections, without a packet of
// ours. The numbers err towards doing nothing: what they miss the next check
// finds.
const (
	// PassiveStall is how long a packet may go unanswered before it counts: TCP
	// has said it again by then, twice (RFC 6298: after 200 ms to 1 s, doubling),
	// and no path that people use has such a round trip.
	PassiveStall = 1200 * time.Millisecond
	// stallAgain is how many repetitions it takes: one is lost on any bad line.
	stallAgain = 2
	// datagramAgain is the same for what is no TCP, of which nobody knows what
	// wants an answer.
	datagramAgain = 4
	// freshTime is how young what speaks for or against a path must be.
	freshTime = 60 * time.Second
	// saidTime is how lately the client must have said again what is not answered:
	// one that has given up waits for nothing.
	saidTime = 4 * time.Second
	// fewServices, fewFlows are how many services, or connections, must fail
	// alike: one service may be down, at all of its addresses, one packet lost.
	fewServices = 2
	fewFlows    = 3
)

// PassiveKind is what clients' connections run into.
type PassiveKind string

// The values of PassiveKind.
const (
	PassiveUnreachable PassiveKind = "unreachable" // no SYN is answered
	PassiveSilent      PassiveKind = "silent"      // no answer to what the client sent
	PassiveReset       PassiveKind = "reset"       // a reset right after the client's first octets
)

// PassiveFlow is one connection of a client as the data plane has seen it.
type PassiveFlow struct {
	Destination, Path string
	Server            netip.AddrPort
	// Service is what servers that belong together have in common, such as a
	// domain; "" where that is not known.
	Service         string
	TCP             bool
	Age             time.Duration // since its first packet
	Said            time.Duration // since the client's last
	Heard           time.Duration // since the last packet that came back; negative: none did
	Waiting         time.Duration // since the first packet that nothing has come back for; 0: none waits
	Again           int           // packets since then that said it again
	Established     bool          // the SYN was accepted
	Asked, Answered bool          // client and server have sent data
	Reset           bool          // by the far side
	Over            bool          // it was closed, by whomever
}

// PassiveFinding is what connections of a destination over a path show.
type PassiveFinding struct {
	Destination, Path string
	Kind              PassiveKind
	// Sure: enough of them fail, alike, with something else answering meanwhile,
	// to blame the path at once. Otherwise it is a reason for an early check.
	Sure   bool
	Reason string // a sentence for people
}

// JudgePassive says which destinations fail over which path, in order of both.
// heard gives, for each path, since when nothing came over it, as far as that is
// known from other sources (a tunnel's counters). The flows must be all there
// are, taken at one moment. It is pure.
func JudgePassive(flows []PassiveFlow, heard map[string]time.Duration) []PassiveFinding {
	j := judge{heard: map[string]time.Duration{}, groups: map[passiveKey]*passiveGroup{}}
	for path, ago := range heard {
		j.note(path, ago)
	}
	for i := range flows {
		j.addGood(&flows[i])
	}
	for i := range flows {
		j.addFailure(&flows[i])
	}
	var out []PassiveFinding
	for key, g := range j.groups {
		out = append(out, j.findings(key, g)...)
	}
	sorting.By(out, func(a, b PassiveFinding) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

type passiveKey struct{ destination, path string }

// passiveGroup is what the connections of one destination over one path show.
type passiveGroup struct {
	answered bool                           // one of them was answered within PassiveStall
	fails    map[PassiveKind]map[string]int // connections, by servers for resets, by services else
	good     map[string]time.Duration       // age of the youngest connection that a server has answered
}

type judge struct {
	heard  map[string]time.Duration // by path: since when nothing came
	groups map[passiveKey]*passiveGroup
}

func (j *judge) note(path string, ago time.Duration) {
	if before, known := j.heard[path]; ago >= 0 && (!known || ago < before) {
		j.heard[path] = ago
	}
}

// group is that of a connection, made if need be.
func (j *judge) group(f *PassiveFlow) *passiveGroup {
	key := passiveKey{f.Destination, f.Path}
	g := j.groups[key]
	if g == nil {
		g = &passiveGroup{fails: map[PassiveKind]map[string]int{}, good: map[string]time.Duration{}}
		j.groups[key] = g
	}
	return g
}

// addGood takes note of what speaks for a path.
func (j *judge) addGood(f *PassiveFlow) {
	g, server := j.group(f), f.Server.Addr().String()
	j.note(f.Path, f.Heard)
	if f.Heard >= 0 && f.Heard < PassiveStall && !f.Reset {
		g.answered = true
	}
	if age, known := g.good[server]; f.Answered && !f.Reset && (!known || f.Age < age) {
		g.good[server] = f.Age
	}
}

// addFailure takes note of what speaks against one.
func (j *judge) addFailure(f *PassiveFlow) {
	g, server, kind := j.group(f), f.Server.Addr().String(), f.kind()
	if kind == "" {
		return
	}
	// A server that has answered since resets some only.
	if age, known := g.good[server]; kind == PassiveReset && known && age <= f.Age {
		return
	}
	if g.fails[kind] == nil {
		g.fails[kind] = map[string]int{}
	}
	if kind != PassiveReset && f.Service != "" {
		server = f.Service
	}
	g.fails[kind][server]++
}

// kind is how a connection fails; "" where it does not, or not beyond doubt.
func (f *PassiveFlow) kind() PassiveKind {
	switch {
	case f.Reset:
		return f.resetKind()
	case f.Over || f.Waiting < PassiveStall || f.Said > saidTime:
		return ""
	case !f.TCP:
		return f.datagramKind()
	case f.Established || f.Asked || f.Answered:
		return when(f.Again >= stallAgain, PassiveSilent)
	}
	// A SYN is said again after a second only.
	return when(f.Again > 0, PassiveUnreachable)
}

func (f *PassiveFlow) resetKind() PassiveKind {
	return when(f.TCP && f.Asked && !f.Answered && f.Age < freshTime, PassiveReset)
}

// datagramKind judges what is no TCP. Syslog and the like never get an answer.
func (f *PassiveFlow) datagramKind() PassiveKind {
	return when(f.Answered && f.Again >= datagramAgain, PassiveSilent)
}

func when(so bool, k PassiveKind) PassiveKind {
	if so {
		return k
	}
	return ""
}

// findings judges one destination over one path.
func (j *judge) findings(key passiveKey, g *passiveGroup) []PassiveFinding {
	var out []PassiveFinding
	for kind, units := range g.fails {
		failing, flows := 0, 0
		for _, n := range units {
			if kind == PassiveReset && n < fewFlows {
				continue // a server may do that once
			}
			failing++
			flows += n
		}
		if failing == 0 {
			continue
		}
		out = append(out, PassiveFinding{
			Destination: key.destination, Path: key.path, Kind: kind,
			Sure:   j.sure(key, g, kind, failing, flows),
			Reason: kind.reason(failing, flows),
		})
	}
	return out
}

// sure says whether the path is to blame beyond doubt. Resets come from the far
// side, or from one who pretends to be: then the line works. Silence is the
// path's only where nothing of the destination answers, more than one service is
// asked, or other destinations are silent too, and something answers elsewhere:
// else the service, or the line, is dead.
func (j *judge) sure(key passiveKey, g *passiveGroup, kind PassiveKind, services, flows int) bool {
	if kind == PassiveReset {
		return true
	}
	if g.answered || !j.elsewhere(key.path) {
		return false
	}
	if services >= fewServices && flows >= fewFlows {
		return true
	}
	return j.companions(key) >= fewServices-1
}

// elsewhere says whether another path answers now.
func (j *judge) elsewhere(path string) bool {
	for other, ago := range j.heard {
		if other != path && ago < PassiveStall {
			return true
		}
	}
	return false
}

// companions counts the other destinations that are silent over the same path;
// none where any of them is answered there.
func (j *judge) companions(key passiveKey) int {
	n := 0
	for other, g := range j.groups {
		if other.path != key.path || other == key {
			continue
		}
		if g.answered {
			return 0
		}
		if len(g.fails[PassiveSilent]) > 0 || len(g.fails[PassiveUnreachable]) > 0 {
			n++
		}
	}
	return n
}

func (k PassiveKind) reason(units, flows int) string {
	of := plural(flows, "connection") + " to "
	switch k {
	case PassiveReset:
		return of + plural(units, "server") + ": reset right after the client's first bytes"
	case PassiveUnreachable:
		return of + plural(units, "service") + ": no answer to the attempt"
	}
	return of + plural(units, "service") + ": no answer any more"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
