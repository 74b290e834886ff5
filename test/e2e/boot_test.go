package e2e_test

import (
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

func TestStatusAnswersOnlyOnceListedNamesAreSteered(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	w.configure(usualSettings)
	w.start()
	within(t, usual, "status answers", func() bool { _, ok := w.tryStatus(); return ok })
	names := lab.FreshNames()[1800:1810]
	for _, family := range families() {
		for _, r := range w.burst(lab.Client, family, names) {
			if got := way(r); got != nowhere && got != overHome {
				t.Errorf("IPv%d: %s went %s", family, r.Name, got)
			}
		}
	}
	w.noLeak(names...)
}

func TestTunnelThatCannotComeUpAtBootLeaksNothing(t *testing.T) {
	for _, firewall := range lab.Firewalls() {
		t.Run(string(firewall), func(t *testing.T) {
			t.Parallel()
			noLeakAtBoot(t, newWorld(t, ownLab(t, lab.Options{Firewall: firewall})))
		})
	}
}

func noLeakAtBoot(t *testing.T, w *world) {
	t.Helper()
	w.cut(lab.ExitAddress4)
	w.configure(observing + homeTunnel + exchanges)
	w.start()
	within(t, usual, "status answers", func() bool { _, ok := w.tryStatus(); return ok })
	const name, plain = "n01812.fresh.binance.com", "news.example"
	for _, family := range families() {
		// While it may still come up, packets wait for it.
		if r := w.runOn(lab.Client, "", "curl", "--silent", "--max-time", "2", "-"+map[int]string{4: "4", 6: "6"}[family], "https://"+name+"/"); r.status == 0 {
			t.Errorf("IPv%d: a listed name opens with no tunnel: %s", family, r.stdout)
		}
	}
	w.goes(lab.Client2, directly, plain)
	w.becomes(peerLost, "exchanges", "home", "down")
	if w.lab.Options().Firewall == lab.NFT { // iptables cannot say so at once where no route leads
		w.refused(lab.Client, name, "n01816.fresh.binance.com")
	}
	w.mend()
	w.becomes(peerBack, "exchanges", "home", "ok")
	w.goes(lab.Client, overHome, name)
	w.noLeak(name, "n01816.fresh.binance.com")
}

func TestTunnelWhoseEndpointCannotBeResolvedLeaksNothing(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	conf, err := w.lab.WGQuick("home")
	if err != nil {
		t.Fatal(err)
	}
	// A name that nobody can resolve now: the tunnel has no endpoint.
	lost := strings.Replace(string(conf), lab.ExitAddress4+":51820", "vpn.nowhere.example:51820", 1)
	if err := w.lab.WriteFile(lab.Router, "/etc/routerd/lost.conf", []byte(lost), 0o600); err != nil {
		t.Fatal(err)
	}
	defer w.onRouter("rm", "/etc/routerd/lost.conf")
	w.configure(mainSection + "\nconfig tunnel 'lost'\n\toption config '/etc/routerd/lost.conf'\n" + exchanges)
	w.start()
	within(t, usual, "status answers", func() bool { _, ok := w.tryStatus(); return ok })
	const name = "n01820.fresh.binance.com"
	for _, family := range families() {
		if r := w.runOn(lab.Client, "", "curl", "--silent", "--max-time", "1", "-"+map[int]string{4: "4", 6: "6"}[family], "https://"+name+"/"); r.status == 0 {
			t.Errorf("IPv%d: a listed name opens with no tunnel: %s", family, r.stdout)
		}
	}
	w.noLeak(name)
	within(t, usual, "the tunnel's state names what cannot be resolved", func() bool {
		s := tunnel(w.status(), "lost")
		return s.State != "up" && strings.Contains(s.Reason, "vpn.nowhere.example")
	})
}

func TestIPv6OfAListedDestinationIsRefusedWhenTheTunnelHasNone(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{Exit2NoIPv6: true}), observing+otherTunnel+exchanges)
	const name = "n01824.fresh.binance.com"
	if r := w.open(lab.Client, 4, name); way(r) != overOther {
		t.Errorf("IPv4 went %s: %s", way(r), r.Error)
	}
	w.refusedTCP(lab.Client, 6, name)
	w.refusedUDP(lab.Client, 6, name)
	// The router's own are not let out either.
	if r := w.runOn(lab.Router, "", "curl", "--silent", "-6", "--max-time", "2", "https://n01828.fresh.binance.com/"); r.status == 0 {
		t.Errorf("IPv6 of the router went %s", seenWay(r))
	}
	w.goes(lab.Client, directly, "news.example")
	w.noLeak(name, "n01828.fresh.binance.com")
	// A browser that tries both gets the page.
	if out := w.on(lab.Client, "curl", "--silent", "--max-time", "3", "https://"+name+"/"); !strings.Contains(out, "client "+lab.Exit2Source4) {
		t.Errorf("curl with both families got %q", out)
	}
}
