package device_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/device"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/client"
	"github.com/routerd/routerd/test/lab/labtest"
)

// rdlab builds the program of clients once.
var rdlab = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "rdlab")
	cmd := exec.Command("go", "build", "-o", path, "./test/lab/cmd/rdlab")
	cmd.Dir, cmd.Env = sources, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build rdlab: %w\n%s", err, out)
	}
	return path, err
})

// lookups has a client look a listed and an unlisted name up every 10 ms, by the
// router's dnsmasq and by a server of the internet, over UDP and now and then over
// TCP, until finish is called.
func lookups(t *testing.T, l *lab.Lab, listed, unlisted string) (finish func() []client.Steadiness) {
	t.Helper()
	program, err := rdlab()
	if err != nil {
		t.Fatal(err)
	}
	const router, foreign = "192.168.1.1:53/", lab.Resolver4 + ":53/"
	cmd := l.Command(t.Context(), lab.Client, program, "client", "steady", router+listed, router+unlisted,
		foreign+listed, foreign+unlisted, router+listed+"/tcp", foreign+unlisted+"/tcp")
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	until, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() []client.Steadiness {
		t.Helper()
		_ = until.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, failed.String())
		}
		var results []client.Steadiness
		if err := json.Unmarshal(out.Bytes(), &results); err != nil {
			t.Fatal(err)
		}
		return results
	}
}

// A restart and an upgrade are a hand-over: lookups that come meanwhile wait, and
// none fails. Packages that OpenWrt's own build makes stop the old version before
// they unpack the new one, and start it after.
func TestNoLookupFailsWhileTheDaemonIsReplaced(t *testing.T) {
	first := packaged(t, "routerd")
	newer, err := build()
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.Up(t, lab.Options{})
	d := device.New(t, l)
	d.Install(first)
	d.Within("the daemon runs", func() bool { return isRunning(d) })
	d.UseLabsResolver()
	firstRun(t, d)
	restart := func() { d.Run("/etc/init.d/routerd", "restart") }
	for _, r := range []struct {
		what string
		do   func()
	}{
		{"a restart", restart},
		{"a second restart", restart},
		{"an upgrade", func() { d.Upgrade(newer) }},
		{"an upgrade that stops first", func() {
			d.Run("/bin/env", "PKG_UPGRADE=1", "/etc/init.d/routerd", "stop")
			d.Upgrade(first)
			d.Run("/bin/env", "PKG_UPGRADE=1", "/etc/init.d/routerd", "start")
		}},
	} {
		replace(t, d, r.what, r.do)
	}
}

// replace has the daemon be replaced while a client looks names up.
func replace(t *testing.T, d *device.Device, what string, do func()) {
	t.Helper()
	before, old, files := daemon(t, d), process(d), descriptors(d)
	finish := lookups(t, d.Lab, "www.bybit.com", "www.shopping.example")
	d.Within("lookups are under way", func() bool { return daemon(t, d).DNS.Turned > before.DNS.Turned })
	do()
	if now := daemon(t, d); now.Started.Equal(before.Started) || process(d) != old {
		t.Errorf("after %s daemon and process are %v and %s, were %v and %s", what, now.Started, process(d), before.Started, old)
	}
	splits(t, d, "after "+what)
	for _, s := range finish() {
		t.Logf("%s: %+v", what, s)
		if s.Answered != s.Asked {
			t.Errorf("during %s %s: %d lookups of %d failed, over %.1f s: %v", what, s.Question, s.Asked-s.Answered, s.Asked, s.FailedS, s.Other)
		}
	}
	d.Within("no file of the old daemon stays open", func() bool { return descriptors(d) <= files+spare })
}

// spare is how many files more a daemon may have open at one time than at another:
// connections to resolvers and to targets of checks.
const spare = 12

// process is the daemon's, as procd knows it.
func process(d *device.Device) string {
	fields := strings.Fields(d.Run("owbox", "procctl", "list"))
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// descriptors are how many files the daemon has open.
func descriptors(d *device.Device) int {
	return len(strings.Fields(d.Run("sh", "-c", "echo /proc/"+process(d)+"/fd/*"))) // ls fails where one goes meanwhile
}

// daemon is what the daemon says of itself.
func daemon(t *testing.T, d *device.Device) control.Status {
	t.Helper()
	var s control.Status
	if err := json.Unmarshal([]byte(d.Call("status", "{}")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}
