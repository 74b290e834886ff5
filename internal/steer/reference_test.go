package steer

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// reference decides by the words of the contract, one rule after the other: the
// most specific first, between equals the destination that stands first.
func reference(dests []config.Destination, query string, client netip.Addr, hw [6]byte) string {
	type match struct{ weight, dest int }
	var all []match
	for i, d := range dests {
		if !d.Enabled {
			continue
		}
		for _, r := range d.Rules {
			if w := weight(r, query); w > 0 {
				all = append(all, match{w, i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b match) int { return cmp.Or(b.weight-a.weight, a.dest-b.dest) })
	for _, m := range all {
		if takes(dests[m.dest], client, hw) {
			return dests[m.dest].Name
		}
	}
	return ""
}

// weight says how specific a rule is for a query; 0 where it does not match.
func weight(r catalogue.Rule, query string) int {
	a, err := netip.ParseAddr(query)
	switch {
	case r.Kind == catalogue.RuleAddress && err == nil && r.Prefix.Contains(a):
		return r.Prefix.Bits() + 1
	case r.Kind == catalogue.RuleFull && query == r.Name:
		return 1000
	case r.Kind == catalogue.RuleSuffix && (query == r.Name || strings.HasSuffix(query, "."+r.Name)):
		return 1 + len(r.Name)
	}
	return 0
}

func takes(d config.Destination, client netip.Addr, hw [6]byte) bool {
	in := func(list []config.Client) bool {
		return slices.ContainsFunc(list, func(c config.Client) bool {
			if c.Prefix.IsValid() {
				return client.IsValid() && c.Prefix.Contains(client)
			}
			return c.MAC == hw
		})
	}
	return !in(d.ExcludeClients) && (len(d.Clients) == 0 || in(d.Clients))
}

// random makes settings of at most ChainMax destinations, so that no chain is
// cut, over few names and networks, so that they overlap.
func random(t testing.TB, r *rand.Rand) []config.Destination {
	t.Helper()
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	hosts := []string{"192.168.1.1", "192.168.1.0/24", "192.168.0.0/16", "192.168.1.2", "fd00::/64", "fd00::7", "m1", "m2"}
	dests := make([]config.Destination, 1+r.IntN(ChainMax))
	for i := range dests {
		d := dest(t, fmt.Sprintf("d%d", i))
		d.Enabled = r.IntN(8) > 0
		for range r.IntN(8) {
			d.Rules = append(d.Rules, rules(t, randomRule(r))...)
		}
		for range r.IntN(3) {
			d.Clients = append(d.Clients, clients(t, pick(hosts))...)
		}
		for range r.IntN(3) {
			d.ExcludeClients = append(d.ExcludeClients, clients(t, pick(hosts))...)
		}
		dests[i] = d
	}
	return dests
}

func randomRule(r *rand.Rand) string {
	switch r.IntN(4) {
	case 0:
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(2)), byte(r.IntN(2))}), 8*r.IntN(4)+8).Masked().String()
	case 1:
		return "full:" + randomName(r)
	}
	return randomName(r)
}

func randomName(r *rand.Rand) string {
	name := "example.org"
	for range r.IntN(4) {
		name = string(rune('a'+r.IntN(2))) + "." + name
	}
	return name
}

func agree(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	dests := random(t, r)
	p := compile(t, lists{}, dests...)
	addrs := []string{"", "192.168.1.1", "192.168.1.2", "192.168.1.9", "192.168.9.9", "10.0.0.1", "fd00::7", "fd00::8", "fd01::1"}
	for range 40 {
		query := randomName(r)
		if r.IntN(2) == 0 {
			query = fmt.Sprintf("10.%d.%d.%d", r.IntN(3), r.IntN(3), r.IntN(3))
		}
		client := addrs[r.IntN(len(addrs))]
		hw := mac(byte('0' + r.IntN(4)))
		addr, _ := netip.ParseAddr(client)
		if want, got := reference(dests, query, addr, hw), taken(p, query, client, hw); got != want {
			t.Fatalf("seed %d: %s for client %q, %x goes to %q, want %q; settings:\n%+v", seed, query, client, hw, got, want, dests)
		}
	}
}

func TestPlanAgreesWithTheReference(t *testing.T) {
	for seed := range uint64(500) {
		agree(t, seed)
	}
}

func FuzzPlanAgreesWithTheReference(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(1 << 40))
	f.Fuzz(agree)
}
