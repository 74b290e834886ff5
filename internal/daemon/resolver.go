package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

// nameServer is routerd's own resolver at work, for as long as option dns is
// 'secure'. The loop owns it.
type nameServer struct {
	server *dns.Server
	stop   context.CancelFunc // nil: queries wait
	ended  chan error         // gets what Serve gives
}

// secure says whether settings have listed names resolved by routerd.
func (s *settings) secure() bool { return s.cfg.Main.Enabled && s.cfg.Main.DNS == config.DNSSecure }

// openResolver has the resolver listen before any query is turned to it, with
// the upstreams that settings name; serveNames has it answer, once it is known by
// which path. One that runs goes on, with its cache. With
// option dns 'observe' it answers nobody but the daemon's own checks.
func (d *daemon) openResolver(ctx context.Context, s *settings) error {
	if d.resolver == nil {
		d.resolver = dns.New(dns.Options{Dial: d.dialUpstream, Upstreams: s.upstreams, Floor: dns.BuildFloor(), Log: d.log})
		d.set(func(v *view) { v.resolver = d.resolver })
	} else {
		d.resolver.SetUpstreams(s.upstreams)
	}
	if !s.secure() || d.server != nil {
		return nil
	}
	server, err := dns.Listen(ctx, dns.ServerOptions{
		Resolver: d.resolver, Decide: d.decide, Learn: d.learnAnswer, Device: d.takesQueries,
		Original: d.originalServer, OriginalUDP: d.originalUDP, Relay: d.relay, Log: d.log,
		Sockets: d.o.Sockets,
	})
	d.o.Sockets = nil // taken, or closed
	if err != nil {
		return fmt.Errorf("start the resolver: %w; another program has the port, or another routerd runs", err)
	}
	d.server = &nameServer{server: server, ended: make(chan error, 1)}
	return nil
}

// serveNames has the resolver answer. Before paths are chosen it would refuse what
// is listed, and queries may have waited in its sockets since the last process.
func (d *daemon) serveNames(ctx context.Context) {
	s := d.server
	if s == nil || s.stop != nil {
		return
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() { s.ended <- s.server.Serve(ctx) }() // ends with closeServer
}

// closeServer has nobody's queries answered any more. None must be turned to it,
// or they are meant to fail.
func (d *daemon) closeServer() {
	if d.server == nil {
		return
	}
	d.serveNames(context.Background()) // Serve closes the sockets
	d.server.stop()
	select {
	case err := <-d.server.ended:
		d.warn("answer lookups", err)
	case <-time.After(5 * time.Second):
		d.log.Warn("the resolver does not end")
	}
	d.server = nil
}

// closeResolver ends the resolver, if it runs.
func (d *daemon) closeResolver() {
	d.closeServer()
	if d.resolver == nil {
		return
	}
	d.set(func(v *view) { v.resolver = nil })
	d.resolver.Close()
	d.resolver = nil
}

// serverEnded is told when the resolver's sockets have failed.
func (d *daemon) serverEnded() <-chan error {
	if d.server == nil {
		return nil
	}
	return d.server.ended
}

// restartResolver opens the resolver anew after its sockets have failed.
func (d *daemon) restartResolver(err error) {
	d.log.Error("the resolver has ended, it is started again", "error", err)
	d.fault("dns", fmt.Sprintf("the resolver has ended and is started again: %v", err))
	d.server.stop()
	d.server, d.unmet = nil, d.target != nil
}

// takesQueries says whether queries may come in by a device: those of the LAN,
// and lo for the router's own.
func (d *daemon) takesQueries(ifindex int) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Contains(d.view.askedAt, ifindex)
}

