package reach_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// around is what goes on along the whole line, and what else is tried meanwhile.
type around struct {
	name  string
	x     []lab.Interference // as it is: no subject's name is put in
	cases []trouble
}

func TestInterferenceIsToldWhateverTheLineDoes(t *testing.T) {
	free := worlds(t)
	for _, a := range arounds() {
		t.Run(strings.ReplaceAll(a.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			w := <-free
			t.Cleanup(func() { free <- w })
			t.Cleanup(func() { w.settle(t) }) // a dead line takes the tunnels along
			for _, x := range a.x {
				w.interfere(t, x)
			}
			w.tryAll(t, a.cases)
		})
	}
}

func arounds() []around {
	other := []netip.Prefix{netip.MustParsePrefix(lab.Exit2Address + "/32")}
	control := func(names ...string) lab.Interference { return lab.Interference{Kind: interfere.Drop, Names: names} }
	return []around{
		{"a line that is dead", one(lab.Interference{Kind: interfere.WANDown}), dead()},
		{"IPv6 dead", one(lab.Interference{Kind: interfere.WANDown, Family: 6}), each(usualHalves(), withTunnels(reach.OutcomeNone))},
		{"lookups turned and answered truly", one(lab.Interference{Kind: interfere.DNSRedirect}), usualHalves()},
		{"5 % loss", one(lab.Interference{Kind: interfere.Loss, Percent: 5}), each(usualHalves(), lossily)},
		{"a round trip of 100 ms", one(lab.Interference{Kind: interfere.Delayed, Delay: 50 * time.Millisecond}), each(usualHalves(), patiently)},
		{"a tunnel that is dead", one(lab.Interference{Kind: interfere.Drop, Addresses: other}), each(usualHalves(), withTunnels(reach.OutcomeNone))},
		{"a tunnel whose handshake is dropped", one(lab.Interference{Kind: interfere.WGHandshake, Addresses: other}), usualHalves()},
		{"two neutral services dead", one(control("news.example", "bank.example")), usualHalves()},
		{"all neutral services dead", one(control("news.example", "bank.example", "video.example", "shopping.example")), each(usualHalves(), withoutControls)},
	}
}

// usualHalves are a kind of each layer, and nothing, with an exchange and a pool.
func usualHalves() []trouble {
	var out []trouble
	for _, x := range halvesOf(anExchange) {
		switch x.name {
		case "injected answers", "unreachable", "slow": // like others, here
		default:
			out = append(out, x.trouble)
		}
	}
	for _, x := range halvesOf(aPool) {
		switch x.name {
		case "dropped lookups", "reset SYNs", "a session that is reset", "a service that is down":
			out = append(out, x.trouble)
		}
	}
	return append(out, fine("nothing", everything()))
}

func each(all []trouble, change func(trouble) trouble) []trouble {
	for i := range all {
		all[i] = change(all[i])
	}
	return all
}

// lossily: where the last of a frozen transfer's 16 KiB are lost, nothing of the
// answer is left to be told.
func lossily(x trouble) trouble {
	x.patient = true
	if x.direct == reach.Stalled {
		x.direct, x.says = reach.OutcomeNone, "works through home"
	}
	return x
}

// patiently is with the router's own times.
func patiently(x trouble) trouble {
	x.patient = true
	return x
}

// withTunnels is for lines that tell on tunnels: theirs is not looked at when
// outcome is OutcomeNone.
func withTunnels(outcome reach.Outcome) func(trouble) trouble {
	return func(x trouble) trouble {
		x.tunnels = outcome
		return x
	}
}

// withoutControls: with no neutral service in reach, silence is that of a dead
// line; what only somebody's deed can be is told all the same.
func withoutControls(x trouble) trouble {
	switch {
	case x.direct == reach.DNSTimeout, x.direct == reach.TCPTimeout, x.direct == reach.TLSTimeout, x.direct == reach.Stalled, x.direct == reach.StratumTimeout:
		x.verdict, x.says = reach.Offline, "line is dead"
	}
	return x
}

// dead is that nothing is told but the line, whatever else is done.
func dead() []trouble {
	all := append(usualHalves()[:7], fine("nothing", everything()))
	return each(all, func(x trouble) trouble {
		x.verdict, x.direct, x.tunnels, x.says = reach.Offline, reach.OutcomeNone, reach.OutcomeNone, "line is dead"
		return x
	})
}
