package steer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/config"
)

func TestOwnNetworksLeaveOutWhatOthersListMoreSpecifically(t *testing.T) {
	direct := func(d config.Destination) config.Destination { d.Policy = config.PolicyDirect; return d }
	tests := []struct {
		name  string
		dests []config.Destination
		want  map[int][]string
	}{
		{"apart", []config.Destination{dest(t, "a", "5.0.0.0/8"), dest(t, "b", "6.0.0.0/8")}, map[int][]string{0: {"5.0.0.0/8"}, 1: {"6.0.0.0/8"}}},
		{
			"a more specific one that stands later, such as an exception",
			[]config.Destination{dest(t, "a", "5.0.0.0/30"), direct(dest(t, "b", "5.0.0.1"))},
			map[int][]string{0: {"5.0.0.0/32", "5.0.0.2/31"}, 1: {"5.0.0.1/32"}},
		},
		{
			"nested three times",
			[]config.Destination{dest(t, "a", "5.0.0.0/24", "5.0.0.0/26"), dest(t, "b", "5.0.0.0/25")},
			map[int][]string{0: {"5.0.0.128/25", "5.0.0.0/26"}, 1: {"5.0.0.64/26"}},
		},
		{
			"what is only for clients is not the router's",
			[]config.Destination{only(t, dest(t, "a", "5.0.0.0/25"), "192.168.1.1"), dest(t, "b", "5.0.0.0/24")},
			map[int][]string{1: {"5.0.0.128/25", "5.0.0.0/25"}},
		},
		{
			"what nobody but clients has is no hole in what lies around it",
			[]config.Destination{only(t, dest(t, "a", "5.0.0.0/25"), "192.168.1.1")},
			map[int][]string{},
		},
		{"IPv6", []config.Destination{dest(t, "a", "2001:db8::/127"), dest(t, "b", "2001:db8::1")}, map[int][]string{0: {"2001:db8::/128"}, 1: {"2001:db8::1/128"}}},
		{"everything", []config.Destination{dest(t, "a", "0.0.0.0/0"), dest(t, "b", "128.0.0.0/1")}, map[int][]string{0: {"0.0.0.0/1"}, 1: {"128.0.0.0/1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[int][]string{}
			for i, prefixes := range compile(t, lists{}, tt.dests...).Own {
				for _, p := range prefixes {
					got[i] = append(got[i], p.String())
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("networks by destination (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwnNetworksAgreeWithTheLongestPrefix(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := compile(t, lists{}, random(t, r)...)
		for range 50 {
			query := fmt.Sprintf("10.%d.%d.%d", r.IntN(3), r.IntN(3), r.IntN(3))
			var holders []string
			for i, prefixes := range p.Own {
				for _, n := range prefixes {
					if n.Contains(netip.MustParseAddr(query)) {
						holders = append(holders, p.Destinations[i].Name)
					}
				}
			}
			want := []string{taken(p, query, "", [6]byte{})}
			if want[0] == "" {
				want = nil
			}
			if !slices.Equal(holders, want) {
				t.Fatalf("seed %d: %s is in the sets of %v, want %v", seed, query, holders, want)
			}
		}
	}
}
