package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/lists"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

// listState is where package lists keeps its part of the state directory.
const listState = "lists"

func (d *daemon) newLists() *lists.Manager {
	return lists.New(lists.Options{
		Dir: d.o.ListDir, StateDir: d.o.StateDir, Paths: d.listPaths, Dial: d.listDial,
		Floor: dns.BuildFloor(), Now: time.Now, Log: d.log,
	})
}

// runLists fetches lists until ctx ends, then closes what it returns.
func (d *daemon) runLists(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		d.lists.Run(ctx)
	}()
	return done
}

// listPaths are the ways to fetch a list, from goroutines of lists.Manager: the
// tunnels of its destination that answer, then the direct path.
func (d *daemon) listPaths(l config.List) []string {
	v := d.seen()
	if v.settings == nil {
		return []string{steer.PathDirect}
	}
	var out []string
	for i := range v.settings.plan.Destinations {
		if dest := &v.settings.plan.Destinations[i]; dest.Name == l.Destination {
			out = slices.DeleteFunc(slices.Clone(dest.Tunnels), func(name string) bool { return !tunnelUp(&v, name) })
		}
	}
	return append(out, steer.PathDirect)
}

func tunnelUp(v *view, name string) bool {
	return slices.ContainsFunc(v.tunnels, func(t tunnel.State) bool { return t.Name == name && t.Health == tunnel.Up })
}

// listDial opens connections by a path, bound to it by mark: where the path is
// down they fail rather than take another.
func (d *daemon) listDial(path string) lists.DialFunc {
	v := d.seen()
	if v.settings == nil || !v.settings.cfg.Main.Enabled {
		return dns.MarkDialer(0).DialContext
	}
	return dns.MarkDialer(v.settings.cfg.Main.MarkMask.Mark(pathIndex(&v, path))).DialContext
}

// loadFirst loads settings that nothing was in force before: the lists' kept
// copies are looked for as they name them.
func (d *daemon) loadFirst(path string) (*settings, []config.Problem, error) {
	text, err := readSettings(path)
	if err != nil {
		return nil, nil, err
	}
	return d.parseFirst(path, text)
}

// loadGood is loadFirst for the copy of the last good settings.
func (d *daemon) loadGood() (*settings, error) {
	text, err := readGood(d.o.StateDir)
	if err != nil {
		return nil, err
	}
	s, _, err := d.parseFirst(goodPath(d.o.StateDir), text)
	return s, err
}

func (d *daemon) parseFirst(path string, text []byte) (*settings, []config.Problem, error) {
	s, problems, err := parseSettings(path, text, d.lists.Rules)
	if err != nil || len(s.cfg.Lists) == 0 {
		return s, problems, err
	}
	d.lists.Set(s.cfg.Lists)
	s, problems, err = parseSettings(path, s.text, d.lists.Rules)
	if err == nil {
		for _, damaged := range s.damaged {
			d.log.Warn("a list has no rules for now", "reason", damaged)
			d.fault("list", damaged)
		}
	}
	return s, problems, err
}

// unreadable is an error where rules that are in force might be lost because a
// kept copy is damaged.
func (s *settings) unreadable() error {
	if len(s.damaged) == 0 {
		return nil
	}
	return errors.New(strings.Join(s.damaged, "; "))
}

// listsChanged brings new rules of lists into force, with the settings that are.
func (d *daemon) listsChanged(ctx context.Context) error {
	if d.target == nil {
		return nil
	}
	s, _, err := parseSettings(d.o.ConfigFile, d.target.text, d.lists.Rules)
	if err == nil {
		err = s.unreadable()
	}
	if err != nil {
		return fmt.Errorf("read settings again: %w", err)
	}
	if d.target == d.inFile {
		d.inFile = s
	}
	if err := d.change(ctx, s); err != nil {
		return err
	}
	d.inForce(ctx, s)
	return nil
}

// listStatus answers GET /v1/lists.
func (d *daemon) listStatus(context.Context) ([]control.List, error) {
	all := d.lists.Status()
	out := make([]control.List, len(all))
	for i, s := range all {
		out[i] = control.List{
			Name: s.Name, URL: s.URL, Destination: s.Destination, Format: s.Format, Rules: s.Rules,
			Duplicates: s.Duplicates, Skipped: s.Skipped, Unsupported: s.Unsupported, Problems: s.Problems,
			Updated: moment(s.Updated), Checked: moment(s.Checked), Error: s.Error, NextTry: moment(s.NextTry), Fetching: s.Fetching,
		}
	}
	return out, nil
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// updateList answers POST /v1/lists/update: one list, or with "" each in turn.
func (d *daemon) updateList(ctx context.Context, name string, progress func(control.ListProgress)) error {
	all := d.lists.Status()
	i := slices.IndexFunc(all, func(s lists.Status) bool { return s.Name == name })
	switch {
	case name != "" && i < 0:
		return fmt.Errorf("%w: the settings have no list %q", control.ErrInvalid, name)
	case name != "":
		all = all[i : i+1]
	}
	for _, before := range all {
		d.updateOne(ctx, before, progress)
	}
	return ctx.Err()
}

func (d *daemon) updateOne(ctx context.Context, before lists.Status, progress func(control.ListProgress)) {
	err := d.lists.Update(ctx, before.Name, func(p lists.Progress) {
		progress(control.ListProgress{Name: p.List, State: control.ListFetching, Path: p.Path, Done: p.Done, Total: p.Total})
	})
	if err != nil {
		progress(control.ListProgress{Name: before.Name, State: control.ListFailed, Error: err.Error()})
		return
	}
	for _, s := range d.lists.Status() {
		if s.Name == before.Name {
			progress(control.ListProgress{
				Name: s.Name, State: control.ListDone, Rules: s.Rules, Skipped: s.Skipped, Changed: s.Sum != before.Sum,
			})
		}
	}
}
