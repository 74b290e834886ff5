package reach_test

import (
	"flag"
	"testing"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

var all = flag.Bool("all", false, "every pair of interferences; without it, every third")

// half is one of two things that are done at a time.
type half struct {
	trouble
	layer int
}

// The layers that interference is with, from below.
const (
	lookups = iota
	connections
	handshakes
	contents
)

// halvesOf lists what can be paired with a kind of service.
func halvesOf(k kind) []half {
	of := []kind{k}
	out := []half{
		{bad("forged lookups", of, reach.DNSTampered, "interference with lookups", lab.Interference{Kind: interfere.DNSForge}), lookups},
		{bad("names that do not exist", of, reach.DNSNXDomain, "does not exist", lab.Interference{Kind: interfere.DNSForge, Answer: interfere.AnswerNXDomain}), lookups},
		{bad("injected answers", of, reach.DNSTampered, "injected on the way", lab.Interference{Kind: interfere.DNSInject}), lookups},
		{bad("dropped lookups", of, reach.DNSTimeout, "no answer to the lookup", lab.Interference{Kind: interfere.DNSDrop}), lookups},
		{bad("dropped SYNs", of, reach.TCPTimeout, "interference by address", lab.Interference{Kind: interfere.TCPDrop}), connections},
		{bad("reset SYNs", of, reach.TCPRefused, "refused", lab.Interference{Kind: interfere.TCPReset}), connections},
		{bad("unreachable", of, reach.TCPUnreachable, "no way to", lab.Interference{Kind: interfere.Unreachable}), connections},
	}
	if k == anExchange || k == aPoolTLS {
		out = append(out,
			half{bad("reset by name", of, reach.TLSReset, "interference by name", lab.Interference{Kind: interfere.TLSReset}), handshakes},
			half{bad("silenced by name", of, reach.TLSTimeout, "interference by name", lab.Interference{Kind: interfere.TLSDrop}), handshakes},
			half{bad("another certificate", of, reach.TLSBadCertificate, "Provider Inspection Authority", lab.Interference{Kind: interfere.TLSCert}), handshakes},
		)
	}
	out = append(out, contentsOf(k)...)
	return append(out, half{trouble{"a service that is down", one(lab.Interference{Kind: interfere.ServiceDown}), of, reach.ServiceDown, reach.TCPRefused, reach.TCPRefused, "the service is down", false}, contents})
}

// contentsOf are those above a handshake.
func contentsOf(k kind) []half {
	of := []kind{k}
	refusal := half{trouble{"refused", one(lab.Interference{Kind: interfere.ServiceReject}), of, reach.VerdictRefused, reach.StratumRejected, reach.StratumRejected, "refuses", false}, contents}
	switch k {
	case anExchange, aPlain:
		slow := fine("slow", of, lab.Interference{Kind: interfere.Rate})
		slow.patient = true
		refusal = half{trouble{"451", one(lab.Interference{Kind: interfere.ServiceStatus, Status: 451}), of, reach.VerdictRefused, reach.ServiceRefused, reach.ServiceRefused, "HTTP 451", false}, contents}
		return []half{{bad("a frozen transfer", of, reach.Stalled, "the transfer stopped after", lab.Interference{Kind: interfere.Freeze}), contents}, refusal, {slow, contents}}
	case aPool:
		return []half{{bad("a session that is reset", of, reach.StratumReset, "after mining.subscribe", lab.Interference{Kind: interfere.TCPReset, On: interfere.OnData}), contents}, refusal}
	}
	return []half{refusal}
}

func TestOfTwoInterferencesTheLowerLayerIsTold(t *testing.T) {
	var pairs []trouble
	for _, k := range []kind{anExchange, aPool, aPoolTLS} {
		of := halvesOf(k)
		for i, a := range of {
			for _, b := range of[i+1:] {
				if a.layer < b.layer || a.layer == contents && !(byService(a) && byService(b)) {
					pairs = append(pairs, pair(a, b))
				}
			}
		}
	}
	if !*all {
		var third []trouble
		for i := 0; i < len(pairs); i += 3 {
			third = append(third, pairs[i])
		}
		pairs = third
	}
	t.Logf("%d pairs", len(pairs))
	theWorld(t).tryAll(t, pairs)
}

// byService says whether it is the service that does it.
func byService(x half) bool {
	info, _ := interfere.InfoOf(x.x[0].Kind)
	return info.Service
}

// pair is what two interferences look like together. The lower layer is told; what
// is different is said here, with its reason.
func pair(a, b half) trouble {
	out := a.trouble
	out.name = a.name + " and " + b.name
	out.x = append(append([]lab.Interference{}, a.x...), b.x...)
	out.patient = a.patient || b.patient
	if byService(b) {
		out.tunnels = b.tunnels
	}
	switch {
	case noWorse(a, b):
		out.verdict, out.direct, out.says = b.verdict, b.direct, b.says
	case b.name == "a service that is down":
		down(a, b, &out)
	case a.verdict == reach.Reachable, a.name == "a frozen transfer" && b.name == "451":
		// What is slow still comes; a refusal is too short to be frozen.
		out.verdict, out.direct, out.says = b.verdict, b.direct, b.says
	}
	return out
}

// noWorse says whether a false address serves the name no worse than the true
// ones, since the provider's page is on no pool's port: it may be an honest answer.
func noWorse(a, b half) bool {
	switch {
	case a.name != "forged lookups" && a.name != "injected answers":
		return false
	case a.of[0] == anExchange:
		return b.layer == handshakes
	}
	return b.direct == reach.TCPRefused
}

// down is for services that nothing reaches: interference has nothing to break
// there, but may hide that.
func down(a, b half, out *trouble) {
	switch {
	case a.layer == lookups: // true addresses are tried all the same
		out.verdict, out.says = reach.ServiceDown, "the service is down"
	case a.name == "dropped SYNs", a.name == "unreachable", a.name == "another certificate":
		out.verdict, out.says = reach.Unknown, "it fails in another way"
	default:
		out.verdict, out.direct, out.says = reach.ServiceDown, b.direct, b.says
	}
}
