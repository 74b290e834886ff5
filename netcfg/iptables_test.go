package netcfg

import (
	"regexp"
	"strings"
	"testing"
)

// fw3 is what OpenWrt's older firewall and other users of iptables leave
// behind: our chains come and go among these.
const fw3 = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:zone_lan_forward - [0:0]
:ts-forward - [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "!fw3" -j ACCEPT
-A FORWARD -i br-lan -m comment --comment "!fw3: lan" -j zone_lan_forward
-A FORWARD -j ts-forward
-A zone_lan_forward -o wan -j ACCEPT
-A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:mwan3_hook - [0:0]
-A PREROUTING -j mwan3_hook
-A OUTPUT -j mwan3_hook
-A mwan3_hook -j CONNMARK --restore-mark --nfmask 0x3f00 --ctmask 0x3f00
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
`

// iptablesVariants are the programs of this machine.
func iptablesVariants() map[string]iptablesCommands {
	return map[string]iptablesCommands{
		"nft":    {"iptables-nft", "ip6tables-nft"},
		"legacy": {"iptables-legacy", "ip6tables-legacy"},
	}
}

// fw3Netns is routerNetns with fw3's rules; it says whether the variant works
// for IPv6 on this kernel.
func fw3Netns(t *testing.T, c iptablesCommands) (v6 bool) {
	t.Helper()
	routerNetns(t)
	input(t, fw3, c.v4+"-restore")
	if _, err := runCommand(fw3, c.v6+"-restore"); err != nil {
		t.Logf("%s: %v", c.v6, err)
		return false
	}
	return true
}

func iptablesDump(t *testing.T, c iptablesCommands, v6 bool) string {
	t.Helper()
	var out string
	for _, command := range []string{c.v4, c.v6} {
		for _, table := range []string{tableFilter, tableMangle, tableNAT} {
			if command == c.v4 || v6 {
				out += command + "\n" + run(t, command+"-save -t "+table)
			}
		}
	}
	out = strings.NewReplacer(c.v4, "iptables", c.v6, "ip6tables").Replace(out)
	out = regexp.MustCompile(`\[\d+:\d+\]`).ReplaceAllString(out, "[N:N]")
	out = regexp.MustCompile(`(!routerd) #[0-9a-f]{8}`).ReplaceAllString(out, "$1 #PRINT")
	var keep []string
	for _, l := range strings.Split(out, "\n") {
		if !strings.HasPrefix(l, "#") {
			keep = append(keep, l)
		}
	}
	return strings.Join(keep, "\n")
}

func TestIPTablesMakesTheGoldenRuleset(t *testing.T) {
	for name, c := range iptablesVariants() {
		t.Run(name, func(t *testing.T) {
			v6 := fw3Netns(t, c)
			before := iptablesDump(t, c, v6)
			n := newNet(t, WithFirewall(IPTables), WithIPTablesCommands(c.v4, c.v6))
			r := apply(t, n, desired())
			for _, w := range r.Warnings {
				if v6 || !strings.Contains(w, "ip6tables") {
					t.Errorf("warning: %q", w)
				}
			}
			golden(t, "iptables-full.txt", iptablesDump(t, c, v6))
			if again := apply(t, n, desired()); len(again.Changes) > 0 {
				t.Errorf("second Apply changed %q", again.Changes)
			}
			if err := n.Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			same(t, "after cleanup", before, iptablesDump(t, c, v6))
		})
	}
}
