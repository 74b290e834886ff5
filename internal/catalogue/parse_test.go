package catalogue

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRuleAcceptsEveryFormOfTheSyntax(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 57), "org"}, ".")
	tests := []struct {
		in   string
		kind RuleKind
		want string // name or prefix
	}{
		{"example.org", RuleSuffix, "example.org"},
		{"  Example.ORG.\t", RuleSuffix, "example.org"},
		{"domain:example.org", RuleSuffix, "example.org"},
		{"DOMAIN:Example.org", RuleSuffix, "example.org"},
		{"*.example.org", RuleSuffix, "example.org"},
		{".example.org", RuleSuffix, "example.org"},
		{"domain:*.example.org", RuleSuffix, "example.org"},
		{"domain:.example.org", RuleSuffix, "example.org"},
		{"full:api.example.net", RuleFull, "api.example.net"},
		{"Full:API.example.net.", RuleFull, "api.example.net"},
		{"xn--80ak6aa92e.example", RuleSuffix, "xn--80ak6aa92e.example"},
		{"_stratum._tcp.example.org", RuleSuffix, "_stratum._tcp.example.org"},
		{"1inch.io", RuleSuffix, "1inch.io"},
		{"3.example.org", RuleSuffix, "3.example.org"},
		{"a--b.example.org", RuleSuffix, "a--b.example.org"},
		{"domain.example", RuleSuffix, "domain.example"},
		{"full.example", RuleSuffix, "full.example"},
		{name253, RuleSuffix, name253},
		{"domain:" + name253 + ".", RuleSuffix, name253},
		{"203.0.113.7", RuleAddress, "203.0.113.7/32"},
		{"203.0.113.0/24", RuleAddress, "203.0.113.0/24"},
		{"203.0.113.7/32", RuleAddress, "203.0.113.7/32"},
		{"0.0.0.0/0", RuleAddress, "0.0.0.0/0"},
		{"2001:DB8::1", RuleAddress, "2001:db8::1/128"},
		{"2001:db8::/32", RuleAddress, "2001:db8::/32"},
		{"::/0", RuleAddress, "::/0"},
		{"::ffff:203.0.113.7", RuleAddress, "203.0.113.7/32"},
		{"::ffff:203.0.113.0/120", RuleAddress, "203.0.113.0/24"},
	}
	for _, tt := range tests {
		r, err := ParseRule(tt.in)
		if err != nil {
			t.Errorf("ParseRule(%q): %v", tt.in, err)
			continue
		}
		got := r.Name
		if r.Kind == RuleAddress {
			got = r.Prefix.String()
		}
		if r.Kind != tt.kind || got != tt.want {
			t.Errorf("ParseRule(%q) = kind %d, %q; want kind %d, %q", tt.in, r.Kind, got, tt.kind, tt.want)
		}
	}
}

