package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/config"
)

func (a *app) addCommand() *command.Command {
	cmd := &command.Command{
		Use:   "add RULE --to DESTINATION",
		Short: "Add a rule to a destination, and apply it",
		Long: `Adds a rule to a destination in the settings and makes the daemon apply it: it
counts for the next lookup, and no other connection notices. A rule is a name
with all below it (example.org), one name only (full:api.example.net), an
address or a network.`,
		Example: `  routerd add example.org --to exchanges
  routerd add full:api.example.net --to exchanges
  routerd add 203.0.113.0/24 --to pools`,
		Args: command.Exactly(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	var to string
	cmd.String(&to, "to", "`DESTINATION` (a section of the settings) that takes the rule").Required = true
	cmd.Run = func(ctx context.Context, args []string) error {
		rule, err := catalogue.ParseRule(args[0])
		if err != nil {
			return usageError{err}
		}
		if err := config.AddRule(a.files.config, to, rule.String()); err != nil {
			return err
		}
		if err := a.print(fmt.Sprintf("%s added to %s", rule, clean(to))); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}

func (a *app) removeCommand() *command.Command {
	cmd := &command.Command{
		Use:   "remove RULE",
		Short: "Remove a rule from every destination, and apply that",
		Example: `  routerd remove example.org
  routerd remove 203.0.113.0/24`,
		Args: command.Exactly(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		// Not parsed here: a value that is no rule can be removed too.
		from, err := config.RemoveRule(a.files.config, args[0])
		if err != nil {
			return err
		}
		if err := a.print(fmt.Sprintf("%s removed from %s", clean(args[0]), clean(strings.Join(from, ", ")))); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}
