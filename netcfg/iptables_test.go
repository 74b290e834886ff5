package netcfg

import (
	"net/netip"
	"regexp"
	"slices"
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

// withFW3 runs a test with each variant, on top of fw3's rules.
func withFW3(t *testing.T, f func(t *testing.T, c iptablesCommands, n *Net)) {
	t.Helper()
	for name, c := range iptablesVariants() {
		t.Run(name, func(t *testing.T) {
			fw3Netns(t, c)
			f(t, c, newNet(t, WithFirewall(IPTables), WithIPTablesCommands(c.v4, c.v6)))
		})
	}
}

func TestIPTablesPathSwitchRewritesOnlyTheVerdict(t *testing.T) {
	withFW3(t, func(t *testing.T, c iptablesCommands, n *Net) {
		apply(t, n, desired())
		d := desired()
		d.Own[0].Path = pathOther
		r := apply(t, n, d)
		want := []string{
			c.v4 + " table mangle: replace chain ROUTERD_D5", c.v6 + " table mangle: replace chain ROUTERD_D5",
		}
		if !slices.Equal(r.Changes, want) {
			t.Errorf("changes %q, want %q", r.Changes, want)
		}
	})
}

func TestIPTablesRulesThatSomebodyChangedComeBack(t *testing.T) {
	withFW3(t, func(t *testing.T, c iptablesCommands, n *Net) {
		apply(t, n, desired())
		before := iptablesDump(t, c, true)
		for _, spoil := range []string{
			" -F FORWARD", " -F ROUTERD_FWD", " -D ROUTERD_GRD 2", " -A ROUTERD_GRD -j ACCEPT",
			" -I FORWARD 1 -j DROP", " -A FORWARD -j ROUTERD_FWD", " -t mangle -F ROUTERD_O5",
			" -t mangle -A ROUTERD_O5 -d 8.8.8.8 -g ROUTERD_D5", " -N ROUTERD_OLD", " -t nat -F",
		} {
			run(t, c.v4+spoil)
			if r := apply(t, n, desired()); len(r.Changes) == 0 {
				t.Errorf("%s: Apply reports no change", spoil)
			}
			if r := apply(t, n, desired()); len(r.Changes) != 0 {
				t.Errorf("%s: second Apply changed %q", spoil, r.Changes)
			}
		}
		// fw3's own rules that we spoilt are not ours to mend.
		after := iptablesDump(t, c, true)
		for _, l := range strings.Split(before, "\n") {
			if strings.Contains(l, "ROUTERD") && !strings.Contains(after, l) {
				t.Errorf("%s is missing", l)
			}
		}
	})
}

func TestIPTablesLearnedAddressesComeAndGo(t *testing.T) {
	withFW3(t, func(t *testing.T, c iptablesCommands, n *Net) {
		d := desired()
		apply(t, n, d)
		for range 2 {
			if err := n.AddOwn(t.Context(), 6, addrs("192.0.2.21", "2001:db8:9::7")); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.RemoveOwn(t.Context(), 6, addrs("192.0.2.20", "192.0.2.99")); err != nil {
			t.Fatal(err)
		}
		if err := n.AddOwn(t.Context(), 99, addrs("192.0.2.21")); err != nil {
			t.Fatal(err)
		}
		d.Own[1].Addresses = addrs("192.0.2.21", "2001:db8:9::2", "2001:db8:9::7")
		if r := apply(t, n, d); len(r.Changes) > 0 {
			t.Errorf("Apply of the same addresses changed %q", r.Changes)
		}
	})
}

func TestIPTablesOwnAddressesAreLimited(t *testing.T) {
	c := iptablesVariants()["nft"]
	fw3Netns(t, c)
	n := newNet(t, WithFirewall(IPTables), WithIPTablesCommands(c.v4, c.v6))
	d := desired()
	for i := range maxOwnAddresses + 50 {
		d.Own[1].Addresses = append(d.Own[1].Addresses, netip.AddrFrom4([4]byte{192, 88, byte(i >> 8), byte(i)}))
	}
	r := apply(t, n, d)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "53 IPv4 addresses are not steered") {
		t.Errorf("warnings %q", r.Warnings)
	}
	err := n.AddOwn(t.Context(), 6, addrs("192.0.2.200"))
	if err == nil || !strings.Contains(err.Error(), "1024") {
		t.Errorf("one more: %v", err)
	}
	if err := n.AddOwn(t.Context(), 6, addrs("2001:db8:9::200")); err != nil {
		t.Errorf("the other family: %v", err)
	}
	if r := apply(t, n, d); len(r.Changes) != 1 {
		t.Errorf("second Apply changed %q, want the address removed that it does not know", r.Changes)
	}
}

func TestIPTablesWithIPv6OffStillGuardsIt(t *testing.T) {
	withFW3(t, func(t *testing.T, c iptablesCommands, n *Net) {
		d := desired()
		d.IPv6 = false
		apply(t, n, d)
		out := run(t, c.v6+"-save")
		if !strings.Contains(out, "-A FORWARD -m comment --comment \"!routerd\" -j ROUTERD_FWD") ||
			strings.Contains(out, "ROUTERD_OUT") || strings.Contains(out, "ROUTERD_NAT") {
			t.Errorf("ip6tables holds\n%s", out)
		}
		if out := run(t, "ip -6 rule"); strings.Contains(out, "proto 114") {
			t.Errorf("IPv6 rules\n%s", out)
		}
	})
}

func TestIPTablesWithoutIP6TablesSaysSo(t *testing.T) {
	fw3Netns(t, iptablesVariants()["legacy"])
	n := newNet(t, WithFirewall(IPTables), WithIPTablesCommands("iptables-legacy", "no-such-ip6tables"))
	r := apply(t, n, desired())
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "ip6tables is not installed") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestCleanupRemovesWhatTheOtherFirewallMade(t *testing.T) {
	withFW3(t, func(t *testing.T, c iptablesCommands, n *Net) {
		before, dumpBefore := iptablesDump(t, c, true), dump(t)
		apply(t, n, desired())
		nft := newNet(t, WithFirewall(NFTables))
		apply(t, nft, desired())
		if err := nft.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "iptables", before, iptablesDump(t, c, true))
		same(t, "state", sortLines(dumpBefore), sortLines(dump(t)))
	})
}
