package daemon

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
)

// maxScheduled bounds the targets of one destination that are checked again and
// again: a whole category has some eighty services, and interference with one of
// them shows with its neighbours. `routerd check` checks them all.
const maxScheduled = 12

// newRunner makes what checks destinations.
func (d *daemon) newRunner() *reach.Runner {
	return reach.NewRunner(reach.RunnerOptions{
		Prober: reach.NewProber(reach.ProberOptions{
			Dial: d.dialUpstream, Down: d.pathDown, Resolver: lookups{d}, Provider: providerServers, Floor: dns.BuildFloor(),
		}),
		Log: d.log,
	})
}

// providerServers are the servers that the line's own clients ask.
func providerServers() []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range providerResolvers("/") {
		out = append(out, netip.AddrPortFrom(a, 53))
	}
	return out
}

// runChecks checks until ctx ends, then closes what it returns.
func (d *daemon) runChecks(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		d.runner.Run(ctx)
	}()
	return ended
}

// setChecks has what settings name checked over every path, unless it is already.
func (d *daemon) setChecks(s *settings) {
	if d.checked == s {
		return
	}
	d.checked = s
	if !s.cfg.Main.Enabled {
		d.runner.Set(nil, nil)
		return
	}
	d.runner.SetControls(s.controls())
	d.runner.Set(checkSpecs(s, maxScheduled), checkPaths(&d.view))
	d.runner.Early("settings")
}

// checkPaths are the ways that checks take.
func checkPaths(v *view) []reach.Path {
	out := []reach.Path{{Name: steer.PathDirect, Index: owned.PathDirect, Direct: true}}
	for _, s := range v.settings.specs {
		out = append(out, reach.Path{Name: s.Name, Index: v.paths[s.Name]})
	}
	return out
}

// controls are the neutral services that tell a blocked service from a dead line.
func (s *settings) controls() []catalogue.Target {
	if len(s.cfg.Main.Controls) == 0 {
		return reach.DefaultControls()
	}
	return s.cfg.Main.Controls
}

// checkSpecs lists the targets of every destination, so many each at most: its
// own checks, or the best of each of its services, those named one by one first;
// where it has neither, the hosts that it lists.
func checkSpecs(s *settings, most int) []reach.Spec {
	var out []reach.Spec
	for i := range s.cfg.Destinations {
		dest := &s.cfg.Destinations[i]
		if !dest.Enabled || dest.Policy == config.PolicyBlock {
			continue
		}
		list := s.specsOf(dest)
		out = append(out, list[:min(len(list), most)]...)
	}
	return out
}

