package pack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxPluralForms is what LuCI's catalogues can tell apart.
const maxPluralForms = 10

// Message is one entry of a gettext catalogue (.po), escapes decoded.
type Message struct {
	Context string
	ID      string // "" for the header
	Plural  string // "" where there is no plural
	Strings []string
	Line    int // of msgid, from 1
}

// Catalogue is a gettext catalogue.
type Catalogue struct {
	PluralForms string // value of the header Plural-Forms; "" where there is none
	Messages    []Message
}

// ParsePO reads a gettext catalogue as `info gettext` describes it under "PO
// Files". Obsolete entries (#~) and comments are left out; entries that are
// marked fuzzy are an error, since nobody has confirmed them.
func ParsePO(r io.Reader) (Catalogue, error) {
	p := &poParser{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		p.line++
		if err := p.read(strings.TrimSpace(sc.Text())); err != nil {
			return Catalogue{}, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	if err := sc.Err(); err != nil {
		return Catalogue{}, fmt.Errorf("read catalogue: %w", err)
	}
	if err := p.end(); err != nil {
		return Catalogue{}, fmt.Errorf("line %d: %w", p.line, err)
	}
	return p.catalogue, nil
}

// poParser collects an entry until the next begins.
type poParser struct {
	catalogue Catalogue
	line      int
	entry     Message
	begun     bool    // entry has a msgid
	target    *string // what a line of text is added to; nil: none is expected
}

func (p *poParser) read(line string) error {
	switch {
	case line == "":
		return nil
	case strings.HasPrefix(line, "#,") && strings.Contains(line, "fuzzy"):
		return errors.New("the entry is marked fuzzy: confirm it and remove the mark")
	case line[0] == '#':
		return nil
	case line[0] == '"':
		return p.text(line)
	}
	keyword, rest, _ := strings.Cut(line, " ")
	if err := p.begin(keyword); err != nil {
		return err
	}
	return p.text(strings.TrimSpace(rest))
}

// begin says what the text after a keyword, and the lines that go on with it,
// belong to.
func (p *poParser) begin(keyword string) (err error) {
	switch {
	case keyword == "msgctxt":
		err = p.end()
		p.target = &p.entry.Context
	case keyword == "msgid":
		if p.begun {
			err = p.end()
		}
		p.begun, p.entry.Line, p.target = true, p.line, &p.entry.ID
	case keyword == "msgid_plural":
		p.target = &p.entry.Plural
	case strings.HasPrefix(keyword, "msgstr"):
		err = p.str(keyword)
	default:
		err = fmt.Errorf("%q is no keyword of a catalogue", keyword)
	}
	return err
}

// str begins msgstr or msgstr[N].
func (p *poParser) str(keyword string) error {
	index := len(p.entry.Strings)
	if n, ok := strings.CutPrefix(keyword, "msgstr["); ok {
		i, err := strconv.Atoi(strings.TrimSuffix(n, "]"))
		if err != nil || i != index || i >= maxPluralForms {
			return fmt.Errorf("%s: msgstr[%d] is expected, at most %d", keyword, index, maxPluralForms)
		}
	} else if index > 0 {
		return errors.New("a second msgstr")
	}
	if !p.begun {
		return errors.New("msgstr without msgid")
	}
	p.entry.Strings = append(p.entry.Strings, "")
	p.target = &p.entry.Strings[index]
	return nil
}

// text adds a quoted string.
func (p *poParser) text(quoted string) error {
	if p.target == nil {
		return errors.New("a text that belongs to nothing")
	}
	s, err := strconv.Unquote(quoted)
	if err != nil || quoted[0] != '"' {
		return fmt.Errorf("%.40q is no text in quotes", quoted)
	}
	*p.target += s
	return nil
}

// end takes over the entry that was read.
func (p *poParser) end() error {
	entry := p.entry
	p.entry, p.target = Message{}, nil
	if !p.begun {
		return nil
	}
	p.begun = false
	if len(entry.Strings) == 0 {
		return fmt.Errorf("msgid %.40q has no msgstr", entry.ID)
	}
	if entry.ID == "" && entry.Context == "" {
		for line := range strings.Lines(entry.Strings[0]) {
			if forms, ok := strings.CutPrefix(line, "Plural-Forms: "); ok {
				p.catalogue.PluralForms = strings.TrimSpace(forms)
			}
		}
		return nil
	}
	p.catalogue.Messages = append(p.catalogue.Messages, entry)
	return nil
}
