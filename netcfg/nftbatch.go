package netcfg

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/routerd/routerd/internal/owned"
)

// nftBatch queues the difference between two rulesets. The kernel takes all of
// it or nothing, so the order below only has to satisfy its checks: rules that
// go, then sets that go, sets that come, rules that come.
type nftBatch struct {
	conn     *nftables.Conn
	table    *nftables.Table
	changes  []string
	warnings []string
}

func (b *nftBatch) note(format string, args ...any) {
	b.changes = append(b.changes, "nftables: "+fmt.Sprintf(format, args...))
}

// ruleset queues the difference of table inet routerd.
func (b *nftBatch) ruleset(have *nftHave, rules []nftRule, sets []ownSet) error {
	if have.table && !sameChains(have.chains) {
		// Another version's layout: replaced in one go.
		b.conn.DelTable(b.table)
		b.note("remove table with other chains")
		have.table, have.chains, have.rules, have.sets = false, nil, nil, nil
	}
	if !have.table {
		b.conn.AddTable(b.table)
		b.note("add table inet %s", owned.NFTable)
	}
	byChain := map[string][]nftRule{}
	for _, r := range rules {
		byChain[r.chain] = append(byChain[r.chain], r)
	}
	diffs := make([]ruleDiff, 0, len(chainSpecs()))
	for _, s := range chainSpecs() {
		b.chain(s, have.chains)
		d := diffRules(byChain[s.name], have.rules[s.name])
		d.chain = &nftables.Chain{Name: s.name, Table: b.table}
		if err := b.deleteRules(d); err != nil {
			return err
		}
		diffs = append(diffs, d)
	}
	if err := b.setDiff(have.sets, sets); err != nil {
		return err
	}
	for _, d := range diffs {
		if err := b.addRules(d); err != nil {
			return err
		}
	}
	return nil
}

// sameChains says whether the chains that are there are chains of this version.
func sameChains(have map[string]rawChain) bool {
	want := map[string]chainSpec{}
	for _, s := range chainSpecs() {
		want[s.name] = s
	}
	for name, c := range have {
		s, ok := want[name]
		if !ok || !s.is(c) {
			return false
		}
	}
	return true
}

func (s chainSpec) is(c rawChain) bool {
	if s.hook == nil {
		return c.hook == -1
	}
	return c.hook == int(*s.hook) && c.priority == int32(s.priority) && c.kind == string(s.kind) && !c.drops
}

func (b *nftBatch) chain(s chainSpec, have map[string]rawChain) {
	if _, ok := have[s.name]; ok {
		return
	}
	c := &nftables.Chain{Name: s.name, Table: b.table}
	if s.hook != nil {
		c.Type, c.Hooknum, c.Priority = s.kind, s.hook, &s.priority
	}
	b.conn.AddChain(c)
	b.note("add chain %s", s.name)
}

// ruleDiff is what leads from a chain's rules to the wanted ones.
type ruleDiff struct {
	chain   *nftables.Chain
	remove  []rawRule
	inserts []placedRule
	replace []placedRule
}

// placedRule is a rule and the handle of the one that it replaces or precedes;
// 0: the end of the chain.
type placedRule struct {
	nftRule
	handle uint64
}

// diffRules keeps the longest common run of names, so that a change of one
// rule touches that rule only.
func diffRules(want []nftRule, have []rawRule) ruleDiff {
	keep := commonRules(want, have)
	var d ruleDiff
	for i, r := range have {
		if !slices.ContainsFunc(keep, func(k [2]int) bool { return k[1] == i }) {
			d.remove = append(d.remove, r)
		}
	}
	k := 0
	for i, w := range want {
		var before uint64
		if k < len(keep) {
			before = have[keep[k][1]].handle
		}
		switch {
		case k >= len(keep) || keep[k][0] != i:
			d.inserts = append(d.inserts, placedRule{w, before})
		default:
			if have[keep[k][1]].comment != w.comment() {
				d.replace = append(d.replace, placedRule{w, before})
			}
			k++
		}
	}
	return d
}

