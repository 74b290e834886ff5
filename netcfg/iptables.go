package netcfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-iptables/iptables"

	"github.com/routerd/routerd/internal/owned"
)

// iptablesCommands are the programs; each has its -restore beside it.
type iptablesCommands struct{ v4, v6 string }

// lockWait is how many seconds a program waits for the xtables lock, and
// runLimit how long we wait for the program.
const (
	lockWait = 10
	runLimit = 3 * lockWait * time.Second
)

// iptFamily is one family's programs.
type iptFamily struct {
	family  Family
	command string
	ipt     *iptables.IPTables
}

// iptFirewall is the firewall on iptables. A table is listed by one run of
// iptables and changed by one of iptables-restore, which the kernel takes as a
// whole; go-iptables has no such call and is used for single rules.
type iptFirewall struct {
	log      *slog.Logger
	families []iptFamily

	mu sync.Mutex
	// ids are the destinations that the last Apply made chains for; guarded by mu.
	ids map[uint16]bool
	// room is how many more own addresses a family takes; guarded by mu.
	room map[Family]int
}

// newIPTables finds the programs. ip6tables may be missing.
func newIPTables(log *slog.Logger, cmds iptablesCommands) (*iptFirewall, error) {
	f := &iptFirewall{log: log}
	v4, err := openIPTables(IPv4, cmds.v4)
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", cmds.v4, err)
	}
	f.families = []iptFamily{v4}
	v6, err := openIPTables(IPv6, cmds.v6)
	switch {
	case err == nil:
		f.families = append(f.families, v6)
	case !errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("use %s: %w", cmds.v6, err)
	}
	return f, nil
}

func openIPTables(f Family, command string) (iptFamily, error) {
	if _, err := exec.LookPath(command + "-restore"); err != nil {
		return iptFamily{}, err
	}
	proto := iptables.ProtocolIPv4
	if f == IPv6 {
		proto = iptables.ProtocolIPv6
	}
	ipt, err := iptables.New(iptables.IPFamily(proto), iptables.Path(command), iptables.Timeout(lockWait))
	if err != nil {
		return iptFamily{}, err
	}
	return iptFamily{family: f, command: command, ipt: ipt}, nil
}

// iptHave is one table as it is: the rules of each chain in order, as -S
// prints them and -restore reads them, without "-A CHAIN ".
type iptHave map[string][]string

// run runs a program with text on its standard input.
func runCommand(text, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	// #nosec: the program's name is a setting of ours, never input.
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s",
			name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// read lists a table.
func (f iptFamily) read(table string) (iptHave, error) {
	out, err := runCommand("", f.command, "--wait", strconv.Itoa(lockWait), "-t", table, "-S")
	if err != nil {
		return nil, err
	}
	return parseTable(out), nil
}

// parseTable reads what -S prints.
func parseTable(out string) iptHave {
	have := iptHave{}
	for line := range strings.Lines(out) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		chain, rule, _ := strings.Cut(rest, " ")
		switch kind {
		case "-P", "-N":
			have[chain] = nil
		case "-A":
			have[chain] = append(have[chain], rule)
		}
	}
	return have
}

// commit writes one table's changes at once.
func (f iptFamily) commit(table, lines string) error {
	text := "*" + table + "\n" + lines + "COMMIT\n"
	_, err := runCommand(text, f.command+"-restore", "--noflush", "--wait", strconv.Itoa(lockWait))
	return err
}

// apply makes chains and jumps what d says.
func (f *iptFirewall) apply(d Desired, links linkTable) (report, error) {
	var rep report
	if len(f.families) == 1 {
		rep.warn("ip6tables is not installed: no second line of defence holds steered IPv6 packets; install it")
	}
	room := map[Family]int{}
	for _, fam := range f.families {
		own, dropped := limitOwn(d, fam.family)
		if dropped > 0 {
			rep.warn("the router's own connections to %d %s addresses are not steered: with iptables %d are "+
				"taken at the most; connections of clients are", dropped, fam.family, maxOwnAddresses)
		}
		left := maxOwnAddresses
		for _, o := range own {
			left -= len(o.targets)
		}
		room[fam.family] = left
		for _, want := range iptWanted(d, links, fam.family, own) {
			r, err := fam.sync(want)
			if err != nil && fam.family == IPv6 {
				// A kernel without this table for IPv6 must not stop IPv4.
				rep.warn("%s: table %s: %v", fam.command, want.name, err)
				continue
			}
			rep.merge(r)
			if err != nil {
				return rep, err
			}
		}
	}
	f.remember(d, room)
	return rep, nil
}

func (f *iptFirewall) remember(d Desired, room map[Family]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids, f.room = map[uint16]bool{}, room
	for _, o := range d.Own {
		f.ids[o.ID] = true
	}
}

