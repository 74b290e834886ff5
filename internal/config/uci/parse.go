package uci

import (
	"bytes"
	"fmt"
	"strings"
)

// kind is what a statement is.
type kind uint8

const (
	kindPackage kind = iota + 1
	kindConfig
	kindOption
	kindList
)

// word is one argument of a statement. start == end when it is not there.
type word struct {
	text       string // with quotes and escapes taken away
	start, end int    // of the word as it stands, quotes included
}

// statement is one statement and where its bytes are. All offsets are into the
// text of the file.
type statement struct {
	kind  kind
	start int     // of the keyword
	end   int     // after the last argument that is there
	args  [2]word // type and name, or name and value

	lineStart int // of the logical line: of its first physical line
	lineEnd   int // after the newline of its last physical line
	rest      int // where the line's comment begins, or its newline, or lineEnd
	prev      int // index of the statement before it on the same logical line, or -1
	next      int // index of the statement after it on the same logical line, or -1
}

// parser holds the place in the text. A logical line is a physical one and
// those that quotes or a backslash at the end join to it.
type parser struct {
	name    string
	text    []byte
	pos     int // next byte to read
	stop    int // nothing of this logical line is read from here on
	lineEnd int // after the newline of the logical line so far
	comment int // where the line's comment begins, or -1
	inside  bool
	stmts   []statement
}

// fault makes an error that points at an offset.
func (p *parser) fault(offset int, text string) error {
	line, column := position(p.text, offset)
	return &Error{File: p.name, Line: line, Column: column, Text: text}
}

// parse reads all lines.
func (p *parser) parse() error {
	for p.pos < len(p.text) {
		start, first := p.pos, len(p.stmts)
		p.comment = -1
		p.lineEnd = p.pos
		p.extend()
		if err := p.line(); err != nil {
			return err
		}
		p.finish(start, first)
		p.pos = p.lineEnd
	}
	return nil
}

// extend adds the next physical line to the logical one; false at the end of
// the text.
func (p *parser) extend() bool {
	if p.lineEnd == len(p.text) {
		return false
	}
	if i := bytes.IndexByte(p.text[p.lineEnd:], '\n'); i >= 0 {
		p.lineEnd += i + 1
	} else {
		p.lineEnd = len(p.text)
	}
	p.stop = p.lineEnd
	return true
}

// finish fills in what is known of statements only when their line is read.
func (p *parser) finish(start, first int) {
	rest := p.comment
	if rest < 0 {
		rest = start + len(bytes.TrimRight(p.text[start:p.lineEnd], "\r\n"))
	}
	for i := first; i < len(p.stmts); i++ {
		st := &p.stmts[i]
		st.lineStart, st.lineEnd, st.rest = start, p.lineEnd, rest
		st.prev, st.next = i-1, i+1
		if i == first {
			st.prev = -1
		}
		if i == len(p.stmts)-1 {
			st.next = -1
		}
		// White space that an escape or quotes made part of a word is not
		// the line's ending.
		st.rest = max(st.rest, st.end)
	}
}

// line reads the statements of a logical line.
func (p *parser) line() error {
	p.skipSpace()
	for {
		at, w := p.keyword()
		switch {
		case w == "":
			return nil
		case w[0] == '#':
			p.comment = at
			return nil
		case len(p.stmts) >= maxStatements:
			return p.fault(at, fmt.Sprintf("more than %d statements; put long lists into a file of their own", maxStatements))
		}
		k, ok := keywords(w)
		if !ok {
			return p.fault(at, badKeyword(w))
		}
		if err := p.statement(k, at); err != nil {
			return err
		}
	}
}

// keyword reads up to the next blank. Quotes, ';' and the end of the line have
// no meaning there, in libuci neither.
func (p *parser) keyword() (at int, w string) {
	for p.pos < p.stop && isBlank(p.text[p.pos]) {
		p.pos++
	}
	at = p.pos
	for p.pos < p.stop && !isBlank(p.text[p.pos]) {
		p.pos++
	}
	return at, string(p.text[at:p.pos])
}

// keywords gives the statement that a keyword begins.
func keywords(w string) (kind, bool) {
	switch w {
	case "package", "p":
		return kindPackage, true
	case "config", "c":
		return kindConfig, true
	case "option", "o":
		return kindOption, true
	case "list", "l":
		return kindList, true
	}
	return 0, false
}

// badKeyword says what is wrong with a word that begins no statement.
func badKeyword(w string) string {
	bare := strings.TrimSpace(w)
	if _, ok := keywords(bare); ok {
		return fmt.Sprintf("%s stands without a name", bare)
	}
	if bare == "" || strings.HasPrefix(bare, ";") {
		return "nothing follows ';'; remove it"
	}
	if strings.HasPrefix(bare, "\ufeff") {
		return "a byte order mark; save the file as UTF-8 without one"
	}
	return fmt.Sprintf("%q is not a statement; config, option, list, package or # is expected", clip(bare))
}

// statement reads the arguments of a statement and its end.
func (p *parser) statement(k kind, at int) error {
	st := statement{kind: k, start: at}
	if p.pos == p.stop {
		return p.fault(at, fmt.Sprintf("%s stands without a name", p.text[at:p.pos]))
	}
	if k != kindPackage && k != kindConfig && !p.inside {
		return p.fault(at, fmt.Sprintf("%s stands before the first config line", k))
	}
	if err := p.arguments(&st); err != nil {
		return err
	}
	extra, err := p.arg()
	if err != nil {
		return err
	}
	if extra.text != "" {
		return p.fault(extra.start, fmt.Sprintf("%q is one word too many after %s; put a value with blanks between single quotes", clip(extra.text), k))
	}
	p.inside = p.inside || k == kindConfig
	p.stmts = append(p.stmts, st)
	return nil
}

