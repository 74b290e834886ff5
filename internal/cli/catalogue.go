package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/daemon"
)

func (a *app) catalogueCommand() *command.Command {
	cmd := &command.Command{
		Use:   "catalogue [WORD ...]",
		Short: "Search the built-in services",
		Long: `Lists the built-in services that match every word: part of an id, of a name or
of a domain, or a category (exchange, pool, analytics, wallet, management). The
daemon need not run. ` + "`list service 'ID'`" + ` in a destination takes a service.`,
		Example: `  routerd catalogue
  routerd catalogue pool
  routerd catalogue --json api.binance.com`,
	}
	asJSON := jsonFlag(cmd)
	cmd.Run = func(_ context.Context, args []string) error {
		all, err := catalogue.Builtin()
		if err != nil {
			return err
		}
		services := daemon.Services(all.Search(args...))
		if *asJSON {
			return a.printJSON(services)
		}
		if len(services) == 0 {
			width, _ := a.term.size()
			return a.print(wrap(fmt.Sprintf("No built-in service matches %q. Any name can be added with `routerd add NAME --to DESTINATION`.", strings.Join(args, " ")), "", width)...)
		}
		return a.printServices(services)
	}
	return cmd
}

// printServices writes a table, or everything about a service that stands alone.
func (a *app) printServices(services []control.Service) error {
	if len(services) == 1 {
		return a.printService(services[0])
	}
	t := &table{columns: []column{
		{title: "SERVICE"},
		{title: "NAME", least: 12},
		{title: "CATEGORY"},
		{title: "DOMAINS", least: 20},
	}}
	for _, s := range services {
		t.add("", text(s.ID), text(s.Name), text(s.Category), text(strings.Join(s.Domains, " ")))
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	return a.print("", count(len(services), "service", "services"))
}

func (a *app) printService(s control.Service) error {
	width, _ := a.term.size()
	out := []string{a.term.paint(clean(fmt.Sprintf("%s (%s, %s)", s.ID, s.Name, s.Category)), heading)}
	field := func(name string, values []string) {
		if len(values) > 0 {
			out = append(out, fieldLines(name, strings.Join(values, " "), width)...)
		}
	}
	field("domains", s.Domains)
	field("pools", s.Ports)
	field("checks", s.Checks)
	return a.print(out...)
}
