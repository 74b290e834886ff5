package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/config/uci"
)

// field is one option that a section may have.
type field struct {
	name   string
	list   bool
	secret bool // its value is never shown
	set    func(value)
}

// value is one value of an option in the file.
type value struct {
	r       *reader
	section string
	option  string
	text    string
	line    int
	secret  bool
}

// given are the options of a section that are in the file.
type given map[string]value

// decode hands every option of a section to its field.
func (r *reader) decode(s *uci.Section, fields []field) given {
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].name
	}
	got := given{}
	for _, o := range s.Options {
		v := value{r: r, section: s.Ref, option: o.Name, text: o.Values[0], line: o.Lines[0]}
		i := slices.Index(names, o.Name)
		if i < 0 {
			v.secret = strings.Contains(o.Name, "key")
			v.fail(fmt.Sprintf("is not an option of a section of type %s", s.Type),
				cmp.Or(didYouMean(o.Name, names), "allowed are "+strings.Join(names, ", ")))
			continue
		}
		v.secret = fields[i].secret
		got[o.Name] = v
		if !v.form(o, fields[i]) {
			continue
		}
		for n := range o.Values {
			v.text, v.line = o.Values[n], o.Lines[n]
			if v.text == "" {
				v.fail("is an empty list entry", "remove the line")
				continue
			}
			fields[i].set(v)
		}
	}
	return got
}

// form checks that a list is a list and a single value is one.
func (v value) form(o *uci.Option, f field) bool {
	switch {
	case o.List && !f.list:
		v.fail("is a list, but takes one value", fmt.Sprintf("write one line: option %s 'VALUE'", o.Name))
		return false
	case !o.List && f.list && strings.ContainsAny(v.text, " \t\r\n"):
		v.fail("is several words in one value", fmt.Sprintf("write a line for each: list %s 'VALUE'", o.Name))
		return false
	}
	return true
}

// fail adds an error about the value.
func (v value) fail(text, mend string) { v.add(LevelError, text, mend) }

// note adds a note about the value.
func (v value) note(text, mend string) { v.add(LevelNote, text, mend) }

func (v value) add(level Level, text, mend string) {
	shown := v.text
	if v.secret {
		shown = "(hidden)"
	}
	v.r.add(Problem{
		Level: level, Section: v.section, Option: v.option, Value: shown,
		Text: text, Mend: mend, Line: v.line,
	})
}

// boolField takes what OpenWrt's own scripts take.
func boolField(name string, dst *bool) field {
	return field{name: name, set: func(v value) {
		switch strings.ToLower(v.text) {
		case "1", "yes", "on", "true", "enabled":
			*dst = true
		case "0", "no", "off", "false", "disabled":
			*dst = false
		default:
			v.fail("is neither 1 (yes) nor 0 (no)", "")
		}
	}}
}

// textField takes any text.
func textField(name string, dst *string) field {
	return field{name: name, set: func(v value) { *dst = v.text }}
}

// secretField takes any text and never shows it.
func secretField(name string, dst *string) field {
	return field{name: name, secret: true, set: func(v value) { *dst = v.text }}
}

// checkedField takes a text that a check says nothing against.
func checkedField(name string, dst *string, check func(string) error) field {
	return field{name: name, set: func(v value) {
		if err := check(v.text); err != nil {
			v.fail(err.Error(), "")
			return
		}
		*dst = v.text
	}}
}

// checkedList is checkedField for a list.
func checkedList(name string, dst *[]string, check func(string) error) field {
	return field{name: name, list: true, set: func(v value) {
		if err := check(v.text); err != nil {
			v.fail(err.Error(), "")
			return
		}
		*dst = append(*dst, v.text)
	}}
}

// intField takes a decimal number within bounds.
func intField(name string, dst *int, low, high int) field {
	return field{name: name, set: func(v value) {
		n, err := strconv.Atoi(v.text)
		if err != nil || n < low || n > high {
			v.fail(fmt.Sprintf("is not a number from %d to %d", low, high), "")
			return
		}
		*dst = n
	}}
}

// secondsField takes a number of seconds within bounds.
func secondsField(name string, dst *time.Duration, low, high int) field {
	return field{name: name, set: func(v value) {
		n, err := strconv.Atoi(v.text)
		if err != nil || n < low || n > high {
			v.fail(fmt.Sprintf("is not a number of seconds from %d to %d", low, high), "")
			return
		}
		*dst = time.Duration(n) * time.Second
	}}
}

// choiceField takes one of a few words.
func choiceField[T ~string](name string, dst *T, allowed ...T) field {
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return field{name: name, set: func(v value) {
		if !slices.Contains(words, v.text) {
			v.fail("is not allowed: it is one of "+strings.Join(words, ", "), didYouMean(v.text, words))
			return
		}
		*dst = T(v.text)
	}}
}
