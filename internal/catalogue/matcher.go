package catalogue

import (
	"hash/maphash"
	"net/netip"
	"strings"
)

// Matcher finds the most specific of many rules: for a name, full: over
// suffix and a longer suffix over a shorter one; for an address, the longest
// prefix. It is the reference for what the data plane does in the kernel.
//
// The rules lie in a few flat arrays without pointers: under 60 bytes a rule
// beside V, and nothing for the garbage collector to walk unless V has
// pointers. A Matcher is safe for concurrent lookups, not for Add beside them.
type Matcher[V any] struct {
	seed    maphash.Seed
	text    []byte  // keys, one after the other
	entries []entry // in the order of Add
	values  []V     // beside entries
	slots   []int32 // open addressing, linear probing: index into entries + 1, 0 is free
	// lengths4 and lengths6 count the prefixes of each length, so that a
	// lookup tries only lengths that exist.
	lengths4 [33]int32
	lengths6 [129]int32
}

// entry is one rule: text[start:start+size] is the name, or the address's
// bytes followed by one of the prefix length.
type entry struct {
	start uint32
	size  uint8
	kind  RuleKind
}

// minSlots is the size of the first hash table; a power of two.
const minSlots = 16

// NewMatcher gives an empty matcher.
func NewMatcher[V any]() *Matcher[V] {
	return &Matcher[V]{seed: maphash.MakeSeed(), slots: make([]int32, minSlots)}
}

// Add maps a rule, as ParseRule gives it, to a value. The first Add of a rule
// wins: Add returns false and changes nothing when the same rule is there, or
// when the rule is not valid.
func (m *Matcher[V]) Add(r Rule, v V) bool {
	key, ok := r.key()
	if !ok || m.find(r.Kind, key) >= 0 {
		return false
	}
	if (len(m.entries)+1)*4 > len(m.slots)*3 {
		m.grow()
	}
	m.entries = append(m.entries, entry{start: uint32(len(m.text)), size: uint8(len(key)), kind: r.Kind})
	m.text = append(m.text, key...)
	m.values = append(m.values, v)
	m.place(int32(len(m.entries)))
	if r.Kind == RuleAddress {
		if r.Prefix.Addr().Is4() {
			m.lengths4[r.Prefix.Bits()]++
		} else {
			m.lengths6[r.Prefix.Bits()]++
		}
	}
	return true
}

// Len is the number of rules.
func (m *Matcher[V]) Len() int { return len(m.entries) }

// Name gives the value and the rule that covers a host name. The name may be
// in any case and end in a dot. It is false when no rule over names covers it;
// rules over addresses are never looked at.
func (m *Matcher[V]) Name(name string) (V, Rule, bool) {
	name = lowerASCII(strings.TrimSuffix(name, "."))
	var zero V
	if name == "" || len(name) > maxName {
		return zero, Rule{}, false
	}
	if i := m.find(RuleFull, name); i >= 0 {
		return m.values[i], Rule{Kind: RuleFull, Name: name}, true
	}
	for suffix := name; suffix != ""; {
		if i := m.find(RuleSuffix, suffix); i >= 0 {
			return m.values[i], Rule{Kind: RuleSuffix, Name: suffix}, true
		}
		_, suffix, _ = strings.Cut(suffix, ".")
	}
	return zero, Rule{}, false
}

// Address gives the value and the rule of the longest prefix that holds an
// address. An IPv4 address mapped into IPv6 counts as IPv4; a zone is ignored.
func (m *Matcher[V]) Address(a netip.Addr) (V, Rule, bool) {
	var zero V
	if !a.IsValid() {
		return zero, Rule{}, false
	}
	a = a.Unmap().WithZone("")
	lengths := m.lengths6[:]
	if a.Is4() {
		lengths = m.lengths4[:]
	}
	for n := len(lengths) - 1; n >= 0; n-- {
		if lengths[n] == 0 {
			continue
		}
		p := netip.PrefixFrom(a, n).Masked()
		r := Rule{Kind: RuleAddress, Prefix: p}
		var buf [maxKey]byte
		if i := m.find(RuleAddress, string(prefixKey(buf[:0], p))); i >= 0 {
			return m.values[i], r, true
		}
	}
	return zero, Rule{}, false
}

// key is what tells the rule from others of its kind; false when the rule is
// not one that ParseRule can give.
func (r Rule) key() (string, bool) {
	switch r.Kind {
	case RuleSuffix, RuleFull:
		return r.Name, r.Name != "" && len(r.Name) <= maxName
	case RuleAddress:
		p := r.Prefix
		if !p.IsValid() || p.Masked() != p || p.Addr().Is4In6() {
			return "", false
		}
		return string(prefixKey(nil, p)), true
	default:
		return "", false
	}
}

// maxKey is the size of the longest key of a prefix.
const maxKey = 17

func prefixKey(b []byte, p netip.Prefix) []byte {
	if a := p.Addr(); a.Is4() {
		a4 := a.As4()
		b = append(b, a4[:]...)
	} else {
		a16 := a.As16()
		b = append(b, a16[:]...)
	}
	return append(b, byte(p.Bits()))
}

// rule makes the rule of an entry anew.
func (m *Matcher[V]) rule(i int) Rule {
	e := m.entries[i]
	key := m.text[e.start : e.start+uint32(e.size)]
	if e.kind != RuleAddress {
		return Rule{Kind: e.kind, Name: string(key)}
	}
	last := len(key) - 1
	a, _ := netip.AddrFromSlice(key[:last])
	return Rule{Kind: RuleAddress, Prefix: netip.PrefixFrom(a, int(key[last]))}
}

// find gives the index of an entry, or -1. There is always a free slot, so the
// search ends.
func (m *Matcher[V]) find(kind RuleKind, key string) int {
	mask := uint64(len(m.slots) - 1)
	for h := maphash.String(m.seed, key); ; h++ {
		i := int(m.slots[h&mask]) - 1
		if i < 0 {
			return -1
		}
		e := m.entries[i]
		if e.kind == kind && int(e.size) == len(key) && string(m.text[e.start:e.start+uint32(e.size)]) == key {
			return i
		}
	}
}

// place puts entry number n (its index + 1) into the first free slot.
func (m *Matcher[V]) place(n int32) {
	e := m.entries[n-1]
	mask := uint64(len(m.slots) - 1)
	h := maphash.Bytes(m.seed, m.text[e.start:e.start+uint32(e.size)])
	for m.slots[h&mask] != 0 {
		h++
	}
	m.slots[h&mask] = n
}

// grow doubles the hash table.
func (m *Matcher[V]) grow() {
	m.slots = make([]int32, 2*len(m.slots))
	for i := range m.entries {
		m.place(int32(i) + 1)
	}
}
