package e2e_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

func TestCleanupLeavesTheRouterAsItWasBeforeRun(t *testing.T) {
	for _, firewall := range lab.Firewalls() {
		t.Run(string(firewall), func(t *testing.T) {
			l := sharedLab(t)
			if firewall != lab.NFT {
				l = ownLab(t, lab.Options{Firewall: firewall})
			}
			useAndCleanUp(newWorld(t, l))
		})
	}
}

// useAndCleanUp uses everything that leaves traces, then removes them.
func useAndCleanUp(w *world) {
	before := w.kernel()
	w.configure(usualSettings + blockAndClients)
	w.start()
	w.ready()
	w.goes(lab.Client, overHome, lab.FreshNames()[1200:1210]...)
	w.goes(lab.Client2, directly, lab.PlainNames()[1200])
	w.must("add", "www.shopping.example", "--to", "exchanges")
	w.goes(lab.Client, overHome, "www.shopping.example")
	w.must("remove", "www.shopping.example")
	w.onRouter("curl", "--silent", "--output", "/dev/null", "https://www.gate.io/")
	during := w.kernel()
	for _, part := range []string{"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "ip -d link", "tcx"} {
		if strings.Join(during[part], "\n") == strings.Join(before[part], "\n") {
			w.Errorf("%q shows nothing of routerd while it runs: the comparison is worth nothing", part)
		}
	}
	if r := w.routerd("cleanup"); r.status != 1 || !strings.Contains(r.stderr, "running") {
		w.Errorf("cleanup beside a running daemon: %s", r)
	}
	w.goes(lab.Client, overHome, lab.FreshNames()[1211])

	w.stop(syscall.SIGKILL)
	w.must("cleanup")
	w.sameKernel("after cleanup", before, w.kernel())
	w.goes(lab.Client, directly, lab.FreshNames()[1212])
	w.must("cleanup")
	w.sameKernel("after a second cleanup", before, w.kernel())
}

// blockAndClients are destinations of the remaining kinds.
const blockAndClients = `
config destination 'shut'
	list domain 'bank.example'
	option policy 'block'
config destination 'some'
	list domain 'news.example'
	list address '22.10.1.0/24'
	list client '192.168.1.10'
	list exclude_client '192.168.1.200'
`

func TestDisablingRemovesEverythingAndEnablingBringsItBack(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	before := w.kernel()
	w.configure(usualSettings)
	w.start()
	w.ready()
	w.reload(strings.Replace(usualSettings, "list lan", "option enabled '0'\n\tlist lan", 1))
	after := w.kernel()
	for _, part := range []string{"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "nft -s list ruleset", "ip -d link", "tcx", "tc qdisc show"} {
		if got, want := strings.Join(after[part], "\n"), strings.Join(before[part], "\n"); got != want {
			t.Errorf("%s, disabled, is\n%s\nwant\n%s", part, got, want)
		}
	}
	if s := w.status(); s.Running || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "enabled") {
		t.Errorf("status while disabled: %+v", s)
	}
	w.goes(lab.Client, directly, lab.FreshNames()[1213])
	w.reload(usualSettings)
	w.ready()
	w.goes(lab.Client, overHome, lab.FreshNames()[1214])
}
