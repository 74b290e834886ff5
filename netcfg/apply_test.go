package netcfg

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

func ruleset(t *testing.T) string {
	t.Helper()
	return tidy(run(t, "nft list table inet routerd"))
}

func ipState(t *testing.T) string {
	t.Helper()
	return tidy(run(t, `
ip -4 rule
ip -6 rule
ip -4 -d route show table all proto 114
ip -6 -d route show table all proto 114`))
}

// generation is the number of the last commit to nftables.
func generation(t *testing.T) uint32 {
	t.Helper()
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	msgs, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil || len(msgs) == 0 {
		t.Fatalf("read generation: %v", err)
	}
	for _, a := range attrs(msgs[0][nl.SizeofNfgenmsg:]) {
		if a.kind == unix.NFTA_GEN_ID {
			return beUint32(a.value)
		}
	}
	t.Fatal("no generation in the answer")
	return 0
}

// fw4 is the part of OpenWrt's firewall that concerns us, with pbr in it.
const fw4 = `
table inet fw4 {
	chain forward {
		type filter hook forward priority filter; policy drop;
		meta l4proto { tcp, udp } counter
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle forwarded flows"
		iifname "br-lan" jump forward_lan comment "!fw4: Handle lan IPv4/IPv6 forward traffic"
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept comment "!fw4: Accept traffic from loopback"
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle inbound flows"
	}
	chain forward_lan {
		oifname "wan" accept comment "!fw4: Accept lan to wan forwarding"
	}
	chain mangle_prerouting {
		type filter hook prerouting priority mangle; policy accept;
		jump pbr_prerouting comment "Jump into pbr prerouting chain"
	}
	chain pbr_prerouting {
		ip saddr 192.168.1.77 goto pbr_mark_0x010000
	}
	chain pbr_mark_0x010000 {
		meta mark set meta mark & 0xff00ffff | 0x00010000
		return
	}
	chain user_chain {
		tcp dport 8080 counter accept comment "somebody's own"
	}
}
`

// foreign is what other programs leave in the kernel: it must be as it was
// after everything that we do.
func foreign(t *testing.T) {
	t.Helper()
	input(t, fw4, "nft", "-f", "-")
	run(t, `
nft add table ip user
nft add chain ip user post { type nat hook postrouting priority 50 ; policy accept ; }
nft add rule ip user post oifname wan masquerade
ip rule add priority 1001 fwmark 0x100/0x3f00 lookup 1
ip rule add priority 2001 fwmark 0x200/0x3f00 lookup 2
ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main
ip rule add priority 5270 lookup 52
ip rule add priority 29998 fwmark 0x10000/0xff0000 lookup 256
ip rule add priority 650 from 192.168.1.50 lookup 29187
ip -6 rule add priority 29998 fwmark 0x10000/0xff0000 lookup 256
ip route add default dev wan table 1
ip route add 100.64.0.0/10 dev wan table 52
ip -6 route add unreachable default table 256
sysctl -qw net.ipv4.conf.default.rp_filter=0
sysctl -qw net.ipv4.conf.wan.rp_filter=1`)
}

func TestApplyMakesTheGoldenState(t *testing.T) {
	off := desired()
	off.IPv6 = false
	noOwn := desired()
	noOwn.Own = nil
	down := desired()
	down.Paths[2].Up = false
	for _, tt := range []struct {
		name string
		d    Desired
	}{
		{"full", desired()}, {"ipv6-off", off}, {"no-own-traffic", noOwn}, {"tunnel-down", down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routerNetns(t)
			n := newNet(t, WithFirewall(NFTables))
			r := apply(t, n, tt.d)
			if len(r.Warnings) > 0 {
				t.Errorf("warnings: %q", r.Warnings)
			}
			golden(t, "nft-"+tt.name+".txt", ruleset(t))
			golden(t, "ip-"+tt.name+".txt", ipState(t))
		})
	}
}

