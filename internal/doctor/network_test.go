package doctor

import (
	"errors"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

func TestFirewallFindings(t *testing.T) {
	none := errors.New("protocol not supported")
	for _, tc := range []struct {
		name  string
		facts networkFacts
		want  []string
	}{
		{"fw4", networkFacts{forward4: "1", forward6: "1"}, []string{"ok: nftables"}},
		{"fw3", networkFacts{forward4: "1", forward6: "1", nft: none, iptables: true}, []string{"ok: iptables"}},
		{"neither", networkFacts{forward4: "1", forward6: "1", nft: none}, []string{"error: neither | kmod-nft-core"}},
		{"not forwarding", networkFacts{forward4: "0", forward6: "0"}, []string{"ok: nftables", "error: IPv4 is not forwarded | ip_forward=1", "note: IPv6 is not forwarded"}},
		{"no IPv6", networkFacts{forward4: "1"}, []string{"ok: nftables"}},
	} {
		t.Run(tc.name, func(t *testing.T) { expect(t, judgeFirewall(tc.facts), tc.want...) })
	}
}

func TestOffloadIsToldAsFine(t *testing.T) {
	expect(t, judgeOffload(networkFacts{}, ""), "ok: flow offload is off")
	ours := networkFacts{tables: []nftTable{{name: "fw4"}, {name: "routerd", flowtables: []string{"fast"}}}}
	expect(t, judgeOffload(ours, ""), "ok: routerd lets established connections pass")
	expect(t, judgeOffload(networkFacts{}, "no flowtables (package kmod-nft-offload)"), "note: every packet passes routing and rules | kmod-nft-offload")
	expect(t, judgeOffload(networkFacts{}, "nftables chain c of table t marks packets"), "note: every packet passes routing and rules, which costs some throughput: nftables chain c | nothing")
	on := networkFacts{tables: []nftTable{{name: "other"}, {name: "fw4", flowtables: []string{"ft"}}}}
	expect(t, judgeOffload(on, "x"), "ok: flow offload is on (flowtable ft of table fw4), which is fine")
}

func rule(priority int, mark, mask uint32, table int) netlink.Rule {
	r := netlink.Rule{Priority: priority, Mark: mark, Table: table}
	if mask != 0 {
		r.Mask = &mask
	}
	return r
}

func TestOtherSteeringTools(t *testing.T) {
	ours := rule(owned.RulePriority, 0x03000000, uint32(owned.DefaultMask), owned.Table(3))
	ours.Protocol = owned.RouteProtocol
	for _, tc := range []struct {
		name      string
		facts     networkFacts
		processes []process
		want      []string
	}{
		{"none, our own rules and the kernel's", networkFacts{rules: []netlink.Rule{ours, rule(0, 0, 0, unix.RT_TABLE_LOCAL), rule(32766, 0, 0, unix.RT_TABLE_MAIN)}}, nil, []string{"ok: no other steering tool"}},
		{"pbr", networkFacts{
			tables: []nftTable{{name: "fw4", chains: []string{"input", "pbr_mark_0x010000"}}},
			rules:  []netlink.Rule{rule(29998, 0x10000, 0xff0000, 256)},
		}, nil, []string{"note: pbr (nftables pbr_mark_0x010000) steers too"}},
		{"mwan3", networkFacts{rules: []netlink.Rule{rule(2001, 0x100, 0x3f00, 1)}}, []process{{name: "mwan3track"}}, []string{"note: mwan3 (process mwan3track)"}},
		{"tailscale by its rules", networkFacts{rules: []netlink.Rule{rule(5210, 0x80000, 0xff0000, unix.RT_TABLE_MAIN), rule(5270, 0, 0, 52)}}, nil, []string{"note: tailscale (ip rule 5270)"}},
		{"tailscale by its process", networkFacts{}, []process{{name: "tailscaled"}}, []string{"note: tailscale (process tailscaled)"}},
		{"a transparent proxy", networkFacts{tables: []nftTable{{name: "sing-box"}}}, nil, []string{"warning: sing-box (nftables sing-box) takes connections over | out of its lists"}},
		{"overlapping mark bits, in both families", networkFacts{rules: []netlink.Rule{rule(1234, 0x04000000, 0x3c000000, 99), rule(1234, 0x04000000, 0x3c000000, 99)}}, nil, []string{"error: ip rule 1234 looks at mark bits 0x3c000000, which overlap option mark_mask 0xf000000 | 0x00f00000"}},
		{"a rule on the whole mark (wg-quick)", networkFacts{rules: []netlink.Rule{rule(32764, 0xca6c, 0xffffffff, 51820)}}, nil, []string{"ok: no other"}},
		{"a rule before ours", networkFacts{rules: []netlink.Rule{rule(100, 0, 0, 77)}}, nil, []string{"warning: ip rule 100 comes before routerd's (700) | above 1000"}},
		{"rules unreadable", networkFacts{rulesErr: unix.EOPNOTSUPP}, nil, []string{"error: cannot be read | CONFIG_IP_MULTIPLE_TABLES"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, judgeOthers(tc.facts, tc.processes, owned.DefaultMask), tc.want...)
		})
	}
}

// inNamespace runs a test in a network namespace of its own, whose thread ends
// with it. The test may call Errorf and Logf, not what ends its goroutine.
func inNamespace(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
}

func TestNFTablesAndRulesAreReadAsTheyAre(t *testing.T) {
	inNamespace(t, func() {
		run(t, "", "ip", "rule", "add", "fwmark", "0x100/0x3f00", "lookup", "1", "priority", "2001")
		run(t, `table inet fw4 {
			chain pbr_prerouting { }
			chain forward { type filter hook forward priority 0; }
		}
		table ip fw4 {
			chain mwan3_hook { }
		}`, "nft", "-f", "-")
		f := gatherNetwork("/")
		if f.nft != nil || f.rulesErr != nil || len(f.tables) != 2 {
			t.Errorf("facts %+v", f)
			return
		}
		for i, want := range [][]string{{"pbr_prerouting", "forward"}, {"mwan3_hook"}} {
			if got := f.tables[i]; got.name != "fw4" || !slices.Equal(got.chains, want) || got.flowtables != nil {
				t.Errorf("table %+v, want fw4 with %v", got, want)
			}
		}
		if !slices.ContainsFunc(f.rules, func(r netlink.Rule) bool { return r.Priority == 2001 && ruleMask(r) == 0x3f00 }) {
			t.Errorf("rules %+v", f.rules)
		}
		expect(t, judgeOthers(f, nil, owned.DefaultMask), "note: pbr", "note: mwan3")
	})
}

func TestFlowtablesAreRead(t *testing.T) {
	inNamespace(t, func() {
		nft := exec.Command("nft", "-f", "-")
		nft.Stdin = strings.NewReader("table inet fw4 {\nflowtable ft { hook ingress priority 0; devices = { lo }; }\n}")
		if out, err := nft.CombinedOutput(); err != nil {
			t.Logf("not tried, this kernel has no flowtables: %s", out)
			return
		}
		f := gatherNetwork("/")
		if len(f.tables) != 1 || !slices.Equal(f.tables[0].flowtables, []string{"ft"}) {
			t.Errorf("tables %+v, %v", f.tables, f.nft)
		}
	})
}

func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}
