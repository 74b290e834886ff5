package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// The tables that iptables-legacy has made in the thread's namespace.
const (
	legacyTables  = "/proc/thread-self/net/ip_tables_names"
	legacyTables6 = "/proc/thread-self/net/ip6_tables_names"
)

// detect chooses the firewall that the system uses. fw4 says nftables. Tables
// of iptables-legacy with no nftables beside them say iptables, and so does an
// iptables over nftables that drops what it does not know, because a rule of
// another table cannot let through what iptables drops. Else it is what works.
func detect(nft *nftFirewall, cmds iptablesCommands) (Firewall, error) {
	chains, probeErr := listChains()
	inTable := func(name string) func(rawChain) bool { return func(c rawChain) bool { return c.table == name } }
	if slices.ContainsFunc(chains, inTable(fw4Table)) {
		return NFTables, nil
	}
	iptables := cmds.present()
	if iptables && iptablesInUse(chains) {
		return IPTables, nil
	}
	if probeErr == nil {
		probeErr = nft.probe()
	}
	switch {
	case probeErr == nil:
		return NFTables, nil
	case iptables:
		return IPTables, nil
	}
	return "", fmt.Errorf("neither nftables nor iptables can be used: %w; install "+
		"kmod-nft-core, kmod-nft-fib and kmod-nft-nat, or iptables", probeErr)
}

// iptablesInUse says whether iptables decides what is forwarded: its chain drops,
// or iptables-legacy has a filter table and nftables no table but ours.
func iptablesInUse(chains []rawChain) bool {
	others := false
	for _, c := range chains {
		if c.drops && c.family == unix.NFPROTO_IPV4 && c.table == tableFilter && c.name == "FORWARD" {
			return true
		}
		others = others || c.table != owned.NFTable
	}
	return !others && legacyTable(IPv4, tableFilter)
}

// present says whether the programs are installed.
func (c iptablesCommands) present() bool {
	_, err := exec.LookPath(c.v4)
	_, restoreErr := exec.LookPath(c.v4 + "-restore")
	return err == nil && restoreErr == nil
}

// legacyTable says whether iptables-legacy has made a table in this namespace.
func legacyTable(f Family, table string) bool {
	file := legacyTables
	if f == IPv6 {
		file = legacyTables6
	}
	b, err := os.ReadFile(file)
	return err == nil && slices.Contains(strings.Fields(string(b)), table)
}

// probeTable is made and removed in one batch, so nobody ever sees it.
const probeTable = "routerd_probe"

// probe asks the kernel to check one rule of each kind that we use.
func (f *nftFirewall) probe() error {
	d := Desired{
		Mask: owned.DefaultMask, LAN: []string{"lan"}, IPv6: true,
		Paths: []Path{{
			Index: owned.PathTunnel0, Name: "probe", Device: owned.Device("probe"), Masquerade: true,
			Addresses: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()},
		}},
		Own: []OwnRoute{{
			Destination: "probe", Path: owned.PathTunnel0,
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		}},
	}
	rules, err := buildRules(d, linkTable{owned.Device("probe"): {mtu: 1420}})
	if err != nil {
		return err
	}
	conn, err := f.open()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	b := &nftBatch{conn: conn, table: &nftables.Table{Family: nftables.TableFamilyINet, Name: probeTable}}
	if err := b.ruleset(&nftHave{}, rules, ownSets(d)); err != nil {
		return err
	}
	conn.DelTable(b.table)
	if err := conn.Flush(); err != nil {
		return errors.Join(errors.New("nftables of this kernel lacks something"), err)
	}
	return nil
}
