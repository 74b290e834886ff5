package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/lists"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

// noLists is for settings without lists.
func noLists(string) ([]catalogue.Rule, error) { return nil, lists.ErrUnknown }

// parsed are settings from their text.
func parsed(t *testing.T, text string) *settings {
	t.Helper()
	s, problems, err := parseSettings("test", []byte(text), noLists)
	if err != nil {
		t.Fatalf("%v: %v", err, problems)
	}
	return s
}

const manyPolicies = `
config routerd 'main'
	list lan 'br-lan'
config tunnel 'home'
	option type 'interface'
	option device 'tun0'
config tunnel 'other'
	option type 'interface'
	option device 'tun1'
config destination 'ours'
	list domain 'tunnel.example'
	list client '192.168.1.40'
config destination 'hers'
	list domain 'tunnel.example'
	list client '02:00:00:00:00:02'
	list tunnel 'other'
config destination 'shut'
	list domain 'shut.example'
	option policy 'block'
config destination 'open'
	list domain 'open.example'
	option policy 'direct'
config destination 'all'
	list domain 'all.example'
	list check 'https://api.all.example/ping'
	list domain 'full:www.else.example'
`

// deciding is a daemon that knows settings and tunnels, and has no kernel.
func deciding(s *settings) *daemon {
	d := &daemon{neighbours: newNeighbours()}
	d.neighbours.list = func() ([]netlink.Neigh, error) {
		return []netlink.Neigh{{IP: net.IPv4(192, 168, 1, 2), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}}}, nil
	}
	d.view = view{
		settings: s, own: []netip.Addr{netip.MustParseAddr("192.168.1.1")},
		paths: map[string]owned.PathIndex{"home": 3, "other": 4},
		tunnels: []tunnel.State{
			{Name: "home", Index: 7, Health: tunnel.Up, IPv4: true, IPv6: true},
			{Name: "other", Index: 8, Health: tunnel.Up, IPv4: true},
		},
		led: map[string]int{"home": 7, "other": 8},
		choices: map[string]steer.Choice{
			"ours": {Path: "home"}, "hers": {Path: "other"}, "shut": {Path: steer.PathBlock},
			"open": {Path: steer.PathDirect}, "all": {Path: "home"},
		},
	}
	return d
}

func TestQueriesAreDecidedByNameAndClient(t *testing.T) {
	home := dns.Decision{Listed: true, Path: 3}
	for _, c := range []struct {
		name, client string
		want         dns.Decision
	}{
		{"www.unlisted.example", "192.168.1.40", dns.Decision{}},
		{"a.tunnel.example", "192.168.1.40", home},
		{"a.tunnel.example", "192.168.1.2", dns.Decision{Listed: true, Path: 4, NoIPv6: true}},
		{"a.tunnel.example", "192.168.1.9", dns.Decision{}}, // no destination takes this client
		{"a.tunnel.example", "192.168.1.1", dns.Decision{}}, // nor the router
		{"all.example", "192.168.1.1", home},
		{"www.else.example", "2001:db8::5", home},
		{"below.www.else.example", "192.168.1.40", dns.Decision{}},
		{"shut.example", "192.168.1.9", dns.Decision{Listed: true, Block: true, Path: owned.PathBlock}},
		{"open.example", "192.168.1.9", dns.Decision{Listed: true, Path: owned.PathDirect, Else: 3}},
		{"use-application-dns.net", "192.168.1.9", dns.Decision{Listed: true, Canary: true}},
		{"x.use-application-dns.net", "192.168.1.9", dns.Decision{}},
	} {
		got := deciding(parsed(t, manyPolicies)).decide(c.name, netip.MustParseAddr(c.client))
		if c.want.Block {
			got.NoIPv6 = c.want.NoIPv6 // nothing is asked
		}
		if got != c.want {
			t.Errorf("%s for %s: %+v, want %+v", c.name, c.client, got, c.want)
		}
	}
	// What may be listed is passed on to nobody.
	if got, want := (&daemon{}).decide("all.example", netip.Addr{}), (dns.Decision{Listed: true, Path: owned.PathBlock}); got != want {
		t.Errorf("without settings: %+v, want %+v", got, want)
	}
}

