package catalogue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Format is how a list is written: option format of a list.
type Format string

// The values of Format.
const (
	// FormatAuto lets Detect choose.
	FormatAuto Format = "auto"
	// FormatPlain is one rule a line, see ParsePlain.
	FormatPlain Format = "plain"
	// FormatHosts is hosts(5): an address and names. The names are the rules,
	// each for itself (full:), as in every resolver that reads such a file; the
	// addresses are not looked at.
	FormatHosts Format = "hosts"
	// FormatDnsmasq is a dnsmasq configuration: the names of server=, local=,
	// address=, ipset= and nftset= with all below them. Their targets are not
	// looked at.
	FormatDnsmasq Format = "dnsmasq"
	// FormatV2fly is a source file of v2fly/domain-list-community: domain:,
	// full:, bare names, include:, attributes and affiliations. keyword: and
	// regexp: are unsupported.
	FormatV2fly Format = "v2fly"
	// FormatClash is a rule provider of Clash or mihomo, YAML with one entry a
	// line below payload:, or the same entries as text; behaviours domain,
	// classical and ipcidr. A plain name is that name only (full:); +. means
	// the name and all below; . and *. are taken for the same, which covers a
	// little more than they say.
	FormatClash Format = "clash"
)

// ErrNoRules is wrapped by the error for a list in which nothing is valid.
var ErrNoRules = errors.New("nothing in the list is a rule")

// maxWrong is how many wrong entries end a list: telling what is wrong with one
// takes longer than reading a good one, and nobody publishes such lists.
const maxWrong = 1 << 16

// detectSize is how much of a list Detect is shown, bytes.
const detectSize = 32 << 10

// ListOptions are what a list is read with. The zero value is usable.
type ListOptions struct {
	// Name is the list's file name or the path of its URL; it helps Detect.
	Name string
	// MaxSize bounds what is read, files that are included counted too, bytes;
	// 0 is MaxListSize. MaxRules bounds the rules; 0 is MaxListRules.
	MaxSize, MaxRules int
	// Include opens a file that a v2fly list includes; nil: include: is
	// unsupported. The name has no path: letters, digits, !, -, _ and dots.
	Include func(name string) (io.ReadCloser, error)
	// Refuse says why a rule is not taken; nil takes all. The error is told as
	// a problem of the line.
	Refuse func(Rule) error
}

// Parsed is what a list holds.
type Parsed struct {
	Format Format // never FormatAuto
	// Rules stand in the order of the list, each once. Their names share one
	// piece of memory.
	Rules []Rule
	// Problems are entries that are wrong or refused: at most MaxListProblems,
	// then one entry that counts the rest.
	Problems   []LineProblem
	Skipped    int // entries that are wrong or refused
	Duplicates int // rules that stood in the list before
	// Unsupported counts, by kind, entries that are well-formed but cannot be
	// rules here: keyword, regexp, include, DOMAIN-KEYWORD, …
	Unsupported map[string]int
}

// UnsupportedTotal is how many entries are unsupported.
func (p *Parsed) UnsupportedTotal() int {
	n := 0
	for _, count := range p.Unsupported {
		n += count
	}
	return n
}

// ParseList reads a list in any format, line by line: memory depends on the
// number of different rules, not on the size of the list. What is wrong is
// skipped and told. err is that of the reader, or says that the list as a whole
// cannot be used: ErrListTooLarge, or ErrNoRules where nothing in it is valid;
// Problems and counts are given with it as far as they are known.
func ParseList(r io.Reader, format Format, opts ListOptions) (Parsed, error) {
	buffered := bufio.NewReaderSize(r, detectSize)
	head, err := buffered.Peek(detectSize)
	if err == nil || errors.Is(err, io.EOF) {
		err = notAList(head)
	}
	if err != nil {
		return Parsed{Format: format}, fmt.Errorf("read list: %w", err)
	}
	if format == FormatAuto || format == "" {
		format = Detect(head, opts.Name)
	}
	c := newCollector(opts)
	parse, err := c.parser(format)
	if err == nil {
		err = c.read(buffered, parse)
	}
	out := Parsed{
		Format: format, Problems: countRest(c.problems, c.wrong), Skipped: c.wrong,
		Duplicates: c.duplicates, Unsupported: c.unsupported,
	}
	if err != nil {
		return out, err
	}
	if out.Rules = c.set.rules(); len(out.Rules) == 0 {
		return out, c.noRules(format, &out)
	}
	return out, nil
}

// noRules says what was there instead of rules.
func (c *collector) noRules(format Format, p *Parsed) error {
	err := fmt.Errorf("read list as %s: %w", format, ErrNoRules)
	if n := p.UnsupportedTotal(); n > 0 {
		err = fmt.Errorf("%w; %d entries are of kinds that are not supported", err, n)
	}
	if len(c.problems) > 0 {
		err = fmt.Errorf("%w; the first of %d that are wrong: %v", err, c.wrong, c.problems[0])
	}
	return err
}

