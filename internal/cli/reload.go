package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/web"
)

func (a *app) reloadCommand() *command.Command {
	cmd := &command.Command{
		Use:     "reload",
		Short:   "Apply the settings without touching unchanged flows",
		Example: `  uci commit routerd && routerd reload`,
		Args:    command.None,
	}
	a.socketFlag(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		problems, err := a.client().Reload(ctx)
		if printErr := a.printProblems(problems); printErr != nil {
			return printErr
		}
		return reloadError(err)
	}
	return cmd
}

// reloadError says what a refused reload means.
func reloadError(err error) error {
	if isRefusal(err) {
		return fmt.Errorf("the daemon keeps its last good settings: %w", err)
	}
	return err
}

// isRefusal tells settings that the daemon refused from a daemon that could not
// come to them.
func isRefusal(err error) bool {
	var answer *control.APIError
	return errors.As(err, &answer) && answer.Status == web.StatusUnprocessableEntity
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
			_, _ = fmt.Fprintln(a.stderr, strings.Join(problemLines(p, plainWidth), "\n"))
		}
	}
	return reloadError(err)
}

func (a *app) printProblems(problems []control.Problem) error {
	width, _ := a.term.size()
	for _, p := range problems {
		if err := a.print(problemLines(p, width)...); err != nil {
			return err
		}
	}
	return nil
}

// problemLines writes where a problem is, and below it what is wrong.
func problemLines(p control.Problem, width int) []string {
	var where []string
	if p.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", p.Line))
	}
	if p.Section != "" {
		where = append(where, "section "+p.Section)
	}
	if p.Option != "" {
		where = append(where, "option "+p.Option)
	}
	if p.Value != "" {
		where = append(where, fmt.Sprintf("value %q", p.Value))
	}
	what := p.Text
	if p.Mend != "" {
		what += "; " + p.Mend
	}
	if len(where) == 0 {
		return wrap(clean(p.Level+": "+what), "", width)
	}
	lines := wrap(clean(p.Level+": "+strings.Join(where, ", ")), "", width)
	return append(lines, wrap(clean(what), "    ", width)...)
}
