package netcfg

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func rangeStrings(rs []ipRange) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, r.String())
	}
	return out
}

func TestNormaliseGivesRangesThatAreApart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		nets  []netip.Prefix
		addrs []netip.Addr
		want  []string
	}{
		{"nothing", nil, nil, []string{}},
		{"doubles", prefixes("192.0.2.0/24", "192.0.2.0/24"), addrs("198.51.100.1", "198.51.100.1"), []string{
			"192.0.2.0-192.0.2.255", "198.51.100.1",
		}},
		{"nested", prefixes("192.0.2.128/25", "192.0.2.0/24", "192.0.2.7/32"), addrs("192.0.2.9"), []string{
			"192.0.2.0-192.0.2.255",
		}},
		{"neighbours stay apart", prefixes("192.0.2.0/25", "192.0.2.128/25"), nil, []string{
			"192.0.2.0-192.0.2.127", "192.0.2.128-192.0.2.255",
		}},
		{"everything", prefixes("0.0.0.0/0"), addrs("1.1.1.1"), []string{"0.0.0.0-255.255.255.255"}},
		{"host bits", prefixes("192.0.2.77/24"), nil, []string{"192.0.2.0-192.0.2.255"}},
		{"IPv6", prefixes("2001:db8::/127"), addrs("2001:db8::2"), []string{"2001:db8::-2001:db8::1", "2001:db8::2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := rangeStrings(normalise(tt.nets, tt.addrs)); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestElementsReadBackAsTheyWereWritten(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval bool
		ranges   []ipRange
	}{
		{"addresses", false, normalise(nil, addrs("192.0.2.1", "192.0.2.2"))},
		{"networks that touch", true, normalise(prefixes("192.0.2.0/25", "192.0.2.128/25"), addrs("192.0.3.0"))},
		{"up to the last address", true, normalise(prefixes("240.0.0.0/4", "10.0.0.0/8"), nil)},
		{"all", true, normalise(prefixes("::/0"), nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			elems := ownSet{interval: tt.interval}.elements(tt.ranges)
			slices.Reverse(elems) // the kernel lists a tree backwards
			if got := decodeElements(elems, tt.interval); !slices.Equal(got, tt.ranges) {
				t.Errorf("%q, want %q", rangeStrings(got), rangeStrings(tt.ranges))
			}
		})
	}
}

func TestDecodeElementsPassesOverWhatIsNoAddress(t *testing.T) {
	got := decodeElements([]nftables.SetElement{{Key: []byte{1, 2}}, {Key: nil}}, true)
	if len(got) > 0 {
		t.Errorf("%q", rangeStrings(got))
	}
}

// named makes rules of a chain for diffs; a print stands for content.
func named(names ...string) []nftRule {
	var out []nftRule
	for _, n := range names {
		r := nftRule{name: n[:1]}
		if len(n) > 1 {
			r.print = uint32(n[1])
		}
		out = append(out, r)
	}
	return out
}

func TestDiffRulesTouchesWhatDiffersOnly(t *testing.T) {
	for _, tt := range []struct {
		name       string
		have, want []string
		// what becomes of the chain: removed, inserted and replaced names
		remove, insert, replace string
	}{
		{"same", []string{"a", "b"}, []string{"a", "b"}, "", "", ""},
		{"from nothing", nil, []string{"a", "b"}, "", "ab", ""},
		{"to nothing", []string{"a", "b"}, nil, "ab", "", ""},
		{"content of one", []string{"a1", "b1", "c1"}, []string{"a1", "b2", "c1"}, "", "", "b"},
		{"one in the middle", []string{"a", "c"}, []string{"a", "b", "c"}, "", "b", ""},
		{"another order", []string{"a", "b", "c"}, []string{"b", "c", "a"}, "a", "a", ""},
		{"a stranger", []string{"a", "x", "b"}, []string{"a", "b"}, "x", "", ""},
		{"doubles", []string{"a", "a", "b"}, []string{"a", "b"}, "a", "", ""},
		{"all of it", []string{"a1", "x", "c"}, []string{"b", "a2", "c", "d"}, "x", "bd", "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var have []rawRule
			for i, r := range named(tt.have...) {
				have = append(have, rawRule{handle: uint64(i + 1), comment: r.comment()})
			}
			want := named(tt.want...)
			d := diffRules(want, have)
			var remove, insert, replace string
			for _, r := range d.remove {
				remove += r.comment[:1]
			}
			for _, r := range d.inserts {
				insert += r.name
			}
			for _, r := range d.replace {
				replace += r.name
			}
			if remove != tt.remove || insert != tt.insert || replace != tt.replace {
				t.Errorf("removes %q, inserts %q, replaces %q; want %q, %q, %q",
					remove, insert, replace, tt.remove, tt.insert, tt.replace)
			}
			assertDiffLeadsTo(t, d, have, want)
		})
	}
}

// assertDiffLeadsTo plays a diff on a list, as the kernel does.
func assertDiffLeadsTo(t *testing.T, d ruleDiff, have []rawRule, want []nftRule) {
	t.Helper()
	chain := slices.Clone(have)
	at := func(handle uint64) int {
		return slices.IndexFunc(chain, func(r rawRule) bool { return r.handle == handle })
	}
	for _, r := range d.remove {
		chain = slices.Delete(chain, at(r.handle), at(r.handle)+1)
	}
	for _, p := range d.inserts {
		i := len(chain)
		if p.handle != 0 {
			i = at(p.handle)
		}
		chain = slices.Insert(chain, i, rawRule{comment: p.comment()})
	}
	for _, p := range d.replace {
		chain[at(p.handle)].comment = p.comment()
	}
	var got, wanted []string
	for _, r := range chain {
		got = append(got, r.comment)
	}
	for _, r := range want {
		wanted = append(wanted, r.comment())
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("the diff leads to %q, want %q", got, wanted)
	}
}

func FuzzAttrs(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4})
	f.Add([]byte{5, 0, 1, 0, 1})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, a := range attrs(b) {
			total += len(a.value)
		}
		if total > len(b) {
			t.Errorf("%d bytes of values in %d", total, len(b))
		}
		ruleComment(b)
		scanMarks(b)
		parseRule(append([]byte{2, 0, 0, 0}, b...))
		parseChain(append([]byte{2, 0, 0, 0}, b...))
	})
}

func FuzzParseTable(f *testing.F) {
	f.Add(fw3)
	f.Add("-P FORWARD DROP\n-N x\n-A x -j y\n")
	f.Fuzz(func(_ *testing.T, s string) { parseTable(s) })
}