// resolverAddresses say where clients' queries are turned to, for each LAN device
// and for the router's own.
func (d *daemon) resolverAddresses(s *settings) []ebpf.ResolverAddress {
	if !s.secure() || s.unset() {
		return nil
	}
	var out []ebpf.ResolverAddress
	for _, name := range d.view.lan {
		dev, err := net.InterfaceByName(name)
		if err != nil {
			continue // the survey tells of it
		}
		addrs, err := dev.Addrs()
		d.warn("list addresses of "+name, err)
		v4, v6 := bestAddresses(addrs)
		out = append(out, ebpf.ResolverAddress{Ifindex: dev.Index, V4: v4, V6: v6, Port: owned.ResolverPort})
	}
	if s.cfg.Main.OwnTraffic {
		out = append(out, ebpf.ResolverAddress{Ifindex: loIndex, Port: owned.ResolverPort})
	}
	return out
}

// loIndex is the index of lo in every network namespace.
const loIndex = 1

// bestAddresses picks of a device's addresses, for each family, the first that is
// not link-local, else a link-local one.
func bestAddresses(addrs []net.Addr) (v4, v6 netip.Addr) {
	better := func(old, a netip.Addr) bool {
		return !old.IsValid() || old.IsLinkLocalUnicast() && !a.IsLinkLocalUnicast()
	}
	for _, a := range addrs {
		prefix, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, _ := netip.AddrFromSlice(prefix.IP)
		switch ip = ip.Unmap(); {
		case ip.Is4() && better(v4, ip):
			v4 = ip
		case ip.Is6() && better(v6, ip):
			v6 = ip
		}
	}
	return v4, v6
}

// decide says what becomes of a query. Like all that the server calls it runs in
// many goroutines.
func (d *daemon) decide(name string, client netip.Addr) dns.Decision {
	v := d.seen()
	if v.settings == nil {
		return dns.Decision{Listed: true, Path: owned.PathBlock} // it may be listed
	}
	if v.settings.canary(name) {
		return dns.Decision{Listed: true, Canary: true}
	}
	chain, _, ok := v.settings.plan.Rules.Name(name)
	if !ok {
		return dns.Decision{}
	}
	dest, ok := d.taker(&v, chain, client)
	if !ok {
		return dns.Decision{}
	}
	return v.decision(dest)
}

// taker finds the destination of a chain for a client of the resolver.
func (d *daemon) taker(v *view, chain steer.Chain, client netip.Addr) (*steer.Destination, bool) {
	plan := v.settings.plan
	var mac [6]byte
	switch {
	case slices.Contains(v.own, client):
		client = netip.Addr{} // the router itself is in no network
	case plan.NamesMACs():
		mac = d.neighbours.mac(client)
	}
	i, ok := plan.Taker(chain, client, mac)
	if !ok {
		return nil, false
	}
	return &plan.Destinations[i], true
}

// decision is by which path a destination's names are asked for: the one that its
// connections take. Where that is the WAN and upstreams cannot be reached by it,
// a tunnel is asked.
func (v *view) decision(dest *steer.Destination) dns.Decision {
	out := dns.Decision{Listed: true, Block: dest.Policy == config.PolicyBlock}
	path := v.choices[dest.Name].Path
	out.Path = pathIndex(v, path)
	switch out.Path {
	case owned.PathNone:
		out.Path = owned.PathBlock // not chosen yet
	case owned.PathDirect:
		out.Else = v.anyTunnel(dest)
		return out
	}
	out.NoIPv6 = !v.settings.cfg.Main.IPv6
	for _, t := range v.tunnels {
		// A device that is not there yet says nothing of families.
		if t.Name == path && t.Index != 0 {
			out.NoIPv6 = out.NoIPv6 || !t.IPv6
		}
	}
	return out
}

// anyTunnel is the path of the first tunnel that answers, of a destination's own
// if it names some; PathNone: there is none.
func (v *view) anyTunnel(dest *steer.Destination) owned.PathIndex {
	for _, name := range dest.Tunnels {
		if tunnelUp(v, name) {
			return v.paths[name]
		}
	}
	for _, t := range v.tunnels {
		if t.Health == tunnel.Up {
			return v.paths[t.Name]
		}
	}
	return owned.PathNone
}

