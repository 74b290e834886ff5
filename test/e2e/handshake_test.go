package e2e_test

import (
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// handshakeSettings have a destination that has but the tunnel home, one that has
// another beside, and one that goes directly while that works.
const handshakeSettings = mainSection + controls + "\toption dns 'observe'\n" + homeTunnel + otherTunnel + `
config destination 'alone'
	list service 'okx'
	list tunnel 'home'
	option check_direct '0'
	option check_interval '10'
config destination 'either'
	list service 'kraken'
	option check_direct '0'
	option check_interval '10'
config destination 'auto'
	list service 'braiins-pool'
	option policy 'auto'
	list tunnel 'home'
	option check_interval '10'
`

func TestBlockedHandshakeIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ownLab(t, lab.Options{}))
	end := w.interfere(lab.Interference{Kind: interfere.WGHandshake, Addresses: exitPrefix()})
	w.configure(handshakeSettings)
	w.start()
	within(t, peerLost, "the tunnel home is down for a blocked handshake", func() bool {
		s, _ := w.tryStatus()
		u := tunnel(s, "home")
		return u.State == "down" && u.Cause == "handshake_blocked" && strings.Contains(u.Reason, "handshake is blocked")
	})
	w.becomes(usual, "alone", "home", "down")
	if d := destination(w.status(), "alone"); !strings.Contains(d.Reason, "handshake is blocked") {
		t.Errorf("the destination's reason does not name the handshake: %q", d.Reason)
	}
	w.becomes(usual, "either", "other", "degraded")
	w.becomes(usual, "auto", "direct", "ok")
	w.toldAre(w.check(4, "alone"), "alone "+okxTarget+" unknown, home path_down ")
	w.goes(lab.Client, overOther, "www.kraken.com")
	for _, family := range families() {
		if r := w.open(lab.Client, family, "www.okx.com"); r.OK {
			t.Errorf("a destination without a working tunnel is opened: %+v", r)
		}
	}
	w.noLeak("www.okx.com", "www.kraken.com")

	// Nothing is left for auto once its direct path is interfered with.
	undo := w.interfere(lab.Interference{Kind: interfere.TCPReset, Names: []string{"braiins.com"}})
	within(t, peerLost, "the verdict of auto names the fault", func() bool {
		d := destination(w.status(), "auto")
		return d.Verdict == "unknown" && strings.Contains(d.VerdictReason, "connection refused") && strings.Contains(d.VerdictReason, "no other path works")
	})
	within(t, peerLost, "auto is not ok while it works over no path", func() bool {
		d := destination(w.status(), "auto")
		return d.Path == "direct" && d.State == "degraded" && strings.Contains(d.Reason, "connection refused")
	})
	pool := " stratum+tcp://stratum.braiins.com:3333 unknown, direct tcp_refused tcp, home path_down "
	w.toldAre(w.check(4, "stratum+tcp://stratum.braiins.com:3333"), "auto"+pool)
	undo()
	end()
	w.becomes(peerBack, "alone", "home", "ok")
	w.goes(lab.Client, overHome, "www.okx.com")
}
