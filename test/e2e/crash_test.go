package e2e_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
)

func TestKilledDaemonBreaksNothingAndTheNextOneAdopts(t *testing.T) {
	for _, hook := range []string{"tcx", "clsact"} {
		t.Run(hook, func(t *testing.T) {
			l := sharedLab(t)
			if hook == "clsact" {
				occupyTCX(t, l)
			}
			w := raise(t, l, usualObserving)
			if got := w.status().DataPlane.Hook; got != hook {
				t.Fatalf("the data plane hangs on %s", got)
			}
			killAndAdopt(w)
		})
	}
}

func killAndAdopt(w *world) {
	fresh, known, plain := lab.FreshNames()[1100], lab.FreshNames()[1101], lab.PlainNames()[1100]
	w.goes(lab.Client, overHome, known)
	first := w.download(lab.Client, 4, "www.okx.com")
	second := w.download(lab.Client2, 6, "www.kraken.com")
	unlisted := w.download(lab.Client2, 4, "video.example")
	pool := w.mine(lab.Client, "stratum.braiins.com:3333")
	tunnels := w.tunnelProcesses()
	port, received := w.session()

	w.stop(syscall.SIGKILL)
	if r := w.routerd("status"); r.status != 3 {
		w.Errorf("status without a daemon: %s", r)
	}
	first.finish()
	for _, family := range families() {
		if got := w.openKnown(lab.Client, family, known); got != overHome {
			w.Errorf("IPv%d: with no daemon, a known address is reached %s", family, got)
		}
	}
	w.goes(lab.Client, overHome, fresh)
	w.goes(lab.Client2, directly, plain)

	w.start()
	w.ready()
	w.adopted(tunnels, port, received)
	second.finish()
	unlisted.finish()
	pool.unbroken()
	w.goes(lab.Client, overHome, fresh, known)
	w.goes(lab.Client2, directly, plain)
	w.noLeak(fresh, known, "www.okx.com", "www.kraken.com", "stratum.braiins.com")
}

// adopted fails unless a new daemon goes on with what it found.
func (w *world) adopted(tunnels, port string, received uint64) {
	w.Helper()
	if now := w.tunnelProcesses(); now != tunnels {
		w.Errorf("WireGuard processes were %q, now %q", tunnels, now)
	}
	if p, r := w.session(); p != port || r < received || received == 0 {
		w.Errorf("the tunnel had port %s and %d bytes received, now %s and %d", port, received, p, r)
	}
	if s := destination(w.status(), "pools"); s.Flows == 0 || s.Addresses == 0 || s.RxBytes == 0 {
		w.Errorf("the flow of the pool is not shown: %+v", s)
	}
	w.showsSession("stratum.braiins.com")
}

// showsSession fails unless flows show a connection with a pool.
func (w *world) showsSession(name string) {
	w.Helper()
	server := address(w.T, name, 4).String()
	ofPool := func(f control.Flow) bool {
		return f.Path == "home" && f.Destination == "pools" && strings.HasPrefix(f.Target, server+":")
	}
	if flows := w.flows(); !slices.ContainsFunc(flows, ofPool) {
		w.Errorf("flows do not show the session with the pool: %+v", flows)
	}
}

// session tells a device that was set up anew from one that was not: its port
// is another then, and what its peer has received begins at nothing. The time of
// the last handshake does not tell, because wireguard-go may make a second one
// five seconds after the first.
func (w *world) session() (port string, received uint64) {
	w.Helper()
	for _, t := range w.status().Tunnels {
		if t.Name == "home" {
			received = t.RxBytes
		}
	}
	return w.onRouter("wg", "show", "rd-home", "listen-port"), received
}
