package steer

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/config"
)

func TestRestrictedDestinationsPassOnWhomTheyDoNotTake(t *testing.T) {
	const one, nine = "192.168.1.1", "192.168.1.9"
	tests := []struct {
		name  string
		dests []config.Destination
		query string
		mac   byte
		want  map[string]string // client to destination
	}{
		{
			name: "only for one, the next takes the others", query: "example.org",
			dests: []config.Destination{only(t, dest(t, "a", "example.org"), one), dest(t, "b", "example.org")},
			want:  map[string]string{one: "a", nine: "b", "": "b"},
		},
		{
			name: "not for one", query: "example.org",
			dests: []config.Destination{not(t, dest(t, "a", "example.org"), one), dest(t, "b", "example.org")},
			want:  map[string]string{one: "b", nine: "a", "": "a"},
		},
		{
			name: "only for a network, but not for one in it", query: "example.org",
			dests: []config.Destination{not(t, only(t, dest(t, "a", "example.org"), "192.168.1.0/24"), nine), dest(t, "b", "example.org")},
			want:  map[string]string{one: "a", nine: "b", "10.0.0.1": "b", "": "b"},
		},
		{
			name: "nobody else lists it", query: "example.org",
			dests: []config.Destination{only(t, dest(t, "a", "example.org"), one)},
			want:  map[string]string{one: "a", nine: "", "": ""},
		},
		{
			name: "a restricted longer suffix falls to its parent", query: "www.cdn.example.org",
			dests: []config.Destination{dest(t, "a", "example.org"), only(t, dest(t, "b", "cdn.example.org"), one)},
			want:  map[string]string{one: "b", nine: "a"},
		},
		{
			name: "a restricted full rule falls to the suffix of its own name", query: "example.org",
			dests: []config.Destination{only(t, dest(t, "a", "full:example.org"), one), dest(t, "b", "example.org"), dest(t, "c", "org")},
			want:  map[string]string{one: "a", nine: "b"},
		},
		{
			name: "and over a gap to a far parent", query: "a.b.c.example.org",
			dests: []config.Destination{only(t, dest(t, "a", "full:a.b.c.example.org"), one), dest(t, "b", "org")},
			want:  map[string]string{one: "a", nine: "b"},
		},
		{
			name: "a restricted network falls to the one around it", query: "198.51.100.7",
			dests: []config.Destination{
				dest(t, "a", "198.51.0.0/16"), only(t, dest(t, "b", "198.51.100.0/24"), one), only(t, dest(t, "c", "198.51.100.7"), nine),
			},
			want: map[string]string{one: "b", nine: "c", "10.0.0.1": "a"},
		},
		{
			name: "by hardware address", query: "example.org", mac: '7',
			dests: []config.Destination{only(t, dest(t, "a", "example.org"), "m7"), only(t, dest(t, "b", "example.org"), "m8")},
			want:  map[string]string{one: "a", "": "a"},
		},
		{
			name: "an excluded hardware address in an included network", query: "example.org", mac: '7',
			dests: []config.Destination{not(t, only(t, dest(t, "a", "example.org"), "192.168.1.0/24"), "m7"), dest(t, "b", "example.org")},
			want:  map[string]string{one: "b"},
		},
		{
			name: "IPv6 clients", query: "example.org",
			dests: []config.Destination{only(t, dest(t, "a", "example.org"), "fd00::/64"), dest(t, "b", "example.org")},
			want:  map[string]string{"fd00::5": "a", "fd00:1::5": "b", one: "b"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := compile(t, lists{}, tt.dests...)
			var hw [6]byte
			if tt.mac != 0 {
				hw = mac(tt.mac)
			}
			got := map[string]string{}
			for client := range tt.want {
				got[client] = taken(p, tt.query, client, hw)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("destinations by client (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChainsEndWhereEverybodyIsTaken(t *testing.T) {
	p := compile(t, lists{},
		only(t, dest(t, "a", "example.org"), "192.168.1.1"), dest(t, "b", "example.org"), dest(t, "c", "example.org", "org"))
	want := Chain{{Destination: 0, Include: true, Bit: p.Destinations[0].Bit}, {Destination: 1}}
	if diff := cmp.Diff(want, p.Names[0].Suffix); diff != "" {
		t.Errorf("chain of %s (-want +got):\n%s", p.Names[0].Name, diff)
	}
}

func TestChainsNameADestinationOnce(t *testing.T) {
	p := compile(t, lists{}, only(t, dest(t, "a", "full:example.org", "example.org", "org"), "192.168.1.1"), dest(t, "b", "org"))
	want := Chain{{Destination: 0, Include: true, Bit: p.Destinations[0].Bit}, {Destination: 1}}
	if diff := cmp.Diff(NameRule{Name: "example.org", Full: want, Suffix: want}, p.Names[0]); diff != "" {
		t.Errorf("rule (-want +got):\n%s", diff)
	}
}

func TestChainsStopAtWhatTheDataPlaneHolds(t *testing.T) {
	var dests []config.Destination
	for i := range ChainMax + 2 {
		client := fmt.Sprintf("192.168.1.%d", i+1)
		dests = append(dests, only(t, dest(t, fmt.Sprintf("d%d", i), "example.org", "full:example.org", "198.51.100.0/24"), client))
	}
	p := compile(t, lists{}, dests...)
	for what, c := range map[string]Chain{"full": p.Names[0].Full, "suffix": p.Names[0].Suffix, "network": p.Networks[0].Chain} {
		if len(c) != ChainMax {
			t.Errorf("%s: %d links, at most %d can be held", what, len(c), ChainMax)
		}
	}
	if got := taken(p, "example.org", "192.168.1.4", [6]byte{}); got != "d3" {
		t.Errorf("the last link that fits goes to %q, want d3", got)
	}
	if got := taken(p, "example.org", "192.168.1.5", [6]byte{}); got != "" {
		t.Errorf("a link that does not fit goes to %q, want none", got)
	}
}

func TestClientsHaveTheBitsOfAllNetworksAroundThem(t *testing.T) {
	p := compile(t, lists{},
		only(t, dest(t, "a", "a.example"), "192.168.0.0/16", "m1"),
		only(t, dest(t, "b", "b.example"), "192.168.1.0/24"),
		not(t, dest(t, "c", "c.example"), "192.168.1.7", "m1"),
		only(t, dest(t, "d", "d.example"), "fd00::/8"))
	bit := func(i int) uint64 { return 1 << p.Destinations[i].Bit }
	a, b, c, d := bit(0), bit(1), bit(2), bit(3)
	want := []ClientRule{
		{MAC: mac('1'), Include: a, Exclude: c},
		{Prefix: netip.MustParsePrefix("192.168.0.0/16"), Include: a},
		{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Include: a | b},
		{Prefix: netip.MustParsePrefix("192.168.1.7/32"), Include: a | b, Exclude: c},
		{Prefix: netip.MustParsePrefix("fd00::/8"), Include: d},
	}
	if diff := cmp.Diff(want, p.Clients, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
}

func TestTakerOfAnEmptyChainIsNobody(t *testing.T) {
	if i, ok := (&Plan{}).Taker(nil, netip.MustParseAddr("192.168.1.1"), [6]byte{}); ok {
		t.Errorf("taken by destination %d", i)
	}
}
