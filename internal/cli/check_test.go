package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
)

// checked makes what came of a target.
func checked(destination, target, verdict, reason, inUse string, paths ...control.CheckPath) control.Check {
	at := fixedNow().Add(-time.Minute)
	return control.Check{
		Destination: destination, Target: target, Verdict: verdict, Reason: reason, Path: inUse, Since: &at, Checked: &at, Paths: paths,
	}
}

// over makes what came of a path; the layer "" stands for success or a path down.
func over(path, outcome, layer string, rtt float64, detail string) control.CheckPath {
	p := control.CheckPath{Path: path, Outcome: outcome, Layer: layer, Detail: detail, Reached: outcome == "ok" || outcome == "service_refused"}
	if rtt > 0 {
		p.RTTMs = &rtt
	}
	return p
}

func fixtureChecks() []control.Check {
	const reset = "TLS connection reset right after the name www.okx.com was sent"
	return []control.Check{
		checked("pools_of_the_farm_behind_the_house", "stratum+tcp://stratum.braiins.com:3333", "reachable", "it works over the direct path", "direct", over("direct", "ok", "", 21.2, ""), over("home", "ok", "", 48, "")),
		checked("exchanges", "https://www.okx.com/api/v5/public/time?with=a_long_query", "interfered", reset+"; the same name works through home: interference by name", "home", over("direct", "tls_reset", "tls", 12.1, reset), over("home", "ok", "", 60.4, "")),
		checked("exchanges", "https://api.binance.com/api/v3/ping", "service_refused", "HTTP 451: it is the service that refuses, not the network", "home", over("direct", "service_refused", "http", 0, "HTTP 451"), over("home", "service_refused", "http", 80, "HTTP 451")),
	}
}

// checkFixtures is a daemon that checks: what it is asked for chooses what comes.
func checkFixtures() control.Handlers {
	return control.Handlers{Check: func(ctx context.Context, what []string, progress func(control.CheckProgress)) error {
		all := fixtureChecks()
		switch strings.Join(what, " ") {
		case "nobody":
			return fmt.Errorf("%w: no destination %q", control.ErrInvalid, what[0])
		case "nothing":
			return nil
		case "breaks":
			progress(control.CheckProgress{Destination: "exchanges", Target: all[1].Target, Total: 2, Result: &all[1].Paths[0]})
			return errors.New("the daemon stops")
		case "shut":
			all = []control.Check{checked("shut", "tls://shut.example", "unknown", "tunnel home is down", "block", over("home", "path_down", "", 0, "no device"))}
		case "direct":
			all = []control.Check{checked("", "tls://www.okx.com", "interfered", "reset", "", over("direct", "tls_reset", "tls", 3, "reset"), over("home", "ok", "", 9, ""))}
		}
		for i, c := range all {
			for _, p := range c.Paths {
				progress(control.CheckProgress{Destination: c.Destination, Target: c.Target, Done: i, Total: len(all), Result: &p})
			}
			if strings.Join(what, " ") == "forever" {
				<-ctx.Done()
				return ctx.Err()
			}
			progress(control.CheckProgress{Destination: c.Destination, Target: c.Target, Done: i + 1, Total: len(all), Check: &c})
		}
		return nil
	}}
}

func TestCheckPrintsLinesASummaryAndJSON(t *testing.T) {
	socket, _ := daemonWith(t, checkFixtures())
	r := call(t, "", "check", "--socket", socket)
	r.want(t, exitDone, "", "")
	golden(t, "check.txt", r.stdout)
	plain80(t, r.stdout)
	r = call(t, "", "check", "--json", "--socket", socket)
	r.want(t, exitDone, "", "")
	golden(t, "check.json", r.stdout)
	var checks []map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &checks); err != nil || len(checks) != 3 || checks[0]["target"] != "https://api.binance.com/api/v3/ping" {
		t.Errorf("not an array in order: %v, %v", checks, err)
	}
}