func TestCanariesYieldToRulesAndOptions(t *testing.T) {
	const apple = "\nconfig destination 'apple'\n\tlist domain 'mask.icloud.com'\n\tlist domain 'icloud.com'\n"
	for _, c := range []struct {
		what, text string
		want       []string
	}{
		{"default", manyPolicies, dns.Canaries()},
		{"a rule lists one by name", manyPolicies + apple, []string{"use-application-dns.net", "mask-h2.icloud.com"}},
		{"local_dns off", strings.Replace(manyPolicies, "'br-lan'", "'br-lan'\n\toption local_dns '0'", 1), nil},
		{"observing", strings.Replace(manyPolicies, "'br-lan'", "'br-lan'\n\toption dns 'observe'", 1), nil},
	} {
		s := parsed(t, c.text)
		for _, name := range dns.Canaries() {
			if s.canary(name) != slices.Contains(c.want, name) {
				t.Errorf("%s: %s is a canary: %t", c.what, name, s.canary(name))
			}
		}
	}
}

func TestPathsOfUpstreams(t *testing.T) {
	d := deciding(parsed(t, manyPolicies))
	d.view.tunnels[1].Health, d.view.tunnels[1].Reason = tunnel.Down, "no answer"
	for path, want := range map[owned.PathIndex]string{
		owned.PathDirect: "", 3: "", 4: "tunnel other: no answer", owned.PathBlock: "no tunnel", 9: "no tunnel",
	} {
		err := d.view.pathDown(path)
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, dns.ErrPathDown) || !strings.Contains(err.Error(), want)) {
			t.Errorf("path %d: %v, want %q", path, err, want)
		}
	}
	if got := d.view.anyTunnel(&steer.Destination{Tunnels: []string{"other"}}); got != 3 {
		t.Errorf("where its own tunnel is down, path %d is taken", got)
	}
	d.view.tunnels[0].Health = tunnel.Down
	if got := d.view.anyTunnel(&steer.Destination{}); got != owned.PathNone {
		t.Errorf("where no tunnel is up, path %d is taken", got)
	}
	if _, err := d.dialUpstream(t.Context(), 4, "udp", "192.0.2.1:53"); !errors.Is(err, dns.ErrPathDown) {
		t.Errorf("dial by a path that is down: %v", err)
	}
}

func TestTunnelIsOnItsWayUntilARouteLeadsIntoIt(t *testing.T) {
	d := deciding(parsed(t, manyPolicies))
	for _, c := range []struct {
		what string
		led  map[string]int
		up   bool
	}{
		{"no route", nil, false},
		{"the device before it had one", map[string]int{"home": 6, "other": 8}, false},
		{"a route", map[string]int{"home": 7, "other": 8}, true},
	} {
		d.view.led = c.led
		v := d.seen()
		if up := v.tunnels[0].Health == tunnel.Up; up != c.up || !up && v.tunnels[0].Reason == "" {
			t.Errorf("%s: the tunnel is %s: %q", c.what, v.tunnels[0].Health, v.tunnels[0].Reason)
		}
		if err := d.pathDown(3); (err == nil) != c.up {
			t.Errorf("%s: its path: %v", c.what, err)
		}
		if d.view.tunnels[0].Health != tunnel.Up {
			t.Fatalf("%s: what the loop knows of the tunnel has changed", c.what)
		}
	}
	d.view.tunnels[0].Health, d.view.led = tunnel.Down, nil
	if got := d.seen().tunnels[0].Health; got != tunnel.Down {
		t.Errorf("a tunnel that is down is %s", got)
	}
}

func TestLookupsAreDoneAgainOnceRoutesLeadIntoTheTunnel(t *testing.T) {
	d := deciding(parsed(t, manyPolicies))
	d.keeper = newKeeper()
	d.lists = lists.New(lists.Options{Now: time.Now})
	d.keeper.set([]string{"all.example"})
	failed := d.keeper.state["all.example"]
	failed.failures, failed.due = 3, time.Now().Add(time.Hour)
	now := slices.Clone(d.view.tunnels)
	now[0].Index = 9
	d.tunnelsAre(now)
	d.tellPaths(0) // an apply that had begun before
	if failed.failures != 3 {
		t.Error("a lookup is done again before any route leads to the new device")
	}
	d.tellPaths(len(d.turned))
	if failed.failures != 0 || len(d.turned) > 0 {
		t.Errorf("%d failures, told of still: %q", failed.failures, d.turned)
	}
}

