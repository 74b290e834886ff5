// Package uci reads, edits and writes OpenWrt's configuration files.
//
// It accepts what libuci accepts in strict mode, which is what the uci command
// and LuCI use, and reads the same values out of it. A file is kept as its
// bytes; an edit replaces the bytes of the statement it concerns and nothing
// else, so that comments, order, quoting and line endings stay as people wrote
// them.
//
// The grammar, as libuci has it:
//
//   - A line holds statements: package NAME, config TYPE [NAME], option NAME
//     [VALUE], list NAME [VALUE]. The first letter alone is a keyword too.
//   - Words are separated by white space. Pieces in single quotes, in double
//     quotes and without any are joined when nothing stands between them.
//   - Nothing is special between single quotes. Elsewhere a backslash takes
//     the next character as it is, and joins two lines at the end of one.
//     Both kinds of quotes may span lines.
//   - '#' outside quotes begins a comment, in the middle of a word too.
//   - ';' ends a statement; another one may follow on the line.
//   - An option given twice has its last value. An option without a value, or
//     with an empty one, is as if it were not there. A section opened again is
//     continued.
//
// There are two deliberate differences, both on the side of caution: bytes of
// value zero are refused, and so is a statement after an unquoted word that
// ends in ';' without white space (option a b;option c d), because libuci
// silently drops it.
package uci

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MaxSize is the size in bytes of the largest file that is read.
	MaxSize = 4 << 20
	// maxStatements bounds the memory that a file of MaxSize can cost.
	maxStatements = 100_000
)

// Error is a fault in the text of a file.
type Error struct {
	File   string // name as given to Parse
	Line   int    // from 1
	Column int    // from 1, in characters
	Text   string // what is wrong and, where it helps, how to mend it
}

// Error gives FILE:LINE:COLUMN: TEXT.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// File is one parsed configuration file. It is not safe for concurrent use
// while it is edited.
type File struct {
	name     string
	text     []byte
	stmts    []statement
	sections []*Section
	byName   map[string]*Section
}

// Section is what all statements of one section come to. It belongs to its
// File: it must not be changed and is out of date after the next edit.
type Section struct {
	Type string
	// Name is "" for an anonymous section; Ref addresses those too.
	Name string
	// Ref addresses the section in edits: its name, or @TYPE[N] with N from 0.
	Ref string
	// Lines holds the lines, from 1, where the section is opened: more than
	// one when the same name stands in the file several times.
	Lines []int
	// Options are in the order in which they first appear.
	Options []*Option

	byName map[string]*Option
	stmts  []int // all statements of it, the config ones included
}

// Option is an option or a list with its values; there is at least one.
type Option struct {
	Name   string
	List   bool
	Values []string
	Lines  []int // of each value, from 1
}

// Parse reads the text of a file. The name is only for errors, which are of
// type *Error. The text must not be changed afterwards.
func Parse(name string, text []byte) (*File, error) {
	if len(text) > MaxSize {
		return nil, &Error{
			File: name, Line: 1, Column: 1,
			Text: fmt.Sprintf("the file has %d bytes, at most %d are read", len(text), MaxSize),
		}
	}
	p := parser{name: name, text: text, comment: -1}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, p.fault(i, "a byte of value zero: this is not a text file")
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	f := &File{name: name, text: text, stmts: p.stmts, byName: map[string]*Section{}}
	if err := f.collect(); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes is the text of the file with all edits. It must not be changed.
func (f *File) Bytes() []byte { return f.text }

// Sections are all sections in the order of the file.
func (f *File) Sections() []*Section { return f.sections }

// Section finds a section by its name or by @TYPE[N]; N counts the sections of
// that type, named ones too, from 0, or from the end when it is negative.
func (f *File) Section(ref string) (*Section, bool) {
	if !strings.HasPrefix(ref, "@") {
		s, ok := f.byName[ref]
		return s, ok
	}
	typ, index, ok := splitRef(ref)
	if !ok {
		return nil, false
	}
	var of []*Section
	for _, s := range f.sections {
		if s.Type == typ {
			of = append(of, s)
		}
	}
	if index < 0 {
		index += len(of)
	}
	if index < 0 || index >= len(of) {
		return nil, false
	}
	return of[index], true
}

// splitRef takes @TYPE[N] apart.
func splitRef(ref string) (typ string, index int, ok bool) {
	open := strings.LastIndexByte(ref, '[')
	if open < 1 || !strings.HasSuffix(ref, "]") {
		return "", 0, false
	}
	index, err := strconv.Atoi(ref[open+1 : len(ref)-1])
	return ref[1:open], index, err == nil
}

// Option finds an option or list by name.
func (s *Section) Option(name string) (*Option, bool) {
	o, ok := s.byName[name]
	return o, ok
}

// collect makes sections and options of the statements.
func (f *File) collect() error {
	var cur *Section
	perType := map[string]int{}
	line := lineCounter{text: f.text, line: 1}
	for i := range f.stmts {
		st := &f.stmts[i]
		at := line.at(st.start)
		switch st.kind {
		case kindPackage:
			continue // libuci, too, ignores it in a file of its own
		case kindConfig:
			s, err := f.open(st, at, perType)
			if err != nil {
				return err
			}
			cur = s
		case kindOption, kindList:
			cur.add(st, at)
		}
		cur.stmts = append(cur.stmts, i)
	}
	return nil
}

// open gives the section that a config statement begins or continues.
func (f *File) open(st *statement, line int, perType map[string]int) (*Section, error) {
	typ, name := st.args[0].text, st.args[1].text
	if s, ok := f.byName[name]; ok && name != "" {
		if s.Type != typ {
			p := parser{name: f.name, text: f.text}
			return nil, p.fault(st.args[0].start, fmt.Sprintf(
				"section %q of type %s stands already in line %d with type %s; a name can be used once in a file",
				name, typ, s.Lines[0], s.Type))
		}
		s.Lines = append(s.Lines, line)
		return s, nil
	}
	s := &Section{Type: typ, Name: name, Ref: name, Lines: []int{line}, byName: map[string]*Option{}}
	if name == "" {
		s.Ref = fmt.Sprintf("@%s[%d]", typ, perType[typ])
	} else {
		f.byName[name] = s
	}
	perType[typ]++
	f.sections = append(f.sections, s)
	return s, nil
}

// add takes in an option or list statement.
func (s *Section) add(st *statement, line int) {
	name, value := st.args[0].text, st.args[1].text
	list := st.kind == kindList
	if !list && value == "" {
		return // libuci: setting nothing to nothing has no effect
	}
	o, ok := s.byName[name]
	if !ok {
		o = &Option{Name: name}
		s.byName[name] = o
		s.Options = append(s.Options, o)
	}
	if !list {
		o.Values, o.Lines = nil, nil
	}
	o.List = list
	o.Values = append(o.Values, value)
	o.Lines = append(o.Lines, line)
}

// lineCounter turns growing offsets into line numbers in one pass.
type lineCounter struct {
	text   []byte
	offset int
	line   int
}

// at is the line, from 1, of an offset not less than the one before.
func (c *lineCounter) at(offset int) int {
	c.line += bytes.Count(c.text[c.offset:offset], []byte{'\n'})
	c.offset = offset
	return c.line
}

// position is line and column, both from 1, of an offset.
func position(text []byte, offset int) (line, column int) {
	begin := bytes.LastIndexByte(text[:offset], '\n') + 1
	return bytes.Count(text[:begin], []byte{'\n'}) + 1, utf8.RuneCount(text[begin:offset]) + 1
}