func TestParseRuleSaysWhatIsWrong(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	tests := []struct{ in, want string }{
		{"", "empty"},
		{"  ", "empty"},
		{".", "no name in it"},
		{"*", "wildcard is allowed only as *. at the start"},
		{"*.", "no name in it"},
		{"*.com", "whole top-level domain"},
		{"com", "whole top-level domain"},
		{"COM.", "whole top-level domain"},
		{"full:localhost", "whole top-level domain"},
		{"full:", "no name in it"},
		{"full:*.example.org", "wildcard"},
		{"full:.example.org", "two dots"},
		{"*example.org", "wildcard"},
		{"api.*.example.org", "wildcard"},
		{"*.*.example.org", "wildcard"},
		{"example..org", "two dots"},
		{"..example.org", "two dots"},
		{"example.org..", "two dots"},
		{"-a.example.org", "begins or ends with -"},
		{"a-.example.org", "begins or ends with -"},
		{label63 + "a.org", "64 characters long"},
		{strings.Repeat(label63+".", 4) + "org", "characters long"},
		{strings.Repeat("a", 400), "400 characters long"},
		{"биржа.рф", "begins with xn--"},
		{"exa\u212Aple.org", "begins with xn--"},
		{"exam ple.org", "more than one word"},
		{"a.example,b.example", "more than one word"},
		{"a.example;b.example", "more than one word"},
		{"exam!ple.org", `'!' is not allowed`},
		{"exam\x00ple.org", "is not allowed"},
		{"https://www.example.org/ru?a=b", `"www.example.org"`},
		{"example.org/path", "a path does not belong"},
		{"example.org:443", "a port does not belong"},
		{"keyword:coin", "keyword: is not supported"},
		{"regexp:^api", "regexp: is not supported"},
		{"include:other", "include: is not supported"},
		{"203.0.113.5/24", "write 203.0.113.0/24 for the network or 203.0.113.5 for the address"},
		{"2001:db8::1/32", "write 2001:db8::/32 for the network or 2001:db8::1 for the address"},
		{"::ffff:203.0.113.5/120", "write 203.0.113.0/24 for the network"},
		{"203.0.113.0/33", `"33" is not a prefix length: 0 to 32`},
		{"2001:db8::/129", `"129" is not a prefix length: 0 to 128`},
		{"203.0.113.0/", `"" is not a prefix length`},
		{"203.0.113.256", "neither an address"},
		{"203.0.113", "neither an address"},
		{"203.0.113.0.1", "neither an address"},
		{"203.0.113.7:443", "neither an address"},
		{"[2001:db8::1]:443", "neither an address"},
		{"2001:db8::zz", "neither an address"},
		{"fe80::1%eth0", "write fe80::1"},
		{"full:203.0.113.7", "neither a name nor an address"},
		{"domain:203.0.113.7", "neither a name nor an address"},
		{"example.123", "neither a name nor an address"},
	}
	for _, tt := range tests {
		r, err := ParseRule(tt.in)
		switch {
		case err == nil:
			t.Errorf("ParseRule(%q) = %q, want an error", tt.in, r)
		case !strings.Contains(err.Error(), tt.want):
			t.Errorf("ParseRule(%q): %v; want it to say %q", tt.in, err, tt.want)
		case r != Rule{}:
			t.Errorf("ParseRule(%q) gives %#v beside an error", tt.in, r)
		case len(err.Error()) > 600:
			t.Errorf("ParseRule(%q): the error is %d characters long", tt.in, len(err.Error()))
		}
	}
}

func TestRuleStringOfTheZeroValueIsEmpty(t *testing.T) {
	if s := (Rule{}).String(); s != "" {
		t.Errorf("String() = %q", s)
	}
}

// FuzzParseRule: whatever is accepted is well-formed, reads back from its own
// text as the same rule, and is taken by the matcher and found there.
func FuzzParseRule(f *testing.F) {
	for _, s := range []string{
		"example.org", "domain:Example.ORG.", "full:api.example.net", "*.example.org", ".example.org",
		"203.0.113.7", "203.0.113.0/24", "203.0.113.5/24", "2001:db8::/32", "::ffff:203.0.113.0/120", "::ffff:0:0/90",
		"fe80::1%eth0", "1.2.3", "https://example.org/", "example.org:443", "*", ".", "full:*", "xn--p1ai", "a..b",
		"_x._y.example", "-a.example", "\ufeffexample.org", "\x00", "0x7f.1", "1.1.1.1.", "*.1.1.1.1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err != nil {
			if r != (Rule{}) {
				t.Fatalf("ParseRule(%q) = %#v beside an error", s, r)
			}
			return
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Fatalf("ParseRule(%q) = %#v, read back from %q as %#v, %v", s, r, r, again, err)
		}
		if _, err := netip.ParseAddr(r.Name); err == nil {
			t.Fatalf("ParseRule(%q) gives an address as a name", s)
		}
		checkMatches(t, r)
	})
}

func checkMatches(t *testing.T, r Rule) {
	t.Helper()
	m := NewMatcher[int]()
	if !m.Add(r, 7) {
		t.Fatalf("Add(%q) = false", r)
	}
	v, hit, _ := m.Name(r.Name)
	if r.Kind == RuleAddress {
		v, hit, _ = m.Address(r.Prefix.Addr())
	}
	if v != 7 || hit != r {
		t.Fatalf("rule %q is not found in the matcher: %d, %q", r, v, hit)
	}
}
