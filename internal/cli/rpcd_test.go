package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/control"
)

// pages is where LuCI's part of the package is.
const pages = "../../openwrt/luci-app-routerd"

// rpcWorld is a router's files for calls by rpcd.
type rpcWorld struct {
	*testing.T
	config, dir, socket string
}

func newRPCWorld(t *testing.T, socket string) *rpcWorld {
	t.Helper()
	dir := t.TempDir()
	w := &rpcWorld{t, filepath.Join(dir, "config"), filepath.Join(dir, "tunnels"), socket}
	if err := os.WriteFile(w.config, []byte("config routerd 'main'\n\nconfig destination 'exchanges'\n\tlist category 'exchange'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// call asks as rpcd does and decodes the answer.
func (w *rpcWorld) call(method, request string) map[string]any {
	w.Helper()
	r := call(w.T, request, "rpcd", "call", method, "--config", w.config, "--socket", w.socket, "--tunnel-dir", w.dir)
	if r.status != exitDone || r.stderr != "" {
		w.Fatalf("call %s: status %d, stderr %q", method, r.status, r.stderr)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &answer); err != nil {
		w.Fatalf("call %s answers no object: %q", method, r.stdout)
	}
	return answer
}

func (w *rpcWorld) text(path string) string {
	w.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	return string(raw)
}

const testPrivate, testPeer = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="

const testQuick = "[Interface]\nPrivateKey = " + testPrivate + "\nAddress = 10.9.0.2/32\nDNS = 10.9.0.1\n\n[Peer]\nPublicKey = " + testPeer +
	"\nAllowedIPs = 0.0.0.0/0\nEndpoint = 198.51.100.1:51820\n"

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func TestRPCDListGivesAnExampleOfEveryArgument(t *testing.T) {
	r := call(t, "", "rpcd", "list")
	var got map[string]map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	for method, args := range got {
		for name, example := range args {
			switch example.(type) {
			case string, bool, float64, []any:
			default:
				t.Errorf("%s: rpcd knows no type for argument %s, %v", method, name, example)
			}
		}
	}
	if diff := cmp.Diff(map[string]any{"query": "", "client": ""}, got["why"]); diff != "" {
		t.Error(diff)
	}
}

// The access list names the methods that there are, the reading ones for reading
// and the others for writing; the pages call no other.
func TestAccessListsNameExactlyTheMethods(t *testing.T) {
	raw, err := os.ReadFile(pages + "/root/usr/share/rpcd/acl.d/luci-app-routerd.json")
	if err != nil {
		t.Fatal(err)
	}
	type rights struct {
		UBus map[string][]string
		UCI  []string
	}
	var lists map[string]struct{ Read, Write rights }
	if err := json.Unmarshal(raw, &lists); err != nil {
		t.Fatal(err)
	}
	names := func(methods []rpcMethod) []string {
		var out []string
		for _, m := range methods {
			out = append(out, m.name)
		}
		slices.Sort(out)
		return out
	}
	a, list := testApp("", nil, nil), lists["luci-app-routerd"]
	if diff := cmp.Diff(names(a.rpcReading()), list.Read.UBus["routerd"]); diff != "" {
		t.Errorf("for reading (-methods +list):\n%s", diff)
	}
	if diff := cmp.Diff(names(a.rpcWriting()), list.Write.UBus["routerd"]); diff != "" {
		t.Errorf("for writing (-methods +list):\n%s", diff)
	}
}

func TestThePagesPassTheArgumentsThatMethodsTake(t *testing.T) {
	raw, err := os.ReadFile(pages + "/htdocs/luci-static/resources/routerd/api.js")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]rpcMethod{}
	for _, m := range testApp("", nil, nil).rpcMethods() {
		known[m.name] = m
	}
	declared := regexp.MustCompile(`declare\('(\w+)'(?:, \[ ([^\]]*) \])?\)`).FindAllStringSubmatch(string(raw), -1)
	if len(declared) < 10 {
		t.Fatalf("found %d declarations", len(declared))
	}
	for _, d := range declared {
		m, ok := known[d[1]]
		if !ok {
			t.Errorf("the pages call %s, which there is not", d[1])
			continue
		}
		var args map[string]any
		if err := json.Unmarshal(m.args, &args); err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(d[2], ", ") {
			name = strings.Trim(name, "'")
			if _, takes := args[name]; name != "" && !takes {
				t.Errorf("%s takes no %q", d[1], name)
			}
		}
	}
}

func TestReadingMethodsAnswerWhatTheDaemonSays(t *testing.T) {
	socket, _ := daemonWith(t, fixtures())
	w := newRPCWorld(t, socket)
	if got := w.call("status", `{"ubus_rpc_session":"abc"}`)["version"]; got != "0.1.0" {
		t.Errorf("version %v", got)
	}
	if got := w.call("why", `{"query":"https://API.binance.com/x","client":" 192.168.1.40 "}`); got["query"] != "api.binance.com" || got["client"] != "192.168.1.40" {
		t.Errorf("why answers %v", got)
	}
	if got := w.call("flows", "{}"); got["total"] != 3.0 || len(got["flows"].([]any)) != 3 {
		t.Errorf("flows answers %v", got)
	}
	if got := w.call("events", `{"since":1}`)["events"].([]any); len(got) != 2 {
		t.Errorf("events answers %v", got)
	}
	if got := w.call("catalogue", `{"words":["f2pool"]}`)["services"].([]any); len(got) != 1 {
		t.Errorf("catalogue answers %v", got)
	}
	if got := w.call("doctor", "")["findings"].([]any); len(got) == 0 {
		t.Error("doctor finds nothing at all")
	}
	if got := w.call("validate", "{}")["problems"].([]any); len(got) == 0 {
		t.Error("validate has no note on a destination without a tunnel")
	}
}

// checking is a daemon that checks two targets, or as many as it is asked for.
func checking() control.Handlers {
	h := fixtures()
	of := func(target string) control.Check {
		return control.Check{Destination: "exchanges", Target: target, Verdict: "interfered", Reason: "it is", Path: "home", Paths: []control.CheckPath{
			{Path: "direct", Outcome: "tls_reset", Layer: "tls"}, {Path: "home", Outcome: "ok", RTTMs: ptr(48.0)},
		}}
	}
	h.Checks = func(context.Context) ([]control.Check, error) {
		return []control.Check{of("https://a.example/"), of("https://b.example/")}, nil
	}
	h.Check = func(_ context.Context, what []string, progress func(control.CheckProgress)) error {
		for i, target := range what {
			c := of(target)
			progress(control.CheckProgress{Destination: "exchanges", Target: target, Done: i, Total: len(what), Result: &c.Paths[0]})
			progress(control.CheckProgress{Destination: "exchanges", Target: target, Done: i + 1, Total: len(what), Check: &c})
		}
		return nil
	}
	h.History = func(_ context.Context, destination string) ([]control.History, error) {
		return []control.History{{Destination: destination, Path: "home", SlotS: 600, Slots: []control.HistorySlot{{Checks: 2, OK: 2, Outcome: "ok"}}}}, nil
	}
	return h
}

func TestChecksAndTheirHistoryAreAsked(t *testing.T) {
	socket, _ := daemonWith(t, checking())
	w := newRPCWorld(t, socket)
	if got := w.call("checks", "{}"); len(got["checks"].([]any)) != 2 || got["complete"] != true {
		t.Errorf("checks answers %v", got)
	}
	got := w.call("check", `{"what":["https://c.example/","exchanges","d.example"]}`)
	checks := got["checks"].([]any)
	if len(checks) != 3 || got["complete"] != true || checks[2].(map[string]any)["verdict"] != "interfered" {
		t.Errorf("check answers %v", got)
	}
	if got := w.call("check", `{"what":["a b"]}`); got["code"] != codeUsage {
		t.Errorf("check of nonsense answers %v", got)
	}
	if got := w.call("history", `{"destination":"exchanges"}`)["history"].([]any); len(got) != 1 {
		t.Errorf("history answers %v", got)
	}
	socket, _ = daemonWith(t, fixtures())
	w.socket = socket
	if got := w.call("history", `{}`); got["code"] != codeMissing {
		t.Errorf("a daemon without checks is answered by %v", got)
	}
}

func TestCallsThatFailSayWhy(t *testing.T) {
	socket, stop := daemonWith(t, fixtures())
	w := newRPCWorld(t, socket)
	for _, tc := range []struct{ method, request, code, text string }{
		{"why", `{"query":"a..b"}`, codeUsage, "neither an address nor a domain name"},
		{"why", `{"query":"example.org","client":"laptop"}`, codeUsage, "is not an IPv4 or IPv6 address"},
		{"why", `{"query":"broken.example"}`, codeFailed, "permission denied"},
		{"why", `{"qeury":"example.org"}`, codeUsage, "unknown field"},
		{"why", `[]`, codeUsage, "no JSON object"},
		{"why", `{"query":7}`, codeUsage, "does not fit"},
		{"events", `{"since":-1}`, codeUsage, "does not fit"},
		{"catalogue", `{"words":["a","b","c","d","e","f","g","h","i"]}`, codeUsage, "at most 8"},
		{"catalogue", `{"words":[""]}`, codeUsage, "1 to 64"},
		{"lists", `{}`, codeMissing, "does not answer"},
		{"lists_update", `{"name":"../x"}`, codeUsage, "cannot be the name"},
		{"tunnel_import", `{"name":"../evil","text":""}`, codeUsage, "1 to 12"},
		{"tunnel_import", `{"name":"home","text":"nonsense"}`, codeUsage, "line 1"},
		{"tunnel_change", `{"name":"home","action":"explode"}`, codeUsage, "enable, disable or prefer"},
		{"tunnel_change", `{"name":"home","action":"enable"}`, codeFailed, "no such tunnel"},
		{"tunnel_remove", `{"name":"home"}`, codeFailed, "no such tunnel"},
		{"tunnel_attach", `{"name":"x","device":"rd-x"}`, codeFailed, "begins with rd-"},
		{"tunnel_create", `{"name":"x","addresses":["10.0.0.1\nPostUp = reboot"]}`, codeUsage, "one line"},
		{"status", strings.Repeat(" ", maxRPC+1), codeUsage, "larger than"},
	} {
		got := w.call(tc.method, tc.request)
		if text, _ := got["error"].(string); got["code"] != tc.code || !strings.Contains(text, tc.text) {
			t.Errorf("%s %.60s answers %v, want code %s and %q", tc.method, tc.request, got, tc.code, tc.text)
		}
	}
	stop()
	if got := w.call("status", "{}"); got["code"] != codeNotRunning {
		t.Errorf("without a daemon status answers %v", got)
	}
	call(t, "", "rpcd", "call", "explode").want(t, exitUsage, "", `there is no method "explode"`)
}

func TestATunnelIsImportedListedChangedAndRemovedThroughRPC(t *testing.T) {
	w := newRPCWorld(t, filepath.Join(t.TempDir(), "absent"))
	got := w.call("tunnel_import", `{"name":"home","text":`+quoted(testQuick)+`}`)
	notes, _ := got["notes"].([]any)
	if got["name"] != "home" || got["applied"] != false || len(got["public_key"].(string)) != 44 || len(notes) != 1 {
		t.Errorf("tunnel_import answers %v", got)
	}
	if fi, err := os.Stat(filepath.Join(w.dir, "home.conf")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", fi, err)
	}
	again := w.call("tunnel_import", `{"name":"home","text":`+quoted(testQuick)+`}`)
	if text, _ := again["error"].(string); !strings.Contains(text, "there is a tunnel of that name") {
		t.Errorf("a second import answers %v", again)
	}
}

func TestTunnelsAreMadeChangedAndRemovedThroughRPC(t *testing.T) {
	w := newRPCWorld(t, filepath.Join(t.TempDir(), "absent"))
	for _, c := range [][2]string{
		{"tunnel_import", `{"name":"home","text":` + quoted(testQuick) + `}`},
		{"tunnel_create", `{"name":"mine","addresses":["10.9.0.3/32"],"public_key":"` + testPeer + `","endpoint":"vpn.example.net:51820"}`},
		{"tunnel_attach", `{"name":"other","device":"awg0"}`},
		{"tunnel_change", `{"name":"mine","action":"disable"}`},
		{"tunnel_change", `{"name":"mine","action":"prefer"}`},
	} {
		if got := w.call(c[0], c[1]); got["error"] != nil {
			t.Errorf("%s answers %v", c[0], got)
		}
	}
	list := w.call("tunnel_list", "{}")["tunnels"].([]any)
	first := list[0].(map[string]any)
	if len(list) != 3 || first["name"] != "mine" || first["enabled"] != false || first["endpoints"].([]any)[0] != "vpn.example.net:51820" {
		t.Errorf("tunnel_list answers %v", list)
	}
	if got := w.call("tunnel_remove", `{"name":"home"}`); got["file"] != filepath.Join(w.dir, "home.conf") {
		t.Errorf("tunnel_remove answers %v", got)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "home.conf")); !os.IsNotExist(err) {
		t.Errorf("the keys of a removed tunnel are still there: %v", err)
	}
	if strings.Contains(w.text(w.config), "'home'") {
		t.Errorf("the settings still name it:\n%s", w.text(w.config))
	}
}

func TestNoAnswerHoldsAPrivateKey(t *testing.T) {
	w := newRPCWorld(t, filepath.Join(t.TempDir(), "absent"))
	w.call("tunnel_import", `{"name":"home","text":`+quoted(testQuick)+`}`)
	inline := "\nconfig tunnel 'inline'\n\toption private_key '" + testPrivate + "'\n\toption public_key '" + testPeer +
		"'\n\toption endpoint '198.51.100.2:1'\n\tlist address '10.9.0.4/32'\n\nconfig list 'mine'\n\toption url 'https://user:hunter2@example.org/l?token=secret'\n\toption destination 'exchanges'\n"
	if err := os.WriteFile(w.config, []byte(w.text(w.config)+inline), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, m := range testApp("", nil, nil).rpcReading() {
		r := call(t, "{}", "rpcd", "call", m.name, "--config", w.config, "--socket", w.socket, "--tunnel-dir", w.dir)
		if strings.Contains(r.stdout, testPrivate) {
			t.Errorf("%s tells a private key", m.name)
		}
	}
	report := w.call("report", "{}")["text"].(string)
	for _, secret := range []string{testPrivate, testPeer, "hunter2", "token=secret"} {
		if strings.Contains(report, secret) {
			t.Errorf("the report holds %s:\n%s", secret, report)
		}
	}
	for _, want := range []string{"== doctor", "== settings", "option private_key '(removed)'", "config list 'mine'", "not to be had: "} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"name":"home","text":"[Interface]","replace":true,"ubus_rpc_session":"x"}`))
	f.Add([]byte(`{"name":1}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, request []byte) {
		var in importRequest
		if decodeRequest(request, &in) == nil && len(in.Name)+len(in.Text) > 4*len(request) {
			t.Errorf("%d octets make %d", len(request), len(in.Name)+len(in.Text))
		}
		var c createRequest
		if decodeRequest(request, &c) == nil {
			_, _, _ = c.quick()
		}
	})
}
