package reach

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// round is one line of the golden table of comparisons.
type comparing struct {
	name    string
	results []Result
	lines   map[string]Line
}

func over(path string, o Outcome, detail string) Result {
	return Result{Path: path, Direct: path == "direct", Outcome: o, Rest: o, Layer: layerOf(o), Detail: detail}
}

var (
	good = Line{Asked: 4, Answered: 4, Working: 4}
	dead = Line{Asked: 4}
	bad  = Line{Asked: 4, Answered: 2, Working: 1}
	half = Line{Asked: 4, Answered: 4, Working: 2}
)

func comparings() []comparing {
	fails := func(o Outcome, detail string) Result { return over("direct", o, detail) }
	home, other := over("home", OutcomeOK, ""), over("other", OutcomeOK, "")
	line := func(direct, home Line) map[string]Line {
		return map[string]Line{"direct": direct, "home": home, "other": home}
	}
	named := fails(TLSReset, "TLS connection reset right after the name okx.com was sent")
	named.Named = true
	lookup := fails(DNSTampered, "the provider's resolver answers falsely: 10.0.0.1 is no public address")
	lookup.Rest = OutcomeOK
	forbidden := func(path string) Result {
		r := over(path, HTTPError, "the answer is HTTP 403 Forbidden")
		r.Status = 403
		return r
	}
	silence := fails(TCPTimeout, "no answer to the connection to 104.16.1.1:443")
	return []comparing{
		{"all work", []Result{fails(OutcomeOK, ""), home, other}, nil},
		{"direct works, a tunnel does not", []Result{fails(OutcomeOK, ""), over("home", TCPTimeout, "no answer")}, line(good, good)},
		{"no direct path", []Result{home}, nil},
		{"direct is down", []Result{fails(PathDown, "wan: no carrier"), home}, nil},
		{"reset by name", []Result{named, home, other}, line(good, good)},
		{"reset by name, controls not asked", []Result{named, home}, nil},
		{"reset, and a tunnel refused", []Result{named, over("home", ServiceRefused, "the service itself answers HTTP 403")}, line(good, good)},
		{"false lookups", []Result{lookup, home}, line(good, good)},
		{"silence", []Result{silence, home}, line(good, good)},
		{"silence, half of the controls work", []Result{silence, home}, line(half, good)},
		{"silence, the line is bad", []Result{silence, home}, line(bad, good)},
		{"silence, the line is dead", []Result{silence, home}, line(dead, good)},
		{"silence, controls not asked", []Result{silence, home}, nil},
		{"silence everywhere", []Result{silence, over("home", TCPTimeout, "no answer")}, line(good, good)},
		{"silence, and the tunnel's exit is broken", []Result{silence, over("home", TCPTimeout, "no answer")}, line(good, dead)},
		{"silence, and tunnels are down", []Result{silence, over("home", PathDown, "")}, line(good, good)},
		{"silence, a second tunnel works", []Result{silence, over("home", PathDown, ""), other}, line(good, good)},
		{"refused everywhere", []Result{fails(TCPRefused, "connection refused"), over("home", TCPRefused, "connection refused")}, line(good, good)},
		{"reset here, silent there", []Result{named, over("home", TCPTimeout, "no answer")}, line(good, good)},
		{"false lookups of what is down", []Result{{Path: "direct", Direct: true, Outcome: DNSTampered, Rest: TCPRefused, Layer: LayerDNS, Detail: "lies"}, over("home", TCPRefused, "connection refused")}, line(good, good)},
		{"refused by the service", []Result{fails(ServiceRefused, "the service itself answers HTTP 451"), over("home", ServiceRefused, "")}, nil},
		{"refused by the service here alone", []Result{fails(ServiceRefused, "the service itself answers HTTP 451"), home}, nil},
		{"a pool refuses", []Result{fails(StratumRejected, "the pool refuses"), home}, nil},
		{"its own error", []Result{fails(HTTPError, "the answer is HTTP 503"), over("home", HTTPError, "")}, nil},
		{"its own error, with no tunnel", []Result{fails(HTTPError, "the answer is HTTP 503")}, nil},
		{"its own error here alone", []Result{fails(HTTPError, "the answer is HTTP 503"), home}, nil},
		{"plain 403 everywhere", []Result{forbidden("direct"), forbidden("home")}, nil},
		{"plain 403 here alone", []Result{forbidden("direct"), home}, nil},
		{"stalled", []Result{fails(Stalled, "the transfer stopped after 14000 bytes"), home}, line(good, good)},
		{"another certificate", []Result{fails(TLSBadCertificate, "the certificate is not its own"), home}, line(good, good)},
		{"block page", []Result{fails(HTTPBlockPage, "plain HTTP is led to block.example"), home}, line(good, good)},
		{"reset request", []Result{fails(HTTPReset, "connection reset"), home}, line(good, good)},
		{"reset session", []Result{fails(StratumReset, "connection reset"), home}, line(good, good)},
		{"the name is gone", []Result{fails(DNSNXDomain, "there is no name"), over("home", DNSNXDomain, "there is no name")}, line(good, good)},
		{"lossy: another layer each", []Result{fails(TLSTimeout, "silent"), over("home", TCPTimeout, "no answer")}, line(half, half)},
	}
}