func TestCheckEndsWith4WhereThePathInUseDoesNotReach(t *testing.T) {
	socket, _ := daemonWith(t, checkFixtures())
	for _, c := range []struct {
		what   string
		status int
		stdout string
	}{
		{"shut", exitUnreached, "1 target: 1 unknown; 1 not reachable over the path in use"},
		{"direct", exitUnreached, "(not listed)"},
		{"nothing", exitDone, "Nothing was checked."},
		{"", exitDone, "1 service_refused; all reachable over the\npaths in use\n"},
	} {
		args := append(strings.Fields(c.what), "--socket", socket)
		call(t, "", append([]string{"check"}, args...)...).want(t, c.status, c.stdout, "")
		r := call(t, "", append([]string{"check", "--json"}, args...)...)
		if r.status != c.status || !json.Valid([]byte(r.stdout)) || r.stderr != "" {
			t.Errorf("check --json %s: status %d, want %d; %q %q", c.what, r.status, c.status, r.stdout, r.stderr)
		}
	}
	call(t, "", "check", "--json", "nothing", "--socket", socket).want(t, exitDone, "[]\n", "")
}

func TestChecksThatCannotBeMade(t *testing.T) {
	socket, _ := daemonWith(t, checkFixtures())
	call(t, "", "check", "nobody", "--socket", socket).want(t, exitFailed, "", `no destination "nobody"`)
	r := call(t, "", "check", "--json", "breaks", "--socket", socket)
	r.want(t, exitFailed, "", "the daemon stops")
	if r.stdout != "" {
		t.Errorf("a broken check printed %q", r.stdout)
	}
	call(t, "", "check", "a b", "--socket", socket).want(t, exitUsage, "", "holds a space")
	call(t, "", "check", "", "--socket", socket).want(t, exitUsage, "", "give a destination, a name or a URL")
}

func TestCtrlCEndsChecksCleanly(t *testing.T) {
	for _, args := range [][]string{{"check", "forever"}, {"check", "--json", "forever"}} {
		h, begun := checkFixtures(), make(chan struct{}, 1)
		check := h.Check
		h.Check = func(ctx context.Context, what []string, progress func(control.CheckProgress)) error {
			return check(ctx, what, func(p control.CheckProgress) {
				progress(p)
				select {
				case begun <- struct{}{}:
				default:
				}
			})
		}
		socket, _ := daemonWith(t, h)
		ctx, stop := context.WithCancel(t.Context())
		go func() { // ends with the first progress
			<-begun
			stop()
		}()
		var stdout, stderr strings.Builder
		status := testApp("", &stdout, &stderr).main(ctx, append(args, "--socket", socket))
		if status != exitFailed || !strings.HasPrefix(stderr.String(), "routerd: given up: 0 of ") {
			t.Errorf("%v: status %d, %q", args, status, stderr.String())
		}
		if out := stdout.String(); len(args) == 3 && out != "[]\n" || len(args) == 2 && !strings.Contains(out, "Nothing was checked") {
			t.Errorf("%v: %q", args, out)
		}
	}
}

func TestChecksAreShownInPlaceOnATerminal(t *testing.T) {
	socket, _ := daemonWith(t, checkFixtures())
	slave, shown := pty(t, 76, 24)
	var stderr strings.Builder
	a := testApp("", slave, &stderr)
	a.term = newTerminal(slave, func(string) string { return "xterm" })
	a.term.color = true
	if status := a.main(t.Context(), []string{"check", "--socket", socket}); status != exitDone {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	shown.holds(t, "checking; Ctrl-C ends")
	shown.holds(t, "\x1b[1A\r"+clearBelow+"  pools_of_the_farm_behind_the_house stratum+tcp://st~: direct ok 21 ms ...")
	shown.holds(t, "\x1b[2A\r"+clearBelow)
	shown.holds(t, "[2/3] exchanges https://www.okx.com/api/v5/public/time?with=a_~: \x1b[31minterfered\x1b[0m")
	shown.holds(t, "\x1b[31mtls_reset")
	shown.holds(t, "3 targets: 1 interfered, 1 reachable, 1 service_refused")
}
