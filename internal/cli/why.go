package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

func (a *app) whyCommand() *command.Command {
	cmd := &command.Command{
		Use:   "why NAME|ADDRESS",
		Short: "Tell which path a name or an address takes, and why",
		Long: `Tells which rule a name or an address falls under, what it was learned from,
which path its connections take, and why. A URL stands for its host name.`,
		Example: `  routerd why api.binance.com
  routerd why 203.0.113.7 --client 192.168.1.40
  routerd why --json https://api.example.org/v1`,
		Args: command.Exactly(1),
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	var client string
	cmd.String(&client, "client", "`ADDRESS` of the client that connects; none: any client")
	cmd.Run = func(ctx context.Context, args []string) error {
		target, err := control.ParseTarget(hostOf(args[0]))
		if err != nil {
			return usageError{err}
		}
		from, err := control.ParseClient(client)
		if err != nil {
			return usageError{err}
		}
		w, err := a.client().Why(ctx, target, from)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(w)
		}
		return a.printWhy(w)
	}
	return cmd
}

// hostOf gives the host of a URL, and anything else as it is.
func hostOf(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return s
	}
	return u.Hostname()
}

func (a *app) printWhy(w control.Why) error {
	width, _ := a.term.size()
	title := w.Query
	if w.Client != "" {
		title += " for client " + w.Client
	}
	out := []string{a.term.paint(clean(title), heading)}
	field := func(name, value string) { out = append(out, fieldLines(name, value, width)...) }
	field("path", pathText(w))
	if w.Destination == "" {
		field("destination", "none: nothing that is listed matches")
	} else {
		field("destination", fmt.Sprintf("%s, policy %s", w.Destination, w.Policy))
		field("rule", w.Rule)
	}
	field("reason", w.Reason)
	if w.LastCheck != nil {
		ago := int64(a.now().Sub(*w.LastCheck).Seconds())
		field("last check", fmt.Sprintf("%s (%s ago)", a.timeText(*w.LastCheck), ageText(ago)))
	}
	if len(w.Checks) > 0 {
		out = append(out, "")
		out = append(out, checkTable(w.Checks).lines(a.term, width)...)
	}
	if len(w.Addresses) > 0 {
		out = append(out, "")
		out = append(out, a.addressLines(w.Addresses, width)...)
	}
	return a.print(out...)
}

func pathText(w control.Why) string {
	var kernel []string
	if w.Device != "" {
		kernel = append(kernel, "device "+w.Device)
	}
	if w.Mark != "" {
		kernel = append(kernel, "mark "+w.Mark)
	}
	if w.Table != 0 {
		kernel = append(kernel, fmt.Sprintf("table %d", w.Table))
	}
	if len(kernel) == 0 {
		return w.Path
	}
	return w.Path + " (" + strings.Join(kernel, ", ") + ")"
}

func (a *app) addressLines(addresses []control.WhyAddress, width int) []string {
	t := &table{columns: []column{
		{title: "ADDRESS"},
		{title: "LEARNED FROM"},
		{title: "AGE", right: true},
		{title: "EXPIRES IN", right: true},
	}}
	for _, d := range addresses {
		from := orDash(d.LearnedFrom)
		if !d.Trusted {
			from += ", untrusted"
		}
		t.add(addressNote(d), text(d.Address), text(from), text(ageText(d.AgeS)), text(ageText(d.ExpiresS)))
	}
	return t.lines(a.term, width)
}

func addressNote(d control.WhyAddress) string {
	var notes []string
	if len(d.Names) > 0 {
		notes = append(notes, "of "+strings.Join(d.Names, ", "))
	}
	if len(d.Clients) > 0 {
		notes = append(notes, "known to "+strings.Join(d.Clients, ", ")+" only")
	}
	if len(d.SharedWith) > 0 {
		notes = append(notes, "shared with "+strings.Join(d.SharedWith, ", "))
	}
	return strings.Join(notes, "; ")
}
