package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

func (a *app) addCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add RULE --to DESTINATION",
		Short: "Add a rule to a destination, and apply it",
		Long: `Adds a rule to a destination in the settings and makes the daemon apply it: it
counts for the next lookup, and no other connection notices. A rule is a name
with all below it (example.org), one name only (full:api.example.net), an
address or a network.`,
		Example: `  routerd add example.org --to exchanges
  routerd add full:api.example.net --to exchanges
  routerd add 203.0.113.0/24 --to pools`,
		Args: cobra.ExactArgs(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	to := cmd.Flags().String("to", "", "`DESTINATION` (a section of the settings) that takes the rule")
	_ = cmd.MarkFlagRequired("to") // fails for a flag that does not exist only
	cmd.RunE = a.action(func(ctx context.Context, args []string) error {
		rule, err := catalogue.ParseRule(args[0])
		if err != nil {
			return usageError{err}
		}
		if err := config.AddRule(a.files.config, *to, rule.String()); err != nil {
			return err
		}
		if err := a.print(fmt.Sprintf("%s added to %s", rule, clean(*to))); err != nil {
			return err
		}
		return a.apply(ctx)
	})
	return cmd
}

func (a *app) removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove RULE",
		Short: "Remove a rule from every destination, and apply that",
		Example: `  routerd remove example.org
  routerd remove 203.0.113.0/24`,
		Args: cobra.ExactArgs(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	cmd.RunE = a.action(func(ctx context.Context, args []string) error {
		// Not parsed here: a value that is no rule can be removed too.
		from, err := config.RemoveRule(a.files.config, args[0])
		if err != nil {
			return err
		}
		if err := a.print(fmt.Sprintf("%s removed from %s", clean(args[0]), clean(strings.Join(from, ", ")))); err != nil {
			return err
		}
		return a.apply(ctx)
	})
	return cmd
}
