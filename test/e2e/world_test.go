package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
)

const settingsFile = "/etc/config/routerd"

// world is a lab whose router runs routerd, for the length of one test.
type world struct {
	*testing.T
	lab    *lab.Lab
	daemon *exec.Cmd     // nil: none runs
	ended  chan struct{} // closed when daemon has ended
	log    string        // file of what the daemons of this test wrote
}

// newWorld takes a lab over: when the test ends, routerd is stopped and cleaned
// up, and the router must be as it was.
func newWorld(t *testing.T, l *lab.Lab) *world {
	t.Helper()
	w := &world{T: t, lab: l, log: filepath.Join(t.TempDir(), "routerd.log")}
	before := w.kernel()
	t.Cleanup(func() {
		w.stop(syscall.SIGTERM)
		if got := w.routerd("cleanup"); got.status != 0 {
			t.Errorf("cleanup: %s", got)
		}
		w.onRouter("conntrack", "--flush")
		w.sameKernel("after cleanup", before, w.kernel())
		w.onRouter("rm", "-f", settingsFile)
		if raw, err := os.ReadFile(w.log); t.Failed() && err == nil {
			t.Logf("routerd wrote:\n%s", raw)
		}
	})
	if err := l.ResetCounts(); err != nil {
		t.Fatal(err)
	}
	return w
}

// raise writes settings, starts routerd with them and waits for its tunnels.
func raise(t *testing.T, l *lab.Lab, settings string) *world {
	t.Helper()
	w := newWorld(t, l)
	w.configure(settings)
	w.start()
	w.ready()
	return w
}

// configure writes the settings file.
func (w *world) configure(settings string) {
	w.Helper()
	if err := w.lab.WriteFile(lab.Router, settingsFile, []byte(settings), 0o600); err != nil {
		w.Fatal(err)
	}
}

// start starts the daemon and does not wait for anything.
func (w *world) start(args ...string) {
	w.Helper()
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		w.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(binary(), append([]string{"run"}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := w.lab.Start(lab.Router, cmd); err != nil {
		w.Fatal(err)
	}
	w.daemon, w.ended = cmd, make(chan struct{})
	go func() { // ends with the daemon
		_ = cmd.Wait()
		close(w.ended)
	}()
}

// stop ends the daemon, if one runs, and waits for its end.
func (w *world) stop(signal syscall.Signal) {
	w.Helper()
	if w.daemon == nil {
		return
	}
	if err := w.daemon.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.Errorf("send %s to the daemon: %v", signal, err)
	}
	select {
	case <-w.ended:
	case <-time.After(usual):
		w.Errorf("the daemon does not end on %s", signal)
	}
	w.daemon = nil
}

// reload applies changed settings.
func (w *world) reload(settings string) {
	w.Helper()
	w.configure(settings)
	w.must("reload")
}

// ready waits until the daemon answers and every tunnel is up.
func (w *world) ready() {
	w.Helper()
	within(w.T, usual, "routerd is ready, with all tunnels up", func() bool {
		s, ok := w.tryStatus()
		for _, t := range s.Tunnels {
			ok = ok && t.State == "up"
		}
		return ok && s.Running
	})
}

// result is what came of a command.
type result struct {
	status         int
	stdout, stderr string
}

// String shows all of it.
func (r result) String() string {
	return fmt.Sprintf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
}

// runOn runs a program inside a host and gives its exit status.
func (w *world) runOn(host, stdin, program string, args ...string) result {
	w.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var out, failed bytes.Buffer
	cmd := w.lab.Command(ctx, host, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &failed
	err := cmd.Run()
	r := result{stdout: out.String(), stderr: failed.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.status = exit.ExitCode()
	case err != nil:
		w.Fatalf("run %s on %s: %v", program, host, err)
	}
	return r
}

// on runs a program inside a host, which must succeed, and gives its output.
func (w *world) on(host, program string, args ...string) string {
	w.Helper()
	r := w.runOn(host, "", program, args...)
	if r.status != 0 {
		w.Fatalf("%s %s on %s: %s", program, strings.Join(args, " "), host, r)
	}
	return r.stdout
}

func (w *world) onRouter(program string, args ...string) string {
	w.Helper()
	return w.on(lab.Router, program, args...)
}

// routerd runs a command of routerd on the router.
func (w *world) routerd(args ...string) result {
	w.Helper()
	return w.runOn(lab.Router, "", binary(), args...)
}

// must runs a command of routerd that has to succeed.
func (w *world) must(args ...string) string {
	w.Helper()
	r := w.routerd(args...)
	if r.status != 0 {
		w.Fatalf("routerd %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

// tryStatus is `routerd status --json`, false while that fails.
func (w *world) tryStatus() (control.Status, bool) {
	w.Helper()
	r := w.routerd("status", "--json")
	var s control.Status
	if r.status != 0 {
		return s, false
	}
	w.decode(r.stdout, &s)
	return s, true
}

func (w *world) status() control.Status {
	w.Helper()
	var s control.Status
	w.decode(w.must("status", "--json"), &s)
	return s
}

func (w *world) flows() []control.Flow {
	w.Helper()
	var f []control.Flow
	w.decode(w.must("flows", "--json"), &f)
	return f
}

func (w *world) why(args ...string) control.Why {
	w.Helper()
	var y control.Why
	w.decode(w.must(append([]string{"why", "--json"}, args...)...), &y)
	return y
}

// events are all that the daemon remembers.
func (w *world) events() []control.Event {
	w.Helper()
	var out []control.Event
	for line := range strings.Lines(w.must("events", "--json")) {
		var e control.Event
		w.decode(line, &e)
		out = append(out, e)
	}
	return out
}

func (w *world) decode(text string, into any) {
	w.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.Fatalf("%v in %q", err, text)
	}
}

// destination is one destination of a status.
func destination(s control.Status, name string) control.DestinationStatus {
	for _, d := range s.Destinations {
		if d.Name == name {
			return d
		}
	}
	return control.DestinationStatus{}
}

// tunnel is one tunnel of a status.
func tunnel(s control.Status, name string) control.TunnelStatus {
	for _, t := range s.Tunnels {
		if t.Name == name {
			return t
		}
	}
	return control.TunnelStatus{}
}

// Settings that most tests begin with.
const (
	mainSection = `
config routerd 'main'
	list lan 'br-lan'
	list resolver 'https://22.8.8.8/dns-query'
	list resolver 'tls://22.8.8.8'
`
	// observing has clients' answers seen and not given: what the data plane does
	// with them is then tested alone.
	observing      = mainSection + "\toption dns 'observe'\n"
	usualObserving = observing + homeTunnel + otherTunnel + exchanges + pools
	homeTunnel     = `
config tunnel 'home'
	option config '/etc/routerd/home.conf'
	option priority '10'
`
	otherTunnel = `
config tunnel 'other'
	option config '/etc/routerd/other.conf'
	option priority '20'
`
	// What the provider counts are clients' packets: no checks over the WAN.
	exchanges = `
config destination 'exchanges'
	option check_direct '0'
	list category 'exchange'
`
	pools = `
config destination 'pools'
	option check_direct '0'
	list category 'pool'
`
	usualSettings = mainSection + homeTunnel + otherTunnel + exchanges + pools
)
