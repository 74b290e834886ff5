package e2e_test

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

const pinDir = "/sys/fs/bpf/routerd"

// Each pin is removed in turn while no daemon runs and clients go on using a listed
// destination. The next daemon finds what programs in the kernel still use, and
// makes the rest anew: nothing of the destination leaves by the WAN meanwhile.
func TestPinsThatSomebodyRemovedAreMendedWithoutALeak(t *testing.T) {
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
			known := lab.FreshNames()[1120]
			w.goes(lab.Client, overHome, known)
			open := w.download(lab.Client2, 4, "www.okx.com")
			pins := strings.Fields(w.onRouter("ls", pinDir))
			if len(pins) < 20 {
				t.Fatalf("only the pins %q", pins)
			}
			for _, pin := range pins {
				w.withoutPin(pin, known)
			}
			w.stop(syscall.SIGKILL)
			w.swapPin("addresses", "flows")
			w.start()
			w.ready()
			w.knownGoes("with a pin of another layout", known)
			open.finish()
			w.noLeak(known, "www.okx.com")
			// That the qdiscs are routerd's was told by pins alone.
			w.stop(syscall.SIGTERM)
			w.onRouter("sh", "-c", "tc qdisc show | awk '$2 == \"clsact\" { print $5 }' | while read -r d; do tc qdisc del dev $d clsact; done")
		})
	}
}

// withoutPin kills the daemon, removes a pin and starts the next daemon. A tcx
// link ends with its pin, in the kernel, so that clients are silent until the
// daemon runs; else they speak all the time.
func (w *world) withoutPin(pin, known string) {
	w.Helper()
	w.stop(syscall.SIGKILL)
	quiet := strings.HasPrefix(pin, "link_")
	if kind, _, numbered := strings.Cut(pin, "_"); numbered && kind == "stages" {
		pin = "stages_*" // the number is another in each process
	}
	stop := func() {}
	if !quiet {
		stop = w.speak(known)
	}
	w.onRouter("sh", "-c", "rm "+pinDir+"/"+pin)
	w.start()
	w.ready()
	stop()
	w.knownGoes("without pin "+pin, known)
}

// swapPin puts a map in the place of another.
func (w *world) swapPin(pin, other string) {
	w.Helper()
	w.onRouter("sh", "-c", fmt.Sprintf("cd %s && rm %s && ln %s %s", pinDir, pin, other, pin))
}

// knownGoes fails unless connections to a known address take the tunnel.
func (w *world) knownGoes(when, known string) {
	w.Helper()
	for _, family := range families() {
		if got := w.openKnown(lab.Client, family, known); got != overHome {
			w.Errorf("IPv%d: %s, a known address is reached %s", family, when, got)
		}
	}
}

// speak has a client open a known address again and again, with no lookup, until
// stop is called.
func (w *world) speak(known string) (stop func()) {
	w.Helper()
	var each strings.Builder
	for _, family := range families() {
		fmt.Fprintf(&each, "curl --silent --max-time 1 --resolve %s:443:%s https://%s/; ", known, address(w.T, known, family), known)
	}
	cmd := exec.Command("sh", "-c", "while :; do "+each.String()+"done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.lab.Start(lab.Client, cmd); err != nil {
		w.Fatal(err)
	}
	before := w.packets(lab.Exit, addresses(w.T, known)...)
	within(w.T, usual, "the client speaks", func() bool {
		return w.packets(lab.Exit, addresses(w.T, known)...) > before
	})
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
}
