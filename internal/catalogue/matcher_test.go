package catalogue

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

func mustRule(t testing.TB, s string) Rule {
	t.Helper()
	r, err := ParseRule(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatcherNameGivesTheMostSpecificRule(t *testing.T) {
	m := NewMatcher[int]()
	rules := []string{
		"example.org", "api.example.org", "full:example.org", "full:x.api.example.org",
		"deep.a.b.c.example.net", "under_score.example.com", "203.0.113.0/24",
	}
	for i, s := range rules {
		if !m.Add(mustRule(t, s), i) {
			t.Fatalf("Add(%s) = false", s)
		}
	}
	long := strings.Repeat("a.", 120) + "example.org" // 251 characters
	tests := []struct{ name, want string }{
		{"example.org", "full:example.org"},
		{"EXAMPLE.oRg.", "full:example.org"},
		{"www.example.org", "example.org"},
		{"WWW.Example.ORG", "example.org"},
		{"api.example.org", "api.example.org"},
		{"x.api.example.org", "full:x.api.example.org"},
		{"X.Api.Example.Org.", "full:x.api.example.org"},
		{"y.x.api.example.org", "api.example.org"},
		{"notexample.org", ""},
		{"example.org.evil.net", ""},
		{"org", ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{".example.org", "example.org"},
		{"example.org..", ""},
		{"c.example.net", ""},
		{"z.deep.a.b.c.example.net", "deep.a.b.c.example.net"},
		{"a.under_score.example.com", "under_score.example.com"},
		{"203.0.113.0", ""},
		{long, "example.org"},
		{"aaa." + long, ""}, // longer than a name can be
		{"ex\u212Ample.org", ""},
	}
	for _, tt := range tests {
		v, r, ok := m.Name(tt.name)
		if r.String() != tt.want || ok != (tt.want != "") {
			t.Errorf("Name(%q) = rule %q, %v; want %q", tt.name, r, ok, tt.want)
		}
		if ok && rules[v] != tt.want {
			t.Errorf("Name(%q) = value of %q; want that of %q", tt.name, rules[v], tt.want)
		}
	}
}

func TestMatcherAddressGivesTheLongestPrefix(t *testing.T) {
	m := NewMatcher[string]()
	for _, s := range []string{
		"203.0.113.0/24", "203.0.113.128/25", "203.0.113.200", "10.0.0.0/8", "2001:db8::/32", "2001:db8::1",
		"2001:db8:1::/48", "example.org",
	} {
		m.Add(mustRule(t, s), s)
	}
	tests := []struct{ addr, want string }{
		{"203.0.113.1", "203.0.113.0/24"},
		{"203.0.113.129", "203.0.113.128/25"},
		{"203.0.113.200", "203.0.113.200"},
		{"::ffff:203.0.113.200", "203.0.113.200"},
		{"203.0.114.1", ""},
		{"10.255.255.255", "10.0.0.0/8"},
		{"2001:db8::1", "2001:db8::1"},
		{"2001:db8::1%eth0", "2001:db8::1"},
		{"2001:db8::2", "2001:db8::/32"},
		{"2001:db8:1:2::", "2001:db8:1::/48"},
		{"2001:db9::", ""},
		{"::", ""},
	}
	for _, tt := range tests {
		v, r, ok := m.Address(netip.MustParseAddr(tt.addr))
		if v != tt.want || r.String() != tt.want || ok != (tt.want != "") {
			t.Errorf("Address(%s) = %q, rule %q, %v; want %q", tt.addr, v, r, ok, tt.want)
		}
	}
	if _, _, ok := m.Address(netip.Addr{}); ok {
		t.Error("Address of the zero value matched")
	}
}

func TestMatcherDefaultRoutesCoverTheirFamilyOnly(t *testing.T) {
	m := NewMatcher[int]()
	m.Add(mustRule(t, "0.0.0.0/0"), 4)
	if _, _, ok := m.Address(netip.MustParseAddr("2001:db8::1")); ok {
		t.Error("0.0.0.0/0 covers an IPv6 address")
	}
	m.Add(mustRule(t, "::/0"), 6)
	for addr, want := range map[string]int{"192.0.2.1": 4, "2001:db8::1": 6} {
		if v, _, _ := m.Address(netip.MustParseAddr(addr)); v != want {
			t.Errorf("Address(%s) = %d, want %d", addr, v, want)
		}
	}
}

func TestMatcherFirstAddOfARuleWins(t *testing.T) {
	m := NewMatcher[int]()
	for _, s := range []string{"example.org", "full:example.org", "203.0.113.0/24", "2001:db8::1"} {
		if !m.Add(mustRule(t, s), 1) {
			t.Errorf("first Add(%s) = false", s)
		}
		if m.Add(mustRule(t, s), 2) {
			t.Errorf("second Add(%s) = true", s)
		}
	}
	if m.Len() != 4 {
		t.Errorf("Len() = %d, want 4", m.Len())
	}
	if v, _, _ := m.Name("example.org"); v != 1 {
		t.Errorf("value after the second Add = %d, want that of the first", v)
	}
}

func TestMatcherRefusesRulesThatParseRuleCannotGive(t *testing.T) {
	m := NewMatcher[int]()
	for _, r := range []Rule{
		{},
		{Kind: RuleSuffix},
		{Kind: RuleFull, Name: strings.Repeat("a", maxName+1)},
		{Kind: RuleAddress},
		{Kind: RuleAddress, Prefix: netip.MustParsePrefix("203.0.113.5/24")},
		{Kind: RuleAddress, Prefix: netip.MustParsePrefix("::ffff:203.0.113.0/120")},
		{Kind: 9, Name: "example.org"},
	} {
		if m.Add(r, 1) {
			t.Errorf("Add(%#v) = true", r)
		}
	}
}

// TestMatcherAgreesWithAPlainSearch compares with the definition, over names
// and addresses from a small alphabet so that many of them nest.
func TestMatcherAgreesWithAPlainSearch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		parts := make([]string, 2+rnd.IntN(4))
		for i := range parts {
			parts[i] = string(rune('a' + rnd.IntN(3)))
		}
		return strings.Join(parts, ".")
	}
	addr := func() netip.Addr {
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: byte(rnd.IntN(256))})
	}
	m := NewMatcher[int]()
	var rules []Rule
	for range 200 {
		a := addr()
		p, err := a.Prefix(a.BitLen() - rnd.IntN(9))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []Rule{
			{Kind: RuleSuffix + RuleKind(rnd.IntN(2)), Name: name()},
			{Kind: RuleAddress, Prefix: p},
		} {
			if m.Add(r, len(rules)) {
				rules = append(rules, r)
			}
		}
	}
	for range 3000 {
		n, a := name(), addr()
		if _, got, _ := m.Name(n); got != searchName(rules, n) {
			t.Fatalf("Name(%s) = %q, want %q", n, got, searchName(rules, n))
		}
		if _, got, _ := m.Address(a); got != searchAddress(rules, a) {
			t.Fatalf("Address(%s) = %q, want %q", a, got, searchAddress(rules, a))
		}
	}
}

