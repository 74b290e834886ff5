package netcfg

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"

	"github.com/google/nftables"

	"github.com/routerd/routerd/internal/owned"
)

// legacyTables lists the tables of iptables-legacy that are in use.
const legacyTables = "/proc/thread-self/net/ip_tables_names"

// detect chooses the firewall that the system uses. fw4 says nftables. Tables
// of iptables-legacy with no nftables beside them say iptables, because a rule
// of nftables cannot let through what iptables drops. Else it is what works.
func detect(nft *nftFirewall, cmds iptablesCommands) (Firewall, error) {
	chains, listErr := listChains()
	others := false
	for _, c := range chains {
		if c.table == fw4Table {
			return NFTables, nil
		}
		others = others || c.table != owned.NFTable
	}
	iptables := cmds.present()
	if iptables && !others && legacyInUse() {
		return IPTables, nil
	}
	probeErr := listErr
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

// present says whether the programs are installed.
func (c iptablesCommands) present() bool {
	_, err := exec.LookPath(c.v4)
	_, restoreErr := exec.LookPath(c.v4 + "-restore")
	return err == nil && restoreErr == nil
}

// legacyInUse says whether iptables-legacy filters in this namespace.
func legacyInUse() bool {
	f, err := os.Open(legacyTables)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text() == "filter" {
			return true
		}
	}
	return false
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
