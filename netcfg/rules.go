package netcfg

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// ipRule is one policy rule of ours.
type ipRule struct {
	family Family
	mark   owned.Mark
	mask   owned.Mask
	table  int
}

func (r ipRule) String() string {
	return fmt.Sprintf("%s rule fwmark %#x/%#x lookup %d", r.family, uint32(r.mark), uint32(r.mask), r.table)
}

// netlink is the rule as the library takes it.
func (r ipRule) netlink() *netlink.Rule {
	out := netlink.NewRule()
	mask := uint32(r.mask)
	out.Family, out.Priority, out.Table = int(r.family), owned.RulePriority, r.table
	out.Mark, out.Mask, out.Protocol = uint32(r.mark), &mask, owned.RouteProtocol
	return out
}

// event is the notification that adding or removing the rule makes.
func (r ipRule) event(kind uint16) event {
	return event{kind: kind, family: r.family, table: r.table, mark: r.mark}
}

// wantedRules are the rules of the desired state.
func wantedRules(d Desired) []ipRule {
	var out []ipRule
	for _, f := range d.families() {
		for _, p := range d.Paths {
			r := ipRule{family: f, mark: d.Mask.Mark(p.Index), mask: d.Mask, table: owned.Table(p.Index)}
			if p.Index == owned.PathDirect {
				r.table = unix.RT_TABLE_MAIN
			}
			out = append(out, r)
		}
	}
	return out
}

// listIPRules lists all policy rules of a family; none where the kernel lacks
// the family.
func listIPRules(f Family) ([]netlink.Rule, error) {
	rules, err := retryDump(func() ([]netlink.Rule, error) { return netlink.RuleList(int(f)) })
	if err != nil && !absentFamily(err) {
		return nil, fmt.Errorf("list %s rules: %w", f, err)
	}
	return rules, nil
}

// retryDump asks again for a list that changed while the kernel wrote it.
func retryDump[T any](list func() (T, error)) (T, error) {
	var out T
	var err error
	for range dumpTries {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, err
}

// absentFamily says whether an error means that the kernel lacks the family.
func absentFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EOPNOTSUPP)
}

// ourRule says whether a rule is of our making. A user's own rule that leads
// to a table of ours, for one client say, is theirs.
func ourRule(r netlink.Rule) bool {
	return r.Protocol == owned.RouteProtocol || r.Priority == owned.RulePriority && ourTable(r.Table)
}

func ourTable(t int) bool {
	return t >= owned.TableBase && t < owned.TableBase+owned.MaxPaths
}

// same says whether a rule of the kernel's is exactly r.
func (r ipRule) same(k netlink.Rule) bool {
	return ourRule(k) && k.Priority == owned.RulePriority && k.Table == r.table && r.selects(k)
}

// selects says whether a rule of the kernel's takes the packets of r's mark, and
// nothing else decides.
func (r ipRule) selects(k netlink.Rule) bool {
	plain := !k.Invert && k.Src == nil && k.Dst == nil && k.IifName == "" && k.OifName == ""
	return plain && k.Mark == uint32(r.mark) && k.Mask != nil && *k.Mask == uint32(r.mask)
}

// addRules adds the rules that are missing. It is done after the tables are
// complete, so that no packet meets an empty one.
func (n *Net) addRules(d Desired) (report, error) {
	have := map[Family][]netlink.Rule{}
	for _, f := range d.families() {
		list, err := listIPRules(f)
		if err != nil {
			return report{}, err
		}
		have[f] = list
	}
	return n.addMissing(wantedRules(d), have)
}

// Announce has the rules take packets that are marked by another mask, too, before
// programs mark by it: each path that has a rule gets one more. The next Apply
// removes the rules of the mask that is not its own.
func (n *Net) Announce(mask owned.Mask) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var want []ipRule
	have := map[Family][]netlink.Rule{}
	for _, f := range []Family{IPv4, IPv6} {
		list, err := listIPRules(f)
		if err != nil {
			return err
		}
		have[f] = list
		for _, k := range list {
			if p, ok := pathOf(k); ok && mask.Path(mask.Mark(p)) == p {
				want = append(want, ipRule{family: f, mark: mask.Mark(p), mask: mask, table: k.Table})
			}
		}
	}
	_, err := n.addMissing(want, have)
	return err
}

// pathOf says which path a rule of ours leads to.
func pathOf(k netlink.Rule) (owned.PathIndex, bool) {
	switch {
	case !ourRule(k):
		return 0, false
	case k.Table == unix.RT_TABLE_MAIN:
		return owned.PathDirect, true
	}
	return owned.PathIndex(k.Table - owned.TableBase), ourTable(k.Table)
}

// addMissing adds what is wanted and not there.
func (n *Net) addMissing(want []ipRule, have map[Family][]netlink.Rule) (report, error) {
	var rep report
	for _, w := range want {
		if containsRule(have[w.family], w) {
			continue
		}
		err := n.expected.during(w.event(unix.RTM_NEWRULE), func() error {
			return netlink.RuleAdd(w.netlink())
		})
		switch {
		case err == nil:
			rep.note("add %s", w)
		case absentFamily(err):
			rep.warn("the kernel has no policy rules for %s: switch option ipv6 off, or add the module", w.family)
			return rep, nil
		case !errors.Is(err, os.ErrExist):
			return rep, fmt.Errorf("add %s: %w", w, err)
		}
	}
	return rep, nil
}

func containsRule(list []netlink.Rule, w ipRule) bool {
	for _, k := range list {
		if w.same(k) {
			return true
		}
	}
	return false
}

// removeRules removes the rules of ours that are not wanted, doubles included.
func (n *Net) removeRules(want []ipRule) (report, error) {
	var rep report
	for _, f := range []Family{IPv4, IPv6} {
		list, err := listIPRules(f)
		if err != nil {
			return rep, err
		}
		seen := map[ipRule]bool{}
		for _, k := range list {
			if !ourRule(k) || wantedOnce(k, f, want, seen) {
				continue
			}
			k.Family = int(f)
			gone := ipRule{family: f, mark: owned.Mark(k.Mark), table: k.Table}
			err := n.expected.during(gone.event(unix.RTM_DELRULE), func() error { return netlink.RuleDel(&k) })
			if err != nil && !errors.Is(err, syscall.ENOENT) {
				return rep, fmt.Errorf("remove rule %s: %w", k, err)
			}
			rep.note("remove %s rule fwmark %#x lookup %d", f, k.Mark, k.Table)
		}
	}
	return rep, nil
}

func wantedOnce(k netlink.Rule, f Family, want []ipRule, seen map[ipRule]bool) bool {
	for _, w := range want {
		if w.family == f && w.same(k) && !seen[w] {
			seen[w] = true
			return true
		}
	}
	return false
}