// commonRules is the longest common subsequence by name: pairs of indexes into
// want and have.
func commonRules(want []nftRule, have []rawRule) [][2]int {
	names := make([]string, len(have))
	for i, h := range have {
		names[i], _ = splitComment(h.comment)
	}
	// length[i][j] is that of want[i:] and have[j:].
	length := make([][]int, len(want)+1)
	for i := range length {
		length[i] = make([]int, len(have)+1)
	}
	for i := len(want) - 1; i >= 0; i-- {
		for j := len(have) - 1; j >= 0; j-- {
			if want[i].name == names[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(want) && j < len(have); {
		switch {
		case want[i].name == names[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

func (b *nftBatch) deleteRules(d ruleDiff) error {
	for _, r := range d.remove {
		rule := &nftables.Rule{Table: b.table, Chain: d.chain, Handle: r.handle}
		if err := b.conn.DelRule(rule); err != nil {
			return fmt.Errorf("remove rule %q: %w", r.comment, err)
		}
		b.note("remove rule %q from chain %s", r.comment, r.chain)
	}
	return nil
}

// addRules inserts what is new, and in place of a rule that differs its
// successor before it. The library's own replacing does not do: the kernel
// answers it with one message more than the library reads.
func (b *nftBatch) addRules(d ruleDiff) error {
	for _, p := range d.inserts {
		b.insert(d.chain, p)
		b.note("add rule %q to chain %s", p.comment(), p.chain)
	}
	for _, p := range d.replace {
		b.insert(d.chain, p)
		old := &nftables.Rule{Table: b.table, Chain: d.chain, Handle: p.handle}
		if err := b.conn.DelRule(old); err != nil {
			return fmt.Errorf("replace rule %q: %w", p.comment(), err)
		}
		b.note("replace rule %q in chain %s", p.comment(), p.chain)
	}
	return nil
}

func (b *nftBatch) insert(chain *nftables.Chain, p placedRule) {
	r := &nftables.Rule{
		Table: b.table, Chain: chain, Position: p.handle,
		Exprs: p.exprs, UserData: userComment(p.comment()),
	}
	if p.handle == 0 {
		b.conn.AddRule(r)
		return
	}
	b.conn.InsertRule(r)
}

// setDiff queues the sets that go and come, and the elements that differ.
func (b *nftBatch) setDiff(have map[string]ownSet, want []ownSet) error {
	stay := map[string]bool{}
	for _, w := range want {
		h, ok := have[w.name]
		stay[w.name] = ok && h.interval == w.interval && h.family == w.family
	}
	for _, name := range sortedKeys(have) {
		if !stay[name] {
			b.conn.DelSet(have[name].nft(b.table))
			b.note("remove set %s", name)
		}
	}
	for _, w := range want {
		var old []ipRange
		if stay[w.name] {
			old = have[w.name].ranges
		} else {
			if err := b.conn.AddSet(w.nft(b.table), nil); err != nil {
				return fmt.Errorf("encode set %s: %w", w.name, err)
			}
			b.note("add set %s", w.name)
		}
		if err := b.elements(w, old); err != nil {
			return err
		}
	}
	return nil
}

func (b *nftBatch) elements(w ownSet, old []ipRange) error {
	remove, add := missing(old, w.ranges), missing(w.ranges, old)
	if err := w.queueElements(b.table, remove, b.conn.SetDeleteElements); err != nil {
		return err
	}
	if err := w.queueElements(b.table, add, b.conn.SetAddElements); err != nil {
		return err
	}
	if len(add)+len(remove) > 0 {
		b.note("set %s: %d elements added, %d removed", w.name, len(add), len(remove))
	}
	return nil
}

// fw4 puts our rules at the head of a chain of fw4's. When they are not
// exactly there, as after a reload of fw4, they are all made anew.
func (b *nftBatch) fw4(chain string, have []rawRule, want []nftRule) {
	var ours []rawRule
	inPlace := true
	for i, r := range have {
		if !strings.HasPrefix(r.comment, owned.Comment) {
			continue
		}
		inPlace = inPlace && len(ours) == i && i < len(want) && r.comment == want[i].comment()
		ours = append(ours, r)
	}
	if inPlace && len(ours) == len(want) {
		return
	}
	for _, r := range ours {
		b.deleteForeign(r)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: fw4Table}
	for _, w := range slices.Backward(want) {
		b.conn.InsertRule(&nftables.Rule{
			Table: table, Chain: &nftables.Chain{Name: chain, Table: table},
			Exprs: w.exprs, UserData: userComment(w.comment()),
		})
		b.note("add rule %q to %s's chain %s", w.comment(), fw4Table, chain)
	}
}

// deleteForeign removes a rule of ours from somebody else's chain.
func (b *nftBatch) deleteForeign(r rawRule) {
	table := &nftables.Table{Family: nftables.TableFamily(r.family), Name: r.table}
	rule := &nftables.Rule{
		Table: table, Chain: &nftables.Chain{Name: r.chain, Table: table}, Handle: r.handle,
	}
	// The library fails for handle 0 only, which the kernel never gives.
	if err := b.conn.DelRule(rule); err == nil {
		b.note("remove rule %q from %s's chain %s", r.comment, r.table, r.chain)
	}
}