// arguments reads one argument for package and up to two for the others.
func (p *parser) arguments(st *statement) error {
	for i := range st.args {
		if i == 1 && st.kind == kindPackage {
			break
		}
		a, err := p.arg()
		if err != nil {
			return err
		}
		if err := p.checkArg(st, i, a); err != nil {
			return err
		}
		st.args[i] = a
		if a.start < a.end {
			st.end = a.end
		}
	}
	return nil
}

// checkArg refuses a missing or ill-formed name.
func (p *parser) checkArg(st *statement, i int, a word) error {
	if i == 1 && (st.kind != kindConfig || a.text == "") {
		return nil // values may be anything, section names may be missing
	}
	what, valid, allowed := "name", validName, "letters, digits and '_'"
	switch {
	case st.kind == kindPackage:
		what, valid, allowed = "package name", validPackage, "letters, digits, '_' and '-'"
	case st.kind == kindConfig && i == 0:
		what, valid, allowed = "section type", validType, "visible ASCII characters"
	case st.kind == kindConfig:
		what = "section name"
	}
	if a.text == "" {
		return p.fault(st.start, fmt.Sprintf("%s stands without a %s", st.kind, what))
	}
	if !valid(a.text) {
		return p.fault(a.start, fmt.Sprintf("%s %q is not valid: it is made of %s", what, clip(a.text), allowed))
	}
	return nil
}

// arg reads one argument; at the end of the line and at ';', which it takes,
// that is an empty one.
func (p *parser) arg() (word, error) {
	p.skipSpace()
	if p.pos < p.stop && p.text[p.pos] == ';' {
		p.pos++
		return word{start: p.pos, end: p.pos}, nil
	}
	start := p.pos
	var text []byte
	var err error
	for p.pos < p.stop && !isSpace(p.text[p.pos]) {
		c := p.text[p.pos]
		if c == '#' {
			p.comment, p.stop = p.pos, p.pos
			break
		}
		if c == ';' {
			whole := len(text) == p.pos-start // no quote or backslash was left out
			return word{string(text), start, p.pos}, p.semicolon(whole)
		}
		if text, err = p.piece(c, text); err != nil {
			return word{}, err
		}
	}
	w := word{string(text), start, p.pos}
	if p.pos < p.stop {
		p.pos++ // libuci puts its end-of-string here
	}
	return w, nil
}

// piece reads a quoted string, an escape or one byte of a word.
func (p *parser) piece(c byte, text []byte) ([]byte, error) {
	switch c {
	case '\'', '"':
		return p.quoted(c, text)
	case '\\':
		return p.escaped(text), nil
	}
	p.pos++
	return append(text, c), nil
}

// semicolon deals with ';' directly after a word. libuci overwrites it with
// the end of an unquoted word and never sees what follows: a statement there
// is an error of ours.
func (p *parser) semicolon(whole bool) error {
	if !whole {
		return nil
	}
	tail := bytes.TrimLeft(p.text[p.pos+1:p.stop], " \t\r\n\v\f")
	if len(tail) > 0 && tail[0] != '#' {
		return p.fault(p.pos, "uci ignores what follows this ';'; put a blank before it, or use a line for each statement")
	}
	if len(tail) > 0 {
		p.comment = p.stop - len(tail)
	}
	p.stop = p.pos
	return nil
}

// quoted reads from an opening quote to behind the closing one.
func (p *parser) quoted(quote byte, text []byte) ([]byte, error) {
	open := p.pos
	p.pos++
	for {
		if p.pos == p.stop && !p.extend() {
			return nil, p.fault(open, fmt.Sprintf("no %c closes the one that opens here", quote))
		}
		c := p.text[p.pos]
		switch {
		case c == quote:
			p.pos++
			return text, nil
		case c == '\\' && quote == '"':
			text = p.escaped(text)
		default:
			text = append(text, c)
			p.pos++
		}
	}
}

// escaped reads a backslash and what it escapes: the end of a line joins the
// next line, anything else stands for itself.
func (p *parser) escaped(text []byte) []byte {
	p.pos++
	rest := string(p.text[p.pos:min(p.stop, p.pos+2)])
	if rest == "" || rest[0] == '\n' || rest == "\r\n" {
		p.pos = p.stop
		p.extend()
		return text
	}
	p.pos++
	return append(text, rest[0])
}

// skipSpace moves to the next byte that is not white space.
func (p *parser) skipSpace() {
	for p.pos < p.stop && isSpace(p.text[p.pos]) {
		p.pos++
	}
}

// String is the keyword.
func (k kind) String() string {
	return [...]string{"", "package", "config", "option", "list"}[k]
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func validName(s string) bool {
	return every(s, func(c byte) bool { return isAlnum(c) || c == '_' })
}

func validPackage(s string) bool {
	return every(s, func(c byte) bool { return isAlnum(c) || c == '_' || c == '-' })
}

func validType(s string) bool {
	return every(s, func(c byte) bool { return c > ' ' && c <= '~' })
}

// every says whether a string is not empty and all of its bytes are allowed.
func every(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

// clip shortens a piece of the file for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
