package catalogue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of include:.
const (
	maxIncludeDepth = 8
	maxIncludes     = 1024 // in one list, repetitions counted
)

// attributes are what stands behind an entry of FormatV2fly. Behind an include:
// they choose among the entries of that file: all of with, none of without.
type attributes struct{ with, without []string }

// v2fly reads a line of FormatV2fly.
func (c *collector) v2fly(text string) error {
	text, _, _ = strings.Cut(text, "#")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil
	}
	attrs, err := parseAttributes(fields[1:])
	if err != nil {
		c.fail(err)
		return nil
	}
	kind, value, ok := strings.Cut(fields[0], ":")
	if ok && lowerASCII(kind) == "include" {
		return c.include(value, attrs)
	}
	if len(attrs.without) > 0 {
		c.fail(fmt.Errorf("@-%s belongs behind include: only", attrs.without[0]))
		return nil
	}
	if slices.ContainsFunc(c.filters, func(f attributes) bool { return !f.chooses(attrs.with) }) {
		return nil
	}
	switch lowerASCII(kind) {
	case "keyword":
		c.skip("keyword")
		return nil
	case "regexp", "regex":
		c.skip("regexp")
		return nil
	}
	return c.take(ParseRule(fields[0]))
}

// parseAttributes reads @name, @-name and &list. The last adds the entry to
// another list too, which does not concern this one.
func parseAttributes(fields []string) (attributes, error) {
	var a attributes
	for _, f := range fields {
		name := f[1:]
		without, not := strings.CutPrefix(name, "-")
		switch {
		case f[0] == '&' && name != "":
		case f[0] == '@' && not && without != "":
			a.without = append(a.without, lowerASCII(without))
		case f[0] == '@' && name != "" && !not:
			a.with = append(a.with, lowerASCII(name))
		default:
			return a, fmt.Errorf("%q is not an attribute; allowed behind an entry: @name, &list, behind include: also @-name", shorten(f))
		}
	}
	return a, nil
}

// chooses says whether an include with these attributes takes an entry with
// those.
func (a attributes) chooses(entry []string) bool {
	for _, name := range a.with {
		if !slices.Contains(entry, name) {
			return false
		}
	}
	return !slices.ContainsFunc(a.without, func(name string) bool { return slices.Contains(entry, name) })
}

// include reads another file of the list's own folder in place of the line.
func (c *collector) include(name string, attrs attributes) error {
	if c.opts.Include == nil {
		c.skip("include")
		return nil
	}
	if err := c.mayInclude(name); err != nil {
		c.fail(err)
		return nil
	}
	f, err := c.opts.Include(name)
	if err != nil {
		c.fail(fmt.Errorf("include %s: %w", name, err))
		return nil
	}
	c.includes++
	c.included = append(c.included, name)
	c.filters = append(c.filters, attrs)
	err = c.read(f, c.v2fly)
	c.included = c.included[:len(c.included)-1]
	c.filters = c.filters[:len(c.filters)-1]
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("include %s: %w", name, err)
	}
	return nil
}

// mayInclude says why a file is not included.
func (c *collector) mayInclude(name string) error {
	switch {
	case !isIncludeName(name):
		return fmt.Errorf("include %q: only a file of the same folder can be included: letters, digits, !, -, _ and dots", shorten(name))
	case slices.Contains(c.included, name):
		return fmt.Errorf("include %s: it is being read already, files must not include themselves", name)
	case len(c.included) == maxIncludeDepth:
		return fmt.Errorf("include %s: files include each other more than %d deep", name, maxIncludeDepth)
	case c.includes == maxIncludes:
		return errors.New("include " + name + ": too many files are included")
	}
	return nil
}

// isIncludeName says whether a text is the name of a file and no path.
func isIncludeName(name string) bool {
	if name == "" || len(name) > maxLabel || name[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!-_.", r)
	})
}