func searchName(rules []Rule, name string) Rule {
	var best Rule
	for _, r := range rules {
		switch {
		case r.Kind == RuleFull && r.Name == name:
			return r
		case r.Kind == RuleSuffix && strings.HasSuffix("."+name, "."+r.Name) && len(r.Name) > len(best.Name):
			best = r
		}
	}
	return best
}

func searchAddress(rules []Rule, a netip.Addr) Rule {
	var best Rule
	for _, r := range rules {
		if r.Kind == RuleAddress && r.Prefix.Contains(a) && (best.Kind == 0 || r.Prefix.Bits() > best.Prefix.Bits()) {
			best = r
		}
	}
	return best
}

// manyRules gives n rules with names as long as real lists have.
func manyRules(n int) []Rule {
	rules := make([]Rule, n)
	for i := range rules {
		rules[i] = Rule{Kind: RuleSuffix, Name: fmt.Sprintf("service-%d.example-%d.org", i, i%97)}
	}
	return rules
}

func TestMatcherHolds100000RulesInSixMegabytes(t *testing.T) {
	const rules, limit = 100_000, 6 << 20
	names := manyRules(rules)
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	m := NewMatcher[uint16]()
	for _, r := range names {
		m.Add(r, 1)
	}
	used := heap() - before
	t.Logf("%d rules: %d KiB, %d bytes a rule", rules, used>>10, used/rules)
	if used > limit {
		t.Errorf("%d rules take %d bytes, at most %d are wanted", rules, used, limit)
	}
	if _, _, ok := m.Name("www.service-99999.example-89.org"); !ok {
		t.Error("the last rule is not found")
	}
	runtime.KeepAlive(names)
}

func BenchmarkMatcherName(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		m := NewMatcher[uint16]()
		for _, r := range manyRules(n) {
			m.Add(r, 1)
		}
		for kind, name := range map[string]string{
			"hit":  fmt.Sprintf("www.service-%d.example-%d.org", n/2, n/2%97),
			"miss": "cdn.static.some-other-site.net",
		} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					m.Name(name)
				}
			})
		}
	}
}

func BenchmarkMatcherAddress(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		m := NewMatcher[uint16]()
		for i := range n {
			a := netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 0})
			m.Add(Rule{Kind: RuleAddress, Prefix: netip.PrefixFrom(a, 24)}, 1)
		}
		hit := netip.AddrFrom4([4]byte{0, byte(n / 2 >> 8), byte(n / 2), 9})
		b.Run(fmt.Sprintf("hit/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Address(hit)
			}
		})
	}
}
