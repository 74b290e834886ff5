package e2e_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

func TestFirstPacketOfAListedNameTakesTheTunnel(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	names := lab.FreshNames()[:1000]
	for _, family := range families() {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) {
			w.allGo(t, overHome, lab.Exit, family, names)
		})
	}
	w.noLeak(names...)
	if problems := w.status().Problems; len(problems) > 0 {
		t.Errorf("problems afterwards: %q", problems)
	}
}

func TestFirstPacketOfAnUnlistedNameStaysDirect(t *testing.T) {
	w := raise(t, sharedLab(t), usualObserving)
	names := lab.PlainNames()[:1000]
	for _, family := range families() {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) {
			w.allGo(t, directly, lab.ISP, family, names)
		})
	}
	for _, exit := range []string{lab.Exit, lab.Exit2} {
		if n := w.packets(exit, addresses(t, names...)...); n > 0 {
			t.Errorf("%d packets to unlisted addresses crossed the tunnel to %s", n, exit)
		}
	}
	if s := w.status(); s.DataPlane.Addresses != 0 || s.DataPlane.Flows != 0 {
		t.Errorf("the data plane took note of unlisted names: %+v", s.DataPlane)
	}
}

// allGo opens names at once: every connection must succeed one way and be
// counted by the host on it.
func (w *world) allGo(t *testing.T, want, witness string, family int, names []string) {
	t.Helper()
	wrong := 0
	for _, r := range w.burst(lab.Client, family, names) {
		if got := way(r); got != want {
			if wrong++; wrong < 5 {
				t.Errorf("%s (%s) went %s: %s", r.Name, r.Address, got, r.Error)
			}
		}
	}
	counts, err := w.lab.Counts(witness)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]bool{}
	for _, name := range names {
		// SYN, ACK, hello, request, FIN are the least of a connection.
		if a := address(t, name, family); counts[a] >= 5 {
			seen[a] = true
		}
	}
	if wrong > 0 || len(seen) != len(names) {
		t.Errorf("%d of %d went another way, %s counted %d connections", wrong, len(names), witness, len(seen))
	}
}
