package netcfg

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/owned"
)

// iptTable is one table that shall be.
type iptTable struct {
	name   string
	chains []iptChain
	jumps  []iptJump
}

// iptChain is a chain of ours. A plain one is replaced as a whole when its
// print differs; one with single rules is changed rule by rule.
type iptChain struct {
	name   string
	rules  []string
	single bool
}

// iptJump leads from one of iptables' own chains to one of ours; it stands
// first there.
type iptJump struct{ from, to string }

func (j iptJump) rule() string {
	return fmt.Sprintf("-m comment --comment %q -j %s", owned.Comment, j.to)
}

func (t iptTable) has(chain string) bool {
	return slices.ContainsFunc(t.chains, func(c iptChain) bool { return c.name == chain })
}

// header is the first rule of a plain chain. It does nothing; its comment
// tells what the chain holds, because -S prints rules in other words than they
// were given in, and in other ones from version to version.
func (c iptChain) header() string {
	h := fnv.New32a()
	for _, r := range c.rules {
		fmt.Fprintln(h, r)
	}
	return fmt.Sprintf(`-m comment --comment "%s #%08x"`, owned.Comment, h.Sum32())
}

// matches says whether the kernel's chain is this one.
func (c iptChain) matches(have []string) bool {
	if len(have) != len(c.rules)+1 {
		return false
	}
	_, print, _ := strings.Cut(c.header(), "#")
	return strings.Contains(have[0], "#"+strings.TrimSuffix(print, `"`))
}

// script collects lines for iptables-restore.
type script struct {
	b      strings.Builder
	report report
	prefix string
}

func (s *script) line(format string, args ...any) { fmt.Fprintf(&s.b, format+"\n", args...) }

func (s *script) note(format string, args ...any) {
	s.report.note("%s: %s", s.prefix, fmt.Sprintf(format, args...))
}

// sync writes what differs in one table, in one commit.
func (f iptFamily) sync(want iptTable) (report, error) {
	have, err := f.read(want.name)
	if err != nil {
		return report{}, err
	}
	s := &script{prefix: f.command + " table " + want.name}
	for _, c := range want.chains {
		s.chain(c, have)
	}
	s.jumps(want.jumps, have)
	s.removeChains(want, have)
	if s.b.Len() == 0 {
		return report{}, nil
	}
	if err := f.commit(want.name, s.b.String()); err != nil {
		return report{}, err
	}
	return s.report, nil
}

// chain queues the difference of one chain. Declaring a chain that exists
// empties it.
func (s *script) chain(c iptChain, have iptHave) {
	rules, exists := have[c.name]
	switch {
	case !exists:
		s.line(":%s - [0:0]", c.name)
		s.note("add chain %s", c.name)
		rules = nil
	case c.single, c.matches(rules):
	default:
		s.line(":%s - [0:0]", c.name)
		s.note("replace chain %s", c.name)
	}
	if c.single {
		s.singleRules(c, rules)
		return
	}
	if exists && c.matches(rules) {
		return
	}
	s.line("-A %s %s", c.name, c.header())
	for _, r := range c.rules {
		s.line("-A %s %s", c.name, r)
	}
}

func (s *script) singleRules(c iptChain, have []string) {
	for _, r := range have {
		if !slices.Contains(c.rules, r) {
			s.line("-D %s %s", c.name, r)
			s.note("remove %q from chain %s", r, c.name)
		}
	}
	for _, r := range c.rules {
		if !slices.Contains(have, r) {
			s.line("-A %s %s", c.name, r)
			s.note("add %q to chain %s", r, c.name)
		}
	}
}

// jumps puts our jumps first in their chains and removes all other rules of
// ours from chains that are not.
func (s *script) jumps(want []iptJump, have iptHave) {
	for _, from := range sortedKeys(have) {
		if isOurChain(from) {
			continue
		}
		var to []string
		for _, j := range want {
			if j.from == from {
				to = append(to, j.to)
			}
		}
		s.jumpsFrom(from, to, have[from])
	}
}

func (s *script) jumpsFrom(from string, to, have []string) {
	var ours []string
	inPlace := true
	for i, r := range have {
		if isOurs(r) {
			inPlace = inPlace && i < len(to) && strings.HasSuffix(r, "-j "+to[i])
			ours = append(ours, r)
		}
	}
	if inPlace && len(ours) == len(to) {
		return
	}
	for _, r := range ours {
		s.line("-D %s %s", from, r)
		s.note("remove %q from chain %s", r, from)
	}
	for _, chain := range slices.Backward(to) {
		j := iptJump{from, chain}
		s.line("-I %s 1 %s", from, j.rule())
		s.note("add jump from %s to %s", from, chain)
	}
}

// removeChains empties all chains that go before it removes the first: they
// may lead to each other.
func (s *script) removeChains(want iptTable, have iptHave) {
	var gone []string
	for _, c := range sortedKeys(have) {
		if isOurChain(c) && !want.has(c) {
			gone = append(gone, c)
		}
	}
	for _, c := range gone {
		s.line("-F %s", c)
	}
	for _, c := range gone {
		s.line("-X %s", c)
		s.note("remove chain %s", c)
	}
}
