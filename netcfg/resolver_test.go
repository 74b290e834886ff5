package netcfg

import (
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/owned"
)

// resolving is the desired state of the tests with a resolver, and with guests.
func resolving() Desired {
	d := desired()
	d.ResolverPort = owned.ResolverPort
	d.LAN = append(d.LAN, "br-guest")
	return d
}

func TestResolverIsReachedFromTheLANOnly(t *testing.T) {
	routerNetns(t)
	foreign(t)
	n := newNet(t)
	before := run(t, "nft list ruleset")
	apply(t, n, resolving())
	golden(t, "nft-resolver.txt", tidy(run(t, "nft list chain inet routerd input")))
	golden(t, "nft-fw4-input.txt", tidy(run(t, "nft list chain inet fw4 input")))
	assertLocal(t, "1")
	if again := apply(t, n, resolving()); len(again.Changes) > 0 {
		t.Errorf("second Apply changed %q", again.Changes)
	}
	apply(t, n, desired())
	if out := run(t, "nft list ruleset"); strings.Contains(out, "5399") {
		t.Errorf("without a resolver:\n%s", out)
	}
	assertLocal(t, "0")
	apply(t, n, resolving())
	if err := n.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, "after cleanup", before, run(t, "nft list ruleset"))
	assertLocal(t, "0")
}

func assertLocal(t *testing.T, want string) {
	t.Helper()
	if got, err := readSysctl("ipv4/conf/lo/accept_local"); err != nil || got != want {
		t.Errorf("accept_local of lo is %q (%v), want %q", got, err, want)
	}
}

func TestAcceptLocalThatSomebodySetStays(t *testing.T) {
	for _, set := range []string{"lo", "default"} {
		routerNetns(t)
		run(t, "sysctl -qw net.ipv4.conf."+set+".accept_local=1 net.ipv4.conf.lo.accept_local=1")
		n := newNet(t, WithFirewall(NFTables))
		apply(t, n, desired())
		assertLocal(t, "1")
		if err := n.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		assertLocal(t, "1")
	}
}

func TestIPTablesResolverIsReachedFromTheLANOnly(t *testing.T) {
	for name, c := range iptablesVariants() {
		t.Run(name, func(t *testing.T) {
			v6 := fw3Netns(t, c)
			before := iptablesDump(t, c, v6)
			n := newNet(t, WithFirewall(IPTables), WithIPTablesCommands(c.v4, c.v6))
			apply(t, n, resolving())
			var rules []string
			for line := range strings.Lines(run(t, c.v4+" -S ROUTERD_IN")) {
				if strings.Contains(line, "--dport") {
					rules = append(rules, line)
				}
			}
			golden(t, "iptables-resolver.txt", strings.Join(rules, ""))
			assertLocal(t, "1")
			if again := apply(t, n, resolving()); len(again.Changes) > 0 {
				t.Errorf("second Apply changed %q", again.Changes)
			}
			apply(t, n, desired())
			if out := iptablesDump(t, c, v6); strings.Contains(out, "5399") {
				t.Errorf("without a resolver:\n%s", out)
			}
			assertLocal(t, "0")
			if err := n.Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			same(t, "after cleanup", before, iptablesDump(t, c, v6))
		})
	}
}
