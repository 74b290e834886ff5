package cli

import (
	"context"
	"fmt"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

func (a *app) eventsCommand() *command.Command {
	cmd := &command.Command{
		Use:   "events",
		Short: "Show changes of paths and verdicts, tunnels, settings and faults",
		Long: `Shows the last events (at most 512, since the daemon's start): changes of paths
and verdicts, of tunnels and of settings, and faults. With --json one object
stands on each line. Ctrl-C ends --follow.`,
		Example: `  routerd events
  routerd events --follow
  routerd events --json --follow`,
		Args: command.None,
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	var follow bool
	cmd.Switch(&follow, "follow", "go on with each new event")
	cmd.Run = func(ctx context.Context, _ []string) error {
		show := a.printEvent
		if *asJSON {
			show = func(e control.Event) error { return a.printJSONLine(e) }
		}
		if follow {
			return a.followEvents(ctx, show)
		}
		events, err := a.client().Events(ctx, 0)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := show(e); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (a *app) followEvents(ctx context.Context, show func(control.Event) error) error {
	for e, err := range a.client().FollowEvents(ctx, 0) {
		if err != nil {
			return err
		}
		if err := show(e); err != nil {
			return err
		}
	}
	return nil
}

// printEvent writes an event on one line, its reason wrapped below where the
// line is too short for it.
func (a *app) printEvent(e control.Event) error {
	width, _ := a.term.size()
	subject := e.Destination
	if subject == "" {
		subject = e.Tunnel
	} else if e.Tunnel != "" {
		subject += " (" + e.Tunnel + ")"
	}
	line := fmt.Sprintf("%s  %-7s  %s", a.timeText(e.Time), clean(string(e.Kind)), clean(orDash(subject)))
	if e.From != "" || e.To != "" {
		line += fmt.Sprintf("  %s -> %s", clean(orDash(e.From)), clean(orDash(e.To)))
	}
	reason := clean(e.Reason)
	if reason == "" {
		return a.print(line)
	}
	if len(line)+2+len(reason) <= width {
		return a.print(line + "  " + reason)
	}
	return a.print(append([]string{line}, wrap(reason, "    ", width)...)...)
}
