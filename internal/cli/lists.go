package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

func (a *app) listsCommand() *command.Command {
	cmd := &command.Command{
		Use:   "lists",
		Short: "Show the lists that are fetched, their age, counts and errors",
		Long: `Shows the lists of the settings: how many rules each has in force, when it last
changed, when it was last fetched in order, what in it could not be used, and
what keeps it from being fetched.`,
		Example: `  routerd lists
  routerd lists --json
  routerd lists update community`,
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		lists, err := a.client().Lists(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(lists)
		}
		return a.printLists(lists)
	}
	cmd.Add(a.listsUpdateCommand())
	return cmd
}

func (a *app) printLists(lists []control.List) error {
	if len(lists) == 0 {
		width, _ := a.term.size()
		return a.print(wrap("No list is set up: add a section `config list` with url and destination to the settings.", "", width)...)
	}
	t := &table{columns: []column{
		{title: "LIST", least: 8},
		{title: "DESTINATION", least: 11},
		{title: "FORMAT"},
		{title: "RULES", right: true},
		{title: "SKIPPED", right: true},
		{title: "CHANGED", right: true},
		{title: "CHECKED", right: true},
		{title: "NEXT", right: true},
	}}
	for _, l := range lists {
		t.add(listNote(l), text(l.Name), text(l.Destination), text(l.Format), text(strconv.Itoa(l.Rules)),
			text(strconv.Itoa(l.Skipped)), text(a.since(l.Updated)), text(a.since(l.Checked)), a.nextTry(l))
	}
	return a.printTable(t)
}

// listNote is what stands below a list.
func listNote(l control.List) string {
	parts := []string{l.URL}
	if l.Error != "" {
		parts = append(parts, "ERROR "+l.Error)
	}
	for _, kind := range slices.Sorted(maps.Keys(l.Unsupported)) {
		parts = append(parts, fmt.Sprintf("%d %s not supported", l.Unsupported[kind], kind))
	}
	const shown = 3
	parts = append(parts, l.Problems[:min(len(l.Problems), shown)]...)
	if more := l.Skipped - shown; more > 0 && len(l.Problems) > 0 {
		parts = append(parts, fmt.Sprintf("and %d more skipped", more))
	}
	return strings.Join(parts, "; ")
}

// since says how long ago a time was.
func (a *app) since(t *time.Time) string {
	if t == nil {
		return "never"
	}
	seconds := int64(a.now().Sub(*t) / time.Second)
	return agoText(&seconds)
}

// nextTry says when a list is fetched again.
func (a *app) nextTry(l control.List) cell {
	switch {
	case l.Fetching:
		return cell{"now", uneasy}
	case l.NextTry == nil:
		return text("-")
	}
	next := text("in " + shortAge(int64(l.NextTry.Sub(a.now())/time.Second)))
	if l.Error != "" {
		next.tone = bad
	}
	return next
}

func (a *app) listsUpdateCommand() *command.Command {
	cmd := &command.Command{
		Use:   "update [NAME]",
		Short: "Fetch a list now, or all of them, and use what came",
		Long: `Makes the daemon fetch a list, or without NAME every list, and waits for the
end. Where that fails the last good content stays in force and the exit status
is 1. With --json one object stands on each line.`,
		Example: `  routerd lists update
  routerd lists update community`,
		Args: command.AtMost(1),
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		name, err := control.ParseListName(strings.Join(args, ""))
		if err != nil {
			return usageError{err}
		}
		if len(args) > 0 && name == "" {
			return usageError{fmt.Errorf("the name of the list is empty")}
		}
		show := a.printProgress
		if *asJSON {
			show = func(p control.ListProgress) error { return a.printJSONLine(p) }
		}
		return a.updateLists(ctx, name, show)
	}
	return cmd
}

// updateLists shows an update to its end; it fails silently when a list does.
func (a *app) updateLists(ctx context.Context, name string, show func(control.ListProgress) error) error {
	failed := false
	for p, err := range a.client().UpdateList(ctx, name) {
		if err != nil {
			return err
		}
		if err := show(p); err != nil {
			return err
		}
		failed = failed || p.State == control.ListFailed
	}
	switch {
	case failed:
		return silent{exitFailed}
	case ctx.Err() != nil:
		a.complain("given up; the last good content stays")
		return silent{exitFailed}
	}
	return nil
}

// printProgress writes the end of each list on a line; on a terminal also how
// far it is, again and again on the same line.
func (a *app) printProgress(p control.ListProgress) error {
	line := clean(p.Name) + ": "
	switch p.State {
	case control.ListFailed:
		line += a.term.paint("failed", bad) + ", the last good content stays: " + clean(p.Error)
	case control.ListDone:
		line += count(p.Rules, "rule", "rules")
		if p.Skipped > 0 {
			line += fmt.Sprintf(", %d skipped", p.Skipped)
		}
		if !p.Changed {
			line += ", unchanged"
		}
	default:
		if a.term.file == nil {
			return nil
		}
		width, _ := a.term.size()
		return a.write("\r" + cut(line+progressText(p), width-1) + clearRight)
	}
	if a.term.file != nil {
		line = "\r" + line + clearRight
	}
	return a.print(line)
}

// progressText says how much of a list has been received.
func progressText(p control.ListProgress) string {
	s := bytesText(uint64(max(p.Done, 0)))
	if p.Total > 0 {
		s += fmt.Sprintf(" of %s (%d %%)", bytesText(uint64(p.Total)), min(p.Done*100/p.Total, 100))
	}
	if p.Path != "" {
		s += " over " + clean(p.Path)
	}
	return s
}
