package lab_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/routerd/routerd/test/lab"
)

func TestNamesAreTheSameEveryTime(t *testing.T) {
	one, err := lab.Names()
	if err != nil {
		t.Fatal(err)
	}
	two, err := lab.Names()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, two, cmpopts.IgnoreUnexported(lab.Name{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestEveryNameHasAddressesOfItsOwnButThoseThatShare(t *testing.T) {
	owner := map[netip.Addr]string{}
	shared := map[string]bool{lab.SharedListed: true, lab.SharedUnlisted: true, lab.AliasUnlisted: true, "www.binance.com": true}
	net4, net6 := netip.MustParsePrefix(lab.ServerNet4), netip.MustParsePrefix(lab.ServerNet6)
	for name, n := range names(t) {
		if len(n.A) == 0 || len(n.A) != len(n.AAAA) {
			t.Errorf("%s has %d and %d addresses", name, len(n.A), len(n.AAAA))
		}
		for _, a := range slices.Concat(n.A, n.AAAA) {
			if !net4.Contains(a) && !net6.Contains(a) {
				t.Errorf("%s has %s, which is not of net", name, a)
			}
			if other, taken := owner[a]; taken && !(shared[name] && shared[other]) {
				t.Errorf("%s and %s both have %s", name, other, a)
			}
			owner[a] = name
		}
	}
}

func TestGeneratedNamesAreListedOrNotAsTheySay(t *testing.T) {
	known := names(t)
	fresh, plain := lab.FreshNames(), lab.PlainNames()
	if len(fresh) != lab.GeneratedNames || len(plain) != lab.GeneratedNames {
		t.Fatalf("%d fresh and %d plain names", len(fresh), len(plain))
	}
	for listed, list := range map[bool][]string{true: fresh, false: plain} {
		for _, name := range list {
			if n, ok := known[name]; !ok || n.Listed() != listed || !n.Generated() {
				t.Errorf("%s: known %v, %+v", name, ok, n)
			}
		}
	}
}

func TestSpecialNamesAreListedOrNotAsTheySay(t *testing.T) {
	known := names(t)
	for name, listed := range map[string]bool{
		lab.SharedListed: true, lab.SharedUnlisted: false, lab.ManyAddresses: true, lab.HintedListed: true,
		lab.HTTP3Listed: true, lab.HTTP3Unlisted: false, lab.HTTPSAlias: true, lab.AliasUnlisted: false,
		lab.ChainName(1): true, lab.ChainName(4): true, "www.binance.com": true, "api.binance.com": true, "binance.com": true,
	} {
		if n, ok := known[name]; !ok || n.Listed() != listed {
			t.Errorf("%s: known %v, listed %v, want %v", name, ok, n.Listed(), listed)
		}
	}
	if n := known[lab.ManyAddresses]; len(n.A) != lab.ManyCount || len(n.AAAA) != lab.ManyCount {
		t.Errorf("%s has %d and %d addresses", n.Name, len(n.A), len(n.AAAA))
	}
	hinted := known[lab.HintedListed]
	if slices.Contains(hinted.A, hinted.HTTPS.Hint4[0]) || slices.Contains(hinted.AAAA, hinted.HTTPS.Hint6[0]) {
		t.Errorf("the hints of %s are no news: %+v", hinted.Name, hinted)
	}
}

func TestPoolsHaveTheirPorts(t *testing.T) {
	var hosts, ports int
	for _, n := range names(t) {
		if len(n.Ports) > 0 {
			hosts++
			ports += len(n.Ports)
			if !n.Listed() {
				t.Errorf("pool %s is not listed", n.Name)
			}
		}
	}
	if hosts < 30 || ports < hosts {
		t.Errorf("%d pool hosts with %d ports", hosts, ports)
	}
}
