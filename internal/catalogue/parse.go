package catalogue

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// RuleSyntax says in one line what ParseRule accepts; errors repeat it.
const RuleSyntax = "example.org (the name and all below it), full:api.example.net (that name only), 203.0.113.7, 203.0.113.0/24, 2001:db8::/32"

const (
	// maxName and maxLabel are the limits of RFC 1035 section 2.3.4, without
	// the dot at the end.
	maxName  = 253
	maxLabel = 63
	// maxRule is the longest text that can be a rule.
	maxRule = maxName + len("domain:*..")
	// maxShown is how much of a wrong value an error repeats, bytes.
	maxShown = 80
)

// ParseRule reads one rule, spaces around it ignored:
//
//	example.org, domain:example.org   the name and every name below it
//	.example.org, *.example.org       the same
//	full:api.example.net              that name only
//	203.0.113.7, 2001:db8::1          one address
//	203.0.113.0/24, 2001:db8::/32     a network, without host bits
//
// Names are lower-cased and lose one dot at the end. A name of one label is
// refused, it would be a whole top-level domain. IPv4 addresses that are
// written as IPv6 (::ffff:…) become IPv4. The error names the value, what is
// wrong with it and how to write it.
func ParseRule(s string) (Rule, error) {
	s = strings.TrimSpace(s)
	r, err := parseRule(s)
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", shorten(s), err)
	}
	return r, nil
}

// String gives the rule in the syntax of ParseRule, which reads it back as the
// same rule; "" for the zero value.
func (r Rule) String() string {
	switch r.Kind {
	case RuleSuffix:
		return r.Name
	case RuleFull:
		return "full:" + r.Name
	case RuleAddress:
		if r.Prefix.IsSingleIP() {
			return r.Prefix.Addr().String()
		}
		return r.Prefix.String()
	default:
		return ""
	}
}

func parseRule(s string) (Rule, error) {
	if s == "" {
		return Rule{}, errors.New("empty; allowed: " + RuleSyntax)
	}
	if len(s) > maxRule {
		return Rule{}, fmt.Errorf("%d characters long, a name has at most %d", len(s), maxName)
	}
	if err := refuseForeign(s); err != nil {
		return Rule{}, err
	}
	if full, ok := cutPrefixFold(s, "full:"); ok {
		return nameRule(RuleFull, full)
	}
	suffix, ok := cutPrefixFold(s, "domain:")
	if !ok && looksLikeAddress(s) {
		p, err := parsePrefix(s)
		if err != nil {
			return Rule{}, err
		}
		return Rule{Kind: RuleAddress, Prefix: p}, nil
	}
	if below, ok := strings.CutPrefix(suffix, "*."); ok {
		suffix = below
	} else {
		suffix = strings.TrimPrefix(suffix, ".")
	}
	return nameRule(RuleSuffix, suffix)
}

// refuseForeign names the forms that people paste from elsewhere.
func refuseForeign(s string) error {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return fmt.Errorf("an address of a page; write the name alone, like %q", shorten(host))
	}
	for _, p := range []string{"keyword:", "regexp:", "include:"} {
		if _, ok := cutPrefixFold(s, p); ok {
			return fmt.Errorf("%s is not supported, a rule needs whole names; allowed: %s", p, RuleSyntax)
		}
	}
	if strings.ContainsAny(s, " \t,;") {
		return errors.New("more than one word; write one rule a line or list entry")
	}
	return nil
}

func nameRule(kind RuleKind, s string) (Rule, error) {
	name, err := parseName(s)
	if err != nil {
		return Rule{}, err
	}
	return Rule{Kind: kind, Name: name}, nil
}

// parseName checks a host name and gives it in lower case with no dot at the
// end.
func parseName(s string) (string, error) {
	name := lowerASCII(strings.TrimSuffix(s, "."))
	if name == "" {
		return "", errors.New("no name in it; allowed: " + RuleSyntax)
	}
	if err := checkCharacters(name); err != nil {
		return "", err
	}
	if len(name) > maxName {
		return "", fmt.Errorf("the name is %d characters long, at most %d are allowed", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case strings.Trim(last, "0123456789") == "":
		return "", fmt.Errorf("ends in a number, so it is neither a name nor an address; allowed: %s", RuleSyntax)
	case last == name:
		return "", fmt.Errorf("a single word would be the whole top-level domain; write at least two parts, like example.%s", name)
	}
	return name, nil
}

func checkCharacters(name string) error {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		case c == '*':
			return errors.New("a wildcard is allowed only as *. at the start; a plain name already covers every name below it")
		case c == '/' || c == '?':
			return errors.New("a path does not belong to a rule; write the name alone")
		case c == ':':
			return errors.New("a port does not belong to a rule; write the name alone")
		case c > 0x7f:
			return errors.New("letters outside a–z; write the name as the DNS has it, it begins with xn--")
		default:
			return fmt.Errorf("character %q is not allowed in a name: only a–z, 0–9, - and _", c)
		}
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("two dots with nothing between them, or a dot too many at an end")
	case len(label) > maxLabel:
		return fmt.Errorf("part %q… is %d characters long, at most %d are allowed", label[:16], len(label), maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("part %q begins or ends with -, a name's parts do not", label)
	}
	return nil
}

// looksLikeAddress tells addresses and networks, well-formed or not, from
// names: they have a colon twice, a bracket, or nothing but numbers.
func looksLikeAddress(s string) bool {
	return strings.Count(s, ":") > 1 || s[0] == '[' ||
		strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0123456789./:") == ""
}

func parsePrefix(s string) (netip.Prefix, error) {
	addr, bits, network := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("neither an address, a network nor a name (write no port and no brackets); allowed: " + RuleSyntax)
	case a.Zone() != "":
		return netip.Prefix{}, fmt.Errorf("zone %%%s does not belong to a rule; write %s", a.Zone(), a.WithZone(""))
	case !network:
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a prefix length: 0 to %d after the /", bits, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%s is an address inside a network; write %s for the network or %s for the address", s, m, p.Addr())
	}
	return p, nil
}

// cutPrefixFold is strings.CutPrefix without regard to ASCII case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && lowerASCII(s[:len(prefix)]) == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

// lowerASCII lowers A to Z and nothing else, as the DNS does (RFC 4343): with
// Unicode's rules the Kelvin sign would become a k. It allocates only when
// there is a capital.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// shorten cuts a value that is too long to show whole.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return s[:maxShown] + "…"
}
