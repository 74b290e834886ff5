package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/sorting"
)

func (a *app) checkCommand() *command.Command {
	cmd := &command.Command{
		Use:   "check [NAME|DOMAIN|URL ...]",
		Short: "Check now what is listed, over every path, layer by layer",
		Long: `Checks now, over every path and layer by layer, whether what is listed can be
used: the targets of destinations, by their names; a domain; or the URL of a
target (https://, http://, tls://, tcp://, stratum+tcp://, stratum+ssl://).
Without any: every target of every destination.

The exit status is 4 where a target is not reachable over the path that is in use
for it. A service that answers and says no has been reached: its verdict is
service_refused, and the status is 0. Ctrl-C ends the checks.`,
		Example: `  routerd check
  routerd check exchanges
  routerd check okx.com stratum+tcp://stratum.braiins.com:3333
  routerd check --json`,
		Args: func(args []string) error {
			for _, s := range args {
				if _, err := control.ParseCheck(s); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		if *asJSON {
			return a.checkJSON(ctx, args)
		}
		return a.checkText(ctx, args)
	}
	return cmd
}

// checkJSON prints the checks when all are done, or as many as Ctrl-C let be done.
func (a *app) checkJSON(ctx context.Context, what []string) error {
	checks, total, err := a.runChecks(ctx, what, func(control.CheckProgress) error { return nil })
	if err != nil {
		return err
	}
	if err := a.printJSON(checks); err != nil {
		return err
	}
	return a.checked(ctx, checks, total)
}

// checkText shows how far the checks are, then their summary.
func (a *app) checkText(ctx context.Context, what []string) error {
	p := a.newCheckProgress()
	if err := p.begin(); err != nil {
		return err
	}
	checks, total, err := a.runChecks(ctx, what, p.add)
	if clearErr := p.end(); err == nil {
		err = clearErr
	}
	if err != nil {
		return err
	}
	width, _ := a.term.size()
	if err := a.print(a.checkLines(checks, width)...); err != nil {
		return err
	}
	return a.checked(ctx, checks, total)
}

// runChecks has the daemon check, and gives what was done, in order of destination
// and target, of how many targets.
func (a *app) runChecks(ctx context.Context, what []string, progress func(control.CheckProgress) error) ([]control.Check, int, error) {
	checks, total := []control.Check{}, 0
	for p, err := range a.client().Check(ctx, what...) {
		if err != nil {
			return nil, 0, err
		}
		if total = p.Total; p.Check != nil {
			checks = append(checks, *p.Check)
		}
		if err := progress(p); err != nil {
			return nil, 0, err
		}
	}
	sorting.By(checks, func(x, y control.Check) int {
		return cmp.Or(strings.Compare(x.Destination, y.Destination), strings.Compare(x.Target, y.Target))
	})
	return checks, total, nil
}

// checked is the end of the command: whether all were checked, and reached.
func (a *app) checked(ctx context.Context, checks []control.Check, total int) error {
	if ctx.Err() != nil {
		a.complain("given up: %d of %s checked", len(checks), count(total, "target", "targets"))
		return silent{exitFailed}
	}
	if slices.ContainsFunc(checks, func(c control.Check) bool { return !c.Reachable() }) {
		return silent{exitUnreached}
	}
	return nil
}

// checkLines are the summary: destinations, their targets, and what came of each
// path.
func (a *app) checkLines(checks []control.Check, width int) []string {
	if len(checks) == 0 {
		return []string{"Nothing was checked."}
	}
	return append(checkTable(checks).lines(a.term, width), append([]string{""}, wrap(checkTotals(checks), "", width)...)...)
}

// checkTable has a row for each destination, each of its targets, and each path.
func checkTable(checks []control.Check) *table {
	t := &table{columns: []column{
		{title: "DESTINATION, TARGET, PATH", least: 25},
		{title: "VERDICT, OUTCOME", least: 16},
		{title: "LAYER"},
		{title: "RTT", right: true},
	}}
	for i, c := range checks {
		if i == 0 || checks[i-1].Destination != c.Destination {
			t.add("", cell{destinationText(c), heading}, text("path "+inUse(c)), text(""), text(""))
		}
		addCheck(t, c)
	}
	return t
}

// destinationText is the heading of a destination's checks.
func destinationText(c control.Check) string {
	if c.Destination == "" {
		return "(not listed)"
	}
	return c.Destination
}

// inUse is the path that a target's connections take.
func inUse(c control.Check) string {
	if c.Path == "" {
		return "direct"
	}
	return c.Path
}

// addCheck adds the rows of a target. Where it works all has been said.
func addCheck(t *table, c control.Check) {
	rows := []row{{cells: []cell{text("  " + c.Target), state(c.Verdict), text(""), text("")}}}
	for _, p := range c.Paths {
		rows = append(rows, row{cells: []cell{text("    " + p.Path), outcome(p), text(p.Layer), text(rttText(p.RTTMs))}})
	}
	if c.Verdict != "reachable" || slices.ContainsFunc(c.Paths, func(p control.CheckPath) bool { return p.Outcome != "ok" }) {
		rows[len(rows)-1].note = c.Reason
	}
	for _, r := range rows {
		t.add(r.note, r.cells...)
	}
}

// outcome makes a cell that has the tone of an outcome.
func outcome(p control.CheckPath) cell {
	tone := stateTone(p.Outcome)
	switch {
	case p.Outcome != "ok" && p.Reached:
		tone = uneasy
	case !p.Reached:
		tone = bad
	}
	return cell{p.Outcome, tone}
}

// checkTotals says how many targets have which verdict.
func checkTotals(checks []control.Check) string {
	var order []string
	n, unreached := map[string]int{}, 0
	for _, c := range checks {
		if n[c.Verdict]++; n[c.Verdict] == 1 {
			order = append(order, c.Verdict)
		}
		if !c.Reachable() {
			unreached++
		}
	}
	sorting.By(order, func(x, y string) int { return cmp.Or(n[y]-n[x], strings.Compare(x, y)) })
	parts := make([]string, len(order))
	for i, v := range order {
		parts[i] = fmt.Sprintf("%d %s", n[v], v)
	}
	out := count(len(checks), "target", "targets") + ": " + strings.Join(parts, ", ")
	if unreached > 0 {
		return clean(fmt.Sprintf("%s; %d not reachable over the path in use", out, unreached))
	}
	return clean(out + "; all reachable over the paths in use")
}
