package steer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/config"
)

func TestChoose(t *testing.T) {
	up, maybe, down := Tunnel{Up: true}, Tunnel{Maybe: true, Reason: "no handshake yet"}, Tunnel{Reason: "the peer is silent"}
	two := []string{"home", "other"}
	closed := Destination{Policy: config.PolicyTunnel, Fallback: config.FallbackBlock, Tunnels: two}
	open := Destination{Policy: config.PolicyTunnel, Fallback: config.FallbackDirect, Tunnels: two}
	choice := func(path string, state State, reason string) Choice {
		return Choice{Path: path, State: state, Reason: reason}
	}
	tests := []struct {
		name    string
		dest    Destination
		tunnels map[string]Tunnel
		want    Choice
	}{
		{"policy block", Destination{Policy: config.PolicyBlock, Tunnels: two}, map[string]Tunnel{"home": up}, choice(PathBlock, StateBlocked, "policy block")},
		{"policy direct", Destination{Policy: config.PolicyDirect, Tunnels: two}, map[string]Tunnel{"home": up}, choice(PathDirect, StateOK, "policy direct")},
		{"policy auto", Destination{Policy: config.PolicyAuto, Tunnels: two}, map[string]Tunnel{"home": up}, choice(PathDirect, StateOK, "policy auto: the direct path is preferred")},
		{"the preferred tunnel is up", closed, map[string]Tunnel{"home": up, "other": up}, choice("home", StateOK, "")},
		{"only the second is up", closed, map[string]Tunnel{"home": down, "other": up}, choice("other", StateDegraded, "preferred before it: home: the peer is silent")},
		{"up goes before maybe", closed, map[string]Tunnel{"home": maybe, "other": up}, choice("other", StateDegraded, "preferred before it: home: no handshake yet")},
		{"maybe goes before down", closed, map[string]Tunnel{"home": down, "other": maybe}, choice("other", StateDegraded, "no tunnel is up yet: home: the peer is silent; other: no handshake yet")},
		{"maybe, and direct would be allowed", open, map[string]Tunnel{"home": maybe, "other": down}, choice("home", StateDegraded, "no tunnel is up yet: home: no handshake yet; other: the peer is silent")},
		{"all down, fallback block", closed, map[string]Tunnel{"home": down, "other": down}, choice("home", StateDown, "fallback block: home: the peer is silent; other: the peer is silent")},
		{"all down, fallback direct", open, map[string]Tunnel{"home": down, "other": down}, choice(PathDirect, StateDegraded, "fallback direct: home: the peer is silent; other: the peer is silent")},
		{"nothing known, fallback block", closed, nil, choice("home", StateDown, "fallback block: home: not up; other: not up")},
		{"nothing known, fallback direct", open, nil, choice(PathDirect, StateDegraded, "fallback direct: home: not up; other: not up")},
		{"every tunnel disabled, fallback block", Destination{Policy: config.PolicyTunnel, Fallback: config.FallbackBlock}, nil, choice(PathBlock, StateDown, "fallback block: no tunnel is set up")},
		{"every tunnel disabled, fallback direct", Destination{Policy: config.PolicyTunnel, Fallback: config.FallbackDirect}, nil, choice(PathDirect, StateDegraded, "fallback direct: no tunnel is set up")},
		{"no tunnel in the settings, fallback block", Destination{Policy: config.PolicyTunnel, Fallback: config.FallbackBlock, Unset: true}, nil, choice(PathDirect, StateDegraded, "no tunnel is set up: nothing is steered until there is one")},
		{"no tunnel in the settings, fallback direct", Destination{Policy: config.PolicyTunnel, Fallback: config.FallbackDirect, Unset: true}, nil, choice(PathDirect, StateDegraded, "no tunnel is set up: nothing is steered until there is one")},
		{"no tunnel in the settings, policy block", Destination{Policy: config.PolicyBlock, Unset: true}, nil, choice(PathBlock, StateBlocked, "policy block")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := Choose(&tt.dest, tt.tunnels, Evidence{}, Memory{}, time.Unix(0, 0))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("choice (-want +got):\n%s", diff)
			}
			if got.Path == PathDirect && !tt.dest.MayGoDirect() {
				t.Error("a destination that may not go direct goes direct")
			}
			if tt.dest.Closed() && got.Path == PathDirect {
				t.Error("a closed destination goes direct")
			}
		})
	}
}