func TestFixedHostsComeInOrderOfUse(t *testing.T) {
	got := fixedHosts(parsed(t, manyPolicies))
	want := []string{"api.all.example", "www.else.example", "all.example", "shut.example", "tunnel.example"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := fixedHosts(parsed(t, strings.Replace(manyPolicies, "'br-lan'", "'br-lan'\n\toption dns 'observe'", 1))); len(got) > 0 {
		t.Errorf("with dns 'observe': %v", got)
	}
	all := fixedHosts(parsed(t, "config tunnel 'home'\n\toption type 'interface'\n\toption device 'tun0'\nconfig destination 'p'\n\tlist category 'pool'\n"))
	if len(all) < 150 || len(all) > maxFixedHosts || !slices.Contains(all, "stratum.braiins.com") {
		t.Errorf("%d hosts of pools", len(all))
	}
}

func TestTheResolversAddressOnADevice(t *testing.T) {
	for _, c := range []struct{ addrs, v4, v6 string }{
		{"", "invalid IP", "invalid IP"},
		{"192.168.1.1/24", "192.168.1.1", "invalid IP"},
		{"fe80::1/64 169.254.1.1/16 192.168.1.1/24 fd00::1/60 2001:db8::1/64", "192.168.1.1", "fd00::1"},
		{"fe80::1/64", "invalid IP", "fe80::1"},
	} {
		var addrs []net.Addr
		for _, text := range strings.Fields(c.addrs) {
			ip, n, _ := net.ParseCIDR(text)
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		if v4, v6 := bestAddresses(addrs); v4.String() != c.v4 || v6.String() != c.v6 {
			t.Errorf("%s: %s and %s, want %s and %s", c.addrs, v4, v6, c.v4, c.v6)
		}
	}
}

func TestNeighboursAreReadWhenTheyMayHaveChanged(t *testing.T) {
	now, reads := time.Unix(1000, 0), 0
	n := newNeighbours()
	n.now = func() time.Time { return now }
	n.list = func() ([]netlink.Neigh, error) {
		reads++
		if reads > 3 {
			return nil, errors.New("busy")
		}
		return []netlink.Neigh{
			{IP: net.ParseIP("192.168.1.2"), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}},
			{IP: net.ParseIP("2001:db8::2"), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}},
			{IP: net.ParseIP("192.168.1.3")},
		}, nil
	}
	known, mac := netip.MustParseAddr("192.168.1.2"), [6]byte{2, 0, 0, 0, 0, 2}
	for i, c := range []struct {
		after time.Duration
		addr  string
		mac   [6]byte
		reads int
	}{
		{0, "192.168.1.2", mac, 1},
		{0, "192.168.1.9", [6]byte{}, 1},
		{neighbourNew, "192.168.1.2", mac, 1},
		{0, "192.168.1.9", [6]byte{}, 2},
		{neighbourOld, "192.168.1.2", mac, 3},
		{neighbourOld, "192.168.1.2", mac, 4}, // the kernel does not answer: it stays
		{0, "192.168.1.3", [6]byte{}, 4},
	} {
		now = now.Add(c.after)
		if got := n.mac(netip.MustParseAddr(c.addr)); got != c.mac || reads != c.reads {
			t.Errorf("%d: %s is %v after %d reads, want %v after %d", i, c.addr, got, reads, c.mac, c.reads)
		}
	}
	if got := n.address(mac); got != known {
		t.Errorf("address of a client: %s", got)
	}
}

func TestKeeperLooksNamesUpAgain(t *testing.T) {
	now := time.Unix(1000, 0)
	k := newKeeper()
	k.set([]string{"a", "b"})
	take := func(want string) {
		t.Helper()
		if got, wait := k.next(now); got != want {
			t.Fatalf("next is %q (none for %s), want %q", got, wait, want)
		}
	}
	take("a")
	take("b")
	take("")
	k.done(now, "a", lookedUp{[]netip.Addr{numbered(1)}, time.Minute}, nil)
	k.done(now, "b", lookedUp{}, errors.New("no answer"))
	if left, all := k.pending(); left != 1 || all != 2 {
		t.Errorf("%d of %d are pending", left, all)
	}
	take("")
	now = now.Add(failLeast)
	take("b")
	k.done(now, "b", lookedUp{}, errors.New("no answer"))
	now = now.Add(failLeast)
	take("") // it waits twice as long
	k.retry()
	take("b")
	k.done(now, "b", lookedUp{ttl: 48 * time.Hour}, nil)
	now = now.Add(keepLeast)
	take("a")
	k.set([]string{"b", "c"})
	k.done(now, "a", lookedUp{}, nil) // it is gone
	take("c")
	take("")
	now = now.Add(keepMost)
	take("b")
}

