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
	works        = " reachable, direct ok , home ok , other ok "
	okxTarget    = "https://www.okx.com/api/v5/public/time"
	okxReset     = "exchanges " + okxTarget + " interfered, direct tls_reset tls, home ok , other ok "
	krakenTarget = "https://api.kraken.com/0/public/Time"
	krakenReset  = "exceptions " + krakenTarget + " interfered, direct tls_reset tls, home ok , other ok "
)

func TestCheckTellsWhichLayerOfWhichPathFails(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{}), checkedSettings)
	w.toldAre(w.check(0), "exceptions "+krakenTarget+works, "exchanges "+okxTarget+works)
	end := w.interfere(lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com", "kraken.com"}})

	// In the tunnel the one goes on to work; the other is not reached.
	w.toldAre(w.check(0, "exchanges"), okxReset)
	w.toldAre(w.check(0, okxTarget), okxReset)
	w.toldAre(w.check(4, "api.kraken.com"), krakenReset)
	w.toldAre(w.check(4), krakenReset, okxReset)
	w.shapes()
	if r := w.routerd("check", "exceptions"); r.status != 4 {
		t.Errorf("the direct path is interfered with: %s", r)
	} else {
		w.holds("the summary", r.stdout, "[1/1] exceptions "+krakenTarget+": interfered", "tls_reset", "interference by name",
			"1 target: 1 interfered; 1 not reachable over the path in use")
	}
	if r := w.routerd("check", "ftp://okx.com"); r.status != 1 || r.stdout != "" || !strings.Contains(r.stderr, "https://") {
		t.Errorf("what cannot be checked: %s", r)
	}

	within(t, time.Minute, "status has the verdict", func() bool { return destination(w.status(), "exchanges").Verdict == "interfered" })
	w.verdictIsTold()
	w.historyIsDrawn()
	w.goes(lab.Client, overHome, "www.okx.com")
	w.metricsAreRight()
	end()
	w.check(0)

	// Checks that take long end with Ctrl-C.
	w.interfere(lab.Interference{Kind: interfere.TLSDrop, Names: []string{"okx.com"}})
	r := w.runOn(lab.Router, "", "timeout", "--preserve-status", "--signal=INT", "2", binary(), "check", "exchanges")
	if r.status != 1 || !strings.HasPrefix(r.stderr, "routerd: given up: 0 of ") {
		t.Errorf("ended by Ctrl-C: %s", r)
	}
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

// holds says that a text, whatever its lines, has some words in it.
func (w *world) holds(what, text string, words ...string) {
	w.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, s := range words {
		if !strings.Contains(flat, strings.Join(strings.Fields(s), " ")) {
			w.Errorf("%s lacks %q:\n%s", what, s, text)
		}
	}
}

// verdictIsTold looks at status, why and events.
func (w *world) verdictIsTold() {
	w.Helper()
	d := destination(w.status(), "exchanges")
	if d.State != "ok" || d.Path != "home" {
		w.Errorf("status: %+v", d)
	}
	w.holds("the verdict's reason", d.VerdictReason, "www.okx.com", "interference by name")
	w.holds("status", w.must("status"), "interfered: ")
	y := w.why("www.okx.com")
	w.toldAre(y.Checks, okxReset)
	if y.LastCheck == nil {
		w.Errorf("why: %+v", y)
	}
	w.toldAre(w.why("news.example").Checks)
	if !slices.ContainsFunc(w.events(), func(e control.Event) bool {
		return e.Kind == control.EventVerdict && e.Destination == "exchanges" && e.To == "interfered"
	}) {
		w.Errorf("events: %+v", w.events())
	}
}

// historyIsDrawn looks at the last slots, and at the drawing.
func (w *world) historyIsDrawn() {
	w.Helper()
	var all []control.History
	w.decode(w.must("history", "--json", "exchanges"), &all)
	var paths []string
	rates := map[string]float64{}
	for _, h := range all {
		paths = append(paths, fmt.Sprint(h.Path, " ", len(h.Slots)))
		if h.OKRate != nil {
			rates[h.Path] = *h.OKRate
		}
	}
	if !slices.Equal(paths, []string{"direct 144", "home 144", "other 144"}) || rates["home"] != 1 || rates["direct"] <= 0 || rates["direct"] >= 1 {
		w.Fatalf("history of %v, rates %v", paths, rates)
	}
	if !slices.ContainsFunc(all[0].Slots, func(s control.HistorySlot) bool { return s.Outcome == "tls_reset" }) {
		w.Errorf("history of the direct path: %+v", all[0].Slots[140:])
	}
	w.holds("the drawing", w.must("history", "exchanges"), "t|", ".|", "100 %", "t TLS")
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
			{"routerd_connections_total", `destination="exchanges",path="home",stage="answered"`},
			{"routerd_connection_round_trip_seconds", `_countdestination="exchanges",path="home"`},
			{"routerd_destination_bytes_total", `destination="exchanges",path="home",direction="receive"`},
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
