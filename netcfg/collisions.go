package netcfg

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/owned"
)

// Collision is something of somebody else's that stands in the way of what is
// ours.
type Collision struct {
	Where string // "ip rule 1001", "nftables chain pbr_prerouting", "routing table 29187"
	Owner string // pbr, mwan3, tailscale, wg-quick; "" when not known
	Mask  uint32 // the mark bits that it uses; 0 for a table
	Text  string // what is wrong and how to mend it
}

// markUse is one place where bits of marks are read or written.
type markUse struct {
	where, owner string
	mask         uint32
	value        uint32
	writes       bool
}

// whole says whether all bits are used, which is no field of somebody's own.
func (u markUse) whole() bool { return u.mask == math.MaxUint32 }

// collides says whether a use gets in our way. A comparison of the whole mark
// with a value that has none of our bits does not: wg-quick's rule is such.
func (u markUse) collides(mask owned.Mask) bool {
	switch {
	case u.whole() && !u.writes:
		return u.value&uint32(mask) != 0
	default:
		return u.mask&uint32(mask) != 0
	}
}

// Collisions names whatever uses mark bits of mask or one of our routing
// tables and is not ours: policy rules, rules of nftables and iptables, routes.
func (n *Net) Collisions(mask owned.Mask) ([]Collision, error) {
	uses, err := markUses()
	if err != nil {
		return nil, err
	}
	free := freeMask(uses)
	var out []Collision
	seen := map[string]bool{}
	add := func(c Collision) {
		if !seen[c.Text] {
			seen[c.Text] = true
			out = append(out, c)
		}
	}
	for _, u := range uses {
		if u.collides(mask) {
			add(Collision{Where: u.where, Owner: u.owner, Mask: u.mask, Text: u.text(mask, free)})
		}
	}
	tables, err := tableCollisions()
	if err != nil {
		return nil, err
	}
	for _, c := range tables {
		add(c)
	}
	return out, nil
}

// text says what collides and what to do.
func (u markUse) text(mask, free owned.Mask) string {
	who := u.where
	if u.owner != "" {
		who += " (" + u.owner + ")"
	}
	switch {
	case u.whole() && u.writes:
		return fmt.Sprintf("%s writes the whole mark and so removes routerd's bits %#x; "+
			"let it write a part of the mark only", who, uint32(mask))
	case free == 0:
		return fmt.Sprintf("%s uses fwmark mask %#x, which overlaps option mark_mask %#x; "+
			"no three free bits are left: give one of them a smaller mask", who, u.mask, uint32(mask))
	}
	return fmt.Sprintf("%s uses fwmark mask %#x, which overlaps option mark_mask %#x; "+
		"set option mark_mask to %#x", who, u.mask, uint32(mask), uint32(free))
}

// freeMask proposes four bits that nobody uses, else three, else 0.
func freeMask(uses []markUse) owned.Mask {
	var used uint32
	for _, u := range uses {
		if u.whole() {
			used |= u.value
		} else {
			used |= u.mask
		}
	}
	for _, width := range []int{4, 3} {
		bits := uint32(1)<<width - 1
		candidates := []uint32{uint32(owned.DefaultMask) & (bits << owned.DefaultMask.Shift())}
		for shift := 32 - width; shift >= 0; shift-- {
			candidates = append(candidates, bits<<shift)
		}
		for _, c := range candidates {
			if c&used == 0 {
				return owned.Mask(c)
			}
		}
	}
	return 0
}

// markUses lists the uses of marks that are not ours.
func markUses() ([]markUse, error) {
	var out []markUse
	for _, f := range []Family{IPv4, IPv6} {
		rules, err := listIPRules(f)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			if use, ok := ruleUse(r); ok {
				out = append(out, use)
			}
		}
	}
	rules, err := listRules("", "")
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		out = append(out, nftUses(r)...)
	}
	return append(out, iptablesUses()...), nil
}

