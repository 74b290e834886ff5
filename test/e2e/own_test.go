package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/client"
)

func TestRoutersOwnConnectionsFollowTheRules(t *testing.T) {
	network4 := network(t, "video.example", 4)
	w := raise(t, sharedLab(t), usualSettings+"\nconfig destination 'nets'\n\tlist address '"+network4+"'\n")
	listed := []string{"n01600.fresh.binance.com", "www.kraken.com"}
	for range 3 {
		w.goes(lab.Router, overHome, listed...)
	}
	w.goes(lab.Router, directly, lab.PlainNames()[1600])
	if got := w.openKnown(lab.Router, 4, "video.example"); got != overHome {
		t.Errorf("a listed network is reached %s", got)
	}
	for _, family := range families() {
		for _, name := range listed {
			out := w.onRouter("curl", "--silent", fmt.Sprintf("-%d", family), "https://"+name+"/")
			_, seen, _ := strings.Cut(out, "client ")
			if got := way(client.Result{OK: true, Seen: strings.TrimSpace(seen)}); got != overHome {
				t.Errorf("IPv%d: curl on the router reaches %s %s", family, name, got)
			}
		}
	}
	w.noLeak(append(listed, "video.example")...)

	// Tunnels' own packets never enter a tunnel.
	if w.packets(lab.Exit, address4(lab.ExitAddress4), address4(lab.Exit2Address)) > 0 {
		t.Error("a tunnel's packets went into a tunnel")
	}
}

func TestOwnTrafficCanBeLeftAlone(t *testing.T) {
	w := raise(t, sharedLab(t), strings.Replace(usualSettings, "list lan", "option own_traffic '0'\n\tlist lan", 1))
	w.goes(lab.Router, directly, "n01602.fresh.bybit.com")
	w.goes(lab.Client, overHome, "n01603.fresh.kraken.com")
}
