package netcfg

import (
	"fmt"
	"strings"
	"testing"
)

func TestCleanupLeavesEverythingAsItWas(t *testing.T) {
	for _, strict := range []string{"0", "1"} {
		t.Run("rp_filter "+strict, func(t *testing.T) {
			routerNetns(t)
			foreign(t)
			run(t, "sysctl -qw net.ipv4.conf.all.rp_filter="+strict)
			before := dump(t)
			n := newNet(t)
			apply(t, n, desired())
			if err := n.AddOwn(t.Context(), 5, addrs("192.0.2.77")); err != nil {
				t.Fatal(err)
			}
			// A new process, which knows nothing.
			n = newNet(t)
			for range 2 {
				if err := n.Cleanup(t.Context()); err != nil {
					t.Fatal(err)
				}
				same(t, "after cleanup", before, dump(t))
			}
		})
	}
}

func TestCleanupWorksWithTheDevicesGone(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	run(t, "ip link del rd-home")
	if err := n.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "nft list ruleset") + ipState(t); strings.Contains(out, "routerd") || strings.Contains(out, "29187") {
		t.Errorf("left:\n%s", out)
	}
}

func TestStrictReversePathFilterIsLoosenedAndPutBack(t *testing.T) {
	for _, tt := range []struct {
		name             string
		all, def, dev    string
		applied, removed string
	}{
		{"strict by all", "1", "0", "0", "2", "0"},
		{"strict by the device", "0", "1", "1", "2", "1"},
		{"off", "0", "0", "0", "0", "0"},
		{"loose already", "2", "0", "0", "0", "0"},
		{"loose by default", "0", "2", "2", "2", "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routerNetns(t)
			run(t, fmt.Sprintf(`
sysctl -qw net.ipv4.conf.all.rp_filter=%s
sysctl -qw net.ipv4.conf.default.rp_filter=%s
sysctl -qw net.ipv4.conf.awg0.rp_filter=%s`, tt.all, tt.def, tt.dev))
			n := newNet(t, WithFirewall(NFTables))
			apply(t, n, desired())
			assertSysctl(t, "awg0", tt.applied)
			// The path goes, with its device's route and rules.
			d := desired()
			d.Paths, d.Own = d.Paths[:3], d.Own[:1]
			apply(t, n, d)
			assertSysctl(t, "awg0", tt.removed)
		})
	}
}

func assertSysctl(t *testing.T, dev, want string) {
	t.Helper()
	if got, err := readSysctl("ipv4/conf", dev, "rp_filter"); err != nil || got != want {
		t.Errorf("rp_filter of %s is %q (%v), want %q", dev, got, err, want)
	}
}
