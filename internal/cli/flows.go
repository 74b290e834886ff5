package cli

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

// repaint is how often followed flows are shown anew.
const repaint = time.Second

func (a *app) flowsCommand() *command.Command {
	cmd := &command.Command{
		Use:   "flows",
		Short: "Show the live connections that are steered",
		Long: `Shows the live connections that are steered. With --follow the table is repainted
in place every second on a terminal and written again and again elsewhere; with
--json too, one line holds all connections of one moment. Ctrl-C ends it.`,
		Example: `  routerd flows
  routerd flows --follow
  routerd flows --json --follow`,
		Args: command.None,
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	var follow bool
	cmd.Switch(&follow, "follow", "go on showing them")
	cmd.Run = func(ctx context.Context, _ []string) error {
		switch {
		case follow && *asJSON:
			return a.followFlows(ctx, func(flows []control.Flow) error { return a.printJSONLine(flows) })
		case follow && a.term.file != nil:
			return a.watchFlows(ctx)
		case follow:
			return a.followFlows(ctx, a.printMoment)
		}
		flows, err := a.client().Flows(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(flows)
		}
		width, _ := a.term.size()
		return a.print(a.flowLines(flows, width)...)
	}
	return cmd
}

// followFlows shows each snapshot until ctx ends, which is no error.
func (a *app) followFlows(ctx context.Context, show func([]control.Flow) error) error {
	for flows, err := range a.client().FollowFlows(ctx, repaint) {
		if err != nil {
			return err
		}
		if err := show(flows); err != nil {
			return err
		}
	}
	return nil
}

// printMoment writes one snapshot below the last one.
func (a *app) printMoment(flows []control.Flow) error {
	width, _ := a.term.size()
	lines := append([]string{a.timeText(a.now())}, a.flowLines(flows, width)...)
	return a.print(append(lines, "")...)
}

// watchFlows repaints the terminal and gives it back as it was.
func (a *app) watchFlows(ctx context.Context) error {
	s := &screen{out: a.stdout}
	defer s.close()
	return a.followFlows(ctx, func(flows []control.Flow) error {
		width, rows := a.term.size()
		title := fmt.Sprintf("%s at %s, Ctrl-C ends", count(len(flows), "flow", "flows"), a.now().In(a.zone).Format(time.TimeOnly))
		return s.paint(append([]string{title, ""}, a.flowLines(flows, width)...), rows)
	})
}

func (a *app) flowLines(flows []control.Flow, width int) []string {
	if len(flows) == 0 {
		return []string{"No connection is steered now."}
	}
	t := &table{columns: []column{
		{title: "DESTINATION", least: 8},
		{title: "PATH", least: 6},
		{title: "CLIENT", least: 8},
		{title: "TARGET", least: 16},
		{title: "STATE", least: 5},
		{title: "AGE", right: true},
		{title: "RECV", right: true},
		{title: "SENT", right: true},
	}}
	for _, f := range flows {
		t.add("", text(f.Destination), text(f.Path), text(hostPart(f.Source)), text(targetText(f)),
			state(f.State), text(shortAge(f.AgeS)), text(bytesText(f.RxBytes)), text(bytesText(f.TxBytes)))
	}
	return t.lines(a.term, width)
}

// hostPart drops the port of a client, which tells nobody anything.
func hostPart(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return hostPort
}

// targetText names what a flow leads to, by its name where one is known.
func targetText(f control.Flow) string {
	target := f.Target
	if _, port, err := net.SplitHostPort(f.Target); err == nil && f.Name != "" {
		target = f.Name + ":" + port
	}
	if f.Protocol == "" || f.Protocol == "tcp" {
		return target
	}
	return target + " " + f.Protocol
}