func TestSecondApplyChangesNothing(t *testing.T) {
	routerNetns(t)
	foreign(t)
	run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=1")
	n := newNet(t)
	if r := apply(t, n, desired()); len(r.Changes) == 0 {
		t.Error("first Apply reports no change")
	}
	before, gen := dump(t), generation(t)
	for range 2 {
		if r := apply(t, n, desired()); len(r.Changes) > 0 {
			t.Errorf("Apply changed %q", r.Changes)
		}
	}
	// Another process, with nothing in memory, has to find the same.
	if r := apply(t, newNet(t), desired()); len(r.Changes) > 0 {
		t.Errorf("Apply of another Net changed %q", r.Changes)
	}
	if g := generation(t); g != gen {
		t.Errorf("nftables went from generation %d to %d", gen, g)
	}
	same(t, "state", before, dump(t))
}

func TestApplyReportsThePathsReached(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	d := desired()
	d.Paths = append(d.Paths, Path{
		Index: pathOther + 1, Name: "gone", Device: "rd-gone", Up: true, IPv4: true, IPv6: true,
	})
	r := apply(t, n, d)
	want := []PathState{
		{owned.PathDirect, "direct", "", true, true},
		{owned.PathBlock, "block", "", false, false},
		{pathHome, "home", "rd-home", true, true},
		{pathOther, "other", "awg0", true, false},
		{pathOther + 1, "gone", "rd-gone", false, false},
	}
	if !slices.Equal(r.Paths, want) {
		t.Errorf("paths %+v, want %+v", r.Paths, want)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "rd-gone") {
		t.Errorf("warnings %q, want one of rd-gone", r.Warnings)
	}
}