func (s *settings) specsOf(dest *config.Destination) []reach.Spec {
	var out []reach.Spec
	paths := s.pathsOf(dest)
	add := func(text, large string) {
		target, err := catalogue.ParseTarget(text)
		if err != nil || slices.ContainsFunc(out, func(x reach.Spec) bool { return x.Target == target }) {
			return // config.Load has told of it
		}
		out = append(out, reach.Spec{Destination: dest.Name, Target: target, Large: large, Interval: dest.CheckInterval, Paths: paths})
	}
	for _, c := range dest.Checks {
		add(c, "")
	}
	if len(out) > 0 {
		return out
	}
	for _, service := range s.servicesOf(*dest) {
		if len(service.Checks) > 0 {
			add(service.Checks[0], service.Large)
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, r := range dest.Rules {
		if r.Kind != catalogue.RuleAddress {
			add("https://"+r.Name+"/", "")
		}
	}
	return out
}

// pathsOf names the paths over which a destination is checked: the WAN, unless
// that is not wanted, and the tunnels that it may take.
func (s *settings) pathsOf(dest *config.Destination) []string {
	out := []string{}
	if dest.CheckDirect {
		out = append(out, steer.PathDirect)
	}
	for i := range s.plan.Destinations {
		if d := &s.plan.Destinations[i]; d.Name == dest.Name {
			out = append(out, d.Tunnels...)
		}
	}
	return out
}

// lookups is the daemon's resolver, whichever it is at the time.
type lookups struct{ *daemon }

// Lookup implements reach.Resolver.
func (d lookups) Lookup(ctx context.Context, p dns.Path, name string, t dns.Type) (dns.Answer, error) {
	v := d.seen()
	if v.resolver == nil {
		return dns.Answer{}, errNoResolver
	}
	return v.resolver.Lookup(ctx, p, name, t)
}

// AskAsClient implements reach.Resolver.
func (d lookups) AskAsClient(ctx context.Context, server netip.AddrPort, p dns.Path, name string, t dns.Type) ([]dns.Answer, error) {
	v := d.seen()
	if v.resolver == nil {
		return nil, errNoResolver
	}
	return v.resolver.AskAsClient(ctx, server, p, name, t)
}

// tellVerdicts tells of verdicts that are others now.
func (d *daemon) tellVerdicts() {
	for _, c := range d.runner.Changes() {
		d.events.Add(control.Event{
			Kind: control.EventVerdict, Destination: c.Spec.Destination, From: string(c.From.Verdict), To: string(c.To.Verdict),
			Reason: c.Spec.Target.String() + ": " + c.To.Sentence,
		})
	}
}

// noteUse tells the checks which destinations clients use: those that had packets
// since the last look.
func (d *daemon) noteUse() {
	counts, err := d.dp.Counts()
	if err != nil {
		d.warn("read counters", err)
		return
	}
	now := map[ebpf.Destination]uint64{}
	for k, c := range counts {
		now[k.Destination] += c.Packets
	}
	var used []string
	for name, n := range d.view.numbers {
		if before, known := d.packets[n]; known && now[n] != before {
			used = append(used, name)
		}
	}
	d.packets = now
	if len(used) > 0 {
		d.runner.Used(used...)
	}
}

// checks answers GET /v1/checks.
func (d *daemon) checks(context.Context) ([]control.Check, error) {
	v := d.seen()
	if err := v.ready(); err != nil {
		return nil, err
	}
	return toldChecks(&v, d.runner.Verdicts()), nil
}

func toldChecks(v *view, states []reach.State) []control.Check {
	out := make([]control.Check, len(states))
	for i, s := range states {
		out[i] = checkOf(v, s)
	}
	return out
}

func checkOf(v *view, s reach.State) control.Check {
	out := control.Check{
		Destination: s.Spec.Destination, Target: s.Spec.Target.String(), Verdict: string(s.Verdict.Verdict), Reason: s.Verdict.Sentence,
		Path: v.choices[s.Spec.Destination].Path, Since: moment(s.Since), Checked: moment(s.Checked), Paths: make([]control.CheckPath, len(s.Results)),
	}
	if out.Verdict == "" {
		out.Verdict, out.Reason = string(reach.Unknown), "not checked yet"
	}
	for i, r := range s.Results {
		out.Paths[i] = checkPath(r)
	}
	return out
}

func checkPath(r reach.Result) control.CheckPath {
	return control.CheckPath{
		Path: r.Path, Outcome: string(r.Outcome), Layer: string(r.Layer), RTTMs: milliseconds(r.RTT), Detail: r.Detail,
		Reached: r.Outcome.Reached(),
	}
}

// milliseconds is nil for no time.
func milliseconds(t time.Duration) *float64 {
	if t <= 0 {
		return nil
	}
	ms := float64(t.Microseconds()) / 1000
	return &ms
}

// check answers POST /v1/check.
func (d *daemon) check(ctx context.Context, what []string, progress func(control.CheckProgress)) error {
	v := d.seen()
	if err := v.ready(); err != nil {
		return err
	}
	if !v.settings.cfg.Main.Enabled {
		return errDisabled
	}
	specs, err := checkWhat(v.settings, what)
	if err != nil {
		return err
	}
	_, err = d.runner.CheckNow(ctx, specs, checkPaths(&v), func(p reach.Progress) {
		line := control.CheckProgress{
			Destination: p.Spec.Destination, Target: p.Spec.Target.String(), Done: p.Done, Total: p.Total,
		}
		if p.Result != nil {
			r := checkPath(*p.Result)
			line.Result = &r
		}
		if p.State != nil {
			c := checkOf(&v, *p.State)
			line.Check = &c
		}
		progress(line)
	})
	return err
}

// checkWhat finds the targets that words stand for: destinations, URLs, or names,
// for which a listed check is taken where there is one. None: every destination.
func checkWhat(s *settings, what []string) ([]reach.Spec, error) {
	all := checkSpecs(s, math.MaxInt)
	if len(what) == 0 {
		return all, nil
	}
	var out []reach.Spec
	for _, word := range what {
		found, err := s.checkWord(all, word)
		if err != nil {
			return nil, err
		}
		for _, spec := range found {
			if !slices.ContainsFunc(out, func(o reach.Spec) bool { return o.Destination == spec.Destination && o.Target == spec.Target }) {
				out = append(out, spec)
			}
		}
	}
	return out, nil
}

func (s *settings) checkWord(all []reach.Spec, word string) ([]reach.Spec, error) {
	of := func(match func(reach.Spec) bool) []reach.Spec {
		return slices.DeleteFunc(slices.Clone(all), func(x reach.Spec) bool { return !match(x) })
	}
	if slices.ContainsFunc(s.cfg.Destinations, func(d config.Destination) bool { return d.Name == word }) {
		return of(func(x reach.Spec) bool { return x.Destination == word }), nil
	}
	text := word
	if !strings.Contains(word, "://") {
		name := strings.ToLower(strings.TrimSuffix(word, "."))
		if found := of(func(x reach.Spec) bool { return x.Target.Host == name }); len(found) > 0 {
			return found, nil
		}
		text = "https://" + word + "/"
	}
	target, err := catalogue.ParseTarget(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %q %w; give a destination, a name, or one of %s", control.ErrInvalid, word, err, catalogue.TargetSyntax)
	}
	if found := of(func(x reach.Spec) bool { return x.Target == target }); len(found) > 0 {
		return found, nil
	}
	return []reach.Spec{{Destination: s.destinationOf(target.Host), Target: target}}, nil
}

// destinationOf is the destination that lists a host, "" for none.
func (s *settings) destinationOf(host string) string {
	var chain steer.Chain
	if a, err := netip.ParseAddr(host); err == nil {
		chain, _, _ = s.plan.Rules.Address(a)
	} else {
		chain, _, _ = s.plan.Rules.Name(host)
	}
	if len(chain) == 0 {
		return ""
	}
	return s.plan.Destinations[chain[0].Destination].Name
}

// history answers GET /v1/history.
func (d *daemon) history(_ context.Context, name string) ([]control.History, error) {
	v := d.seen()
	if err := v.ready(); err != nil {
		return nil, err
	}
	found := name == ""
	out := []control.History{}
	for i := range v.settings.plan.Destinations {
		dest := v.settings.plan.Destinations[i].Name
		if name != "" && dest != name {
			continue
		}
		found = true
		for _, h := range d.runner.History(dest) {
			out = append(out, historyOf(dest, h))
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: the settings have no destination %q", control.ErrInvalid, name)
	}
	return out, nil
}

func historyOf(dest string, h reach.PathHistory) control.History {
	out := control.History{
		Destination: dest, Path: h.Path, SlotS: int(reach.SlotTime.Seconds()), RTTMs: milliseconds(h.RTT()),
		Slots: make([]control.HistorySlot, len(h.Slots)),
	}
	if rate := h.Rate(); !math.IsNaN(rate) {
		out.OKRate = &rate
	}
	for i, s := range h.Slots {
		out.Slots[i] = control.HistorySlot{
			Begin: s.Start, Checks: s.OK + s.Failed, OK: s.OK, Outcome: string(s.Outcome), RTTMs: milliseconds(s.RTT),
		}
		if s.Failed == 0 && s.OK > 0 {
			out.Slots[i].Outcome = string(reach.OutcomeOK)
		}
	}
	return out
}
