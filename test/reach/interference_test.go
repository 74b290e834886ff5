package reach_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// The targets that trouble is made for.
const (
	exchange = "https://www.okx.com/api/v5/public/time"
	plain    = "http://www.okx.com/"
	pool     = "stratum+tcp://stratum.braiins.com:3333"
	poolTLS  = "stratum+ssl://btcssl-asia.f2pool.com:1300"
	large    = "/bytes/262144"
)

// trouble is what an interference must look like.
type trouble struct {
	name    string
	x       []lab.Interference
	target  string
	verdict reach.Verdict
	direct  reach.Outcome
	tunnels reach.Outcome // over both
	says    string        // in the sentence
	patient bool          // with the router's own times
}

func troubles() []trouble {
	okx, braiins, f2pool := []string{"okx.com"}, []string{"braiins.com"}, []string{"f2pool.com"}
	one := func(x lab.Interference) []lab.Interference { return []lab.Interference{x} }
	cases := []trouble{
		{"nothing, an exchange", nil, exchange, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
		{"nothing, plain", nil, plain, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
		{"nothing, a pool", nil, pool, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
		{"nothing, a pool over TLS", nil, poolTLS, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
		{"a status of the service", one(lab.Interference{Kind: interfere.ServiceStatus, Names: okx, Status: 403}), exchange, reach.VerdictRefused, reach.ServiceRefused, reach.ServiceRefused, "HTTP 403 Forbidden: it is the service that refuses", false},
		{"451", one(lab.Interference{Kind: interfere.ServiceStatus, Names: okx, Status: 451}), exchange, reach.VerdictRefused, reach.ServiceRefused, reach.ServiceRefused, "HTTP 451", false},
		{"451, plain", one(lab.Interference{Kind: interfere.ServiceStatus, Names: okx, Status: 451}), plain, reach.VerdictRefused, reach.ServiceRefused, reach.ServiceRefused, "HTTP 451", false},
		{"403, plain", one(lab.Interference{Kind: interfere.ServiceStatus, Names: okx, Status: 403}), plain, reach.VerdictRefused, reach.HTTPError, reach.HTTPError, "over every path", false},
		{"503", one(lab.Interference{Kind: interfere.ServiceStatus, Names: okx, Status: 503}), exchange, reach.ServiceDown, reach.HTTPError, reach.HTTPError, "HTTP 503", false},
		{"429", one(lab.Interference{Kind: interfere.ServiceStatus, Names: okx, Status: 429}), exchange, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "HTTP 429", false},
		{"a pool that refuses", one(lab.Interference{Kind: interfere.ServiceReject, Names: braiins}), pool, reach.VerdictRefused, reach.StratumRejected, reach.StratumRejected, "Not allowed in your region", false},
		{"a pool over TLS that refuses", one(lab.Interference{Kind: interfere.ServiceReject, Names: f2pool}), poolTLS, reach.VerdictRefused, reach.StratumRejected, reach.StratumRejected, "refuses", false},
		{"a line that is dead", one(lab.Interference{Kind: interfere.WANDown}), exchange, reach.Offline, reach.OutcomeNone, reach.OutcomeNone, "line is dead", false},
		{"QUIC only", one(lab.Interference{Kind: interfere.QUICDrop, Names: okx}), exchange, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
		{"lookups turned and answered truly", one(lab.Interference{Kind: interfere.DNSRedirect}), exchange, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
	}
	cases = append(cases, trouble{
		"slow", one(lab.Interference{Kind: interfere.Rate, Names: okx}), exchange,
		reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", true,
	})
	for _, p := range []struct {
		target string
		names  []string
	}{{exchange, okx}, {pool, braiins}, {plain, okx}, {poolTLS, f2pool}} {
		cases = append(cases, anywhere(p.target, p.names)...)
	}
	for _, p := range []struct {
		target string
		names  []string
		port   uint16
	}{{exchange, okx, 443}, {poolTLS, f2pool, 1300}} {
		cases = append(cases, overTLS(p.target, p.names, p.port)...)
	}
	return append(cases, byProtocol(okx, braiins)...)
}

// anywhere is trouble that does not depend on what is spoken.
func anywhere(target string, names []string) []trouble {
	bad := func(name string, outcome reach.Outcome, says string, x lab.Interference) trouble {
		x.Names = names
		return trouble{name, []lab.Interference{x}, target, reach.Interfered, outcome, reach.OutcomeOK, says, false}
	}
	down := func(name string, outcome reach.Outcome, x lab.Interference) trouble {
		x.Names = names
		return trouble{name, []lab.Interference{x}, target, reach.ServiceDown, outcome, outcome, "the service is down", false}
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
		{"one family's SYNs dropped", []lab.Interference{{Kind: interfere.TCPDrop, Names: names, Family: 6}}, target, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "works", false},
		{"one family only", []lab.Interference{{Kind: interfere.WANDown, Family: 6}}, target, reach.Reachable, reach.OutcomeOK, reach.OutcomeNone, "works", false},
		down("a service that is down", reach.TCPRefused, lab.Interference{Kind: interfere.ServiceDown}),
		down("a service that is silent", reach.TCPTimeout, lab.Interference{Kind: interfere.ServiceDown, Silent: true}),
	}
}

func overTLS(target string, names []string, port uint16) []trouble {
	bad := func(name string, outcome reach.Outcome, says string, x lab.Interference) trouble {
		x.Names = names
		return trouble{name, []lab.Interference{x}, target, reach.Interfered, outcome, reach.OutcomeOK, says, false}
	}
	return []trouble{
		bad("reset by name", reach.TLSReset, "interference by name", lab.Interference{Kind: interfere.TLSReset}),
		bad("reset by name over IPv6", reach.TLSReset, "interference by name", lab.Interference{Kind: interfere.TLSReset, Family: 6}),
		bad("silenced by name", reach.TLSTimeout, "interference by name", lab.Interference{Kind: interfere.TLSDrop}),
		bad("reset at the first bytes", reach.TLSReset, "or by address", lab.Interference{Kind: interfere.TCPReset, On: interfere.OnData}),
		bad("another certificate", reach.TLSBadCertificate, "Provider Inspection Authority", lab.Interference{Kind: interfere.TLSCert, Ports: []uint16{port}}),
		bad("frozen at once", reach.TLSTimeout, "silent", lab.Interference{Kind: interfere.Freeze, Bytes: 100}),
	}
}

func byProtocol(okx, braiins []string) []trouble {
	bad := func(name, target string, outcome reach.Outcome, says string, x lab.Interference) trouble {
		return trouble{name, []lab.Interference{x}, target, reach.Interfered, outcome, reach.OutcomeOK, says, false}
	}
	return []trouble{
		bad("a frozen transfer", exchange, reach.Stalled, "interference with long transfers", lab.Interference{Kind: interfere.Freeze, Names: okx}),
		bad("a frozen transfer, plain", plain, reach.Stalled, "the transfer stopped after", lab.Interference{Kind: interfere.Freeze, Names: okx}),
		bad("reset by Host", plain, reach.HTTPReset, "interference with plain HTTP", lab.Interference{Kind: interfere.HTTPReset, Names: okx}),
		bad("led to a block page", plain, reach.HTTPBlockPage, lab.BlockPageName, lab.Interference{Kind: interfere.HTTPBlockPage, Names: okx}),
		bad("a block page", plain, reach.HTTPBlockPage, "Access restricted", lab.Interference{Kind: interfere.HTTPBlockPage, Names: okx, Answer: interfere.AnswerPage}),
		bad("a session that is reset", pool, reach.StratumReset, "after mining.subscribe", lab.Interference{Kind: interfere.TCPReset, Names: braiins, On: interfere.OnData}),
		bad("a session that is frozen", pool, reach.StratumTimeout, "no answer to mining.subscribe", lab.Interference{Kind: interfere.Freeze, Names: braiins, Bytes: 100}),
		{"a forged name whose true address is reset", []lab.Interference{{Kind: interfere.DNSForge, Names: okx}, {Kind: interfere.TLSReset, Names: okx}}, exchange, reach.Interfered, reach.TLSReset, reach.OutcomeOK, "by name", false},
		{"a certificate and a frozen transfer", []lab.Interference{{Kind: interfere.TLSCert, Names: okx}, {Kind: interfere.Freeze, Names: okx}}, exchange, reach.Interfered, reach.TLSBadCertificate, reach.OutcomeOK, "answers in its name", false},
		{"lost packets and a reset", []lab.Interference{{Kind: interfere.Loss, Percent: 5}, {Kind: interfere.TLSReset, Names: okx}}, exchange, reach.Interfered, reach.TLSReset, reach.OutcomeOK, "by name", true},
		{"delayed and down", []lab.Interference{{Kind: interfere.Delayed, Delay: 50 * time.Millisecond}, {Kind: interfere.ServiceDown, Names: okx}}, exchange, reach.ServiceDown, reach.TCPRefused, reach.TCPRefused, "is down", false},
		{"interfered with and refused", []lab.Interference{{Kind: interfere.TLSReset, Names: okx}, {Kind: interfere.ServiceStatus, Names: okx, Status: 451}}, exchange, reach.Interfered, reach.TLSReset, reach.ServiceRefused, "by name", false},
		{"reset and down", []lab.Interference{{Kind: interfere.TLSReset, Names: okx}, {Kind: interfere.ServiceDown, Names: okx}}, exchange, reach.ServiceDown, reach.TCPRefused, reach.TCPRefused, "is down", false},
	}
}

func TestEachInterferenceIsToldByItsLayer(t *testing.T) {
	w := theWorld(t)
	for _, x := range troubles() {
		t.Run(strings.ReplaceAll(fmt.Sprint(x.target[:strings.Index(x.target, ":")], " ", x.name), " ", "_"), func(t *testing.T) {
			w := theWorld(t)
			for _, i := range x.x {
				undo, err := w.lab.Interfere(t.Context(), i)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := undo(); err != nil {
						t.Error(err)
					}
					w.settle(t)
				}()
			}
			w.see(t, x)
		})
	}
	w.see(t, troubles()[0])
}

// see compares what a check says with what it must.
func (w *world) see(t *testing.T, x trouble) {
	t.Helper()
	o := order{Times: brisk(), Checks: []check{{Target: x.target}}}
	if x.patient {
		o.Times = reach.Times{}
	}
	if strings.HasPrefix(x.target, "http") {
		o.Checks[0].Large = large
	}
	all := w.obey(t, o)
	if len(all) != 1 {
		t.Fatalf("%d reports", len(all))
	}
	r := all[0]
	t.Logf("%s: %s", r.Verdict, r.Sentence)
	if x.matches(r) {
		return
	}
	t.Errorf("want %s, direct %s, tunnels %s, %q", x.verdict, x.direct, x.tunnels, x.says)
	for _, p := range r.Results {
		t.Logf("  %s: %s %s %s %q (rest %s)", p.Path, p.Outcome, p.Layer, p.RTT, p.Detail, p.Rest)
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
