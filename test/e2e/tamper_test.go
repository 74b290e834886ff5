package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
)

// restoreTime is how soon what somebody else removed must be back.
const restoreTime = 5 * time.Second

func TestWhatOthersRemoveIsRestoredAndNothingLeaks(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	names := lab.FreshNames()[1900:1904]
	w.goes(lab.Client, overHome, names...)
	before := w.kernel()
	for what, command := range map[string]string{
		"ip rules":           "for f in 4 6; do while ip -$f rule del priority 700 2>/dev/null; do :; done; done",
		"a path's routes":    "ip route flush table 29187; ip -6 route flush table 29187",
		"the nftables table": "nft delete table inet routerd",
		"all of nftables":    "nft flush ruleset; nft -f /run/lab/nft.rules",
		"a reload of fw4":    "nft -f /run/lab/nft.rules",
	} {
		t.Run(what, func(t *testing.T) {
			w := *w
			w.T = t
			w.onRouter("sh", "-c", command)
			w.passesAgain(names)
			w.sameAgain(before)
		})
	}
	w.noLeak(names...)
}

// passesAgain waits until connections pass the tunnel; none may go elsewhere.
func (w *world) passesAgain(names []string) {
	w.Helper()
	within(w.T, restoreTime, "connections pass the tunnel", func() bool {
		passes := true
		for _, family := range families() {
			for _, name := range names {
				switch got := w.tryKnown(family, name); got {
				case overHome:
				case nowhere:
					passes = false
				default:
					w.Fatalf("IPv%d: %s went %s", family, name, got)
				}
			}
		}
		return passes
	})
}

// tryKnown opens a name at its address with the patience of a second.
func (w *world) tryKnown(family int, name string) string {
	w.Helper()
	at := fmt.Sprintf("%s:443:%s", name, address(w.T, name, family))
	r := w.runOn(lab.Client, "", "curl", "--silent", "--max-time", "1", "--resolve", at, "https://"+name+"/")
	return seenWay(r)
}

// sameAgain waits until the router's rules, routes and firewall are what they
// were.
func (w *world) sameAgain(before map[string][]string) {
	w.Helper()
	deadline := time.Now().Add(restoreTime)
	for {
		now := w.kernel()
		diff := ""
		for _, part := range []string{
			"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "nft -s list ruleset", "tcx",
		} {
			diff += cmp.Diff(before[part], now[part])
		}
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("not restored within %s (-before +now):\n%s", restoreTime, diff)
		}
	}
}
