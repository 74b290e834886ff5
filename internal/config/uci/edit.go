package uci

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/sorting"
)

// ErrNotFound is wrapped by edits of a section that is not in the file.
var ErrNotFound = errors.New("no such section")

// splice replaces text[from:to] by with.
type splice struct {
	from, to int
	with     string
}

// Set gives an option one value. Where it stands in several statements, or as
// a list, it stands in one afterwards. The value must not be empty: to libuci
// that is an option that is not there, which Delete makes.
func (f *File) Set(ref, option, value string) error {
	s, err := f.editable(ref, option, value)
	if err != nil {
		return err
	}
	if value == "" {
		return fmt.Errorf("set option %s of section %s: an empty value cannot be stored", option, s.Ref)
	}
	work := *f
	if found := work.find(s, option); len(found) > 1 {
		if err := work.apply(work.remove(found[1:])); err != nil {
			return err
		}
		s, _ = work.Section(ref)
	}
	if err := work.apply(work.setFirst(s, option, value)); err != nil {
		return err
	}
	*f = work
	return nil
}

// setFirst writes the only statement of an option, or a new one.
func (f *File) setFirst(s *Section, option, value string) []splice {
	text := "option " + option + " " + Quote(value)
	found := f.find(s, option)
	if len(found) == 0 {
		return f.insertAfter(f.lastOf(s), text)
	}
	st := &f.stmts[found[0]]
	if st.kind == kindOption && st.args[1].start < st.args[1].end {
		return f.replaceTail(st, st.args[1].start, Quote(value))
	}
	return f.replaceTail(st, st.start, text)
}

// AddList appends a value to a list, after its last one. A value that the list
// has already is added again.
func (f *File) AddList(ref, list, value string) error {
	s, err := f.editable(ref, list, value)
	if err != nil {
		return err
	}
	after := f.lastOf(s)
	if found := f.find(s, list); len(found) > 0 {
		after = found[len(found)-1]
	}
	return f.apply(f.insertAfter(after, "list "+list+" "+Quote(value)))
}

// RemoveList removes each statement that gives the list, or the option of that
// name, this value, and says how many there were.
func (f *File) RemoveList(ref, list, value string) (int, error) {
	s, err := f.editable(ref, list, value)
	if err != nil {
		return 0, err
	}
	found := slices.DeleteFunc(f.find(s, list), func(i int) bool {
		return f.stmts[i].args[1].text != value
	})
	return len(found), f.apply(f.remove(found))
}

// Delete removes all statements of an option or list. It is no error when
// there are none.
func (f *File) Delete(ref, option string) error {
	s, err := f.editable(ref, option, "")
	if err != nil {
		return err
	}
	return f.apply(f.remove(f.find(s, option)))
}

// AddSection appends an empty section; an empty name makes an anonymous one.
// The reference is what the other edits take.
func (f *File) AddSection(typ, name string) (ref string, err error) {
	switch {
	case !validType(typ):
		return "", fmt.Errorf("add section: type %q is not made of visible ASCII characters", clip(typ))
	case name != "" && !validName(name):
		return "", fmt.Errorf("add section: name %q is not made of letters, digits and '_'", clip(name))
	case f.byName[name] != nil:
		return "", fmt.Errorf("add section %s: it exists already", name)
	}
	text := "config " + quoteType(typ)
	if name != "" {
		text += " " + Quote(name)
	}
	end, eol := len(f.text), f.newline(len(f.text))
	from, lead := f.endLine(eol)
	if end > 0 && !bytes.HasSuffix(f.text, []byte(eol+eol)) {
		lead += eol
	}
	if err := f.apply([]splice{{from, end, lead + text + eol}}); err != nil {
		return "", err
	}
	return f.sections[len(f.sections)-1].Ref, nil
}

// DeleteSection removes the statements of a section. Comments among them stay.
func (f *File) DeleteSection(ref string) error {
	s, ok := f.Section(ref)
	if !ok {
		return fmt.Errorf("section %s: %w", ref, ErrNotFound)
	}
	return f.apply(f.remove(s.stmts))
}

// Quote gives a value as uci writes it: between single quotes, a quote inside
// as '\”.
func Quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// quoteType leaves a type bare, as uci does, unless it would not be read back.
func quoteType(typ string) string {
	if every(typ, func(c byte) bool { return isAlnum(c) || strings.IndexByte("_-.", c) >= 0 }) {
		return typ
	}
	return Quote(typ)
}

// editable finds the section and checks what shall be written into it.
func (f *File) editable(ref, option, value string) (*Section, error) {
	s, ok := f.Section(ref)
	switch {
	case !ok:
		return nil, fmt.Errorf("section %s: %w", ref, ErrNotFound)
	case !validName(option):
		return nil, fmt.Errorf("option name %q is not made of letters, digits and '_'", clip(option))
	case strings.IndexByte(value, 0) >= 0:
		return nil, fmt.Errorf("value of option %s has a byte of value zero", option)
	}
	return s, nil
}

