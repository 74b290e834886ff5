package reach_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

var rounds = flag.Int("rounds", 1, "how often each interference is checked")

// trouble is what interferences must look like.
type trouble struct {
	name    string
	x       []lab.Interference // with the subject that is checked
	of      []kind             // of subjects, each in turn
	verdict reach.Verdict
	direct  reach.Outcome
	tunnels reach.Outcome // over both
	says    string        // in the sentence
	patient bool          // with the router's own times
}

func everything() []kind { return []kind{anExchange, aPlain, aPool, aPoolTLS} }

func one(x lab.Interference) []lab.Interference { return []lab.Interference{x} }

// bad is interference that a tunnel goes round.
func bad(name string, of []kind, outcome reach.Outcome, says string, x ...lab.Interference) trouble {
	return trouble{name, x, of, reach.Interfered, outcome, reach.OutcomeOK, says, false}
}

// fine is what must not be told as trouble.
func fine(name string, of []kind, x ...lab.Interference) trouble {
	return trouble{name, x, of, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false}
}

func troubles() []trouble {
	return append(append(append(ofServices(), anywhere()...), overTLS()...), byProtocol()...)
}

// ofServices is what services themselves do.
func ofServices() []trouble {
	https, http, pools := []kind{anExchange}, []kind{aPlain}, []kind{aPool, aPoolTLS}
	status := func(n int) []lab.Interference { return one(lab.Interference{Kind: interfere.ServiceStatus, Status: n}) }
	down := func(name string, outcome reach.Outcome, x lab.Interference) trouble {
		return trouble{name, one(x), everything(), reach.ServiceDown, outcome, outcome, "the service is down", false}
	}
	return []trouble{
		fine("nothing", everything()),
		{"403", status(403), https, reach.VerdictRefused, reach.ServiceRefused, reach.ServiceRefused, "HTTP 403 Forbidden: it is the service that refuses", false},
		{"451", status(451), append(https, aPlain), reach.VerdictRefused, reach.ServiceRefused, reach.ServiceRefused, "HTTP 451", false},
		{"403, plain", status(403), http, reach.VerdictRefused, reach.HTTPError, reach.HTTPError, "over every path", false},
		{"503", status(503), https, reach.ServiceDown, reach.HTTPError, reach.HTTPError, "HTTP 503", false},
		{"429", status(429), https, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "HTTP 429", false},
		{"a pool that refuses", one(lab.Interference{Kind: interfere.ServiceReject}), pools, reach.VerdictRefused, reach.StratumRejected, reach.StratumRejected, "Not allowed in your region", false},
		down("a service that is down", reach.TCPRefused, lab.Interference{Kind: interfere.ServiceDown}),
		down("a service that is silent", reach.TCPTimeout, lab.Interference{Kind: interfere.ServiceDown, Silent: true}),
	}
}

// anywhere is trouble that does not depend on what is spoken.
func anywhere() []trouble {
	bad := func(name string, outcome reach.Outcome, says string, x lab.Interference) trouble {
		return bad(name, everything(), outcome, says, x)
	}
	return []trouble{
		bad("forged lookups", reach.DNSTampered, "interference with lookups", lab.Interference{Kind: interfere.DNSForge}),
		bad("forged lookups, private", reach.DNSTampered, "no public address", lab.Interference{Kind: interfere.DNSForge, Answer: "127.0.0.1"}),
		bad("forged lookups of IPv4", reach.DNSTampered, "interference with lookups", lab.Interference{Kind: interfere.DNSForge, Family: 4}),
		bad("forged lookups of IPv6", reach.DNSTampered, "interference with lookups", lab.Interference{Kind: interfere.DNSForge, Family: 6}),
		bad("names that do not exist", reach.DNSNXDomain, "does not exist", lab.Interference{Kind: interfere.DNSForge, Answer: interfere.AnswerNXDomain}),
		bad("names without addresses", reach.DNSTampered, "no address", lab.Interference{Kind: interfere.DNSForge, Answer: interfere.AnswerEmpty}),
		bad("injected answers", reach.DNSTampered, "injected on the way", lab.Interference{Kind: interfere.DNSInject}),
		bad("dropped lookups", reach.DNSTimeout, "no answer to the lookup", lab.Interference{Kind: interfere.DNSDrop}),
		bad("dropped SYNs", reach.TCPTimeout, "interference by address", lab.Interference{Kind: interfere.TCPDrop}),
		bad("dropped answers to SYNs", reach.TCPTimeout, "interference by address", lab.Interference{Kind: interfere.TCPDrop, Direction: interfere.In}),
		bad("reset SYNs", reach.TCPRefused, "refused", lab.Interference{Kind: interfere.TCPReset}),
		bad("unreachable", reach.TCPUnreachable, "no way to", lab.Interference{Kind: interfere.Unreachable}),
		bad("everything dropped", reach.TCPTimeout, "no answer", lab.Interference{Kind: interfere.Drop}),
		fine("one family's SYNs dropped", everything(), lab.Interference{Kind: interfere.TCPDrop, Family: 6}),
	}
}

