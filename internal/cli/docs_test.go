package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/command"
)

// reference is the page about every command; `go test ./internal/cli -run
// Reference -update` writes it.
const reference = "../../docs/cli.md"

func TestReferenceOfCommandsIsCurrent(t *testing.T) {
	var b strings.Builder
	root := testApp("", &b, &b).root()
	b.WriteString(`# Commands

Written from the program's own help; the same is shown by ` + "`routerd COMMAND --help`" + `.

` + root.Long + "\n\n" + `Tables fit a terminal of 80 columns and need no UTF-8. Colours are used on a
terminal only, and not with NO_COLOR set. ` + "`--json`" + ` prints JSON and nothing else.
`)
	eachCommand(root, func(c *command.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		writeCommand(&b, c)
	})
	if *update {
		if err := os.WriteFile(reference, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/cli.md is out of date: go test ./internal/cli -run Reference -update")
	}
}

// writeCommand writes what there is to know of one command.
func writeCommand(b *strings.Builder, c *command.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n    %s\n\n", c.Path(), strings.TrimSuffix(c.Short, "."), c.UsageLine())
	if c.Long != "" {
		b.WriteString(strings.TrimSpace(c.Long) + "\n\n")
	}
	flags := c.Flags()
	if len(flags) > 0 {
		b.WriteString("| option | what | default |\n|---|---|---|\n")
	}
	for _, f := range flags {
		value, usage := f.Explain()
		if value != "" {
			value = " " + value
		}
		fmt.Fprintf(b, "| `--%s%s` | %s | %s |\n", f.Name, value, usage, f.Default)
	}
	if len(flags) > 0 {
		b.WriteString("\n")
	}
	example := strings.TrimPrefix(strings.ReplaceAll("\n"+c.Example, "\n  ", "\n    "), "\n")
	b.WriteString("Examples:\n\n" + example + "\n")
}
