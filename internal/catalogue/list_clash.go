package catalogue

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// clash reads a rule provider of Clash or mihomo line by line. Of YAML it knows
// what such files are written in: a key payload: and below it a sequence of
// scalars, one a line, plain or quoted, with comments. Everything else of YAML
// is told as wrong.
type clash struct {
	c       *collector
	payload bool // payload: was seen: entries begin with a dash
}

// line reads one line.
func (y *clash) line(text string) error {
	text = strings.TrimSpace(text)
	item, dash := strings.CutPrefix(text, "- ")
	switch {
	case text == "", text[0] == '#', text == "---", text == "-":
		return nil
	case strings.HasPrefix(text, "payload:"):
		y.begin(text)
		return nil
	case y.payload && !dash:
		y.c.fail(errors.New("not an entry; below payload: write each as - 'value' on a line of its own"))
		return nil
	}
	value, err := yamlScalar(strings.TrimSpace(item))
	if err != nil {
		y.c.fail(err)
		return nil
	}
	if value == "" {
		return nil
	}
	return y.c.clashEntry(value)
}

// begin reads the key payload:.
func (y *clash) begin(text string) {
	y.payload = true
	rest := strings.TrimSpace(strings.TrimPrefix(text, "payload:"))
	if rest != "" && rest[0] != '#' {
		y.c.fail(errors.New("entries on the line of payload: are not read; write each as - 'value' on a line of its own below it"))
	}
}

// yamlScalar gives the value of a scalar that ends on its line: plain, or in
// single or double quotes without escapes.
func yamlScalar(s string) (string, error) {
	if s == "" || s[0] == '#' {
		return "", nil
	}
	if s[0] == '\'' || s[0] == '"' {
		return yamlQuoted(s)
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	if strings.ContainsAny(s[:1], "[{&!|>%@`") || strings.Contains(s, ": ") {
		return "", errors.New("this form of YAML is not read; write each entry as - 'value'")
	}
	return s, nil
}

// yamlQuoted is yamlScalar for what begins with a quote.
func yamlQuoted(s string) (string, error) {
	end := strings.IndexByte(s[1:], s[0])
	if end < 0 {
		return "", fmt.Errorf("no %c closes the value on this line", s[0])
	}
	value, rest := s[1:1+end], strings.TrimSpace(s[2+end:])
	if rest != "" && rest[0] != '#' || strings.Contains(value, `\`) {
		return "", errors.New("escapes, and text behind the closing quote, are not read")
	}
	return value, nil
}

// clashEntry takes an entry of any behaviour.
func (c *collector) clashEntry(s string) error {
	kind, rest, classical := strings.Cut(s, ",")
	switch {
	case classical, s == "MATCH":
		return c.clashRule(kind, rest)
	case looksLikeAddress(s):
		return c.clashNetwork(s)
	}
	below, wide := cutAny(s, "+.", "*.", ".")
	switch {
	case strings.ContainsAny(below, "*+"):
		c.skip("wildcard")
		return nil
	case wide:
		return c.takeName(RuleSuffix, below)
	}
	return c.takeName(RuleFull, s)
}

// cutAny cuts the first prefix that is there.
func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return s, false
}

// clashRule takes an entry of behaviour classical: KIND,value[,option …].
func (c *collector) clashRule(kind, rest string) error {
	kind = strings.TrimSpace(kind)
	value, _, _ := strings.Cut(rest, ",")
	value = strings.TrimSpace(value)
	switch kind {
	case "DOMAIN":
		return c.takeName(RuleFull, value)
	case "DOMAIN-SUFFIX":
		return c.takeName(RuleSuffix, strings.TrimPrefix(value, "."))
	case "IP-CIDR", "IP-CIDR6":
		return c.clashNetwork(value)
	}
	if !clashKind(kind) {
		c.fail(fmt.Errorf("%q is no kind of rule that Clash has", shorten(kind)))
		return nil
	}
	c.skip(kind)
	return nil
}

// clashNetwork takes an address or network. Clash allows bits behind the prefix
// and ignores them.
func (c *collector) clashNetwork(s string) error {
	if p, err := netip.ParsePrefix(s); err == nil {
		s = p.Masked().String()
	}
	p, err := parsePrefix(s)
	if err != nil {
		err = fmt.Errorf("network %q: %w", shorten(s), err)
	}
	return c.take(Rule{Kind: RuleAddress, Prefix: p}, err)
}

// clashKind says whether a word is a kind of classical rule. It also bounds the
// kinds that are counted.
func clashKind(s string) bool {
	switch s {
	case "DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "DOMAIN-REGEX", "DOMAIN-WILDCARD", "URL-REGEX", "USER-AGENT",
		"IP-CIDR", "IP-CIDR6", "IP-SUFFIX", "IP-ASN", "GEOIP", "GEOSITE",
		"SRC-IP-CIDR", "SRC-IP-SUFFIX", "SRC-IP-ASN", "SRC-GEOIP", "SRC-MAC", "SRC-PORT", "DST-PORT",
		"IN-PORT", "IN-TYPE", "IN-USER", "IN-NAME", "DSCP", "UID", "NETWORK",
		"PROCESS-NAME", "PROCESS-NAME-REGEX", "PROCESS-PATH", "PROCESS-PATH-REGEX",
		"RULE-SET", "SUB-RULE", "SCRIPT", "AND", "OR", "NOT", "MATCH":
		return true
	}
	return false
}
