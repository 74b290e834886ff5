package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
)

// These bound what WireGuard's own timers decide: a peer has 15 s to answer.
const (
	peerLost = 45 * time.Second
	peerBack = 90 * time.Second // and a tunnel is gone back to once it is steady
)

// cut has the provider drop a tunnel's packets in both directions.
func (w *world) cut(endpoint string) {
	w.Helper()
	w.on(lab.ISP, "nft", "add table inet cut; add chain inet cut forward { type filter hook forward priority 0; }; "+
		"add rule inet cut forward ip daddr "+endpoint+" udp dport 51820 drop; add rule inet cut forward ip saddr "+endpoint+" udp sport 51820 drop")
}

// mend lets them pass again.
func (w *world) mend() {
	w.Helper()
	w.on(lab.ISP, "nft", "delete table inet cut")
}

// becomes waits until a destination is on a path, in a state: then the kernel
// is as status says.
func (w *world) becomes(limit time.Duration, name, path, state string) {
	w.Helper()
	within(w.T, limit, "destination "+name+" is "+state+" on "+path, func() bool {
		s, ok := w.tryStatus()
		d := destination(s, name)
		return ok && d.Path == path && d.State == state
	})
}

const fallbacks = observing + homeTunnel + otherTunnel + `
config destination 'blocked'
	option check_direct '0'
	list service 'binance'
	list tunnel 'home'
	option check_direct '0'
config destination 'second'
	option check_direct '0'
	list service 'okx'
	list service 'braiins-pool'
	list tunnel 'home'
	list tunnel 'other'
	option check_direct '0'
config destination 'open'
	option check_direct '0'
	list service 'kraken'
	list tunnel 'home'
	option fallback 'direct'
	option check_direct '0'
`

func TestDeadPeer(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), fallbacks)
	const known, second, open = "www.binance.com", "www.okx.com", "www.kraken.com"
	w.goes(lab.Client, overHome, known, second, open)
	pool := w.mine(lab.Client2, "stratum.braiins.com:3333")
	blocked := w.download(lab.Client, 4, known)

	w.cut(lab.ExitAddress4)
	w.becomes(peerLost, "open", "direct", "degraded")
	// Known before or looked up now, a client learns at once and nothing leaks.
	w.refused(lab.Client, known, "n01700.fresh.binance.com")
	if !blocked.breaks() {
		t.Error("a download over the dead tunnel went on")
	}
	w.goes(lab.Client, overOther, second, "n01701.fresh.okx.com")
	w.goes(lab.Client, directly, open, "n01703.fresh.kraken.com")
	if r := pool.end(); r.Error == "" || !strings.Contains(r.Error, "reset") {
		t.Errorf("the session over the dead tunnel was not reset: %+v", r)
	}
	w.mine(lab.Client2, "stratum.braiins.com:3333").unbroken()
	w.noLeak(known, second, "n01700.fresh.binance.com", "n01701.fresh.okx.com", "stratum.braiins.com")
	w.tellsOfDeadPeer()
	other := w.mine(lab.Client2, "stratum.braiins.com:3333")

	w.mend()
	w.becomes(peerBack, "open", "home", "ok")
	w.becomes(peerBack, "second", "home", "ok")
	w.goes(lab.Client, overHome, known, second, open, "n01700.fresh.binance.com")
	other.unbroken() // its path still works: it stays there
	w.noLeak(known, second)
}

// tellsOfDeadPeer fails unless status and events say what happened.
func (w *world) tellsOfDeadPeer() {
	w.Helper()
	s := w.status()
	for name, want := range map[string]control.DestinationStatus{
		"blocked": {Path: "home", State: "down"},
		"second":  {Path: "other", State: "degraded"},
		"open":    {Path: "direct", State: "degraded"},
	} {
		if d := destination(s, name); d.Path != want.Path || d.State != want.State || d.Reason == "" {
			w.Errorf("destination %s is shown as %+v", name, d)
		}
	}
	if len(s.Problems) < 2 || !strings.Contains(s.Problems[0], "blocked is down") {
		w.Errorf("problems: %q", s.Problems)
	}
	want := map[string]bool{"second home other": true, "open home direct": true}
	for _, e := range w.events() {
		delete(want, e.Destination+" "+e.From+" "+e.To)
	}
	if len(want) > 0 {
		w.Errorf("no event tells of %v: %+v", want, w.events())
	}
}

func TestDeletedTunnelDeviceIsMadeAgainWithoutALeak(t *testing.T) {
	w := raise(t, sharedLab(t), mainSection+homeTunnel+exchanges)
	const name = "n01704.fresh.binance.com"
	w.goes(lab.Client, overHome, name)
	w.onRouter("ip", "link", "delete", "rd-home")
	within(t, usual, "connections pass the tunnel again", func() bool {
		passes := true
		for _, family := range families() {
			r := w.open(lab.Client, family, name)
			if r.OK && way(r) != overHome {
				t.Fatalf("IPv%d went %s", family, way(r))
			}
			if took := time.Duration(r.ConnectUS) * time.Microsecond; !r.OK && took > 3*time.Second {
				t.Errorf("IPv%d: the client waited %s", family, took)
			}
			passes = passes && r.OK
		}
		return passes
	})
	w.noLeak(name)
}

func TestKilledTunnelProcessIsStartedAgainWithoutALeak(t *testing.T) {
	w := raise(t, sharedLab(t), mainSection+homeTunnel+exchanges)
	const name = "n01708.fresh.binance.com"
	w.goes(lab.Client, overHome, name)
	w.onRouter("pkill", "-9", "-f", "wireguard --device rd-home")
	within(t, usual, "connections pass the tunnel again", func() bool {
		r := w.open(lab.Client, 4, name)
		if r.OK && way(r) != overHome {
			t.Fatalf("went %s", way(r))
		}
		return r.OK
	})
	w.noLeak(name)
}