// The loop waits while the only lookup is under way, and nothing else wakes it.
func TestKeeperLooksAgainSoonAfterALookupFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{keeper: newKeeper()} // without a resolver: each lookup fails
		d.keeper.set([]string{"a.example"})
		d.runKeeper(t.Context())
		time.Sleep(time.Minute)
		synctest.Wait()
		d.keeper.mu.Lock()
		failures := d.keeper.state["a.example"].failures
		d.keeper.mu.Unlock()
		expect(t, failures >= 3, "%d lookups in a minute", failures)
	})
}

func TestKeeperAsksLessOftenForNamesThatDoNotChange(t *testing.T) {
	now := time.Unix(1000, 0)
	k := newKeeper()
	k.set([]string{"a"})
	for i, c := range []struct {
		addrs       []int
		ttl         time.Duration
		least, most time.Duration // until the next lookup
	}{
		{[]int{1, 2}, time.Minute, 4 * time.Minute, 5 * time.Minute},
		{[]int{2, 1}, time.Minute, 8 * time.Minute, 10 * time.Minute},
		{[]int{1}, time.Minute, 16 * time.Minute, 20 * time.Minute},
		{[]int{2}, time.Minute, 32 * time.Minute, 40 * time.Minute},
		{[]int{2}, time.Minute, 64 * time.Minute, 80 * time.Minute},
		{[]int{2}, 3 * time.Hour, 144 * time.Minute, 180 * time.Minute},
		{[]int{2}, time.Minute, 256 * time.Minute, 320 * time.Minute},
		{[]int{2}, time.Minute, 256 * time.Minute, 320 * time.Minute},
		{[]int{2, 3}, time.Minute, 4 * time.Minute, 5 * time.Minute},
		{nil, 0, 8 * time.Minute, 10 * time.Minute},
	} {
		if name, _ := k.next(now); name != "a" {
			t.Fatalf("%d: next is %q", i, name)
		}
		got := lookedUp{ttl: c.ttl}
		for _, n := range c.addrs {
			got.addrs = append(got.addrs, numbered(n))
		}
		k.done(now, "a", got, nil)
		if wait := k.state["a"].due.Sub(now); wait < c.least || wait > c.most {
			t.Errorf("%d: the next lookup is in %s, want %s to %s", i, wait, c.least, c.most)
		}
		now = k.state["a"].due
	}
}

func TestHeldAddressesAreBounded(t *testing.T) {
	s := &held{}
	for i := range 3 * heldAddresses {
		if !s.note([]netip.Addr{numbered(i)}) || s.note([]netip.Addr{numbered(i)}) || len(s.addrs) > heldAddresses {
			t.Fatalf("address %d, of %d that are kept", i, len(s.addrs))
		}
	}
}

func TestKeeperIsBoundedWhenLookupsFail(t *testing.T) {
	now := time.Unix(1000, 0)
	k := newKeeper()
	k.set([]string{"a"})
	lookups := 0
	for end := now.Add(24 * time.Hour); now.Before(end); {
		name, wait := k.next(now)
		if name == "" {
			now = now.Add(wait)
			continue
		}
		lookups++
		k.done(now, name, lookedUp{}, errors.New("no answer"))
	}
	if most := int(24*time.Hour/failMost) + 10; lookups > most {
		t.Errorf("%d lookups of a name a day, at most %d are expected", lookups, most)
	}
}

