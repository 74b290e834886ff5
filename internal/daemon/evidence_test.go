package daemon

import (
	"testing"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
)

// round is a state of a target of destination x: its verdict, and the outcomes of
// direct, home and other ("" for none).
func round(host string, at int, v reach.Verdict, direct, home, other reach.Outcome) reach.State {
	s := reach.State{
		Spec:    reach.Spec{Destination: "x", Target: catalogue.Target{Scheme: catalogue.SchemeHTTPS, Host: host, Port: 443, Path: "/"}},
		Verdict: reach.Finding{Verdict: v, Sentence: "because"}, Checked: time.Unix(int64(at), 0),
	}
	for i, o := range []reach.Outcome{direct, home, other} {
		if o != "" {
			s.Results = append(s.Results, reach.Result{Path: []string{"direct", "home", "other"}[i], Direct: i == 0, Outcome: o, Rest: o})
		}
	}
	return s
}

func TestEvidenceOfTheDirectPath(t *testing.T) {
	forged := round("a.example", 1, reach.Interfered, reach.DNSTampered, reach.OutcomeOK, "")
	forged.Results[0].Layer, forged.Results[0].Rest = reach.LayerDNS, reach.OutcomeOK
	good := round("b.example", 1, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, "")
	bad := round("c.example", 1, reach.Interfered, reach.TLSReset, reach.OutcomeOK, "")
	for _, c := range []struct {
		what    string
		states  []reach.State
		trusted bool
		want    steer.Sign
		offline bool
	}{
		{"works", []reach.State{good}, true, steer.SignWorks, false},
		{"one of two is interfered with", []reach.State{good, bad}, true, steer.SignFails, false},
		{"whichever comes first", []reach.State{bad, good}, true, steer.SignFails, false},
		{"only the provider's lookups are forged", []reach.State{forged}, true, steer.SignWorks, false},
		{"and clients get them", []reach.State{forged}, false, steer.SignFails, false},
		{"the service refuses", []reach.State{round("a.example", 1, reach.VerdictRefused, reach.ServiceRefused, reach.OutcomeOK, "")}, true, steer.SignRefused, false},
		{"the service is down", []reach.State{round("a.example", 1, reach.ServiceDown, reach.TCPTimeout, reach.TCPTimeout, "")}, true, steer.SignUnknown, false},
		{"the line is dead", []reach.State{round("a.example", 1, reach.Offline, reach.TCPTimeout, reach.OutcomeOK, "")}, true, steer.SignUnknown, true},
		{"not checked", []reach.State{{Spec: good.Spec}}, true, steer.SignUnknown, false},
	} {
		e := evidence(c.states, newFailures(), c.trusted)["x"]
		if got := e.Checks["direct"]; got.Sign != c.want || e.Offline != c.offline || got.Sign == steer.SignFails && got.Reason != "because" {
			t.Errorf("%s: %+v, offline %t; want %d, %t", c.what, got, e.Offline, c.want, c.offline)
		}
	}
}

func TestFailingWithoutAnotherPathIsDoubtAfterThreeTimes(t *testing.T) {
	f := newFailures()
	direct := func(s reach.State) steer.Finding {
		f.observe([]reach.State{s})
		return evidence([]reach.State{s}, f, true)["x"].Checks["direct"]
	}
	failing := func(at int) reach.State {
		return round("a.example", at, reach.Unknown, reach.TCPRefused, reach.PathDown, "")
	}
	none, doubt := steer.Finding{}, steer.Finding{Reason: "because"}
	expect(t, direct(failing(1)) == none, "once is enough")
	expect(t, direct(failing(1)) == none && direct(failing(2)) == none, "twice is enough")
	expect(t, direct(failing(3)) == doubt, "three times are not enough")
	expect(t, direct(round("a.example", 4, reach.Unknown, reach.OutcomeOK, reach.PathDown, "")) == none, "it works, and is in doubt")
	expect(t, direct(failing(5)) == none, "the count does not begin anew")
}

func TestATunnelFailsWhenATargetFailsThereAgainAndAgain(t *testing.T) {
	f := newFailures()
	// sign is what is known of home after rounds of one target.
	sign := func(states ...reach.State) steer.Sign {
		f.observe(states)
		return evidence(states, f, true)["x"].Checks["home"].Sign
	}
	failing := func(at int) reach.State {
		return round("a.example", at, reach.Reachable, reach.OutcomeOK, reach.TCPTimeout, reach.OutcomeOK)
	}
	expect(t, sign(failing(1)) == steer.SignUnknown, "once is enough")
	for range 5 {
		expect(t, sign(failing(1)) == steer.SignUnknown, "a round counts more than once")
	}
	expect(t, sign(failing(2)) == steer.SignUnknown, "twice is enough")
	expect(t, sign(failing(3)) == steer.SignFails, "three times are not enough")
	expect(t, sign(failing(3), round("b.example", 3, reach.Reachable, reach.OutcomeOK, reach.OutcomeOK, reach.OutcomeOK)) == steer.SignWorks,
		"one target fails where another works, and the tunnel is blamed")
	expect(t, sign(failing(4)) == steer.SignFails, "it is forgotten")
	expect(t, sign(round("a.example", 5, reach.ServiceDown, reach.TCPTimeout, reach.TCPTimeout, reach.TCPTimeout)) == steer.SignUnknown,
		"a service that is down is blamed on the tunnel")
	expect(t, sign(failing(6)) == steer.SignUnknown, "the count does not begin anew")
	expect(t, sign(round("a.example", 7, reach.Reachable, reach.OutcomeOK, reach.PathDown, reach.OutcomeOK)) == steer.SignUnknown,
		"a tunnel that is down is told by its own state")
	expect(t, sign(round("a.example", 8, reach.VerdictRefused, reach.OutcomeOK, reach.ServiceRefused, reach.OutcomeOK)) == steer.SignRefused,
		"a refusal is not told as one")
	expect(t, len(f.counts) == 3 && len(f.rounds) == 1, "targets that are gone stay: %+v", f)
}