// ruleUse reads a policy rule.
func ruleUse(r netlink.Rule) (markUse, bool) {
	if ourRule(r) || r.Mask == nil || *r.Mask == 0 {
		return markUse{}, false
	}
	return markUse{
		where: fmt.Sprintf("ip rule %d", r.Priority), owner: ruleOwner(r.Priority),
		mask: *r.Mask, value: r.Mark,
	}, true
}

// ruleOwner guesses by the priorities that the others use, see package owned.
func ruleOwner(priority int) string {
	switch {
	case priority >= 1001 && priority <= 3000:
		return "mwan3"
	case priority >= 5210 && priority <= 5270:
		return "tailscale"
	case priority >= 29000 && priority <= 30000:
		return "pbr"
	case priority == 32764 || priority == 32765:
		return "wg-quick"
	}
	return ""
}

// chainOwner guesses by the names of chains.
func chainOwner(chain string) string {
	for prefix, owner := range map[string]string{"pbr_": "pbr", "mwan3_": "mwan3", "ts-": "tailscale"} {
		if strings.HasPrefix(chain, prefix) {
			return owner
		}
	}
	return ""
}

// nftUses reads a rule of nftables that is not ours.
func nftUses(r rawRule) []markUse {
	if r.ours() {
		return nil
	}
	uses := scanMarks(r.exprs)
	for i := range uses {
		uses[i].where = "nftables chain " + r.chain
		uses[i].owner = chainOwner(r.chain)
	}
	return uses
}

// iptMark matches the options of -S that hold bits of marks: of mark and
// connmark, MARK and CONNMARK.
const iptMark = `--(set-xmark|mark|nfmask) (0x[0-9a-f]+)(?:/(0x[0-9a-f]+))?`

// iptablesUses reads the tables of iptables that exist. One that cannot be
// read is left out: this is advice, and may not fail for it.
func iptablesUses() []markUse {
	pattern := regexp.MustCompile(iptMark)
	var out []markUse
	for _, c := range []struct {
		family  Family
		command string
	}{{IPv4, "iptables"}, {IPv6, "ip6tables"}} {
		fam, err := openIPTables(c.family, c.command)
		if err != nil {
			continue
		}
		inUse := fam.tablesInUse()
		for _, table := range []string{tableMangle, tableFilter, tableNAT} {
			if !inUse(table) {
				continue
			}
			have, err := fam.read(table)
			if err != nil {
				continue
			}
			out = append(out, chainUses(fam.command, have, pattern)...)
		}
	}
	return out
}

func chainUses(command string, have iptHave, pattern *regexp.Regexp) []markUse {
	var out []markUse
	for _, chain := range sortedKeys(have) {
		if isOurChain(chain) {
			continue
		}
		for _, rule := range have[chain] {
			for _, m := range pattern.FindAllStringSubmatch(rule, -1) {
				use := markUse{
					where: command + " chain " + chain, owner: chainOwner(chain),
					mask: math.MaxUint32, value: parseMark(m[2]), writes: m[1] != "mark",
				}
				switch {
				case m[1] == "nfmask":
					use.mask, use.value = use.value, 0
				case m[3] != "":
					use.mask = parseMark(m[3])
				}
				out = append(out, use)
			}
		}
	}
	return out
}

func parseMark(s string) uint32 {
	v, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0
	}
	return uint32(v)
}

// tableCollisions names routes of others in our tables.
func tableCollisions() ([]Collision, error) {
	var out []Collision
	for _, f := range []Family{IPv4, IPv6} {
		_, foreign, err := listOurRoutes(f)
		if err != nil {
			return nil, err
		}
		for _, r := range foreign {
			out = append(out, Collision{
				Where: fmt.Sprintf("routing table %d", r.Table),
				Text: fmt.Sprintf("routing table %d holds a route of protocol %s that routerd did not make; "+
					"routerd uses tables %d to %d: move the route to another one",
					r.Table, r.Protocol, owned.TableBase, owned.TableBase+owned.MaxPaths-1),
			})
		}
	}
	return out, nil
}
