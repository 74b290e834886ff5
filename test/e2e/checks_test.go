package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
	"github.com/routerd/routerd/test/promtext"
)

// checkedSettings have one destination in the tunnel and one on the direct path.
const checkedSettings = mainSection + controls + "\toption metrics_listen '127.0.0.1:9640'\n" + homeTunnel + otherTunnel + `
config destination 'exchanges'
	list service 'okx'
	option policy 'tunnel'
	option check_interval '10'
config destination 'exceptions'
	list service 'kraken'
	option policy 'direct'
	option check_interval '10'
`

// check runs `routerd check --json`, which must end with a status.
func (w *world) check(status int, what ...string) []control.Check {
	w.Helper()
	r := w.routerd(append([]string{"check", "--json"}, what...)...)
	if r.status != status {
		w.Errorf("check %q, want status %d: %s", what, status, r)
	}
	var checks []control.Check
	w.decode(r.stdout, &checks)
	return checks
}

// told is what a check says, in a line.
func told(c control.Check) string {
	out := c.Destination + " " + c.Target + " " + c.Verdict
	for _, p := range c.Paths {
		out += fmt.Sprintf(", %s %s %s", p.Path, p.Outcome, p.Layer)
	}
	return out
}

const (
	okxTarget    = "https://www.okx.com/api/v5/public/time"
	okxReset     = "exchanges " + okxTarget + " interfered, direct tls_reset tls, home ok , other ok "
	krakenTarget = "https://api.kraken.com/0/public/Time"
	krakenReset  = "exceptions " + krakenTarget + " interfered, direct tls_reset tls, home ok , other ok "
)

func TestCheckTellsWhichLayerOfWhichPathFails(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{}), checkedSettings)
	for _, c := range w.check(0) {
		if c.Verdict != "reachable" || len(c.Paths) != 3 || c.Paths[0].RTTMs == nil {
			t.Errorf("with no interference: %s: %s", told(c), c.Reason)
		}
	}
	end := w.interfere(lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com", "kraken.com"}})

	// In the tunnel the one goes on to work; the other is not reached.
	w.toldAre(w.check(0, "exchanges"), okxReset)
	w.toldAre(w.check(0, okxTarget), okxReset)
	w.toldAre(w.check(4, "api.kraken.com"), krakenReset)
	w.toldAre(w.check(4), krakenReset, okxReset)
	w.shapes()
	r := w.routerd("check", "exceptions")
	for _, words := range []string{
		"[1/1] exceptions " + krakenTarget + ": interfered\n", "tls_reset", "interference by name",
		"1 target: 1 interfered; 1 not reachable over the path in use\n",
	} {
		if r.status != 4 || !strings.Contains(strings.Join(strings.Fields(r.stdout), " ")+"\n", strings.Join(strings.Fields(words), " ")) {
			t.Errorf("the summary lacks %q: %s", words, r)
		}
	}
	if r := w.routerd("check", "ftp://okx.com"); r.status != 1 || r.stdout != "" || !strings.Contains(r.stderr, "https://") {
		t.Errorf("what cannot be checked: %s", r)
	}

	within(t, time.Minute, "status has the verdict", func() bool { return destination(w.status(), "exchanges").Verdict == "interfered" })
	w.verdictIsTold()
	w.historyIsDrawn()
	w.metricsAreRight()
	end()
	w.check(0)
}

