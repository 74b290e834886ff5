package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/internal/control"
)

func (a *app) reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "reload",
		Short:   "Make the daemon apply its settings without touching unchanged flows",
		Example: `  uci commit routerd && routerd reload`,
		Args:    cobra.NoArgs,
	}
	a.socketFlag(cmd)
	cmd.RunE = a.action(func(ctx context.Context, _ []string) error {
		problems, err := a.client().Reload(ctx)
		if printErr := a.printProblems(problems); printErr != nil {
			return printErr
		}
		return reloadError(err)
	})
	return cmd
}

// reloadError says what a refused reload means.
func reloadError(err error) error {
	var refused *control.APIError
	if errors.As(err, &refused) {
		return fmt.Errorf("the daemon keeps its last good settings: %w", err)
	}
	return err
}

// apply makes a running daemon take over a change of the settings that has been
// written. Without a daemon it says when the change will count.
func (a *app) apply(ctx context.Context) error {
	problems, err := a.client().Reload(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		a.complain("routerd is not running: the change counts from its next start (`/etc/init.d/routerd start`)")
		return nil
	}
	if err == nil {
		return nil
	}
	for _, p := range problems {
		if p.Level == control.LevelError {
			_, _ = fmt.Fprintln(a.stderr, problemText(p))
		}
	}
	return reloadError(err)
}

func (a *app) printProblems(problems []control.Problem) error {
	for _, p := range problems {
		if err := a.print(problemText(p)); err != nil {
			return err
		}
	}
	return nil
}

// problemText writes a problem on one line: where it is, then what is wrong.
func problemText(p control.Problem) string {
	where := []string{}
	if p.Section != "" {
		where = append(where, "section "+p.Section)
	}
	if p.Option != "" {
		where = append(where, "option "+p.Option)
	}
	if p.Value != "" {
		where = append(where, fmt.Sprintf("value %q", p.Value))
	}
	if len(where) == 0 {
		return clean(p.Level + ": " + p.Text)
	}
	return clean(p.Level + ": " + strings.Join(where, ", ") + ": " + p.Text)
}
