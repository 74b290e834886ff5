package cli

import (
	"context"
	"fmt"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/doctor"
)

func (a *app) validateCommand() *command.Command {
	cmd := &command.Command{
		Use:   "validate",
		Short: "Check the settings and the wg-quick files that they name",
		Long: `Checks the settings and the wg-quick files that they name, without applying
them, and prints every problem with its section, option and value and with what
is allowed. Notes do no harm. The exit status is 1 if there is an error.`,
		Example: `  routerd validate
  routerd validate --config ./routerd.uci`,
		Args: command.None,
	}
	a.configFlag(cmd)
	cmd.Run = func(context.Context, []string) error {
		c, problems, err := doctor.Settings(a.files.config)
		if err != nil {
			return err
		}
		if err := a.printProblems(problems); err != nil {
			return err
		}
		errors := 0
		for _, p := range problems {
			if p.Level == control.LevelError {
				errors++
			}
		}
		if errors > 0 || c == nil {
			a.complain("%s has %s", a.files.config, count(errors, "error", "errors"))
			return silent{exitFailed}
		}
		return a.print(fmt.Sprintf("%s is valid: %s, %s", a.files.config,
			count(len(c.Tunnels), "tunnel", "tunnels"), count(len(c.Destinations), "destination", "destinations")))
	}
	return cmd
}
