package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
)

// dnsStatus says what becomes of lookups.
func (d *daemon) dnsStatus(v *view, s ebpf.Stats) control.DNSStatus {
	out := control.DNSStatus{
		Mode: string(v.settings.cfg.Main.DNS), Queries: s.Answers, Learned: s.Learned,
		Turned: s.Queries + s.Streams, Failed: s.Unanswered, Bypass: d.bypasses.list(d.neighbours),
	}
	if v.resolver == nil || !v.settings.secure() {
		return out
	}
	r := v.resolver.Stats()
	out.Cached, out.Asked, out.Stale = r.Hits, r.Misses, r.Stale
	out.Pending, out.Hosts = d.keeper.pending()
	paths := pathNames(v)
	for _, u := range v.resolver.Upstreams() {
		if paths[u.Path] == "" {
			continue // of a tunnel that is gone, by which nobody asks any more
		}
		e := control.UpstreamStatus{URL: u.Upstream.String(), Path: paths[u.Path], State: "ok", Failures: u.Failures}
		if u.Err != nil {
			e.State, e.Reason = "failing", u.Err.Error()
		}
		out.Upstreams = append(out.Upstreams, e)
	}
	return out
}

// doctor gives the findings that only the daemon can make.
func (d *daemon) doctor(ctx context.Context) ([]control.Finding, error) {
	v := d.seen()
	if err := v.ready(); err != nil {
		return nil, err
	}
	out := judgeBypass(d.bypasses.list(d.neighbours))
	if !v.settings.cfg.Main.Enabled {
		return out, nil // no resolver runs, whatever option dns says
	}
	if v.resolver == nil || !v.settings.secure() {
		return append(out, control.Finding{
			Topic: "dns", Level: control.LevelNote,
			Text: "option dns is 'observe': listed names are found by whatever answers clients get, true or not",
			Mend: "set option dns 'secure'",
		}), nil
	}
	out = append(out, judgeUpstreams(v.resolver.Upstreams(), pathNames(&v))...)
	return append(out, d.compareProvider(ctx, &v)...), nil
}

func judgeBypass(list []control.Bypass) []control.Finding {
	if len(list) == 0 {
		return []control.Finding{{Topic: "bypass", Level: control.LevelOK, Text: "no client was seen asking a resolver past the router in the last day"}}
	}
	out := make([]control.Finding, len(list))
	for i, b := range list {
		name := b.Address
		if b.Resolver != "" {
			name = b.Resolver + " (" + b.Address + ")"
		}
		out[i] = control.Finding{
			Topic: "bypass", Level: control.LevelWarning,
			Text: fmt.Sprintf("client %s connects to the resolver %s over HTTPS: what it looks up there is not seen; "+
				"connections to listed names are still told by their TLS names, and moved by a reset", b.Client, name),
			Mend: "switch \"secure DNS\" off in the browser or the device's settings",
		}
		if b.Refused {
			out[i].Level = control.LevelNote
			out[i].Text = fmt.Sprintf("client %s tried DNS over TLS with %s, which is refused so that it asks the router", b.Client, name)
			out[i].Mend = "switch \"private DNS\" off on the device, or option local_dns '0' to let it pass"
		}
	}
	return out
}

func judgeUpstreams(list []dns.UpstreamState, paths map[owned.PathIndex]string) []control.Finding {
	var out []control.Finding
	for _, u := range list {
		if u.Err == nil || paths[u.Path] == "" {
			continue // as above
		}
		out = append(out, control.Finding{
			Topic: "dns", Level: control.LevelWarning,
			Text: fmt.Sprintf("resolver %s by path %s fails: %v", u.Upstream, paths[u.Path], u.Err),
			Mend: "add another one: `list resolver` in section main",
		})
	}
	if len(out) == 0 {
		out = append(out, control.Finding{Topic: "dns", Level: control.LevelOK, Text: "the resolvers that were asked answer"})
	}
	return out
}

// The bounds of a comparison with the provider's resolver.
const (
	compareNames = 6
	compareTime  = 5 * time.Second
)

// compared is what the provider's resolver says of a name, and what came of the
// comparison with the trusted answer.
type compared struct {
	name   string
	theirs dns.Answer
	found  dns.Tampered
	err    error // it could not be compared
}

// compareProvider asks the provider's resolver for a few hosts of checks, which
// anybody asks for, and compares the answers with the trusted ones.
func (d *daemon) compareProvider(ctx context.Context, v *view) []control.Finding {
	servers := providerResolvers("/")
	if len(servers) == 0 {
		return nil
	}
	hosts := fixedHosts(v.settings)
	all := make([]compared, min(len(hosts), compareNames))
	ctx, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	var asked sync.WaitGroup
	for i := range all {
		asked.Go(func() { all[i] = v.compare(ctx, servers[0], hosts[i]) }) // ends with its lookups, which ctx bounds
	}
	asked.Wait()
	return judgeProvider(servers[0], all)
}

// compare asks a server for a name, and compares its answer with the trusted one.
func (v *view) compare(ctx context.Context, server netip.Addr, name string) compared {
	out := compared{name: name}
	chain, _, ok := v.settings.plan.Rules.Name(name)
	if !ok {
		out.err = errors.New("it is not listed any more")
		return out
	}
	u, err := dns.ParseUpstream("udp://" + netip.AddrPortFrom(server, 53).String())
	if err == nil {
		out.theirs, err = v.resolver.Ask(ctx, u, owned.PathDirect, name, dnsmessage.TypeA)
	}
	if err != nil {
		out.err = err
		return out
	}
	ours, err := v.lookup(ctx, v.keeping(&v.settings.plan.Destinations[chain[0].Destination]), name, dnsmessage.TypeA)
	if err != nil {
		out.err = err
		return out
	}
	out.found = dns.Compare(out.theirs, ours)
	return out
}

func judgeProvider(server netip.Addr, all []compared) []control.Finding {
	var forged []string
	var failed error
	done := 0
	for _, c := range all {
		if c.err != nil {
			failed = c.err
			continue
		}
		done++
		if c.found.Sure || c.found.Reason == dns.ReasonDisjoint && againElsewhere(all, c) {
			forged = append(forged, c.name+": "+c.found.Detail)
		}
	}
	switch {
	case done == 0 && failed != nil:
		return []control.Finding{{
			Topic: "dns", Level: control.LevelNote, Text: fmt.Sprintf(
				"the provider's resolver %s could not be compared with the trusted one: %v", server, failed),
			Mend: "ask again once the line and a tunnel are up",
		}}
	case len(forged) == 0:
		return []control.Finding{{Topic: "dns", Level: control.LevelOK, Text: fmt.Sprintf(
			"the provider's resolver %s was seen forging no answer (%d of %d names of checks were compared)", server, done, len(all))}}
	}
	return []control.Finding{{
		Topic: "dns", Level: control.LevelNote,
		Text: fmt.Sprintf("dns_tampered: the provider's resolver %s forges answers: %s", server, strings.Join(forged, "; ")),
		Mend: "nothing: listed names are resolved by routerd (option dns 'secure')",
	}}
}

// againElsewhere says whether a name's wrong address was given for another name
// too, wrongly as well: servers differ by place and time, block pages do not.
func againElsewhere(all []compared, c compared) bool {
	return slices.ContainsFunc(all, func(o compared) bool {
		return o.name != c.name && o.found.Reason == dns.ReasonDisjoint &&
			slices.ContainsFunc(o.theirs.Addrs, func(a netip.Addr) bool { return slices.Contains(c.theirs.Addrs, a) })
	})
}
