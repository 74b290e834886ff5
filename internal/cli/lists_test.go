package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
)

// listFixtures is a daemon with lists.
func listFixtures() control.Handlers {
	at := func(ago time.Duration) *time.Time { return ptr(fixedNow().Add(-ago)) }
	return control.Handlers{
		Lists: func(context.Context) ([]control.List, error) {
			return []control.List{
				{Name: "community", URL: "https://lists.example/exchanges.txt", Destination: "exchanges", Format: "v2fly", Rules: 1234, Duplicates: 2, Skipped: 5, Unsupported: map[string]int{"regexp": 1, "keyword": 12}, Problems: []string{`line 3: rule "com": a single word would be the whole top-level domain`, "line 7: \x1b[31mx", "line 9: y", "line 10: z"}, Updated: at(50 * time.Hour), Checked: at(5 * time.Minute), NextTry: at(-55 * time.Minute)},
				{Name: "pools_by_somebody_with_a_long_name", URL: "file:///etc/routerd/pools.list", Destination: "pools_of_the_farm", Format: "auto", Error: "open list: open /etc/routerd/pools.list: no such file or directory", NextTry: at(-15 * time.Second)},
				{Name: "now", URL: "http://192.168.1.2/x", Destination: "exchanges", Format: "plain", Rules: 1, Updated: at(time.Minute), Checked: at(time.Minute), Fetching: true},
			}, nil
		},
		UpdateList: func(_ context.Context, name string, progress func(control.ListProgress)) error {
			if name == "nothing" {
				return fmt.Errorf("%w: the settings have no list nothing", control.ErrInvalid)
			}
			for done := int64(0); done <= 3<<20; done += 1 << 20 {
				progress(control.ListProgress{Name: "community", State: control.ListFetching, Path: "home", Done: done, Total: 3 << 20})
			}
			progress(control.ListProgress{Name: "community", State: control.ListDone, Rules: 1234, Skipped: 5, Changed: true})
			progress(control.ListProgress{Name: "now", State: control.ListDone, Rules: 1})
			if name == "" {
				progress(control.ListProgress{Name: "broken", State: control.ListFailed, Error: `the server answers "404 Not Found"`})
			}
			return nil
		},
	}
}

func TestListsPrintTablesAndJSON(t *testing.T) {
	socket, _ := daemonWith(t, listFixtures())
	for _, tc := range []struct{ golden, args string }{
		{"lists.txt", "lists"},
		{"lists.json", "lists --json"},
		{"lists-update.txt", "lists update community"},
		{"lists-update.json", "lists update community --json"},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			r := call(t, "", append(strings.Fields(tc.args), "--socket", socket)...)
			r.want(t, exitDone, "", "")
			golden(t, tc.golden, r.stdout)
			if strings.HasSuffix(tc.golden, ".json") {
				everyLineOrAllIsJSON(t, r.stdout)
			} else {
				plain80(t, r.stdout)
			}
			if r.stderr != "" {
				t.Errorf("stderr holds %q", r.stderr)
			}
		})
	}
}

func TestAListThatCannotBeUpdatedEndsWith1(t *testing.T) {
	socket, _ := daemonWith(t, listFixtures())
	call(t, "", "lists", "update", "--socket", socket).want(t, exitFailed, "broken: failed, the last good content stays: the server answers \"404 Not Found\"\n", "")
	call(t, "", "lists", "update", "--json", "--socket", socket).want(t, exitFailed, `"state":"failed"`, "")
	call(t, "", "lists", "update", "nothing", "--socket", socket).want(t, exitFailed, "", "the settings have no list nothing")
}

func TestListsWithoutADaemonOrWithWrongUsage(t *testing.T) {
	socket := t.TempDir() + "/absent"
	for _, args := range []string{"lists", "lists --json", "lists update", "lists update x"} {
		call(t, "", append(strings.Fields(args), "--socket", socket)...).want(t, exitNotRunning, "", "routerd is not running")
	}
	for args, want := range map[string]string{
		"lists updat":      `did you mean "update"?`,
		"lists update a b": "accepts at most 1 arg",
		"lists update a/b": "cannot be the name of a list",
	} {
		call(t, "", strings.Fields(args)...).want(t, exitUsage, "", want)
	}
	call(t, "", "lists", "update", "").want(t, exitUsage, "", "the name of the list is empty")
	empty, _ := daemonWith(t, control.Handlers{Lists: func(context.Context) ([]control.List, error) { return nil, nil }})
	call(t, "", "lists", "--socket", empty).want(t, exitDone, "No list is set up", "")
	call(t, "", "lists", "--json", "--socket", empty).want(t, exitDone, "[]\n", "")
}

func TestAnUpdateShowsProgressOnOneLineOfATerminal(t *testing.T) {
	socket, _ := daemonWith(t, listFixtures())
	slave, shown := pty(t, 60, 24)
	var stderr strings.Builder
	a := testApp("", slave, &stderr)
	a.term = newTerminal(slave, func(string) string { return "xterm" })
	a.term.color = false
	if status := a.main(t.Context(), []string{"lists", "update", "community", "--socket", socket}); status != exitDone {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	shown.holds(t, "\rcommunity: 1.0M of 3.0M (33 %) over home"+clearRight+"\rcommunity: 2.0M of 3.0M (66 %) over home")
	shown.holds(t, clearRight+"\rcommunity: 1234 rules, 5 skipped"+clearRight+"\r\n")
	shown.holds(t, "\rnow: 1 rule, unchanged"+clearRight+"\r\n")
}
