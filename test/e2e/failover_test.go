package e2e_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// soon bounds what must happen by clients' own traffic: WireGuard's timers alone
// take 15 s.
const soon = 10 * time.Second

const failover = observing + homeTunnel + otherTunnel + `
config destination 'exchanges'
	option check_direct '0'
	list category 'exchange'
	list category 'pool'
	option check_direct '0'
`

// exitPrefix is where the tunnel home ends.
func exitPrefix() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(address4(lab.ExitAddress4), 32)}
}

// mines waits until a miner that connects again and again has a session.
func (w *world) mines(host, target string) {
	w.Helper()
	within(w.T, soon, "the miner is mining again", func() bool {
		r := w.runOn(host, "", w.lab.Program(), "client", "stratum", target, "--for", "1500ms")
		var s struct{ Authorized bool }
		if r.status == 0 {
			w.decode(r.stdout, &s)
		}
		return s.Authorized
	})
}

func TestDeadTunnelIsLeftUnderTraffic(t *testing.T) {
	for _, tt := range []struct {
		name string
		die  func(*world)
	}{
		{"its packets are dropped", func(w *world) {
			w.interfere(lab.Interference{Kind: interfere.Drop, Addresses: exitPrefix()})
		}},
		{"what is sent to it is lost", func(w *world) {
			w.on(lab.Exit, "nft", "table inet lost { chain in { type filter hook prerouting priority -400; udp dport 51820 drop; }; }")
		}},
		{"its far side dies", func(w *world) { w.on(lab.Exit, "pkill", "-9", "-f", "wireguard") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := raise(t, ownLab(t, lab.Options{}), failover)
			w.watched()
			const pool, site = "stratum.braiins.com:3333", "www.okx.com"
			w.goes(lab.Client, overHome, site)
			session := w.mine(lab.Client2, pool)
			transfer := w.download(lab.Client, 4, site)

			tt.die(w)
			died := time.Now()
			w.becomes(soon, "exchanges", "other", "degraded")
			t.Logf("moved %s after its death", time.Since(died))
			w.mines(lab.Client2, pool)
			t.Logf("mined %s after its death", time.Since(died)-1500*time.Millisecond)
			if r := session.end(); r.Error == "" {
				t.Errorf("the session over the dead tunnel was not ended: %+v", r)
			}
			if !transfer.breaks() {
				t.Error("the download over the dead tunnel went on")
			}
			w.goes(lab.Client, overOther, site)
			w.noLeak("stratum.braiins.com", site)
		})
	}
}

func TestDeadServerMovesNothing(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), failover)
	w.goes(lab.Client, overHome, "www.okx.com", "www.kraken.com")
	w.interfere(lab.Interference{Kind: interfere.ServiceDown, Names: []string{"okx.com"}, Silent: true})
	before := len(w.pathEvents())
	for range 3 {
		for _, family := range families() {
			if r := w.open(lab.Client, family, "www.okx.com"); r.OK {
				t.Errorf("a service that is down is opened: %+v", r)
			}
		}
		w.goes(lab.Client, overHome, "www.kraken.com")
	}
	if all := w.pathEvents(); len(all) != before {
		t.Errorf("a dead service moved destinations: %+v", all[before:])
	}
}

// pathEvents are the events that tell of moves.
func (w *world) pathEvents() []control.Event {
	w.Helper()
	var out []control.Event
	for _, e := range w.events() {
		if e.Kind == control.EventPath {
			out = append(out, e)
		}
	}
	return out
}

func TestStandbyTunnelSleepsUntilNeeded(t *testing.T) {
	t.Parallel()
	l := ownLab(t, lab.Options{})
	w := newWorld(t, l)
	w.configure(observing + homeTunnel + otherTunnel + "\toption standby '1'\n" + `
config destination 'exchanges'
	option check_direct '0'
	list category 'exchange'
	option check_direct '0'
`)
	w.start()
	w.becomes(usual, "exchanges", "home", "ok")
	u := tunnel(w.status(), "other")
	if u.State != "down" || u.Cause != "standby" || w.runOn(lab.Router, "", "ip", "link", "show", "rd-other").status == 0 {
		t.Errorf("the standby tunnel is there though nothing needs it: %+v", u)
	}
	if p := w.status().Problems; len(p) > 0 {
		t.Errorf("problems: %q", p)
	}
	w.goes(lab.Client, overHome, "www.okx.com")

	w.cut(lab.ExitAddress4)
	within(t, peerLost, "connections pass the standby tunnel", func() bool {
		return way(w.open(lab.Client, 4, "www.okx.com")) == overOther
	})
	w.goes(lab.Client, overOther, "www.okx.com")
	w.mend()
	w.becomes(peerBack, "exchanges", "home", "ok")
	w.goes(lab.Client, overHome, "www.okx.com")
	w.noLeak("www.okx.com")
}

func TestBrokenExitIsLeft(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), failover)
	names := []string{"www.okx.com", "www.kraken.com", "www.bybit.com", "www.binance.com"}
	w.goes(lab.Client, overHome, names...)
	// The peer goes on answering, and forwards nothing.
	w.on(lab.Exit, "nft", "add table inet broken; add chain inet broken forward { type filter hook forward priority -300; policy drop; }")
	within(t, peerLost, "new connections pass the other tunnel", func() bool {
		for _, r := range w.burst(lab.Client, 4, names) {
			if way(r) != overOther {
				return false
			}
		}
		return true
	})
	if u := tunnel(w.status(), "home"); u.State != "up" {
		t.Errorf("the tunnel whose peer answers is %s: %s", u.State, u.Reason)
	}
	w.goes(lab.Client, overOther, names...)
	w.noLeak(names...)
}

func TestAutoGoesRoundInterferenceAndBack(t *testing.T) {
	t.Parallel()
	w := raise(t, ownLab(t, lab.Options{}), observing+homeTunnel+`
config destination 'exchanges'
	option check_direct '0'
	list category 'exchange'
	option policy 'auto'
`)
	w.goes(lab.Client, directly, "www.okx.com", "www.kraken.com")
	end := w.interfere(lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com"}})
	within(t, usual, "connections go round the interference", func() bool {
		return way(w.open(lab.Client, 4, "www.okx.com")) == overHome
	})
	w.goes(lab.Client, overHome, "www.okx.com", "www.kraken.com")
	d := destination(w.status(), "exchanges")
	if d.Path != "home" || d.State != "degraded" || d.Reason == "" {
		t.Errorf("told as %+v", d)
	}
	end()
	// It counts for a minute, and must then be gone for two.
	w.becomes(5*time.Minute, "exchanges", "direct", "ok")
	w.goes(lab.Client, directly, "www.okx.com", "www.kraken.com")
	if moves := w.pathEvents(); len(moves) != 2 {
		t.Errorf("%d moves, want one there and one back: %+v", len(moves), moves)
	}
}

// watched waits until both tunnels are known to answer questions: that takes some
// seconds after their first handshake, in which a dead peer is told by
// WireGuard's own timers only.
func (w *world) watched() {
	w.Helper()
	within(w.T, usual, "both tunnels are watched", func() bool {
		s, ok := w.tryStatus()
		return ok && tunnel(s, "home").Watched && tunnel(s, "other").Watched
	})
}
