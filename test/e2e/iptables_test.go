package e2e_test

import (
	"testing"

	"github.com/routerd/routerd/test/lab"
)

func TestRouterWithIPTables(t *testing.T) {
	for _, firewall := range []lab.Firewall{lab.IPTables, lab.IPTablesLegacy} {
		t.Run(string(firewall), func(t *testing.T) {
			t.Parallel()
			w := raise(t, ownLab(t, lab.Options{Firewall: firewall}), usualSettings+blockAndClients)
			listed, unlisted := lab.FreshNames()[:100], lab.PlainNames()[:100]
			for _, family := range families() {
				w.allGo(t, overHome, lab.Exit, family, listed)
				w.allGo(t, directly, lab.ISP, family, unlisted)
			}
			w.noLeak(listed...)
			w.blocked(lab.Client, "bank.example")
			w.goes(lab.Router, overHome, "n01600.fresh.binance.com")
			pool := w.mine(lab.Client, "stratum.braiins.com:3333")
			w.must("add", "www.shopping.example", "--to", "exchanges")
			w.goes(lab.Client2, overHome, "www.shopping.example")
			pool.unbroken()
			if t.Failed() {
				return // a name whose lookup failed has an address that the router does not know
			}
			w.removedByOthers()
			if s := w.status(); len(s.Problems) > 0 {
				t.Errorf("problems: %q", s.Problems)
			}
		})
	}
}

// removedByOthers flushes the tables as a reload of fw3 does.
func (w *world) removedByOthers() {
	w.Helper()
	w.onRouter("sh", "-c", "for p in iptables ip6tables; do $p-restore /run/lab/$p-restore.rules; done")
	names := lab.FreshNames()[:4]
	if w.lab.Options().Firewall == lab.IPTablesLegacy {
		// Its tables tell nobody of changes: fw3 runs its include, which reloads.
		for _, family := range families() {
			if got := w.tryKnown(family, names[0]); got != overHome && got != nowhere {
				w.Errorf("before the reload IPv%d goes %s", family, got)
			}
		}
		w.must("reload")
	}
	w.passesAgain(names)
	w.noLeak(names...)
	for _, family := range families() {
		if got := w.openKnown(lab.Client, family, names[0]); got != overHome {
			w.Errorf("after a reload of fw3, IPv%d goes %s", family, got)
		}
	}
}