func TestDesiredIsValidated(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Desired)
		want string
	}{
		{"mask with a hole", func(d *Desired) { d.Mask = 0x05000000 }, "not one run"},
		{"index too large for the mask", func(d *Desired) { d.Mask = 0x07000000; d.Paths[3].Index = 8 }, "cannot hold"},
		{"two paths of one index", func(d *Desired) { d.Paths[3].Index = pathHome }, "two paths"},
		{"own traffic by a path that is not there", func(d *Desired) { d.Own[0].Path = 9 }, "exchanges"},
		{"path none", func(d *Desired) { d.Paths[3].Index = owned.PathNone }, "cannot hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := desired()
			tt.edit(&d)
			if err := d.validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestPathSwitchOfOwnTrafficReplacesOnlyItsRules(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	before := run(t, "nft -a list table inet routerd")
	d := desired()
	d.Own[0].Path = pathOther
	r := apply(t, n, d)
	if len(r.Changes) != 2 {
		t.Errorf("changes %q, want one rule a family", r.Changes)
	}
	for _, c := range r.Changes {
		if !strings.Contains(c, "replace rule") || !strings.Contains(c, "exchanges") {
			t.Errorf("change %q is not the replacement of a rule of exchanges", c)
		}
	}
	var differ int
	after := strings.Split(run(t, "nft -a list table inet routerd"), "\n")
	for _, l := range strings.Split(before, "\n") {
		if !slices.Contains(after, l) {
			differ++
		}
	}
	if differ != 2 {
		t.Errorf("%d lines differ, want 2", differ)
	}
}

func TestTunnelThatComesUpTouchesRoutesOnly(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	d := desired()
	d.Paths[2].Up = false
	apply(t, n, d)
	gen := generation(t)
	r := apply(t, n, desired())
	want := []string{"add IPv4 default dev rd-home table 29187", "add IPv6 default dev rd-home table 29187"}
	if !slices.Equal(r.Changes, want) {
		t.Errorf("changes %q, want %q", r.Changes, want)
	}
	r = apply(t, n, d)
	if len(r.Changes) != 2 || !strings.HasPrefix(r.Changes[0], "remove") {
		t.Errorf("changes %q, want the removal of two routes", r.Changes)
	}
	if g := generation(t); g != gen {
		t.Error("nftables was touched")
	}
}

func TestAnotherDeviceReplacesThePathsRoute(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	d := desired()
	d.Paths[2].Device, d.Paths[3].Device = "awg0", "rd-home"
	apply(t, n, d)
	got := run(t, "ip route show table 29187")
	if !strings.Contains(got, "dev awg0") || strings.Contains(got, "rd-home") {
		t.Errorf("table of home:\n%s", got)
	}
	if r := apply(t, n, d); len(r.Changes) > 0 {
		t.Errorf("second Apply changed %q", r.Changes)
	}
}

func TestSmallerStateRemovesTheRest(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	small := Desired{Mask: owned.DefaultMask, IPv6: true, Paths: desired().Paths[:2]}
	apply(t, n, small)
	before := dump(t)
	apply(t, n, desired())
	apply(t, n, small)
	same(t, "state", before, dump(t))
}

func TestRulesThatSomebodyDeletedComeBack(t *testing.T) {
	for _, spoil := range []string{
		"ip rule del priority 700",
		"ip -6 route flush table 29187",
		"nft flush chain inet routerd forward",
		"nft flush chain inet routerd own",
		"nft delete table inet routerd",
		"nft add rule inet routerd paths accept",
		"nft flush set inet routerd own4_5",
		"nft add element inet routerd own4_6 { 8.8.8.8 }",
		"nft insert rule inet fw4 forward drop",
		"nft flush chain inet fw4 forward",
		"nft add chain inet routerd strange",
	} {
		t.Run(spoil, func(t *testing.T) {
			routerNetns(t)
			foreign(t)
			n := newNet(t)
			apply(t, n, desired())
			before := ruleset(t) + ipState(t)
			run(t, spoil)
			if r := apply(t, n, desired()); len(r.Changes) == 0 {
				t.Error("Apply reports no change")
			}
			// Rules of one priority may come back in another order: no mark fits two.
			same(t, "state", sortLines(before), sortLines(ruleset(t)+ipState(t)))
			assertForwardHead(t)
		})
	}
}

func sortLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// assertForwardHead checks that our rules stand first in fw4's forward chain.
func assertForwardHead(t *testing.T) {
	t.Helper()
	var comments []string
	rules, err := listRules(fw4Table, fw4Forward)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		name, _ := splitComment(r.comment)
		comments = append(comments, name)
	}
	want := []string{
		"!routerd home: br-lan to rd-home", "!routerd home: br-lan to rd-home, answers",
		"!routerd other: br-lan to awg0", "!routerd other: br-lan to awg0, answers",
	}
	if len(comments) < len(want) || !slices.Equal(comments[:len(want)], want) {
		t.Errorf("head of fw4's forward chain: %q", comments)
	}
	for _, c := range comments[min(len(want), len(comments)):] {
		if strings.HasPrefix(c, owned.Comment) {
			t.Errorf("a second %q", c)
		}
	}
}

func TestForwardingIsAcceptedInFW4(t *testing.T) {
	routerNetns(t)
	foreign(t)
	n := newNet(t)
	if n.Firewall() != NFTables {
		t.Fatalf("firewall %s with fw4 there", n.Firewall())
	}
	apply(t, n, desired())
	assertForwardHead(t)
	golden(t, "nft-fw4-forward.txt", tidy(run(t, "nft list chain inet fw4 forward")))
	// A reload of fw4 makes its table anew.
	run(t, "nft delete table inet fw4")
	input(t, fw4, "nft", "-f", "-")
	apply(t, n, desired())
	assertForwardHead(t)
}

func TestForeignChainThatDropsIsReported(t *testing.T) {
	routerNetns(t)
	run(t, `
nft add table ip docker
nft add chain ip docker forwarded { type filter hook forward priority 0 ; policy drop ; }`)
	r := apply(t, newNet(t, WithFirewall(NFTables)), desired())
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "chain forwarded of table docker") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestForwardingThatIsOffIsReported(t *testing.T) {
	routerNetns(t)
	run(t, `
sysctl -qw net.ipv4.ip_forward=0
sysctl -qw net.ipv6.conf.all.forwarding=0`)
	r := apply(t, newNet(t, WithFirewall(NFTables)), desired())
	if len(r.Warnings) != 2 {
		t.Errorf("warnings %q, want one a family", r.Warnings)
	}
	if v, err := readSysctl("ipv4/ip_forward"); err != nil || v != "0" {
		t.Errorf("ip_forward is %q, it is not ours to set", v)
	}
}

func elements(t *testing.T, set string) []string {
	t.Helper()
	n := newNet(t, WithFirewall(NFTables))
	conn, err := n.openNFT()
	if err != nil {
		t.Fatal(err)
	}
	s, err := conn.GetSetByName(ownTable(), set)
	if err != nil {
		t.Fatal(err)
	}
	elems, err := conn.GetSetElements(s)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, r := range decodeElements(elems, s.Interval) {
		out = append(out, r.String())
	}
	return out
}

func TestLearnedAddressesComeAndGo(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	before := generation(t)
	steps := []struct {
		add, remove []netip.Addr
		id          uint16
		set         string
		want        []string
	}{
		{addrs("192.0.2.21", "192.0.2.22"), nil, 6, "own4_6", []string{"192.0.2.20", "192.0.2.21", "192.0.2.22"}},
		{addrs("192.0.2.21"), nil, 6, "own4_6", []string{"192.0.2.20", "192.0.2.21", "192.0.2.22"}},
		{nil, addrs("192.0.2.20", "192.0.2.99"), 6, "own4_6", []string{"192.0.2.21", "192.0.2.22"}},
		{addrs("2001:db8:9::7"), nil, 6, "own6_6", []string{"2001:db8:9::2", "2001:db8:9::7"}},
		// In a set with networks an address inside one is known already.
		{
			addrs("203.0.113.77", "192.0.2.11"), nil, 5, "own4_5",
			[]string{"192.0.2.10", "192.0.2.11", "203.0.113.0-203.0.113.255"},
		},
		{nil, addrs("203.0.113.77", "192.0.2.10"), 5, "own4_5", []string{"192.0.2.11", "203.0.113.0-203.0.113.255"}},
		{addrs("192.0.2.12", "192.0.2.11"), nil, 5, "own4_5", []string{
			"192.0.2.11", "192.0.2.12", "203.0.113.0-203.0.113.255",
		}},
		{addrs("192.0.2.1"), nil, 99, "own4_6", []string{"192.0.2.21", "192.0.2.22"}}, // nobody's
	}
	for i, s := range steps {
		if err := n.AddOwn(t.Context(), s.id, s.add); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if err := n.RemoveOwn(t.Context(), s.id, s.remove); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := elements(t, s.set); !slices.Equal(got, s.want) {
			t.Errorf("step %d: set %s holds %q, want %q", i, s.set, got, s.want)
		}
	}
	if generation(t) == before {
		t.Error("nothing was committed")
	}
}

func TestApplyBringsSetsToTheAddressesGiven(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	d := desired()
	d.Own[1].Addresses = nil
	for i := range 3000 {
		d.Own[1].Addresses = append(d.Own[1].Addresses,
			netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}),
			netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}))
	}
	apply(t, n, d)
	if got := len(elements(t, "own6_6")); got != 3000 {
		t.Errorf("%d elements, want 3000", got)
	}
	// Networks make it the other kind of set, under the same name.
	d.Own[1].Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.0.0/22"), netip.MustParsePrefix("2001:db8::/64")}
	apply(t, n, d)
	if got := elements(t, "own6_6"); !slices.Equal(got, []string{"2001:db8::-2001:db8::ffff:ffff:ffff:ffff"}) {
		t.Errorf("own6_6 holds %q", got)
	}
	if r := apply(t, n, d); len(r.Changes) > 0 {
		t.Errorf("second Apply changed %q", r.Changes)
	}
	d.Own[1].Prefixes, d.Own[1].Addresses = nil, addrs("192.0.2.1")
	apply(t, n, d)
	if got := elements(t, "own4_6"); !slices.Equal(got, []string{"192.0.2.1"}) {
		t.Errorf("own4_6 holds %q", got)
	}
}
