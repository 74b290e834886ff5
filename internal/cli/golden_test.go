package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCommandsPrintTablesAndJSON(t *testing.T) {
	socket, _ := daemonWith(t, fixtures())
	for _, tc := range []struct{ golden, args string }{
		{"status.txt", "status"},
		{"status.json", "status --json"},
		{"why.txt", "why api.binance.com --client 192.168.1.40"},
		{"why.json", "why --json https://API.binance.com/v3/ping --client 192.168.1.40"},
		{"why-unlisted.txt", "why unlisted.example."},
		{"flows.txt", "flows"},
		{"flows.json", "flows --json"},
		{"events.txt", "events"},
		{"events.json", "events --json"},
		{"reload.txt", "reload"},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			r := call(t, "", append(strings.Fields(tc.args), "--socket", socket)...)
			r.want(t, exitDone, "", "")
			golden(t, tc.golden, r.stdout)
			if r.stderr != "" {
				t.Errorf("stderr holds %q", r.stderr)
			}
			if strings.HasSuffix(tc.golden, ".json") {
				everyLineOrAllIsJSON(t, r.stdout)
			} else {
				plain80(t, r.stdout)
			}
		})
	}
}

// everyLineOrAllIsJSON says that standard output holds JSON and nothing else.
func everyLineOrAllIsJSON(t *testing.T, out string) {
	t.Helper()
	if json.Valid([]byte(out)) {
		return
	}
	for line := range strings.Lines(out) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %q", line)
		}
	}
}

// plain80 says that a text is ASCII without commands to a terminal, and no line
// of it longer than 80 columns.
func plain80(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > plainWidth {
			t.Errorf("longer than 80 columns: %q", line)
		}
		for _, r := range line {
			if r < ' ' || r > '~' {
				t.Errorf("%q holds %U", line, r)
			}
		}
	}
}

func TestEmptyAnswersSayWhatToDo(t *testing.T) {
	h := fixtures()
	h.Status, h.Flows = emptyStatus, noFlows
	socket, _ := daemonWith(t, h)
	r := call(t, "", "status", "--socket", socket)
	for _, want := range []string{"not attached", "routerd tunnel import", "all traffic is direct"} {
		r.want(t, exitDone, want, "")
	}
	call(t, "", "flows", "--socket", socket).want(t, exitDone, "No connection is steered now.", "")
	r = call(t, "", "flows", "--json", "--socket", socket)
	if r.stdout != "[]\n" {
		t.Errorf("no flows in JSON are %q, want []", r.stdout)
	}
}

func TestCatalogueNeedsNoDaemon(t *testing.T) {
	r := call(t, "", "catalogue")
	r.want(t, exitDone, "binance ", "")
	plain80(t, r.stdout)
	call(t, "", "catalogue", "api.binance.com").want(t, exitDone, "domains      binance.com", "")
	call(t, "", "catalogue", "zzz-nothing").want(t, exitDone, "No built-in service matches", "")
	r = call(t, "", "catalogue", "--json", "pool")
	var services []map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &services); err != nil || len(services) < 20 {
		t.Fatalf("catalogue --json pool: %d services, %v", len(services), err)
	}
	for _, key := range []string{"id", "name", "category", "domains", "checks", "ports"} {
		if services[0][key] == nil {
			t.Errorf("a service has no %q: %v", key, services[0])
		}
	}
	if r = call(t, "", "catalogue", "--json", "zzz-nothing"); r.stdout != "[]\n" {
		t.Errorf("nothing found in JSON is %q, want []", r.stdout)
	}
}
