// Package command is a command line of commands below commands, each with its
// flags, arguments and help. Flags stand before, among and after the arguments:
// --name VALUE, --name=VALUE, --name where it is a switch; -- ends them.
//
// It is here because spf13/cobra takes 290 KB more of a router's flash, and Go's
// own package flag knows neither commands nor flags behind arguments.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/routerd/routerd/internal/sorting"
)

// Command is one command. The zero value of what is not set says: none.
type Command struct {
	// Use is the name and, behind it, what stands for the arguments.
	Use     string
	Short   string // one line
	Long    string
	Example string // lines, indented by two
	// Hidden keeps it out of the list of its parent.
	Hidden bool
	// Args says what is wrong with the arguments; nil: nothing. A command that has
	// others below it takes none.
	Args func(args []string) error
	// Run does it. A command without Run has others below it that do.
	Run func(ctx context.Context, args []string) error

	parent   *Command
	commands []*Command // by name
	flags    []*Flag
}

// ErrIncomplete says that a command was called that does nothing by itself.
var ErrIncomplete = errors.New("a command is missing")

// UsageError says that a command line is wrong; nothing has been done yet.
type UsageError struct{ Err error }

// Error says what is wrong.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e UsageError) Unwrap() error { return e.Err }

// Add puts commands below c.
func (c *Command) Add(below ...*Command) {
	for _, b := range below {
		b.parent = c
	}
	c.commands = append(c.commands, below...)
	sorting.By(c.commands, func(a, b *Command) int { return strings.Compare(a.Name(), b.Name()) })
}

// Commands are those below c, by name; they must not be changed.
func (c *Command) Commands() []*Command { return c.commands }

// Name is the word by which c is called.
func (c *Command) Name() string {
	name, _, _ := strings.Cut(c.Use, " ")
	return name
}

// Path is what one types to call c: the names from the program's to its own.
func (c *Command) Path() string { return c.above() + c.Name() }

// UsageLine is Path with what stands for the arguments.
func (c *Command) UsageLine() string { return c.above() + c.Use }

// above is the path of what c stands below, with a space behind it.
func (c *Command) above() string {
	if c.parent == nil {
		return ""
	}
	return c.parent.Path() + " "
}

// Execute runs the command that args name, or writes its help to out. It gives
// that command whatever the error is: a UsageError, ErrIncomplete or what Run, or
// writing, failed by.
func (c *Command) Execute(ctx context.Context, args []string, out io.Writer) (*Command, error) {
	at, rest := c.Find(args)
	words, help, err := at.parse(rest)
	switch {
	case err != nil:
		return at, UsageError{err}
	case help:
		return at, at.Help(out)
	}
	if err := at.check(words); err != nil {
		return at, UsageError{err}
	}
	if at.Run == nil {
		return at, ErrIncomplete
	}
	return at, at.Run(ctx, words)
}

// check looks at what parse has left, and for what it has not found.
func (c *Command) check(words []string) error {
	if len(c.commands) > 0 && len(words) > 0 {
		return c.unknown(words[0])
	}
	if c.Args != nil {
		if err := c.Args(words); err != nil {
			return err
		}
	}
	for _, f := range c.flags {
		if f.Required && !f.given {
			return fmt.Errorf("required flag %q not set", f.Name)
		}
	}
	return nil
}

// unknown answers a word below c that is no command.
func (c *Command) unknown(word string) error {
	var names []string
	for _, b := range c.commands {
		if !b.Hidden {
			names = append(names, b.Name())
		}
	}
	_, path, _ := strings.Cut(c.Path()+" "+word, " ") // without the program's name
	return fmt.Errorf("there is no command %q%s", path, suggestion(word, names, ""))
}

// Find gives the command that args name and what is left of them. Flags may stand
// before its name.
func (c *Command) Find(args []string) (*Command, []string) {
	for {
		i := c.firstWord(args)
		if i == len(args) {
			return c, args
		}
		below := c.below(args[i])
		if below == nil {
			return c, args
		}
		c, args = below, append(append([]string(nil), args[:i]...), args[i+1:]...)
	}
}

// below is the command of a name below c, or nil.
func (c *Command) below(name string) *Command {
	for _, b := range c.commands {
		if b.Name() == name {
			return b
		}
	}
	return nil
}

// firstWord is the place of the first of args that is neither a flag nor the value
// of one, or len(args).
func (c *Command) firstWord(args []string) int {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return len(args)
		case !strings.HasPrefix(arg, "-"):
			return i
		case c.takesValue(strings.TrimPrefix(arg, "--")):
			i++
		}
	}
	return len(args)
}

// takesValue says whether a value stands behind the flag of that name, which is
// one of c or of a command below it.
func (c *Command) takesValue(name string) bool {
	if f := lookup(c.flags, name); f != nil {
		return !f.isSwitch
	}
	for _, b := range c.commands {
		if b.takesValue(name) {
			return true
		}
	}
	return false
}

// None refuses arguments.
func None(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("accepts no argument, received %q", args[0])
	}
	return nil
}

// Exactly wants n arguments.
func Exactly(n int) func([]string) error {
	return func(args []string) error {
		if len(args) != n {
			return fmt.Errorf("accepts %s, received %d", arguments(n), len(args))
		}
		return nil
	}
}

// AtMost wants n arguments or fewer.
func AtMost(n int) func([]string) error {
	return func(args []string) error {
		if len(args) > n {
			return fmt.Errorf("accepts at most %s, received %d", arguments(n), len(args))
		}
		return nil
	}
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}
