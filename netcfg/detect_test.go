package netcfg

import (
	"log/slog"
	"strings"
	"testing"
)

func TestFirewallIsTheOneThatTheSystemUses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T)
		opts  []Option
		want  Firewall
	}{
		{"an empty kernel", func(*testing.T) {}, nil, NFTables},
		{"fw4", func(t *testing.T) { input(t, fw4, "nft", "-f", "-") }, nil, NFTables},
		{"iptables-legacy", func(t *testing.T) { input(t, fw3, "iptables-legacy-restore") }, nil, IPTables},
		{"iptables over nftables that drops", func(t *testing.T) { input(t, fw3, "iptables-nft-restore") }, nil, IPTables},
		{"iptables over nftables that lets through", func(t *testing.T) {
			input(t, strings.Replace(fw3, ":FORWARD DROP", ":FORWARD ACCEPT", 1), "iptables-nft-restore")
		}, nil, NFTables},
		{"fw4 and iptables-legacy", func(t *testing.T) {
			input(t, fw3, "iptables-legacy-restore")
			input(t, fw4, "nft", "-f", "-")
		}, nil, NFTables},
		{"forced", func(*testing.T) {}, []Option{WithFirewall(IPTables)}, IPTables},
		{
			"iptables-legacy in use, but no program for it",
			func(t *testing.T) { input(t, fw3, "iptables-legacy-restore") },
			[]Option{WithIPTablesCommands("no-such-iptables", "no-such-ip6tables")},
			NFTables,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routerNetns(t)
			tt.setup(t)
			before := run(t, "nft list ruleset")
			n := newNet(t, tt.opts...)
			if n.Firewall() != tt.want {
				t.Errorf("firewall %s, want %s", n.Firewall(), tt.want)
			}
			same(t, "New changes nothing", before, run(t, "nft list ruleset"))
		})
	}
}

func TestUnknownFirewallIsRefused(t *testing.T) {
	_, err := New(slog.Default(), WithFirewall("ipfw"))
	if err == nil || !strings.Contains(err.Error(), `"ipfw" is neither "nftables" nor "iptables"`) {
		t.Errorf("error %v", err)
	}
}

func TestMissingIPTablesIsNamed(t *testing.T) {
	_, err := New(slog.Default(), WithFirewall(IPTables), WithIPTablesCommands("no-such-iptables", "no-such-ip6tables"))
	if err == nil || !strings.Contains(err.Error(), "no-such-iptables") {
		t.Errorf("error %v", err)
	}
}
