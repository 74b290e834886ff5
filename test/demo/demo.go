package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// KeptLab is the name of a lab that is left running, unless Options name one.
const KeptLab = "demo"

// ErrLeft tells that something of the lab may still be there.
var ErrLeft = errors.New("the lab could not be ended")

// Options say how the demo is run.
type Options struct {
	// Program is routerd's; it must stay where it is while the lab runs.
	Program string
	// Lab is the lab's name; "" is one of its own, or KeptLab with Keep.
	Lab string
	// Keep leaves the lab and the daemon running.
	Keep bool
	// Progress gets a line a stage; nil is silence.
	Progress io.Writer
}

// Run shows everything once and reports it. It returns an error where it could
// not do so, or ctx ended before; then no lab is left, whatever Options say.
// That something went where it must not is no error but stands in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	program, err := programPath(o.Program)
	if err != nil {
		return Report{}, err
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Lab == "" {
		o.Lab = KeptLab
		if !o.Keep {
			o.Lab += "-" + strings.ToLower(rand.Text()[:6])
		}
	}
	s := &show{o: o, begin: time.Now(), program: program}
	err = s.play(ctx)
	if s.lab != nil && (err != nil || !o.Keep) {
		s.say("ending the lab")
		if left := s.lab.Down(); left != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", ErrLeft, left))
		}
	}
	if err != nil {
		return Report{}, err
	}
	s.report.Lab, s.report.Kept, s.report.Seconds = o.Lab, o.Keep, time.Since(s.begin).Seconds()
	s.report.finish()
	s.say("done")
	return s.report, nil
}

// show is one run of the demo.
type show struct {
	o       Options
	begin   time.Time
	program string
	report  Report

	lab       *lab.Lab
	router    *router
	driver    *driver
	witness   witness
	unforge   func() error            // has the provider tell the truth again
	addresses map[string][]netip.Addr // of the clients, by host
	cases     []Case
	before    dump
}

// say prints one line of progress.
func (s *show) say(format string, args ...any) {
	fmt.Fprintf(s.o.Progress, "%6.1fs  %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

// play does everything in order.
func (s *show) play(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		s.raise, s.startRouter, s.driveAll,
		s.showFailClosed, s.showKill, s.showNoDaemon, s.showNextDaemon, s.showCleanup,
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// raise raises the lab and gets to know it.
func (s *show) raise(ctx context.Context) error {
	s.say("raising lab %s: %d hosts in network namespaces", s.o.Lab, len(lab.Hosts()))
	l, err := lab.Up(ctx, lab.Options{Name: s.o.Lab, Detach: s.o.Keep})
	if err != nil {
		return err
	}
	s.lab, s.router, s.witness = l, &router{lab: l, program: s.program}, witness{l}
	names, err := lab.Names()
	if err != nil {
		return err
	}
	s.driver = &driver{lab: l, names: map[string]lab.Name{}}
	for _, n := range names {
		s.driver.names[n.Name] = n
	}
	if s.addresses, err = clientAddresses(l.Status()); err != nil {
		return err
	}
	net4, err := freeNetwork(names)
	if err != nil {
		return err
	}
	net6 := netip.MustParsePrefix(network6)
	s.cases = cases(net4, net6)
	return s.router.prepare(ctx, settings(net4, net6))
}

// clientAddresses are the hosts' addresses by name of the host.
func clientAddresses(status lab.Status) (map[string][]netip.Addr, error) {
	out := map[string][]netip.Addr{}
	for _, h := range status.Hosts {
		for _, text := range h.Addresses {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("read addresses of %s: %w", h.Name, err)
			}
			out[h.Name] = append(out[h.Name], a)
		}
	}
	return out, nil
}

// startRouter starts routerd on a router that knows nothing of it, then gives
// it its tunnel.
func (s *show) startRouter(ctx context.Context) error {
	s.say("writing down rules, routes, nftables, links and so on of the router as it is")
	var err error
	if s.before, err = s.router.dump(ctx); err != nil {
		return err
	}
	s.say("starting routerd with the catalogue's exchanges and pools")
	if err := s.router.start(ctx); err != nil {
		return err
	}
	s.say("routerd tunnel import %s %s, a wg-quick file", tunnelName, quickFile)
	if err := s.router.importTunnel(ctx); err != nil {
		return err
	}
	return s.forge(ctx)
}

// forge has the provider answer every lookup of listed names with its block page,
// whatever server is asked, for as long as the demo lasts.
func (s *show) forge(ctx context.Context) error {
	s.say("the provider forges DNS answers from now on: %s and more are at its block page", knownName)
	var err error
	s.unforge, err = s.lab.Interfere(ctx, lab.Interference{Kind: interfere.DNSForge, Names: []string{
		"binance.com", "okx.com", "bybit.com", "kraken.com", "braiins.com", "f2pool.com", "metamask.io",
	}})
	return err
}

// driveAll drives the clients, one case after another.
func (s *show) driveAll(ctx context.Context) error {
	group := ""
	for _, c := range s.cases {
		if c.Group != group {
			group = c.Group
			s.say("%s", group)
		}
		row, err := s.drive(ctx, c)
		if err != nil {
			return fmt.Errorf("%s from %s to %s over IPv%d: %w", c.Method, c.Client, c.Name, c.Family, err)
		}
		s.report.Rows = append(s.report.Rows, row)
	}
	return nil
}

// drive does one case between two looks at the counters.
func (s *show) drive(ctx context.Context, c Case) (Row, error) {
	before, err := s.everything()
	if err != nil {
		return Row{}, err
	}
	o, err := s.driver.drive(ctx, c)
	if err != nil {
		return Row{}, err
	}
	if !o.address.IsValid() {
		return judge(c, observed{outcome: o}, netip.Addr{}), nil
	}
	counted, err := s.witness.since(ctx, o.address, before[o.address])
	if err != nil {
		return Row{}, err
	}
	path, err := s.router.path(ctx, s.addresses[c.Client], o.address)
	if err != nil {
		return Row{}, err
	}
	return judge(c, observed{outcome: o, path: path, isp: counted.isp, exit: counted.exit}, s.source(c)), nil
}

// everything is what was counted so far, by address: which one a client will
// use is only known afterwards.
func (s *show) everything() (map[netip.Addr]counts, error) {
	out := map[netip.Addr]counts{}
	isp, err := s.lab.Counts(lab.ISP)
	if err != nil {
		return nil, err
	}
	exit, err := s.lab.Counts(lab.Exit)
	if err != nil {
		return nil, err
	}
	for a, n := range isp {
		out[a] = counts{isp: n}
	}
	for a, n := range exit {
		out[a] = counts{out[a].isp, n}
	}
	return out, nil
}

// source is a client's address as a server must see it: that of the exit or of
// the WAN, or over IPv6 without a tunnel the client's own.
func (s *show) source(c Case) netip.Addr {
	text := ""
	switch {
	case c.Path == pathTunnel && c.Family == 4:
		text = lab.ExitSource4
	case c.Path == pathTunnel:
		text = lab.ExitSource6
	case c.Family == 4:
		text = lab.RouterWAN4
	default:
		for _, a := range s.addresses[c.Client] {
			if a.Is6() {
				return a
			}
		}
	}
	a, _ := netip.ParseAddr(text)
	return a
}
