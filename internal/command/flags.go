package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

// Flag is an option of one command.
type Flag struct {
	Name string
	// Usage says what it does; a word in back quotes stands for the value.
	Usage string
	// Default is the value without the flag, "" where that is none.
	Default  string
	Hidden   bool // not in the help
	Required bool

	isSwitch bool // needs no value
	quoted   bool // Default is shown in quotes
	given    bool // by the command line
	set      func(value string) error
}

// String adds a flag for a text. What *to holds is the default.
func (c *Command) String(to *string, name, usage string) *Flag {
	f := c.flag(name, usage, func(s string) error { *to = s; return nil })
	f.Default, f.quoted = *to, true
	return f
}

// Switch adds a flag that needs no value; --name=false takes it back.
func (c *Command) Switch(to *bool, name, usage string) *Flag {
	f := c.flag(name, usage, func(s string) (err error) { *to, err = strconv.ParseBool(s); return err })
	f.isSwitch = true
	return f
}

// Duration adds a flag for a stretch of time, as time.ParseDuration reads it. What
// *to holds is the default.
func (c *Command) Duration(to *time.Duration, name, usage string) *Flag {
	f := c.flag(name, usage, func(s string) (err error) { *to, err = time.ParseDuration(s); return err })
	f.Default = to.String()
	return f
}

// Strings adds a flag for texts: it may be repeated, and commas part them.
func (c *Command) Strings(to *[]string, name, usage string) *Flag {
	return c.flag(name, usage, func(s string) error {
		if s != "" {
			*to = append(*to, strings.Split(s, ",")...)
		}
		return nil
	})
}

// Ints adds a flag for numbers: it may be repeated, and commas part them.
func (c *Command) Ints(to *[]int, name, usage string) *Flag {
	return c.flag(name, usage, func(s string) error {
		for part := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(part)
			if err != nil {
				return err
			}
			*to = append(*to, n)
		}
		return nil
	})
}

func (c *Command) flag(name, usage string, set func(string) error) *Flag {
	f := &Flag{Name: name, Usage: usage, set: set}
	c.flags = append(c.flags, f)
	sorting.By(c.flags, func(a, b *Flag) int { return strings.Compare(a.Name, b.Name) })
	return f
}

// Flags are those of c, by name, without --help; they must not be changed.
func (c *Command) Flags() []*Flag { return c.flags }

// Explain gives the word that stands for the value, "" for a switch, and the usage
// without its back quotes.
func (f *Flag) Explain() (value, usage string) {
	before, rest, _ := strings.Cut(f.Usage, "`")
	value, after, ok := strings.Cut(rest, "`")
	if !ok {
		return "", f.Usage
	}
	return value, before + value + after
}

// The flag that every command has.
const (
	helpName  = "help"
	helpShort = 'h'
)

// parse takes the flags out of args and gives what is left, and whether help is
// asked for.
func (c *Command) parse(args []string) (words []string, help bool, err error) {
	p := parser{flags: append(append([]*Flag(nil), c.flags...), &Flag{
		Name: helpName, isSwitch: true,
		set: func(s string) (err error) { help, err = strconv.ParseBool(s); return err },
	}), rest: args}
	for len(p.rest) > 0 && err == nil {
		arg := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case arg == "--":
			return append(words, p.rest...), help, nil
		case strings.HasPrefix(arg, "--"):
			err = p.long(arg)
		case len(arg) > 1 && arg[0] == '-':
			err = p.short(arg)
		default:
			words = append(words, arg)
		}
	}
	return words, help, err
}

// parser is a command line that is being read.
type parser struct {
	flags []*Flag
	rest  []string // not read yet
}

// long reads --name, --name=VALUE and --name VALUE.
func (p *parser) long(arg string) error {
	name, value, given := strings.Cut(arg[len("--"):], "=")
	f := lookup(p.flags, name)
	switch {
	case name == "" || name[0] == '-':
		return fmt.Errorf("bad flag syntax: %s", arg)
	case f == nil:
		return fmt.Errorf("unknown flag: --%s%s", name, suggestion(name, names(p.flags), "--"))
	case given:
	case f.isSwitch:
		value = "true"
	case len(p.rest) == 0:
		return fmt.Errorf("flag needs an argument: --%s", name)
	default:
		value, p.rest = p.rest[0], p.rest[1:]
	}
	f.given = true
	if err := f.set(value); err != nil {
		return fmt.Errorf("invalid argument %q for --%s: %w", value, name, reason(err))
	}
	return nil
}

// short reads -h, the only flag that has a letter.
func (p *parser) short(arg string) error {
	letters, value, given := strings.Cut(arg[1:], "=")
	if letters == "" {
		return fmt.Errorf("bad flag syntax: %s", arg)
	}
	for _, letter := range letters {
		if letter != helpShort {
			return fmt.Errorf("unknown shorthand flag: %q in %s", letter, arg)
		}
	}
	if !given {
		return p.long("--" + helpName)
	}
	return p.long("--" + helpName + "=" + value)
}

// reason is an error of strconv without the value, which its reader sees anyway.
func reason(err error) error {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return number.Err
	}
	return err
}

func lookup(flags []*Flag, name string) *Flag {
	for _, f := range flags {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// names are those of the flags that the help shows.
func names(flags []*Flag) []string {
	var out []string
	for _, f := range flags {
		if !f.Hidden {
			out = append(out, f.Name)
		}
	}
	return out
}
