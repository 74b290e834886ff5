package catalogue

import (
	"errors"
	"fmt"
	"strings"
)

// dnsmasqNames says whether an option of dnsmasq takes /NAME/…/.
func dnsmasqNames(option string) bool {
	switch option {
	case "server", "local", "address", "ipset", "nftset":
		return true
	}
	return false
}

// dnsmasq reads a line of a dnsmasq configuration, option=/NAME/NAME/TARGET.
// Each name stands for itself and all below it. Options that name nothing are
// unsupported.
func (c *collector) dnsmasq(text string) error {
	text = dnsmasqComment(text)
	if text == "" {
		return nil
	}
	option, value, _ := strings.Cut(text, "=")
	option = strings.TrimPrefix(strings.TrimSpace(option), "--")
	value = strings.TrimSpace(value)
	names, isList := strings.CutPrefix(value, "/")
	switch {
	case !dnsmasqNames(option):
		c.skip("other option")
		return nil
	case !isList:
		c.skip(option + " without a name")
		return nil
	}
	end := strings.LastIndexByte(names, '/')
	if end < 0 {
		c.fail(fmt.Errorf("no / closes the names of %s; write %s=/example.org/…", option, option))
		return nil
	}
	for name := range strings.SplitSeq(names[:end], "/") {
		if err := c.dnsmasqName(name); err != nil {
			return err
		}
	}
	return nil
}

// dnsmasqName takes one name between slashes.
func (c *collector) dnsmasqName(name string) error {
	switch name {
	case "":
		c.fail(errors.New("// stands for all names without a dot, which no rule can"))
		return nil
	case "#":
		c.fail(errors.New("/#/ stands for every name there is; such a rule is refused"))
		return nil
	}
	if below, ok := strings.CutPrefix(name, "*."); ok {
		name = below
	}
	return c.takeName(RuleSuffix, strings.TrimPrefix(name, "."))
}

// dnsmasqComment cuts a comment off: a # at the start or behind a space, since
// targets hold it too (192.0.2.1#5353, 4#inet#table#set).
func dnsmasqComment(text string) string {
	for i := range len(text) {
		if text[i] == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t') {
			text = text[:i]
			break
		}
	}
	return strings.TrimSpace(text)
}
