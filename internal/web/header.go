package web

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Field is a field of a header.
type Field struct{ Name, Value string }

// Header is the fields of a message in their order. Names are compared without
// regard to case.
type Header []Field

// Get gives the first value of a field, "" if there is none.
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Set gives a field its only value.
func (h *Header) Set(name, value string) {
	h.remove(name)
	*h = append(*h, Field{name, value})
}

func (h *Header) remove(name string) {
	kept := (*h)[:0]
	for _, f := range *h {
		if !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	*h = kept
}

// count says how many fields have a name.
func (h Header) count(name string) (n int) {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			n++
		}
	}
	return n
}

// hasToken says whether a field lists a word, such as close in Connection.
func (h Header) hasToken(name, token string) bool {
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		for word := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.Trim(word, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// maxFields bounds the fields of one message.
const maxFields = 256

var (
	errHeadTooLarge = errors.New("the header is too large")
	errNoField      = errors.New("a line of the header is no field")
	errFieldName    = errors.New("a field of the header has no valid name")
	errFieldValue   = errors.New("a field of the header holds a control character")
)

// headReader reads the lines ahead of a body.
type headReader struct {
	in   *bufio.Reader
	left int // bytes that may still be read
}

// line gives a line without its end. io.EOF says that nothing came at all.
func (r *headReader) line() (string, error) {
	var whole []byte
	for {
		part, err := r.in.ReadSlice('\n')
		r.left -= len(part)
		if r.left < 0 {
			return "", errHeadTooLarge
		}
		if err == nil && whole == nil {
			return trimLine(part), nil
		}
		whole = append(whole, part...)
		switch {
		case err == nil:
			return trimLine(whole), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(whole) > 0:
			return "", io.ErrUnexpectedEOF
		default:
			return "", err
		}
	}
}

func trimLine(line []byte) string {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return string(line)
}

// fields reads fields up to the empty line. A strict reader takes nothing that
// others might read differently; else a value may go on in the next line (RFC 9112
// 5.2), and fields whose names or values are none are passed over.
func (r *headReader) fields(strict bool) (Header, error) {
	h := make(Header, 0, 8)
	for {
		line, err := r.line()
		switch {
		case errors.Is(err, io.EOF):
			return h, io.ErrUnexpectedEOF
		case err != nil || line == "":
			return h, err
		case len(h) == maxFields:
			return h, errHeadTooLarge
		}
		if err := h.add(line, strict); err != nil {
			return h, err
		}
	}
}

// add takes a line of a header.
func (h *Header) add(line string, strict bool) error {
	if n := len(*h); !strict && n > 0 && (line[0] == ' ' || line[0] == '\t') {
		(*h)[n-1].Value += " " + strings.Trim(line, " \t")
		return nil
	}
	f, err := parseField(line)
	switch {
	case err == nil:
		*h = append(*h, f)
	case strict || errors.Is(err, errNoField):
		return err
	}
	return nil
}

func parseField(line string) (Field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return Field{}, errNoField
	}
	if !isToken(name) {
		return Field{}, errFieldName
	}
	value = strings.Trim(value, " \t")
	if !isValue(value) {
		return Field{}, errFieldValue
	}
	return Field{name, value}, nil
}

// isToken says whether a text is a token of RFC 9110 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isValue says whether a text may be the value of a field.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// appendFields appends a header and the empty line after it. What cannot be a field
// is left out: nothing that others said may begin a line of its own.
func appendFields(out []byte, h Header) []byte {
	for _, f := range h {
		if isToken(f.Name) && isValue(f.Value) {
			out = append(out, f.Name...)
			out = append(out, ": "...)
			out = append(out, f.Value...)
			out = append(out, "\r\n"...)
		}
	}
	return append(out, "\r\n"...)
}
