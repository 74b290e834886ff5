package command

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// nameWidth is the least width of the names in a list of commands.
const nameWidth = 11

// Help writes what there is to know of c.
func (c *Command) Help(out io.Writer) error {
	var b strings.Builder
	about := c.Long
	if about == "" {
		about = c.Short
	}
	b.WriteString(about + "\n\nUsage:\n  " + c.UsageLine() + " [flags]\n")
	if len(c.commands) > 0 {
		b.WriteString("  " + c.Path() + " [command]\n")
	}
	if c.Example != "" {
		b.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	c.writeCommands(&b)
	b.WriteString("\nFlags:\n")
	c.writeFlags(&b)
	if len(c.commands) > 0 {
		fmt.Fprintf(&b, "\nUse \"%s [command] --help\" for more information about a command.\n", c.Path())
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (c *Command) writeCommands(b *strings.Builder) {
	width := nameWidth
	for _, below := range c.commands {
		width = max(width, len(below.Name()))
	}
	for i, below := range c.commands {
		if i == 0 {
			b.WriteString("\nAvailable Commands:\n")
		}
		if !below.Hidden {
			fmt.Fprintf(b, "  %-*s %s\n", width, below.Name(), below.Short)
		}
	}
}

// writeFlags writes a line for each flag, --help among them.
func (c *Command) writeFlags(b *strings.Builder) {
	var left, right []string
	add := func(l, r string) { left, right = append(left, l), append(right, r) }
	helpDone := false
	help := func() {
		if !helpDone {
			add("  -h, --help", "help for "+c.Name())
		}
		helpDone = true
	}
	for _, f := range c.flags {
		if f.Hidden {
			continue
		}
		if f.Name > helpName {
			help()
		}
		value, usage := f.Explain()
		add(strings.TrimRight("      --"+f.Name+" "+value, " "), usage+f.defaultText())
	}
	help()
	width := 0
	for _, l := range left {
		width = max(width, len(l))
	}
	for i, l := range left {
		fmt.Fprintf(b, "%-*s   %s\n", width, l, right[i])
	}
}

// defaultText tells the default, if there is one.
func (f *Flag) defaultText() string {
	switch {
	case f.Default == "":
		return ""
	case f.quoted:
		return " (default " + strconv.Quote(f.Default) + ")"
	}
	return " (default " + f.Default + ")"
}