func overTLS() []trouble {
	bad := func(name string, outcome reach.Outcome, says string, x lab.Interference) trouble {
		return bad(name, []kind{anExchange, aPoolTLS}, outcome, says, x)
	}
	return []trouble{
		bad("reset by name", reach.TLSReset, "interference by name", lab.Interference{Kind: interfere.TLSReset}),
		bad("reset by name over IPv6", reach.TLSReset, "interference by name", lab.Interference{Kind: interfere.TLSReset, Family: 6}),
		bad("silenced by name", reach.TLSTimeout, "interference by name", lab.Interference{Kind: interfere.TLSDrop}),
		bad("reset at the first bytes", reach.TLSReset, "or by address", lab.Interference{Kind: interfere.TCPReset, On: interfere.OnData}),
		bad("another certificate", reach.TLSBadCertificate, "Provider Inspection Authority", lab.Interference{Kind: interfere.TLSCert}),
		bad("frozen at once", reach.TLSTimeout, "silent", lab.Interference{Kind: interfere.Freeze, Bytes: 100}),
	}
}

func byProtocol() []trouble {
	https, http, pool := []kind{anExchange}, []kind{aPlain}, []kind{aPool}
	slow := fine("slow", []kind{anExchange, aPlain, aPool}, lab.Interference{Kind: interfere.Rate})
	slow.patient = true
	return []trouble{
		slow,
		fine("QUIC only", https, lab.Interference{Kind: interfere.QUICDrop}),
		bad("a frozen transfer", https, reach.Stalled, "interference with long transfers", lab.Interference{Kind: interfere.Freeze}),
		bad("a frozen transfer, plain", http, reach.Stalled, "the transfer stopped after", lab.Interference{Kind: interfere.Freeze}),
		bad("reset by Host", http, reach.HTTPReset, "interference with plain HTTP", lab.Interference{Kind: interfere.HTTPReset}),
		bad("led to a block page", http, reach.HTTPBlockPage, lab.BlockPageName, lab.Interference{Kind: interfere.HTTPBlockPage}),
		bad("a block page", http, reach.HTTPBlockPage, "Access restricted", lab.Interference{Kind: interfere.HTTPBlockPage, Answer: interfere.AnswerPage}),
		bad("a session that is reset", pool, reach.StratumReset, "after mining.subscribe", lab.Interference{Kind: interfere.TCPReset, On: interfere.OnData}),
		bad("a session that is frozen", pool, reach.StratumTimeout, "no answer to mining.subscribe", lab.Interference{Kind: interfere.Freeze, Bytes: 100}),
	}
}

func TestEachInterferenceIsToldByItsLayer(t *testing.T) {
	theWorld(t).tryAll(t, troubles())
}

// tryAll tries cases beside each other, each with a subject of its own.
func (w *world) tryAll(t *testing.T, all []trouble) {
	free := lend()
	for _, x := range all {
		for _, k := range x.of {
			t.Run(x.title(k), func(t *testing.T) {
				t.Parallel()
				s := <-free[k]
				t.Cleanup(func() { free[k] <- s })
				w.try(t, x, s)
			})
		}
	}
}

func (x trouble) title(k kind) string {
	return strings.ReplaceAll(string(k)+" "+x.name, " ", "_")
}

// try has the provider interfere with a subject and compares what checks say with
// what they must.
func (w *world) try(t *testing.T, x trouble, s subject) {
	t.Helper()
	for _, i := range s.with(x.x) {
		w.interfere(t, i)
	}
	o := s.order(x.patient)
	o.Rounds, o.AtOnce = *rounds, 2
	all := w.obey(t, o)
	if len(all) != *rounds {
		t.Fatalf("%d reports of %d rounds", len(all), *rounds)
	}
	for i, r := range all {
		if i == 0 {
			t.Logf("%s: %s", r.Verdict, r.Sentence)
		}
		if x.matches(r) {
			continue
		}
		t.Errorf("%s: want %s, direct %s, tunnels %s, %q; got %s: %s", s.target, x.verdict, x.direct, x.tunnels, x.says, r.Verdict, r.Sentence)
		for _, p := range r.Results {
			t.Logf("  %s: %s %s %s %q (rest %s)", p.Path, p.Outcome, p.Layer, p.RTT, p.Detail, p.Rest)
		}
	}
}

// matches says whether a report is what the trouble must look like.
func (x trouble) matches(r report) bool {
	for _, p := range paths() {
		want := x.direct
		if !p.Direct {
			want = x.tunnels
		}
		got := r.of(p.Name)
		layered := got.Outcome != reach.OutcomeOK && got.Outcome != reach.PathDown
		if want != reach.OutcomeNone && got.Outcome != want || (got.Layer != "") != layered {
			return false
		}
	}
	return r.Verdict == x.verdict && strings.Contains(r.Sentence, x.says)
}
