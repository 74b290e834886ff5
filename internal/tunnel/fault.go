package tunnel

import (
	"fmt"
	"regexp"
	"strings"
)

// Fault is one thing that is wrong in a tunnel's settings. Neither it nor its
// text ever holds a key: Value is blank or hidden where a key could stand.
type Fault struct {
	Source string // file, or "tunnel 'home'"; "" when not known
	Line   int    // of a wg-quick file, from 1; 0 where there is none
	Option string // as the user knows it; "" when the fault is not about one
	Value  string // what stands there, without keys
	Text   string // what is wrong, what is allowed, how to mend it
}

// Error is the fault in one line.
func (f *Fault) Error() string {
	var b strings.Builder
	if f.Source != "" {
		fmt.Fprintf(&b, "%s: ", f.Source)
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Option != "" {
		b.WriteString(f.Option)
		if f.Value != "" {
			fmt.Fprintf(&b, " '%s'", f.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Text)
	return b.String()
}

// Faults are all the faults of one tunnel's settings, in order of the file.
type Faults []*Fault

// Error is every fault, one a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Fault.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// err is nil when there is no fault; a nil Faults in an error would not be.
func (fs Faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// at fills in the source of every fault that has none.
func (fs Faults) at(source string) Faults {
	for _, f := range fs {
		if f.Source == "" {
			f.Source = source
		}
	}
	return fs
}

const (
	maxShown = 64 // bytes of a value that a message repeats
	hidden   = "(hidden)"
	keyLeast = 20 // characters
)

// keyChars are runs of characters that keys are made of.
var keyChars = regexp.MustCompile(`[A-Za-z0-9+/=_-]+`)

// hideLong hides a run that is long enough to be a key, or most of one.
func hideLong(run string) string {
	if len(run) >= keyLeast {
		return hidden
	}
	return run
}

// shown is a value fit for a message: short, printable and without anything
// that could be a key. A key has 44 characters of base64 or 64 of hexadecimal,
// but people paste them cut short and into the wrong line, so that every long
// run of such characters is hidden.
func shown(value string) string {
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\'' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(value, ""))
	value = keyChars.ReplaceAllStringFunc(value, hideLong)
	if len(value) > maxShown {
		value = strings.ToValidUTF8(value[:maxShown], "") + "…"
	}
	return value
}
