package catalogue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a list file, so that a wrong or hostile one cannot exhaust a
// router's memory.
const (
	// MaxListSize is the size of the largest list that is read, bytes.
	MaxListSize = 8 << 20
	// MaxListRules is how many rules a list may have: as parsed they take some
	// 10 MB, and the data plane is made for 100,000.
	MaxListRules = 128 << 10
	// MaxListLine is the length of the longest line, bytes.
	MaxListLine = 1024
	// MaxListProblems is how many problems are told one by one.
	MaxListProblems = 100
)

// ErrListTooLarge is wrapped by the error for a list above MaxListSize or
// MaxListRules.
var ErrListTooLarge = errors.New("list is too large")

// LineProblem is a line of a list that was skipped.
type LineProblem struct {
	Line int    // from 1; 0 in the entry that stands for all that are not told
	Text string // the line, shortened; "" when it is too long to keep
	Err  error  // what is wrong and what is allowed
}

// String gives the problem in one line, without the name of the file.
func (p LineProblem) String() string {
	if p.Line == 0 {
		return p.Err.Error()
	}
	return fmt.Sprintf("line %d: %v", p.Line, p.Err)
}

// ParsePlain reads a list with one rule a line in the syntax of ParseRule.
// From # to the end of a line is a comment; empty lines, a byte order mark and
// CRLF are accepted. Rules come in the order of the list, repetitions
// included. A line that is wrong is skipped and told in problems: at most
// MaxListProblems of them, then one entry that counts the rest. err is that of
// the reader, or says that the list as a whole cannot be used; rules then hold
// what stood before.
func ParsePlain(r io.Reader) (rules []Rule, problems []LineProblem, err error) {
	lines := newLineReader(r, MaxListSize)
	for wrong := 0; ; {
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			return rules, countRest(problems, wrong), nil
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return rules, problems, err
		}
		rule, ok, err := plainLine(text, err)
		switch {
		case err != nil:
			if wrong++; wrong <= MaxListProblems {
				problems = append(problems, LineProblem{Line: lines.number, Text: shorten(strings.TrimSpace(text)), Err: err})
			}
		case ok && len(rules) == MaxListRules:
			return rules, problems, fmt.Errorf("read list, line %d: %w: at most %d rules are read", lines.number, ErrListTooLarge, MaxListRules)
		case ok:
			rules = append(rules, rule)
		}
	}
}

// countRest adds the entry that stands for problems that are not told.
func countRest(problems []LineProblem, wrong int) []LineProblem {
	if wrong <= len(problems) {
		return problems
	}
	return append(problems, LineProblem{Err: fmt.Errorf("and %d more lines are wrong", wrong-len(problems))})
}

// plainLine gives the rule of a line, or false where it has none. err is what
// the reader found wrong with it.
func plainLine(text string, err error) (Rule, bool, error) {
	text, _, _ = strings.Cut(text, "#")
	text = strings.TrimSpace(text)
	if err != nil || text == "" {
		return Rule{}, false, err
	}
	rule, err := ParseRule(text)
	return rule, err == nil, err
}

var errLongLine = fmt.Errorf("the line is longer than %d bytes", MaxListLine)

// lineReader reads lines of bounded length from a list of bounded size.
type lineReader struct {
	r      *bufio.Reader
	number int // of the line that next gave last, from 1
	size   int // bytes read
	limit  int // of size
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, MaxListLine+len("\r\n")), limit: limit}
}

// next gives a line without its end. The error is io.EOF after the last line,
// errLongLine for a line that was skipped, or final.
func (l *lineReader) next() (string, error) {
	line, long, err := l.read()
	atEnd := errors.Is(err, io.EOF)
	switch {
	case l.size > l.limit:
		return "", fmt.Errorf("read list: %w: at most %d bytes are read", ErrListTooLarge, l.limit)
	case err != nil && !atEnd:
		return "", fmt.Errorf("read list, line %d: %w", l.number, err)
	case long:
		return "", errLongLine
	case atEnd && len(line) == 0:
		return "", io.EOF
	}
	if l.number == 1 {
		if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
			return "", errors.New("read list: the file is UTF-16; save it as UTF-8 or plain text")
		}
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// read gives a line up to and with its end, valid until the next read. Of a
// line that is too long it gives the beginning and reads past the rest.
func (l *lineReader) read() (line []byte, long bool, err error) {
	line, err = l.r.ReadSlice('\n')
	l.number++
	l.size += len(line)
	for errors.Is(err, bufio.ErrBufferFull) && l.size <= l.limit {
		long = true
		var more []byte
		more, err = l.r.ReadSlice('\n')
		l.size += len(more)
	}
	return line, long, err
}
