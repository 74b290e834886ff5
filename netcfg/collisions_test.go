package netcfg

import (
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/owned"
)

func collisions(t *testing.T, n *Net, mask owned.Mask) []string {
	t.Helper()
	list, err := n.Collisions(mask)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		out = append(out, c.Text)
	}
	return out
}

func TestNoCollisionWithOthersOnTheirOwnBits(t *testing.T) {
	routerNetns(t)
	foreign(t)
	run(t, `
ip rule add priority 32764 not fwmark 0xca6c lookup 51820
ip rule add priority 32765 lookup main suppress_prefixlength 0
nft add rule inet fw4 user_chain meta mark 0x1 accept`)
	n := newNet(t)
	apply(t, n, desired())
	if got := collisions(t, n, owned.DefaultMask); len(got) > 0 {
		t.Errorf("collisions: %q", got)
	}
}

func TestCollisionsAreNamedWithAWayOut(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup string
		mask  owned.Mask
		want  []string
	}{
		{
			"mwan3's rule", "ip rule add priority 1001 fwmark 0x100/0x3f00 lookup 1", 0x0f00,
			[]string{"ip rule 1001 (mwan3) uses fwmark mask 0x3f00, which overlaps option mark_mask 0xf00; " +
				"set option mark_mask to 0xf000000"},
		},
		{
			"pbr's rule over IPv6", "ip -6 rule add priority 29998 fwmark 0x10000/0xff0000 lookup 256", 0xf0000,
			[]string{"ip rule 29998 (pbr) uses fwmark mask 0xff0000, which overlaps option mark_mask 0xf0000; " +
				"set option mark_mask to 0xf000000"},
		},
		{
			"tailscale's rule", "ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main", 0xe00000,
			[]string{"ip rule 5210 (tailscale) uses fwmark mask 0xff0000, which overlaps option mark_mask 0xe00000; " +
				"set option mark_mask to 0xf000000"},
		},
		{
			"the default is taken", "ip rule add priority 100 fwmark 0x1000000/0x1000000 lookup 9", owned.DefaultMask,
			[]string{"ip rule 100 uses fwmark mask 0x1000000, which overlaps option mark_mask 0xf000000; " +
				"set option mark_mask to 0xf0000000"},
		},
		{
			"a whole mark with our bits", "ip rule add priority 100 fwmark 0x3000000 lookup 9", owned.DefaultMask,
			[]string{"ip rule 100 uses fwmark mask 0xffffffff, which overlaps option mark_mask 0xf000000; " +
				"set option mark_mask to 0xf0000000"},
		},
		{
			"nothing is left", "ip rule add priority 100 fwmark 0x1/0xfefefefe lookup 9", owned.DefaultMask,
			[]string{"ip rule 100 uses fwmark mask 0xfefefefe, which overlaps option mark_mask 0xf000000; " +
				"no three free bits are left: give one of them a smaller mask"},
		},
		{
			"a rule that writes the whole mark", `
nft add table inet sqm
nft add chain inet sqm pre
nft add rule inet sqm pre meta mark set 0x5`, owned.DefaultMask,
			[]string{"nftables chain pre writes the whole mark and so removes routerd's bits 0xf000000; " +
				"let it write a part of the mark only"},
		},
		{
			"a rule that restores the connection's mark", `
nft add table inet sqm
nft add chain inet sqm pre
nft add rule inet sqm pre meta mark set ct mark`, owned.DefaultMask,
			[]string{"nftables chain pre writes the whole mark and so removes routerd's bits 0xf000000; " +
				"let it write a part of the mark only"},
		},
		{
			"a comparison of nftables", `
nft add table inet fw4
nft add chain inet fw4 mwan3_hook
nft add rule inet fw4 mwan3_hook meta mark and 0x3f00 == 0x100 accept`, 0x0f00,
			[]string{"nftables chain mwan3_hook (mwan3) uses fwmark mask 0x3f00, which overlaps option mark_mask 0xf00; " +
				"set option mark_mask to 0xf000000"},
		},
		{
			"iptables", `
iptables -t mangle -N mwan3_hook
iptables -t mangle -A mwan3_hook -j CONNMARK --restore-mark --nfmask 0x3f00 --ctmask 0x3f00`, 0x0f00,
			[]string{"iptables chain mwan3_hook (mwan3) uses fwmark mask 0x3f00, which overlaps option mark_mask 0xf00; " +
				"set option mark_mask to 0xf000000"},
		},
		{
			"our table", "ip route add default dev wan table 29187 proto static", owned.DefaultMask,
			[]string{"routing table 29187 holds a route of protocol static that routerd did not make; " +
				"routerd uses tables 29184 to 29199: move the route to another one"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routerNetns(t)
			run(t, tt.setup)
			if got := collisions(t, newNet(t, WithFirewall(NFTables)), tt.mask); !slices.Equal(got, tt.want) {
				t.Errorf("collisions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestPbrsChainsAreFoundByTheirMarks(t *testing.T) {
	routerNetns(t)
	foreign(t)
	list, err := newNet(t).Collisions(0x00f00000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Where == "nftables chain pbr_mark_0x010000" && c.Owner == "pbr" && c.Mask == 0x00ff0000 {
			return
		}
	}
	t.Errorf("pbr's chain is not among %+v", list)
}