func TestBypassesAreBoundedAndNamed(t *testing.T) {
	b, n := newBypasses(), newNeighbours()
	n.list = func() ([]netlink.Neigh, error) {
		return []netlink.Neigh{{IP: net.IPv4(192, 168, 1, 2), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}}}, nil
	}
	b.add(ebpf.Event{Kind: ebpf.EventDoH}) // names no server
	for i := range bypassMax + 9 {
		b.add(ebpf.Event{Kind: ebpf.EventDoT, Client: ebpf.ClientDevice(i), Addrs: []netip.Addr{numbered(i)}})
	}
	b.add(ebpf.Event{Kind: ebpf.EventDoH, Client: ebpf.ClientMAC([6]byte{2, 0, 0, 0, 0, 2}), Addrs: []netip.Addr{netip.MustParseAddr("1.1.1.1")}})
	list := b.list(n)
	if len(list) != bypassMax {
		t.Fatalf("%d are remembered, want %d", len(list), bypassMax)
	}
	got := list[0]
	got.Last = time.Time{}
	want := control.Bypass{
		Client: "192.168.1.2 (02:00:00:00:00:02)", Address: "1.1.1.1", Resolver: resolverName(netip.MustParseAddr("1.1.1.1")),
		Protocol: control.ProtocolDoH,
	}
	expect(t, got == want && want.Resolver != "", "%+v, want %+v", got, want)
	e := list[len(list)-1]
	expect(t, e.Protocol == control.ProtocolDoT && e.Refused, "DNS over TLS: %+v", e)
	findings := judgeBypass([]control.Bypass{got, list[1]})
	expect(t, findings[0].Level == control.LevelWarning && findings[1].Level == control.LevelNote, "findings: %+v", findings)
	expect(t, strings.Contains(findings[0].Text, "192.168.1.2"), "findings: %+v", findings)
	none := judgeBypass(nil)
	expect(t, len(none) == 1 && none[0].Level == control.LevelOK, "nobody: %+v", none)
}

func TestProvidersResolvers(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "[]"},
		{"# comment\nnameserver 127.0.0.1\nnameserver ::1\n", "[]"},
		{"nameserver 192.0.2.1\nnameserver 192.0.2.1\n nameserver 2001:db8::1 \nnameserver fe80::1%wan\nnameserver\nsearch lan\n", "[192.0.2.1 2001:db8::1]"},
		{"nameserver ::ffff:192.0.2.9\nnameserver x\nnameserver 0.0.0.0", "[192.0.2.9]"},
	} {
		if got := fmt.Sprint(nameservers(c.text)); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
	if got := providerResolvers(t.TempDir()); got != nil {
		t.Errorf("no file: %v", got)
	}
}

func TestWhatCouldNotBeComparedIsNotCalledTrue(t *testing.T) {
	server, silent := netip.MustParseAddr("192.0.2.53"), errors.New("no answer")
	f := judgeProvider(server, []compared{{name: "a", err: silent}, {name: "b", err: silent}})
	expect(t, f[0].Level == control.LevelNote && strings.Contains(f[0].Text, "no answer"), "none was compared: %+v", f)
	f = judgeProvider(server, []compared{{name: "a", err: silent}, {name: "b"}})
	expect(t, f[0].Level == control.LevelOK && strings.Contains(f[0].Text, "1 of 2"), "one was compared: %+v", f)
}

func TestForgeryIsToldWhenItIsSureOrRepeats(t *testing.T) {
	answer := func(a string) dns.Answer { return dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr(a)}} }
	other := dns.Tampered{Reason: dns.ReasonDisjoint, Detail: "differs"}
	for _, c := range []struct {
		what string
		all  []compared
		want string // "" for none
	}{
		{"nothing differs", []compared{{name: "a"}, {name: "b"}}, ""},
		{"one is elsewhere", []compared{{"a", answer("192.0.2.1"), other, nil}, {"b", answer("192.0.2.2"), other, nil}}, ""},
		{"two are at one place", []compared{{"a", answer("192.0.2.1"), other, nil}, {"b", answer("192.0.2.1"), other, nil}}, "a: differs; b: differs"},
		{"one is sure", []compared{{"a", answer("10.0.0.1"), dns.Tampered{Reason: dns.ReasonBogon, Sure: true, Detail: "private"}, nil}, {name: "b"}}, "a: private"},
	} {
		f := judgeProvider(netip.MustParseAddr("192.0.2.53"), c.all)
		if len(f) != 1 || (f[0].Level == control.LevelOK) != (c.want == "") || !strings.Contains(f[0].Text, c.want) {
			t.Errorf("%s: %+v, want %q", c.what, f, c.want)
		}
	}
}