func TestChooseTellsOfDoubt(t *testing.T) {
	auto := Destination{Policy: config.PolicyAuto, Tunnels: []string{"home"}}
	doubt := Evidence{Checks: map[string]Finding{PathDirect: {Reason: "connection refused"}}}
	for _, c := range []struct {
		name     string
		evidence Evidence
		tunnel   Tunnel
		want     Choice
	}{
		{"no other path", doubt, Tunnel{Reason: "the peer is silent"}, Choice{
			Path: PathDirect, State: StateDegraded, Reason: "it fails over direct, and nothing tells whose fault that is: connection refused",
		}},
		{"another path, which nothing is known of", doubt, Tunnel{Up: true}, Choice{
			Path: PathDirect, State: StateDegraded, Reason: "it fails over direct, and nothing tells whose fault that is: connection refused",
		}},
		{"nothing is known", Evidence{Checks: map[string]Finding{PathDirect: {}}}, Tunnel{Up: true}, Choice{
			Path: PathDirect, State: StateOK, Reason: "policy auto: the direct path is preferred",
		}},
	} {
		got, _ := Choose(&auto, map[string]Tunnel{"home": c.tunnel}, c.evidence, Memory{}, time.Unix(0, 0))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReserved(t *testing.T) {
	tests := []struct {
		addr string
		want bool
	}{
		// IANA IPv4 special-purpose registry, first and last addresses.
		{"0.0.0.0", true},
		{"0.255.255.255", true},
		{"10.0.0.1", true},
		{"10.255.255.255", true},
		{"100.64.0.1", true},
		{"100.127.255.255", true},
		{"127.0.0.1", true},
		{"169.254.1.1", true},
		{"172.16.0.1", true},
		{"172.31.255.255", true},
		{"192.0.0.1", true},
		{"192.0.2.1", true},
		{"192.31.196.1", true},
		{"192.52.193.1", true},
		{"192.88.99.1", true},
		{"192.168.0.1", true},
		{"192.175.48.1", true},
		{"198.18.0.1", true},
		{"198.19.255.255", true},
		{"198.51.100.1", true},
		{"203.0.113.1", true},
		{"224.0.0.1", true},
		{"239.255.255.255", true},
		{"240.0.0.1", true},
		{"255.255.255.255", true},
		// Neighbours of those.
		{"1.0.0.0", false},
		{"9.255.255.255", false},
		{"11.0.0.0", false},
		{"100.63.255.255", false},
		{"100.128.0.0", false},
		{"126.255.255.255", false},
		{"128.0.0.0", false},
		{"172.15.255.255", false},
		{"172.32.0.0", false},
		{"192.0.1.1", false},
		{"192.167.255.255", false},
		{"192.169.0.0", false},
		{"198.17.255.255", false},
		{"198.20.0.0", false},
		{"223.255.255.255", false},
		{"8.8.8.8", false},
		{"104.16.0.1", false},
		// IANA IPv6 special-purpose registry.
		{"::", true},
		{"::1", true},
		{"::192.0.2.1", true},
		{"100::1", true},
		{"2001::1", true},
		{"2001:1ff:ffff::", true},
		{"2001:db8::1", true},
		{"2002::1", true},
		{"3fff::1", true},
		{"3fff:fff:ffff::", true},
		{"fc00::1", true},
		{"fd12:3456::1", true},
		{"fe80::1", true},
		{"ff02::1", true},
		// IPv6 hosts, and IPv4 hosts by NAT64.
		{"2001:200::1", false},
		{"2001:4860:4860::8888", false},
		{"2606:4700::1111", false},
		{"2a00:1450:4001::1", false},
		{"3ffe::1", false},
		{"64:ff9b::808:808", false},
		{"2003::1", false},
	}
	ranges := Reserved()
	for _, tt := range tests {
		a, got := netip.MustParseAddr(tt.addr), false
		for _, p := range ranges {
			got = got || p.Contains(a)
		}
		if got != tt.want {
			t.Errorf("%s reserved: %t, want %t", tt.addr, got, tt.want)
		}
	}
	for _, p := range ranges {
		if p.Masked() != p {
			t.Errorf("%s has bits behind its length", p)
		}
	}
}
