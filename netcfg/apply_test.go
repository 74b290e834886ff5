package netcfg

import (
	"testing"
)

func ruleset(t *testing.T) string { return tidy(run(t, "nft list table inet routerd")) }

func ipState(t *testing.T) string {
	return tidy(run(t, `
ip -4 rule
ip -6 rule
ip -4 -d route show table all proto 114
ip -6 -d route show table all proto 114`))
}

func TestApplyMakesTheGoldenRuleset(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	r := apply(t, n, desired())
	if len(r.Warnings) > 0 {
		t.Errorf("warnings: %q", r.Warnings)
	}
	golden(t, "nft-full.txt", ruleset(t))
	golden(t, "ip-full.txt", ipState(t))
	again := apply(t, n, desired())
	if len(again.Changes) > 0 {
		t.Errorf("second Apply changed %q", again.Changes)
	}
}
