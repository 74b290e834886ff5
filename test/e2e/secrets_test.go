package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// secrets are the keys of the lab's tunnels that nobody may be told.
func (w *world) secrets() (out []string) {
	w.Helper()
	for _, name := range []string{"home", "other"} {
		conf, err := w.lab.WGQuick(name)
		if err != nil {
			w.Fatal(err)
		}
		for line := range strings.Lines(string(conf)) {
			option, value, _ := strings.Cut(line, " = ")
			if option == "PrivateKey" || option == "PresharedKey" {
				out = append(out, strings.TrimSpace(value))
			}
		}
	}
	if len(out) != 4 {
		w.Fatalf("the lab has %d secrets", len(out))
	}
	return out
}

// resources are all that the control socket answers, as the source lists them.
func (w *world) resources() map[string]string {
	w.Helper()
	source, err := os.ReadFile("../../internal/control/server.go")
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`"(/v1/[a-z/]+|/metrics)":\s+\{web\.Method(Get|Post),`).FindAllStringSubmatch(string(source), -1) {
		out[m[1]] = strings.ToUpper(m[2])
	}
	if len(out) < 13 {
		w.Fatalf("only the resources %v", out)
	}
	return out
}

// TestKeysAreInTheirFilesAndNowhereElse looks for tunnels' keys in everything that
// routerd tells or writes.
func TestKeysAreInTheirFilesAndNowhereElse(t *testing.T) {
	w := raise(t, sharedLab(t), strings.Replace(usualSettings, "list lan", "option log_level 'debug'\n\tlist lan", 1))
	w.goes(lab.Client, overHome, lab.FreshNames()[1860])
	told := map[string]string{}
	for _, command := range []string{
		"status --json", "tunnel list", "events --json", "flows --json", "lists --json", "history --json", "report", "validate",
		"why --json www.binance.com", "rpcd call tunnel_list", "rpcd call status", "rpcd call doctor", "rpcd call events",
	} {
		r := w.runOn(lab.Router, "{}", binary(), strings.Fields(command)...)
		told["routerd "+command] = r.stdout + r.stderr
	}
	w.askAll(told)
	told["what /proc shows of the processes"] = w.onRouter("sh", "-c", `for p in $(pgrep -x routerd); do cat /proc/$p/cmdline /proc/$p/environ /proc/$p/status; done`)
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	told["the log"] = string(log)
	for where, text := range told {
		for _, secret := range w.secrets() {
			if strings.Contains(text, secret) {
				t.Errorf("a key is told by %s", where)
			}
		}
	}
	w.filesWithSecrets()
}

// askAll asks for everything that the control socket answers, and notes what it tells.
func (w *world) askAll(told map[string]string) {
	w.Helper()
	before := w.status().Started
	for path, method := range w.resources() {
		query := map[string]string{"/v1/why": "?query=www.binance.com", "/v1/check": "?what=www.binance.com"}[path]
		r := w.runOn(lab.Router, "", "curl", "--silent", "--max-time", "40", "--unix-socket", "/var/run/routerd.sock", "-X", method, "http://routerd"+path+query)
		if r.status != 0 || r.stdout == "" && path != "/v1/lists/update" { // there are no lists
			w.Errorf("%s answers nothing: %s", path, r)
		}
		told[path] = r.stdout
		if path == "/v1/restart" {
			w.next(before)
		}
	}
}

// next waits for the daemon that begins in the place of one started at that time: until
// then nobody listens.
func (w *world) next(before time.Time) {
	w.Helper()
	within(w.T, usual, "the next daemon answers", func() bool {
		s, ok := w.tryStatus()
		return ok && !s.Started.Equal(before)
	})
}

// filesWithSecrets fails unless the keys are in the wg-quick files alone.
func (w *world) filesWithSecrets() {
	w.Helper()
	for _, secret := range w.secrets() {
		found := w.runOn(lab.Router, "", "grep", "-rlsF", "--", secret, "/etc", "/run", "/var/run", "/var/lib/routerd", "/tmp").stdout
		files := strings.Fields(found)
		for _, file := range files {
			if !strings.HasPrefix(file, "/etc/routerd/") {
				w.Errorf("a key is in %s", file)
			}
		}
		if len(files) == 0 {
			w.Error("a key is not even in its file: the search is broken")
		}
	}
}

// TestOthersOfTheRouterSeeNothing acts as an unprivileged user of the router.
func TestOthersOfTheRouterSeeNothing(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	nobody := func(command string) result {
		return w.runOn(lab.Router, "", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", command)
	}
	if r := nobody("id -u; cat /proc/self/status >/dev/null"); r.status != 0 || strings.TrimSpace(r.stdout) != "65534" {
		t.Fatalf("nobody cannot act at all: %s", r)
	}
	pids := strings.Fields(w.onRouter("pgrep", "-x", "routerd"))
	if len(pids) < 2 {
		t.Fatalf("routerd's processes are %q", pids)
	}
	refused := map[string]string{
		"the control socket": "curl --silent --max-time 5 --unix-socket /var/run/routerd.sock http://routerd/v1/status",
		"a wg-quick file":    "cat /etc/routerd/home.conf",
		"the settings":       "cat " + settingsFile,
		"the state":          "ls /var/run/routerd",
		"the state's lock":   "cat /var/run/routerd.lock",
		"the pins":           "ls " + pinDir,
		"a tunnel's device":  "wg show rd-home | grep .",
		"its socket":         "curl --silent --max-time 5 --unix-socket /var/run/wireguard/rd-home.sock http://x/",
	}
	for _, pid := range pids {
		for _, file := range []string{"environ", "maps", "mem", "fd/0", "io"} {
			refused[file+" of process "+pid] = fmt.Sprintf("head -c 1 /proc/%s/%s", pid, file)
		}
		refused["a signal to process "+pid] = "kill -TERM " + pid
		if limits := w.onRouter("grep", "core file", "/proc/"+pid+"/limits"); strings.Join(strings.Fields(limits), " ") != "Max core file size 0 0 bytes" {
			t.Errorf("process %s may dump core: %s", pid, limits)
		}
	}
	for what, command := range refused {
		if r := nobody(command); r.status == 0 {
			t.Errorf("nobody gets at %s: %s", what, r)
		}
	}
}
