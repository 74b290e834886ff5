package netcfg

import (
	"fmt"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/owned"
)

func TestAnotherMaskReplacesRulesAndMarks(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	d := desired()
	d.Mask = 0xf0000000
	apply(t, n, d)
	if state := dump(t); strings.Contains(state, "0x0f000000") || strings.Contains(state, "/0xf000000 ") {
		t.Errorf("the old mask is still there:\n%s", state)
	}
}

func TestAnotherMaskIsAnnounced(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	d := desired()
	d.Mask = 0xf0000000
	for range 2 {
		if err := n.Announce(d.Mask); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []string{"ip rule", "ip -6 rule"} {
		rules := run(t, c)
		for _, p := range d.Paths {
			for _, mask := range []owned.Mask{owned.DefaultMask, d.Mask} {
				rule := fmt.Sprintf("fwmark %#x/%#x lookup ", uint32(mask.Mark(p.Index)), uint32(mask))
				if strings.Count(rules, rule) != 1 {
					t.Errorf("not one %s… of path %s:\n%s", rule, p.Name, rules)
				}
			}
		}
	}
	apply(t, n, d)
	if state := dump(t); strings.Contains(state, "/0xf000000 ") {
		t.Errorf("the old mask is still there:\n%s", state)
	}
	before := dump(t)
	if err := n.Announce(d.Mask); err != nil {
		t.Fatal(err)
	}
	same(t, "state", before, dump(t))
}
