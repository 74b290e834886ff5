package e2e_test

import (
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

// tunnelProcesses are the userspace WireGuard processes of the router.
func (w *world) tunnelProcesses() string {
	w.Helper()
	return w.onRouter("pgrep", "-f", "wireguard --device")
}

func TestAddAndRemoveTakeEffectForTheNextLookupAndBreakNothing(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	name := lab.PlainNames()[1000]
	w.goes(lab.Client, directly, name)
	listed := w.download(lab.Client, 4, "www.okx.com")
	unlisted := w.download(lab.Client2, 6, "video.example")
	pool := w.mine(lab.Client2, "stratum.braiins.com:3333")
	daemon, tunnels := w.daemon.Process.Pid, w.tunnelProcesses()

	w.must("add", name, "--to", "exchanges")
	if err := w.lab.ResetCounts(); err != nil {
		t.Fatal(err)
	}
	w.goes(lab.Client, overHome, name)
	w.goes(lab.Client2, overHome, lab.FreshNames()[1000], name)
	w.noLeak(name)
	own := w.download(lab.Client, 4, name)

	w.must("remove", name)
	w.goes(lab.Client, directly, name)
	before := w.packets(lab.Exit, address(t, name, 4))
	own.finish()
	if after := w.packets(lab.Exit, address(t, name, 4)); after <= before {
		t.Error("the connection from before the removal did not go on through the tunnel")
	}
	listed.finish()
	unlisted.finish()
	pool.unbroken()
	if now := w.tunnelProcesses(); now != tunnels || w.daemon.Process.Pid != daemon {
		t.Errorf("processes were restarted: tunnels %q, now %q", tunnels, now)
	}
}

func TestAddIsKeptInTheSettingsFileWithEverythingElse(t *testing.T) {
	const comment = "# mine, do not touch\n"
	w := raise(t, sharedLab(t), comment+usualSettings)
	w.must("add", "full:api.shopping.example", "--to", "pools")
	w.must("add", "22.10.0.0/24", "--to", "pools")
	want := comment + mainSection + homeTunnel + otherTunnel + exchanges + pools
	got := w.onRouter("cat", settingsFile)
	for _, line := range []string{"\tlist domain 'full:api.shopping.example'\n", "\tlist address '22.10.0.0/24'\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("settings lack %q:\n%s", line, got)
		}
		got = strings.Replace(got, line, "", 1)
	}
	if got != want {
		t.Errorf("the rest of the settings changed:\n%q\nwas\n%q", got, want)
	}
	w.must("remove", "full:api.shopping.example")
	w.must("remove", "22.10.0.0/24")
	if got := w.onRouter("cat", settingsFile); got != want {
		t.Errorf("after removal the settings are\n%q\nwant\n%q", got, want)
	}
	for _, args := range [][]string{{"add", "x.example", "--to", "nobody"}, {"remove", "never.example"}} {
		if r := w.routerd(args...); r.status != 1 || !strings.Contains(r.stderr, args[len(args)-1]) {
			t.Errorf("%q: %s", args, r)
		}
	}
}

func TestReloadOfOneDestinationLeavesFlowsOfOthersAlone(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	pool := w.mine(lab.Client, "stratum.braiins.com:3333")
	moved := w.mine(lab.Client2, "bs.poolbinance.com:3333")
	unlisted := w.download(lab.Client, 4, "video.example")
	const mine = "\nconfig destination 'mine'\n\tlist domain 'poolbinance.com'\n\tlist tunnel 'other'\n"
	w.reload(mainSection + homeTunnel + otherTunnel + mine + exchanges + pools)
	w.goes(lab.Client2, overOther, "bs.poolbinance.com")
	w.goes(lab.Client2, overHome, "www.okx.com")
	unlisted.finish()
	pool.unbroken()
	moved.unbroken() // a flow keeps its path while that works
}