func TestCompareGoldenTable(t *testing.T) {
	var b strings.Builder
	met := map[Verdict]bool{}
	for _, c := range comparings() {
		f := Compare(target(t, https), c.results, c.lines)
		met[f.Verdict] = true
		fmt.Fprintf(&b, "%s: %s | %s\n", c.name, f.Verdict, f.Sentence)
	}
	golden(t, "compare.txt", b.String())
	for _, v := range Verdicts() {
		if !met[v] {
			t.Errorf("no line has %s", v)
		}
	}
}

// TestCompareNeverBlamesTheNetworkForTheService: whatever else is so, a service
// that answers and says no was not interfered with, and what works was not either.
func TestCompareNeverBlamesTheNetworkForTheService(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	all := Outcomes()
	for range 20000 {
		results := []Result{over("direct", all[random.IntN(len(all))], "d"), over("home", all[random.IntN(len(all))], "h"), over("other", all[random.IntN(len(all))], "o")}
		lines := map[string]Line{}
		for _, r := range results {
			n := random.IntN(5)
			lines[r.Path] = Line{Asked: 4, Answered: max(n, random.IntN(5)), Working: n}
		}
		if f := Compare(target(t, https), results, lines); !just(f, results, lines) {
			t.Fatalf("%+v with %+v: %+v", results, lines, f)
		}
	}
}

func mayBlame(direct Outcome, others []Result, line Line) bool {
	reached := slices.ContainsFunc(others, func(r Result) bool { return r.Outcome.byService() })
	return reached && !direct.byService() && direct != PathDown && (!direct.silent() || line.Working >= 2)
}

// just says whether a finding blames nobody without cause.
func just(f Finding, results []Result, lines map[string]Line) bool {
	d := results[0].Outcome
	if f.Verdict == Interfered && !mayBlame(d, results[1:], lines["direct"]) {
		return false
	}
	return f.Sentence != "" && f.Outcome == d && (f.Verdict == Reachable) == (d == OutcomeOK) &&
		(d == HTTPError || d.refuses() == (f.Verdict == VerdictRefused))
}

func TestLineOfControls(t *testing.T) {
	got := LineOf([]Result{
		over("direct", OutcomeOK, ""), over("direct", TCPTimeout, ""), over("direct", TLSReset, ""), over("direct", TCPRefused, ""),
		over("direct", HTTPError, ""), over("direct", DNSTimeout, ""), over("direct", TCPUnreachable, ""), over("direct", PathDown, ""),
	})
	if want := (Line{Asked: 8, Answered: 4, Working: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if (Line{}).works() || !half.works() || bad.works() {
		t.Error("half of the controls must work")
	}
}

func TestVerdictChangesOnlyWhenAFindingRepeats(t *testing.T) {
	find := func(v Verdict, o Outcome) Finding { return Finding{Verdict: v, Outcome: o, Sentence: string(o)} }
	works := find(Reachable, OutcomeOK)
	resets := find(Interfered, TLSReset)
	type step struct {
		after   time.Duration
		f       Finding
		verdict Verdict
		changed bool
	}
	const far = spacing + time.Second
	for name, steps := range map[string][]step{
		"works at once":         {{0, works, Reachable, true}, {far, works, Reachable, false}},
		"interfered thrice":     {{0, resets, Unknown, false}, {far, resets, Unknown, false}, {far, resets, Interfered, true}, {far, resets, Interfered, false}},
		"one moment's trouble":  {{0, works, Reachable, true}, {0, resets, Reachable, false}, {0, resets, Reachable, false}, {time.Second, resets, Reachable, false}, {time.Second, resets, Reachable, false}},
		"it works in between":   {{0, works, Reachable, true}, {far, resets, Reachable, false}, {far, resets, Reachable, false}, {far, works, Reachable, false}, {far, resets, Reachable, false}, {far, resets, Reachable, false}},
		"timeouts of all kinds": {{0, works, Reachable, true}, {far, find(Interfered, TCPTimeout), Reachable, false}, {far, find(Interfered, TLSTimeout), Reachable, false}, {far, find(Interfered, TCPTimeout), Reachable, false}, {far, find(Interfered, DNSTimeout), Reachable, false}},
		"deeds of all kinds":    {{0, works, Reachable, true}, {far, resets, Reachable, false}, {far, find(Interfered, TCPRefused), Reachable, false}, {far, find(Interfered, DNSTampered), Interfered, true}},
		"it ends":               {{0, works, Reachable, true}, {far, resets, Reachable, false}, {far, resets, Reachable, false}, {far, resets, Interfered, true}, {far, works, Interfered, false}, {far, works, Interfered, false}, {far, works, Reachable, true}},
		"doubt":                 {{0, works, Reachable, true}, {far, find(Unknown, TCPTimeout), Reachable, false}, {far, find(Unknown, TLSTimeout), Reachable, false}, {far, find(Unknown, TCPTimeout), Unknown, true}, {far, works, Reachable, true}},
		"kinds change":          {{0, resets, Unknown, false}, {far, resets, Unknown, false}, {far, resets, Interfered, true}, {far, find(Interfered, TCPTimeout), Interfered, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var x Tracker
			now := time.Unix(1e9, 0)
			for i, s := range steps {
				now = now.Add(s.after)
				changed := x.Add(now, s.f)
				if got := x.Verdict().Verdict; got != s.verdict || changed != s.changed {
					t.Fatalf("step %d: %s, changed %t, want %s, %t", i, got, changed, s.verdict, s.changed)
				}
				if changed && (x.Since() != now || x.Pending() || x.Verdict().Sentence != s.f.Sentence) {
					t.Errorf("step %d: since %s, %+v", i, x.Since(), x.Verdict())
				}
			}
		})
	}
}
