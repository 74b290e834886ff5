package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// controls are neutral services that the lab has.
const controls = `
	list control 'https://news.example/'
	list control 'https://www.shopping.example/'
	list control 'http://video.example/'
`

const autoSettings = mainSection + controls + homeTunnel + otherTunnel + `
config destination 'exchanges'
	list service 'okx'
	list service 'kraken'
	option policy 'auto'
	option check_interval '10'
config destination 'pools'
	list service 'braiins-pool'
	option policy 'auto'
	option check_interval '10'
`

// minimumStay and a check or two: no destination is back on the WAN later.
const back = 5 * time.Minute

func TestAutoLeavesTheDirectPathWhileTheNetworkInterferes(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), autoSettings)
	w.becomes(usual, "exchanges", "direct", "ok")
	w.goes(lab.Client, directly, "www.okx.com", "www.kraken.com")
	pool := w.mine(lab.Client2, "stratum.braiins.com:3333")

	end := w.interfere(lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com"}})
	within(t, time.Minute, "exchanges take a tunnel", func() bool { return destination(w.status(), "exchanges").Path == "home" })
	moved := time.Now()
	w.goes(lab.Client, overHome, "www.okx.com", "www.kraken.com")
	if d := destination(w.status(), "pools"); d.Path != "direct" {
		t.Errorf("pools, with which nobody interferes, go by %s: %s", d.Path, d.Reason)
	}
	within(t, usual, "events name the verdict", func() bool {
		return slices.ContainsFunc(w.events(), func(e control.Event) bool { return e.Kind == control.EventVerdict && e.To == "interfered" })
	})

	end()
	within(t, back, "exchanges are back on the direct path", func() bool { return destination(w.status(), "exchanges").Path == "direct" })
	if stay := time.Since(moved); stay < 30*time.Second {
		t.Errorf("they stayed for %s only", stay)
	}
	w.goes(lab.Client, directly, "www.okx.com")
	pool.unbroken()
}

func TestAutoStaysWhereTheServiceRefuses(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), autoSettings)
	w.becomes(usual, "exchanges", "direct", "ok")
	w.interfere(lab.Interference{Kind: interfere.ServiceStatus, Names: []string{"okx.com"}, Status: 451})
	within(t, time.Minute, "the refusal is told", func() bool {
		return slices.ContainsFunc(w.events(), func(e control.Event) bool { return e.Kind == control.EventVerdict && e.To == "service_refused" })
	})
	if all := w.pathEvents(); len(all) > 0 {
		t.Errorf("a refusal moved something: %+v", all)
	}
}

func TestInterferenceThatComesAndGoesMovesLittle(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), autoSettings)
	w.becomes(usual, "exchanges", "direct", "ok")
	for range 9 {
		end := w.interfere(lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com", "kraken.com"}})
		w.keepsOpening(10 * time.Second)
		end()
		w.keepsOpening(10 * time.Second)
	}
	if all := w.pathEvents(); len(all) > 3 {
		t.Errorf("%d moves in three minutes: %+v", len(all), all)
	}
}

// keepsOpening has a client open names for so long, as one who tries again.
func (w *world) keepsOpening(d time.Duration) {
	w.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.burst(lab.Client, 4, []string{"www.okx.com", "www.kraken.com"})
	}
}
