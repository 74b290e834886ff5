package e2e_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
)

func TestExitStatuses(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	w.configure(usualSettings)
	type call struct {
		args   string
		status int
	}
	statuses := func(calls ...call) {
		t.Helper()
		for _, c := range calls {
			if r := w.routerd(strings.Fields(c.args)...); r.status != c.status {
				t.Errorf("routerd %s, want status %d: %s", c.args, c.status, r)
			}
		}
	}
	statuses(
		call{"version", 0}, call{"validate", 0}, call{"catalogue", 0}, call{"catalogue binance", 0}, call{"tunnel list", 0},
		call{"status", 3}, call{"why x.example", 3}, call{"flows", 3}, call{"events", 3}, call{"reload", 3},
		call{"nothing", 2}, call{"status --nothing", 2}, call{"add x.example", 2}, call{"why", 2},
		call{"cleanup", 0}, call{"cleanup", 0},
	)
	if r := w.routerd("status"); !strings.Contains(r.stderr, "/etc/init.d/routerd start") {
		t.Errorf("it is not told how to start routerd: %s", r)
	}
	w.start()
	w.ready()
	statuses(
		call{"status", 0}, call{"status --json", 0}, call{"why binance.com", 0}, call{"flows", 0}, call{"events", 0},
		call{"reload", 0}, call{"doctor --json", 0}, call{"why binance.com --client nonsense", 2}, call{"cleanup", 1},
	)
}

// keys are the names in a JSON object.
func keys(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return slices.Sorted(maps.Keys(m))
}

// part is one part of a JSON object; of a list, its first element.
func part(t *testing.T, raw, name string) json.RawMessage {
	t.Helper()
	out := json.RawMessage(raw)
	if name != "" {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		out = m[name]
	}
	var list []json.RawMessage
	if json.Unmarshal(out, &list) == nil {
		if len(list) == 0 {
			t.Fatalf("%q is empty in %s", name, raw)
		}
		return list[0]
	}
	return out
}

func TestJSONHasWhatTheContractPromises(t *testing.T) {
	w := raise(t, sharedLab(t), usualObserving)
	pool := w.mine(lab.Client, "stratum.braiins.com:3333")
	status, why := w.must("status", "--json"), w.must("why", "--json", "stratum.braiins.com", "--client", "192.168.1.10")
	flows, events := w.must("flows", "--json"), w.must("events", "--json")
	first, _, _ := strings.Cut(events, "\n")
	for _, shape := range []struct{ what, raw, part, keys string }{
		{"status", status, "", "version running uptime_s dataplane dns tunnels destinations"},
		{"status", status, "dataplane", "hook devices addresses flows pinned"},
		{"status", status, "dns", "mode queries learned"},
		{"status", status, "tunnels", "name device backend state last_handshake_s rx_bytes tx_bytes rtt_ms"},
		{"status", status, "destinations", "name label policy path state reason addresses flows rx_bytes tx_bytes"},
		{"why", why, "", "query client destination rule policy path device mark table reason addresses last_check"},
		{"why", why, "addresses", "address learned_from names age_s expires_s shared_with"},
		{"flows", flows, "", "destination path protocol source target name"},
		{"events", first, "", "time kind destination tunnel from to reason"},
	} {
		got := keys(t, part(t, shape.raw, shape.part))
		for _, key := range strings.Fields(shape.keys) {
			if !slices.Contains(got, key) {
				t.Errorf("%s: %q of %q is missing, there are %v", shape.what, key, shape.part, got)
			}
		}
	}
	w.valuesAreRight()
	pool.unbroken()
}

// valuesAreRight looks at the values while a session with a pool is under way.
func (w *world) valuesAreRight() {
	w.Helper()
	server := address(w.T, "stratum.braiins.com", 4).String()
	s, flows := w.status(), w.flows()
	if len(s.Tunnels) != 2 || len(s.Destinations) != 2 || len(flows) != 1 {
		w.Fatalf("status is %+v, flows are %+v", s, flows)
	}
	y := w.why("stratum.braiins.com", "--client", "192.168.1.10")
	unlisted := w.why("news.example")
	d, u, f := destination(s, "pools"), tunnel(s, "home"), flows[0]
	for _, v := range []struct {
		what      string
		want, got []any
	}{
		{
			"why of a pool",
			[]any{"pools", "tunnel", "home", "rd-home", "0x03000000", 29187, "braiins.com", 1},
			[]any{y.Destination, y.Policy, y.Path, y.Device, y.Mark, y.Table, y.Rule, len(y.Addresses)},
		},
		{"its address", []any{server, "dns"}, []any{y.Addresses[0].Address, y.Addresses[0].LearnedFrom}},
		{"why of an unlisted name", []any{"", "direct", true}, []any{unlisted.Destination, unlisted.Path, unlisted.Reason != ""}},
		{
			"its flow",
			[]any{"pools", "home", "tcp", "open", server + ":3333", "stratum.braiins.com", true, true, true},
			[]any{f.Destination, f.Path, f.Protocol, f.State, f.Target, f.Name, f.RxBytes > 0, f.TxBytes > 0, f.RTTMs != nil},
		},
		{
			"its destination",
			[]any{"ok", "home", 1, 1, true, true},
			[]any{d.State, d.Path, d.Flows, d.Addresses, d.RxBytes > 0, d.TxBytes > 0},
		},
		{
			"its tunnel",
			[]any{"up", "rd-home", true, true, true},
			[]any{u.State, u.Device, u.LastHandshakeS != nil, u.RxBytes > 0, u.TxBytes > 0},
		},
		{
			"the data plane",
			[]any{1, 1, true, true, 0},
			[]any{s.DataPlane.Addresses, s.DataPlane.Flows, s.DataPlane.Pinned, s.DNS.Learned > 0, len(s.Problems)},
		},
	} {
		if diff := cmp.Diff(v.want, v.got); diff != "" {
			w.Errorf("%s (-want +got):\n%s", v.what, diff)
		}
	}
}