// dialUpstream opens connections by a path, bound to it by mark.
func (d *daemon) dialUpstream(ctx context.Context, path dns.Path, network, address string) (net.Conn, error) {
	v := d.seen()
	if v.settings == nil || !v.settings.cfg.Main.Enabled {
		return nil, fmt.Errorf("%w: routerd is not set up yet", dns.ErrPathDown)
	}
	if err := v.pathDown(path); err != nil {
		return nil, err
	}
	return dns.MarkDialer(v.settings.cfg.Main.MarkMask.Mark(path)).DialContext(ctx, network, address)
}

// pathDown says why nothing can go by a path now; nil: it can.
func (d *daemon) pathDown(path dns.Path) error {
	v := d.seen()
	return v.pathDown(path)
}

// pathDown is a dns.ErrPathDown where nothing can go by a path.
func (v *view) pathDown(path owned.PathIndex) error {
	if path == owned.PathDirect {
		return nil
	}
	for _, t := range v.tunnels {
		if v.paths[t.Name] != path {
			continue
		}
		if t.Health == tunnel.Down || t.Index == 0 {
			return fmt.Errorf("%w: tunnel %s: %s", dns.ErrPathDown, t.Name, t.Reason)
		}
		return nil
	}
	return fmt.Errorf("%w: there is no tunnel for it", dns.ErrPathDown)
}

// relay opens connections for queries of unlisted names, to the servers that
// their clients asked. A datagram carries the mark of the direct path, so that the
// data plane does not turn it here again; connections are turned by nobody.
func (d *daemon) relay(ctx context.Context, network, address string) (net.Conn, error) {
	var mark owned.Mark
	if v := d.seen(); network == "udp" && v.settings != nil {
		mark = v.settings.cfg.Main.MarkMask.Mark(owned.PathDirect)
	}
	return dns.MarkDialer(mark).DialContext(ctx, network, address)
}

func (d *daemon) originalServer(client, local netip.AddrPort) (netip.AddrPort, bool) {
	dp, done := d.plane()
	defer done()
	if dp == nil {
		return netip.AddrPort{}, false
	}
	return dp.OriginalServer(client, local)
}

func (d *daemon) originalUDP(client, local netip.AddrPort, id uint16) (netip.AddrPort, bool) {
	dp, done := d.plane()
	defer done()
	if dp == nil {
		return netip.AddrPort{}, false
	}
	return dp.OriginalUDP(client, local, id)
}

// learnAnswer makes known what an answer over TCP teaches; those in datagrams the
// data plane reads itself, on their way out.
func (d *daemon) learnAnswer(l dns.Lesson) error {
	if !l.Stream {
		return nil
	}
	id, _ := identify(l.Client)
	return d.learnVerified(l.Name, id, l.Addrs, l.TTL)
}

// learnVerified makes the addresses of a name known. An error means that the
// answer must be withheld: the name's destination is closed, and what the data
// plane does not know would leave by the WAN.
func (d *daemon) learnVerified(name string, client ebpf.Client, addrs []netip.Addr, ttl uint32) error {
	dp, done := d.plane()
	defer done()
	v := d.seen()
	if dp == nil || v.settings == nil {
		return errNotReady
	}
	chain, _, ok := v.settings.plan.Rules.Name(name)
	if !ok {
		return nil
	}
	ev, err := dp.LearnVerified(name, client, addrs, time.Duration(ttl)*time.Second)
	d.names.add(name, ev.Addrs)
	ev.Withheld = slices.ContainsFunc(chain, func(l steer.Link) bool { return v.settings.plan.Destinations[l.Destination].Closed() })
	if err != nil || client == ebpf.ClientSelf {
		d.pass(ev)
	}
	if !ev.Withheld {
		return nil // the loop tells of a map that is full
	}
	return err
}

// pass gives the loop an event, unless it is behind: catchUp makes up for that.
func (d *daemon) pass(ev ebpf.Event) {
	select {
	case d.learned <- ev:
	default:
		d.dropped.Add(1)
	}
}
