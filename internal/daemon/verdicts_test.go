package daemon

import (
	"errors"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
)

// judged is the state of a target.
func judged(t *testing.T, destination, target string, verdict reach.Verdict, checked int64) reach.State {
	t.Helper()
	parsed, err := catalogue.ParseTarget(target)
	need(t, err)
	s := reach.State{Spec: reach.Spec{Destination: destination, Target: parsed}, Verdict: reach.Finding{Verdict: verdict, Sentence: "so it is"}}
	if checked > 0 {
		s.Checked = time.Unix(checked, 0)
	}
	return s
}

func someStates(t *testing.T) []reach.State {
	return []reach.State{
		judged(t, "exchanges", "https://a.example/", reach.Reachable, 10),
		judged(t, "exchanges", "https://b.example/", reach.Interfered, 30),
		judged(t, "exchanges", "tls://b.example", reach.Unknown, 0),
		judged(t, "pools", "tcp://c.example:3333", reach.ServiceDown, 20),
	}
}

func TestDestinationsHaveTheVerdictOfTheirTargets(t *testing.T) {
	list := []control.DestinationStatus{{Name: "exchanges"}, {Name: "pools"}, {Name: "shut"}}
	addVerdicts(list, someStates(t))
	for i, want := range []string{"interfered https://b.example/: so it is", "service_down so it is", " "} {
		if got := list[i].Verdict + " " + list[i].VerdictReason; got != want {
			t.Errorf("%s: %q, want %q", list[i].Name, got, want)
		}
	}
}

func TestWhyTellsTheChecksOfTheHostOrOfItsDestination(t *testing.T) {
	v := view{choices: map[string]steer.Choice{"exchanges": {Path: "home"}}}
	for _, c := range []struct {
		destination, host string
		want              int
		last              int64
	}{
		{"exchanges", "b.example", 2, 30},
		{"exchanges", "A.example", 1, 10},
		{"exchanges", "x.a.example", 3, 30},
		{"pools", "192.0.2.1", 1, 20},
		{"shut", "a.example", 0, 0},
		{"", "a.example", 0, 0},
	} {
		got := v.checksOf(c.destination, c.host, someStates(t))
		last := lastCheck(got)
		if len(got) != c.want || (last == nil) != (c.last == 0) || last != nil && last.Unix() != c.last {
			t.Errorf("%s of %s: %d checks, the last at %v; want %d, %d", c.host, c.destination, len(got), last, c.want, c.last)
		}
		if len(got) > 0 && c.destination == "exchanges" && got[0].Path != "home" {
			t.Errorf("%s: path %q", c.host, got[0].Path)
		}
	}
}

func TestTheRoundTripOfATunnelIsTheShortestOfItsChecks(t *testing.T) {
	result := func(path string, outcome reach.Outcome, ms int) reach.Result {
		return reach.Result{Path: path, Outcome: outcome, RTT: time.Duration(ms) * time.Millisecond}
	}
	states := []reach.State{
		{Results: []reach.Result{result("direct", reach.OutcomeOK, 1), result("home", reach.OutcomeOK, 40)}},
		{Results: []reach.Result{result("home", reach.OutcomeOK, 30), result("away", "tcp_timeout", 5)}},
		{Results: []reach.Result{result("home", reach.OutcomeOK, 0)}},
	}
	tunnels := []control.TunnelStatus{{Name: "home"}, {Name: "away"}}
	addRoundTrips(tunnels, states)
	if got := tunnels[0].RTTMs; got == nil || *got != 30 {
		t.Errorf("home: %v, want 30", got)
	}
	if got := tunnels[1].RTTMs; got != nil {
		t.Errorf("away, over which nothing works: %v", *got)
	}
}

func TestDoctorHasNoWordOnLookupsWhereRouterdIsOff(t *testing.T) {
	d := &daemon{bypasses: newBypasses(), neighbours: newNeighbours()}
	d.view = view{applied: true, settings: &settings{cfg: &config.Config{Main: config.Main{DNS: config.DNSSecure}}}}
	got, err := d.doctor(t.Context())
	need(t, err)
	for _, f := range got {
		expect(t, f.Topic != "dns", "finding %+v", f)
	}
}

func TestAResolverThatFailedByATunnelThatIsGoneIsNoFinding(t *testing.T) {
	u, err := dns.ParseUpstream("https://192.0.2.1/dns-query")
	need(t, err)
	list := []dns.UpstreamState{{Upstream: u, Path: 7, Err: errors.New("timeout")}}
	if got := judgeUpstreams(list, map[owned.PathIndex]string{7: "home"}); len(got) != 1 || got[0].Level != control.LevelWarning {
		t.Errorf("of a tunnel that is there: %+v", got)
	}
	if got := judgeUpstreams(list, map[owned.PathIndex]string{}); len(got) != 1 || got[0].Level != control.LevelOK {
		t.Errorf("of one that is gone: %+v", got)
	}
}