// notAList names what a server or a user gives in place of a list.
func notAList(head []byte) error {
	head = bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\ufeff")))
	switch {
	case bytes.HasPrefix(head, []byte("<")):
		return errors.New("it is a web page, not a list: look at the address in a browser")
	case bytes.HasPrefix(head, []byte("{")):
		return errors.New("it is JSON, which is none of the list formats")
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return nil // UTF-16, which the first line says better
	case bytes.IndexByte(head, 0) >= 0:
		return errors.New("it is binary data, not a list of text")
	}
	return nil
}

// lineParser takes what a line holds into a collector. An error ends the list.
type lineParser func(text string) error

// collector gathers what the lines of a list give.
type collector struct {
	opts        ListOptions
	set         *Matcher[struct{}]
	lines       *lineReader // of the file that is read now
	text        string      // its present line
	included    []string    // files that are being read, outermost first
	includes    int         // files included so far
	filters     []attributes
	problems    []LineProblem
	wrong       int
	duplicates  int
	unsupported map[string]int
}

func newCollector(opts ListOptions) *collector {
	if opts.MaxSize == 0 {
		opts.MaxSize = MaxListSize
	}
	if opts.MaxRules == 0 {
		opts.MaxRules = MaxListRules
	}
	return &collector{opts: opts, set: NewMatcher[struct{}](), unsupported: map[string]int{}}
}

// parser gives what reads the lines of a format.
func (c *collector) parser(format Format) (lineParser, error) {
	switch format {
	case FormatPlain:
		return c.plain, nil
	case FormatHosts:
		return c.hosts, nil
	case FormatDnsmasq:
		return c.dnsmasq, nil
	case FormatV2fly:
		return c.v2fly, nil
	case FormatClash:
		return (&clash{c: c}).line, nil
	}
	return nil, fmt.Errorf("read list: format %q is unknown; allowed: auto, plain, hosts, dnsmasq, v2fly, clash", shorten(string(format)))
}

// read takes every line of one file. What an included file holds counts as read
// by the one that includes it.
func (c *collector) read(r io.Reader, parse lineParser) error {
	limit, outer := c.opts.MaxSize, c.lines
	if outer != nil {
		limit = outer.limit - outer.size
	}
	c.lines = newLineReader(r, limit)
	defer func() {
		if outer != nil {
			outer.size += c.lines.size
			c.lines = outer
		}
	}()
	for {
		text, err := c.lines.next()
		c.text = text
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errLongLine):
			c.fail(err)
			continue
		case err != nil:
			return err
		}
		if err := parse(text); err != nil {
			return err
		}
		if c.wrong > maxWrong {
			return fmt.Errorf("read list, line %d: more than %d entries are wrong", c.lines.number, maxWrong)
		}
	}
}

// fail notes that an entry of the present line is wrong.
func (c *collector) fail(err error) {
	if c.wrong++; c.wrong > MaxListProblems {
		return
	}
	if n := len(c.included); n > 0 {
		err = fmt.Errorf("in the included file %s: %w", c.included[n-1], err)
	}
	c.problems = append(c.problems, LineProblem{Line: c.lines.number, Text: shorten(strings.TrimSpace(c.text)), Err: err})
}

// skip counts an entry that is not supported.
func (c *collector) skip(kind string) { c.unsupported[kind]++ }

// take takes a rule, or notes what is wrong with it.
func (c *collector) take(rule Rule, err error) error {
	if err == nil && c.opts.Refuse != nil {
		if err = c.opts.Refuse(rule); err != nil {
			err = fmt.Errorf("rule %q is refused: %w", shorten(rule.String()), err)
		}
	}
	if err != nil {
		c.fail(err)
		return nil
	}
	if !c.set.Add(rule, struct{}{}) {
		c.duplicates++
		return nil
	}
	if c.set.Len() > c.opts.MaxRules {
		return fmt.Errorf("read list, line %d: %w: at most %d rules are read", c.lines.number, ErrListTooLarge, c.opts.MaxRules)
	}
	return nil
}

// takeName takes a rule over a name that stands in another program's words.
func (c *collector) takeName(kind RuleKind, name string) error {
	rule, err := nameRule(kind, name)
	if err != nil {
		err = fmt.Errorf("name %q: %w", shorten(name), err)
	}
	return c.take(rule, err)
}

// plain reads a line of FormatPlain.
func (c *collector) plain(text string) error {
	rule, ok, err := plainLine(text, nil)
	if !ok && err == nil {
		return nil
	}
	return c.take(rule, err)
}

// rules gives all rules, whose names share one string.
func (m *Matcher[V]) rules() []Rule {
	text := string(m.text)
	out := make([]Rule, len(m.entries))
	for i, e := range m.entries {
		if e.kind == RuleAddress {
			out[i] = m.rule(i)
			continue
		}
		out[i] = Rule{Kind: e.kind, Name: text[e.start : e.start+uint32(e.size)]}
	}
	return out
}