// own adds and removes single addresses.
func (f *iptFirewall) own(id uint16, add, remove []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ids[id] {
		return nil
	}
	for _, fam := range f.families {
		if err := f.ownFamily(fam, id, fam.family.of(add), fam.family.of(remove)); err != nil {
			return err
		}
	}
	return nil
}

// ownFamily does own's work for one family; f.mu is held.
func (f *iptFirewall) ownFamily(fam iptFamily, id uint16, add, remove []netip.Addr) error {
	chain := ownChain(id)
	for _, a := range remove {
		spec := ownTarget(id, netip.PrefixFrom(a, a.BitLen()))
		there, err := fam.ipt.Exists(tableMangle, chain, spec...)
		if err != nil || !there {
			continue // the chain of a family that is off, or not there
		}
		if err := fam.ipt.Delete(tableMangle, chain, spec...); err != nil {
			return fmt.Errorf("remove %s from chain %s: %w", a, chain, err)
		}
		f.room[fam.family]++
	}
	for _, a := range add {
		spec := ownTarget(id, netip.PrefixFrom(a, a.BitLen()))
		if there, err := fam.ipt.Exists(tableMangle, chain, spec...); err == nil && there {
			continue
		}
		if f.room[fam.family] <= 0 {
			return fmt.Errorf("add %s to chain %s: iptables holds %d addresses already, "+
				"the router's own connections to more are not steered", a, chain, maxOwnAddresses)
		}
		if err := fam.ipt.Append(tableMangle, chain, spec...); err != nil {
			return fmt.Errorf("add %s to chain %s: %w", a, chain, err)
		}
		f.room[fam.family]--
	}
	return nil
}

// devices names the devices that the guard's rules mention, and lo where the
// resolver is.
func (f *iptFirewall) devices() ([]string, error) {
	var out []string
	for _, fam := range f.families {
		have, err := fam.read(tableFilter)
		if err != nil {
			if fam.family == IPv6 {
				continue
			}
			return nil, err
		}
		for _, rule := range have[chainIPTInput] {
			if strings.Contains(rule, "--dport ") {
				out = append(out, loopback)
			}
		}
		for _, rule := range have[chainIPTGuard] {
			if dev := ruleDevice(rule); dev != "" && dev != loopback {
				out = append(out, dev)
			}
		}
	}
	return out, nil
}

// ruleDevice is the device that a rule's packets leave by.
func ruleDevice(rule string) string {
	fields := strings.Fields(rule)
	for i := 1; i < len(fields); i++ {
		if fields[i-1] == "-o" {
			return fields[i]
		}
	}
	return ""
}

// offload does nothing: the target of iptables that would is not in mainline.
func (f *iptFirewall) offload(d Desired) (why string, err error) {
	if !d.Offload {
		return whyOff, nil
	}
	return "the firewall is iptables: flowtables are nftables'", nil
}

func (f *iptFirewall) flushFast() (bool, error) { return false, nil }

// cleanup removes our chains and every rule that names one or bears our
// comment.
func (f *iptFirewall) cleanup() (report, error) {
	var rep report
	var errs []error
	for _, fam := range f.families {
		inUse := fam.tablesInUse()
		for _, table := range []string{tableFilter, tableNAT, tableMangle} {
			if !inUse(table) {
				continue // listing it would make it
			}
			r, err := fam.sync(iptTable{name: table})
			rep.merge(r)
			errs = append(errs, err)
		}
	}
	return rep, errors.Join(errs...)
}

// cleanupIPTables cleans up with every variant of iptables that is installed:
// which one made our chains is not remembered.
func cleanupIPTables(log *slog.Logger) (report, error) {
	var rep report
	var errs []error
	for _, variant := range []string{"", "-legacy", "-nft"} {
		for _, c := range []struct {
			family  Family
			command string
		}{{IPv4, "iptables"}, {IPv6, "ip6tables"}} {
			fam, err := openIPTables(c.family, c.command+variant)
			if err != nil {
				continue // not installed
			}
			r, err := (&iptFirewall{log: log, families: []iptFamily{fam}}).cleanup()
			rep.merge(r)
			errs = append(errs, err)
		}
	}
	return rep, errors.Join(errs...)
}

// tablesInUse tells which tables exist, without making one.
func (f iptFamily) tablesInUse() func(string) bool {
	version, err := runCommand("", f.command, "--version")
	if err == nil && strings.Contains(version, "nf_tables") {
		chains, err := listChains()
		return func(table string) bool {
			for _, c := range chains {
				if c.table == table && Family(c.family) == f.family {
					return true
				}
			}
			return err != nil
		}
	}
	return func(table string) bool { return legacyTable(f.family, table) }
}

// isOurs says whether a rule of somebody else's chain is of our making.
func isOurs(rule string) bool {
	return strings.Contains(rule, owned.Comment) ||
		strings.Contains(rule, "-j "+owned.ChainPrefix) || strings.Contains(rule, "-g "+owned.ChainPrefix)
}

func isOurChain(c string) bool { return strings.HasPrefix(c, owned.ChainPrefix) }