// toldAre compares checks with what they must say.
func (w *world) toldAre(got []control.Check, want ...string) {
	w.Helper()
	var lines []string
	for _, c := range got {
		lines = append(lines, told(c))
	}
	if !slices.Equal(lines, want) {
		w.Errorf("checks say\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// shapes looks for what CONTRACT.md promises of check.
func (w *world) shapes() {
	w.Helper()
	out := w.must("check", "--json", "exchanges")
	first := part(w.T, out, "")
	for _, shape := range []struct {
		raw  json.RawMessage
		keys string
	}{
		{first, "destination target verdict paths"},
		{part(w.T, string(first), "paths"), "path outcome layer rtt_ms detail"},
	} {
		got := keys(w.T, shape.raw)
		for _, key := range strings.Fields(shape.keys) {
			if !slices.Contains(got, key) {
				w.Errorf("%q is missing in %s", key, shape.raw)
			}
		}
	}
}

// verdictIsTold looks at status, why and events.
func (w *world) verdictIsTold() {
	w.Helper()
	if d := destination(w.status(), "exchanges"); d.State != "ok" || d.Path != "home" || !strings.Contains(d.VerdictReason, "www.okx.com") {
		w.Errorf("status: %+v", d)
	}
	if out := w.must("status"); !strings.Contains(out, "interfered: ") {
		w.Errorf("status says nothing of it:\n%s", out)
	}
	y := w.why("www.okx.com")
	if y.LastCheck == nil || len(y.Checks) != 1 || told(y.Checks[0]) != okxReset {
		w.Errorf("why: %+v", y)
	}
	if y := w.why("news.example"); y.LastCheck != nil || len(y.Checks) != 0 {
		w.Errorf("why of what is not listed: %+v", y)
	}
	if !slices.ContainsFunc(w.events(), func(e control.Event) bool {
		return e.Kind == control.EventVerdict && e.Destination == "exchanges" && e.From == "reachable" && e.To == "interfered" && e.Reason != ""
	}) {
		w.Errorf("events: %+v", w.events())
	}
}

// historyIsDrawn looks at the last slot, or the one before it.
func (w *world) historyIsDrawn() {
	w.Helper()
	var all []control.History
	w.decode(w.must("history", "--json", "exchanges"), &all)
	if len(all) != 3 || all[0].Path != "direct" || all[1].Path != "home" || len(all[0].Slots) != 144 {
		w.Fatalf("history: %+v", all)
	}
	if s := all[0].Slots[142:]; s[0].Outcome != "tls_reset" && s[1].Outcome != "tls_reset" || *all[0].OKRate >= 1 || *all[0].OKRate <= 0 {
		w.Errorf("history of the direct path: %+v", s)
	}
	if *all[1].OKRate != 1 || all[1].RTTMs == nil {
		w.Errorf("history of the tunnel: %v", *all[1].OKRate)
	}
	out := w.must("history", "exchanges")
	for _, words := range []string{"t|", ".|", "100 %", "t TLS"} {
		if !strings.Contains(out, words) {
			w.Errorf("the drawing lacks %q:\n%s", words, out)
		}
	}
}

// metricsAreRight scrapes the socket and the port that the settings name.
func (w *world) metricsAreRight() {
	w.Helper()
	socket := w.onRouter("curl", "--silent", "--fail", "--unix-socket", "/var/run/routerd.sock", "http://routerd/metrics")
	for _, text := range []string{socket, w.onRouter("curl", "--silent", "--fail", "http://127.0.0.1:9640/metrics")} {
		all, err := promtext.Parse(text)
		if err != nil {
			w.Fatalf("%v in\n%s", err, text)
		}
		for _, fault := range promtext.Lint(all) {
			w.Error(fault)
		}
		for _, sample := range []struct{ metric, labels string }{
			{"routerd_checks_total", `destination="exchanges",path="direct",outcome="tls_reset"`},
			{"routerd_checks_total", `destination="exchanges",path="home",outcome="ok"`},
			{"routerd_check_round_trip_seconds", `_sumdestination="exchanges",path="home"`},
			{"routerd_destination_verdict", `destination="exchanges",verdict="interfered"`},
			{"routerd_destination_path", `destination="exchanges",path="home"`},
			{"routerd_destination_path", `destination="exceptions",path="direct"`},
			{"routerd_verdict_changes_total", `destination="exchanges"`},
			{"routerd_tunnel_up", `tunnel="home"`},
			{"routerd_tunnel_receive_bytes_total", `tunnel="home"`},
			{"routerd_tunnel_handshake_age_seconds", `tunnel="home"`},
			{"routerd_resolver_upstream_up", `server="https://22.8.8.8",path="home"`},
			{"routerd_addresses", ""},
			{"routerd_settings_in_force", ""},
		} {
			if all[sample.metric].Samples[sample.labels] <= 0 {
				w.Errorf("%s{%s} is not there: %v", sample.metric, sample.labels, all[sample.metric].Samples)
			}
		}
	}
	if r := w.runOn(lab.Client, "", "curl", "--silent", "--max-time", "2", "http://192.168.1.1:9640/metrics"); r.status == 0 {
		w.Errorf("a client gets metrics that only the router itself shall: %s", r)
	}
}