// find gives the statements of an option or list, in order.
func (f *File) find(s *Section, option string) []int {
	var found []int
	for _, i := range s.stmts {
		if st := &f.stmts[i]; st.kind != kindConfig && st.args[0].text == option {
			found = append(found, i)
		}
	}
	return found
}

// lastOf is the last statement of a section.
func (f *File) lastOf(s *Section) int { return s.stmts[len(s.stmts)-1] }

// insertAfter puts a statement on a line of its own below the line of another
// one; where a further statement shares that line, in between.
func (f *File) insertAfter(i int, text string) []splice {
	st := &f.stmts[i]
	if st.next >= 0 {
		at := f.stmts[st.next].start
		return []splice{{at, at, text + " ;"}}
	}
	eol := f.newline(st.lineEnd)
	text = f.indent(st) + text
	if st.lineEnd == len(f.text) {
		if from, lead := f.endLine(eol); lead != "" {
			return []splice{{from, st.lineEnd, lead + text}}
		}
	}
	return []splice{{st.lineEnd, st.lineEnd, text + eol}}
}

// indent is the white space before an option, a tab after a config line.
func (f *File) indent(st *statement) string {
	if st.kind == kindConfig || st.prev >= 0 {
		return "\t"
	}
	lead := string(f.text[st.lineStart:st.start])
	if strings.Trim(lead, " \t") != "" {
		return "\t" // a form feed or the like
	}
	return lead
}

// newline is the line ending used before an offset.
func (f *File) newline(offset int) string {
	end := bytes.LastIndexByte(f.text[:offset], '\n')
	if end > 0 && f.text[end-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// endLine says what to write from which offset on, so that the last line of
// the file ends with a newline. What stands there without meaning goes when
// it would get one by that; after a backslash one newline would only join the
// next line.
func (f *File) endLine(eol string) (from int, with string) {
	from = len(f.text)
	if from == 0 || f.text[from-1] == '\n' {
		return from, ""
	}
	if last := len(f.stmts) - 1; last >= 0 {
		st := &f.stmts[last]
		if st.rest == from && strings.Trim(string(f.text[st.end:from]), " \t") != "" {
			from = st.end
		}
	}
	if f.text[from-1] == '\\' {
		return from, eol + eol
	}
	return from, eol
}

// replaceTail writes new text from an offset in a statement to its end. What
// separates it from the next statement or the comment stays, unless it would
// no longer be read as that: "b;" ends a line where "'b';" does not.
func (f *File) replaceTail(st *statement, from int, with string) []splice {
	if st.next >= 0 {
		next := f.stmts[st.next].start
		if strings.Trim(string(f.text[st.end:next]), " \t") == ";" {
			return []splice{{from, st.end, with}}
		}
		return []splice{{from, next, with + " ;"}}
	}
	if strings.Trim(string(f.text[st.end:st.rest]), " \t") == "" {
		return []splice{{from, st.end, with}}
	}
	if st.rest < st.lineEnd && f.text[st.rest] == '#' {
		with += " "
	}
	return []splice{{from, st.rest, with}}
}

// remove takes statements out: whole lines where nothing else is on them,
// otherwise the statement and what separates it from its neighbour.
func (f *File) remove(stmts []int) []splice {
	gone := make(map[int]bool, len(stmts))
	for _, i := range stmts {
		gone[i] = true
	}
	var edits []splice
	for k := 0; k < len(stmts); k++ {
		first := stmts[k]
		// Neighbours on one line go together.
		for f.stmts[stmts[k]].next >= 0 && gone[f.stmts[stmts[k]].next] {
			k++
		}
		edits = append(edits, f.removeRun(&f.stmts[first], &f.stmts[stmts[k]]))
	}
	return edits
}

// removeRun takes out the statements from first to last of one logical line.
func (f *File) removeRun(first, last *statement) splice {
	comment := last.rest < last.lineEnd && f.text[last.rest] == '#'
	switch {
	case last.next >= 0:
		return splice{from: first.start, to: f.stmts[last.next].start}
	case first.prev >= 0 && comment:
		return splice{from: f.stmts[first.prev].end, to: last.rest, with: " "}
	case first.prev >= 0:
		return splice{from: f.stmts[first.prev].end, to: last.rest}
	case comment:
		return splice{from: first.start, to: last.rest}
	}
	return splice{from: first.lineStart, to: last.lineEnd}
}

// apply makes the edits and reads the result, so that nothing that cannot be
// read back is ever kept. On error the file is as it was.
func (f *File) apply(edits []splice) error {
	sorting.By(edits, func(a, b splice) int { return a.from - b.from })
	var text []byte
	at := 0
	for _, e := range edits {
		text = append(append(text, f.text[at:e.from]...), e.with...)
		at = e.to
	}
	text = append(text, f.text[at:]...)
	edited, err := Parse(f.name, text)
	if err != nil {
		return fmt.Errorf("edit file: %w", err)
	}
	*f = *edited
	return nil
}
