package steer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

func TestMostSpecificRuleWinsThenOrderOfDestinations(t *testing.T) {
	tests := []struct {
		name  string
		dests []config.Destination
		want  map[string]string // query to destination
	}{
		{
			name:  "a name and all below it",
			dests: []config.Destination{dest(t, "a", "example.org")},
			want: map[string]string{
				"example.org": "a", "www.example.org": "a", "a.b.example.org": "a", "EXAMPLE.org.": "a",
				"example.com": "", "badexample.org": "", "org": "",
			},
		},
		{
			name:  "full over suffix, whatever the order",
			dests: []config.Destination{dest(t, "a", "example.org"), dest(t, "b", "full:api.example.org")},
			want:  map[string]string{"api.example.org": "b", "x.api.example.org": "a", "example.org": "a"},
		},
		{
			name:  "full and suffix of one name",
			dests: []config.Destination{dest(t, "a", "example.org"), dest(t, "b", "full:example.org")},
			want:  map[string]string{"example.org": "b", "www.example.org": "a"},
		},
		{
			name:  "full alone covers nothing below it",
			dests: []config.Destination{dest(t, "a", "full:example.org")},
			want:  map[string]string{"example.org": "a", "www.example.org": ""},
		},
		{
			name:  "longer suffix over shorter, whatever the order",
			dests: []config.Destination{dest(t, "a", "example.org"), dest(t, "b", "cdn.example.org"), dest(t, "c", "org")},
			want:  map[string]string{"x.cdn.example.org": "b", "x.example.org": "a", "other.org": "c"},
		},
		{
			name:  "equal rules go to the destination that stands first",
			dests: []config.Destination{dest(t, "b", "example.org"), dest(t, "a", "example.org", "example.com")},
			want:  map[string]string{"example.org": "b", "example.com": "a"},
		},
		{
			name:  "longer prefix over shorter, both families",
			dests: []config.Destination{dest(t, "a", "198.51.100.0/24", "2001:db8::/32"), dest(t, "b", "198.51.100.7", "2001:db8:1::/48")},
			want: map[string]string{
				"198.51.100.7": "b", "198.51.100.8": "a", "198.51.101.1": "", "::ffff:198.51.100.7": "b",
				"2001:db8:1::5": "b", "2001:db8:2::5": "a", "2001:db9::1": "",
			},
		},
		{
			name:  "equal networks go to the destination that stands first",
			dests: []config.Destination{dest(t, "b", "198.51.100.0/24"), dest(t, "a", "198.51.100.0/24")},
			want:  map[string]string{"198.51.100.9": "b"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := compile(t, lists{}, tt.dests...)
			got := map[string]string{}
			for query := range tt.want {
				got[query] = taken(p, query, "", [6]byte{})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("destinations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesComeFromServicesCategoriesAndFiles(t *testing.T) {
	src := lists{
		services: map[string][]catalogue.Rule{
			"binance": rules(t, "binance.com", "bnbstatic.com"), "kraken": rules(t, "kraken.com"), "pool": rules(t, "pool.example"),
		},
		categories: map[catalogue.Category][]string{catalogue.CategoryExchange: {"binance", "kraken"}},
		files:      map[string][]catalogue.Rule{"/f": rules(t, "file.example", "198.51.100.0/24", "own.example")},
	}
	d := dest(t, "a", "own.example")
	d.Services = []string{"pool", "gone"}
	d.Categories = []catalogue.Category{catalogue.CategoryExchange}
	d.Files = []string{"/f", "/missing"}
	p := compile(t, src, d)

	var names []string
	for _, r := range p.Names {
		names = append(names, r.Name)
	}
	want := []string{"binance.com", "bnbstatic.com", "file.example", "kraken.com", "own.example", "pool.example"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if len(p.Networks) != 1 || p.Networks[0].Prefix.String() != "198.51.100.0/24" {
		t.Errorf("networks: %v", p.Networks)
	}
	if got := p.Destinations[0].Rules; got != 7 {
		t.Errorf("the destination counts %d rules, 7 differ", got)
	}
}

func TestRulesKeepsTheOrderInWhichTheyAreWritten(t *testing.T) {
	src := lists{
		services:   map[string][]catalogue.Rule{"s": rules(t, "s.example"), "c": rules(t, "c.example")},
		categories: map[catalogue.Category][]string{catalogue.CategoryPool: {"c"}},
		files:      map[string][]catalogue.Rule{"/f": rules(t, "f.example")},
		lists:      map[string][]catalogue.Rule{"a": rules(t, "l.example"), "b": rules(t, "other.example")},
	}
	d := dest(t, "a", "own.example")
	d.Services, d.Categories, d.Files = []string{"s"}, []catalogue.Category{catalogue.CategoryPool}, []string{"/f"}
	var got []string
	for _, r := range Rules(&d, src) {
		got = append(got, r.Name)
	}
	if diff := cmp.Diff([]string{"own.example", "s.example", "c.example", "f.example", "l.example"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if len(d.Rules) != 1 {
		t.Errorf("the settings' own slice was written to: %v", d.Rules)
	}
}

func TestDisabledDestinationsListNothing(t *testing.T) {
	off := dest(t, "off", "example.org")
	off.Enabled = false
	p := compile(t, lists{}, off, dest(t, "on", "example.org"))
	if len(p.Destinations) != 1 || taken(p, "example.org", "", [6]byte{}) != "on" {
		t.Errorf("destinations %v, example.org goes to %q", p.Destinations, taken(p, "example.org", "", [6]byte{}))
	}
}

func TestTunnelsOfADestination(t *testing.T) {
	all := []config.Tunnel{{Name: "first", Enabled: true}, {Name: "off"}, {Name: "last", Enabled: true}}
	tests := []struct {
		name    string
		tunnels []config.Tunnel
		list    []string
		want    []string
		unset   bool
	}{
		{"its own list, in its order", all, []string{"last", "first"}, []string{"last", "first"}, false},
		{"none listed: all by priority", all, nil, []string{"first", "last"}, false},
		{"disabled ones are left out", all, []string{"off", "last"}, []string{"last"}, false},
		{"only disabled ones", all, []string{"off"}, nil, false},
		{"no tunnel in the settings at all", nil, nil, nil, true},
		{"one that is disabled is a tunnel", []config.Tunnel{{Name: "off"}}, nil, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := dest(t, "a", "example.org")
			d.Tunnels = tt.list
			p, err := Compile(&config.Config{Tunnels: tt.tunnels, Destinations: []config.Destination{d}}, lists{})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Destinations[0]; !slices.Equal(got.Tunnels, tt.want) || got.Unset != tt.unset {
				t.Errorf("tunnels %v, unset %t, want %v, %t", got.Tunnels, got.Unset, tt.want, tt.unset)
			}
		})
	}
}

func TestClosedAndMayGoDirect(t *testing.T) {
	tests := []struct {
		policy   config.Policy
		fallback config.Fallback
		unset    bool
		closed   bool
		direct   bool
	}{
		{config.PolicyTunnel, config.FallbackBlock, false, true, false},
		{config.PolicyTunnel, config.FallbackBlock, true, false, true},
		{config.PolicyTunnel, config.FallbackDirect, false, false, true},
		{config.PolicyTunnel, config.FallbackDirect, true, false, true},
		{config.PolicyAuto, config.FallbackBlock, false, false, true},
		{config.PolicyAuto, config.FallbackDirect, true, false, true},
		{config.PolicyDirect, config.FallbackBlock, false, false, true},
		{config.PolicyBlock, config.FallbackDirect, false, true, false},
		{config.PolicyBlock, config.FallbackBlock, true, true, false},
	}
	for _, tt := range tests {
		d := Destination{Policy: tt.policy, Fallback: tt.fallback, Unset: tt.unset}
		if d.Closed() != tt.closed || d.MayGoDirect() != tt.direct {
			t.Errorf("%s, fallback %s, unset %t: closed %t, direct %t, want %t, %t",
				tt.policy, tt.fallback, tt.unset, d.Closed(), d.MayGoDirect(), tt.closed, tt.direct)
		}
	}
}

// While new settings are filled in, clients' bits are new and learned chains old.
func TestADestinationKeepsItsBitWhateverStandsBesideIt(t *testing.T) {
	tv := only(t, dest(t, "tv", "example.org"), "192.168.1.1")
	alone := compile(t, lists{}, tv)
	beside := compile(t, lists{}, not(t, dest(t, "miners", "example.net"), "192.168.1.2"), dest(t, "open", "example.com"), tv)
	if a, b := alone.Destinations[0].Bit, beside.Destinations[2].Bit; a != b {
		t.Errorf("bit %d alone, %d beside others", a, b)
	}
}

func TestMoreRestrictedDestinationsThanBitsAreRefused(t *testing.T) {
	var dests []config.Destination
	for i := range MaxRestricted {
		dests = append(dests, only(t, dest(t, fmt.Sprintf("d%d", i), "example.org"), "192.168.1.1"))
	}
	dests = append(dests, dest(t, "open", "example.org"))
	p := compile(t, lists{}, dests...)
	seen := map[uint8]bool{}
	for _, d := range p.Destinations {
		if d.Restricted {
			seen[d.Bit] = true
		}
	}
	if len(seen) != MaxRestricted {
		t.Errorf("%d destinations have a bit of their own, want %d", len(seen), MaxRestricted)
	}
	dests = append(dests, not(t, dest(t, "one-more", "example.org"), "192.168.1.1"))
	_, err := Compile(&config.Config{Destinations: dests}, lists{})
	if err == nil || !strings.Contains(err.Error(), "one-more") || !strings.Contains(err.Error(), "64") {
		t.Errorf("error %v names neither destination nor limit", err)
	}
}

func TestEqualSettingsMakeEqualPlans(t *testing.T) {
	src := lists{services: map[string][]catalogue.Rule{}}
	c := &config.Config{Tunnels: []config.Tunnel{{Name: "home", Enabled: true}}}
	for i := range 20 {
		id := fmt.Sprintf("s%d", i%7)
		src.services[id] = rules(t, fmt.Sprintf("%d.example", i), "example.org", fmt.Sprintf("10.%d.0.0/16", i))
		d := only(t, dest(t, fmt.Sprintf("d%d", i), "sub.example.org", "full:example.org"), "192.168.1.0/24", "192.168.1.7", "m3")
		d.Services = []string{id}
		c.Destinations = append(c.Destinations, d)
	}
	first := shape(t, c, src)
	for range 10 {
		if diff := cmp.Diff(first, shape(t, c, src)); diff != "" {
			t.Fatalf("the same settings gave another plan (-first +now):\n%s", diff)
		}
	}
}

// shape is everything of a plan but its index.
func shape(t *testing.T, c *config.Config, src Source) string {
	t.Helper()
	p, err := Compile(c, src)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v\n%+v\n%+v\n%+v", p.Destinations, p.Names, p.Networks, p.Clients)
}
