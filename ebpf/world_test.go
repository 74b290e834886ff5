package ebpf

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/routerd/routerd/internal/owned"
)

// The tunnels of the tests.
const (
	tunnelA = owned.PathTunnel0
	tunnelB = owned.PathTunnel0 + 1
	tunnelC = owned.PathTunnel0 + 2
	tunnelD = owned.PathTunnel0 + 3
)

// Who is who in the tests.
var (
	routerMAC = [6]byte{2, 0, 0, 0, 0, 1}
	aliceMAC  = [6]byte{2, 0, 0, 0, 0, 0xa}
	bobMAC    = [6]byte{2, 0, 0, 0, 0, 0xb}

	alice    = netip.MustParseAddr("192.168.1.10")
	alice6   = netip.MustParseAddr("2001:db8:aaaa::10")
	bob      = netip.MustParseAddr("192.168.1.11")
	resolver = netip.MustParseAddr("198.18.0.53")
)

// world is a data plane with rules of every kind.
type world struct {
	*DataPlane
	ns       netns.NsHandle
	lan, wan int // interface indexes
	dest     map[string]Destination
	tables   *Tables
}

// Bits of the clients that destinations of the world name.
const (
	bitAlice = iota
	bitNotBob
	bitGuests
	bitMAC
)

// newWorld is a world of the data plane that tests share: as good as new, without pins.
// A test has one at a time.
func newWorld(t testing.TB) *world {
	t.Helper()
	ns := enterNetns(t)
	return furnish(t, ns, borrowPlane(t))
}

// ownWorld is a world of a data plane of its own, for tests of what becomes of its
// pins, where it is attached, and who opens it next.
func ownWorld(t testing.TB) *world {
	t.Helper()
	return openWorld(t, func(*Options) {})
}

// openWorld is an ownWorld of other options.
func openWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	ns := enterNetns(t)
	o := testOptions(t)
	change(&o)
	return furnish(t, ns, mustOpen(t, o))
}

// furnish gives a data plane its devices and rules.
func furnish(t testing.TB, ns netns.NsHandle, d *DataPlane) *world {
	t.Helper()
	w := &world{
		DataPlane: d,
		ns:        ns,
		lan:       addVeth(t, "lan0").Attrs().Index,
		wan:       addVeth(t, "wan0").Attrs().Index,
	}
	w.tables = w.rules(t)
	mustSet(t, w.DataPlane, w.tables)
	return w
}

// slots of the world: where its destinations go. Those with a fallback that is
// closed say so.
var slots = map[string]Slot{
	"closed":  {Path: tunnelA, Closed: true},
	"open":    {Path: tunnelB},
	"direct":  {Path: owned.PathDirect},
	"blocked": {Path: owned.PathBlock, Closed: true},
	"alice":   {Path: tunnelC, Closed: true},
	"notbob":  {Path: tunnelA, Closed: true},
	"guests":  {Path: tunnelB, Closed: true},
	"mac":     {Path: tunnelD, Closed: true},
}

func (w *world) rules(t testing.TB) *Tables {
	t.Helper()
	names := make([]string, 0, len(slots))
	for name := range slots {
		names = append(names, name)
	}
	var err error
	if w.dest, err = w.Destinations(names); err != nil {
		t.Fatal(err)
	}
	tables := &Tables{
		Slots: map[Destination]Slot{}, Names: w.names(), Networks: w.networks(), Clients: clients(),
		Exempt: prefixes("127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "::1/128", "fe80::/10", "fd00::/8",
			"198.51.100.200/32"),
		WAN: []int{w.wan}, TrackDirect: true, Own: true,
	}
	for name, s := range slots {
		tables.Slots[w.dest[name]] = s
	}
	return tables
}

func (w *world) all(name string) Chain { return Chain{{Destination: w.dest[name]}} }

func (w *world) names() []NameRule {
	chain := func(first Link, rest ...string) Chain {
		c := Chain{first}
		for _, name := range rest {
			c = append(c, Link{Destination: w.dest[name]})
		}
		return c
	}
	return []NameRule{
		{Name: "closed.example", Suffix: w.all("closed")},
		{Name: "open.example", Suffix: w.all("open")},
		{Name: "direct.example", Suffix: w.all("direct")},
		{Name: "blocked.example", Suffix: w.all("blocked")},
		{Name: "deeper.closed.example", Suffix: w.all("open")},
		{Name: "only.example", Full: w.all("closed")},
		{Name: "both.example", Full: w.all("closed"), Suffix: w.all("open")},
		{Name: "api.open.example", Full: w.all("closed")},
		{Name: "alice.example", Suffix: chain(Link{Destination: w.dest["alice"], Include: true, Bit: bitAlice}, "open")},
		{Name: "solo.example", Suffix: chain(Link{Destination: w.dest["alice"], Include: true, Bit: bitAlice})},
		{Name: "notbob.example", Suffix: chain(Link{Destination: w.dest["notbob"], Exclude: true, Bit: bitNotBob}, "open")},
		{Name: "guests.example", Suffix: chain(Link{Destination: w.dest["guests"], Include: true, Bit: bitGuests}, "direct")},
		{Name: "mac.example", Suffix: chain(Link{Destination: w.dest["mac"], Include: true, Bit: bitMAC}, "open")},
		{Name: "four.example", Suffix: Chain{
			{Destination: w.dest["alice"], Include: true, Bit: bitAlice},
			{Destination: w.dest["guests"], Include: true, Bit: bitGuests},
			{Destination: w.dest["mac"], Include: true, Bit: bitMAC},
			{Destination: w.dest["blocked"]},
		}},
	}
}

func (w *world) networks() []NetworkRule {
	rule := func(p, dest string) NetworkRule {
		return NetworkRule{Prefix: netip.MustParsePrefix(p), Chain: w.all(dest)}
	}
	return []NetworkRule{
		rule("203.0.113.0/24", "closed"), rule("203.0.113.128/25", "open"), rule("203.0.113.200/32", "blocked"),
		rule("10.99.0.0/16", "closed"), rule("2001:db8:100::/48", "closed"), rule("2001:db8:100:1::/64", "direct"),
		rule("2001:db8:100:2::2/128", "blocked"),
	}
}

func clients() []ClientRule {
	return []ClientRule{
		{Prefix: netip.PrefixFrom(alice, 32), Include: 1 << bitAlice},
		{Prefix: netip.PrefixFrom(bob, 32), Exclude: 1 << bitNotBob},
		{Prefix: netip.MustParsePrefix("192.168.2.0/24"), Include: 1 << bitGuests},
		{Prefix: netip.MustParsePrefix("192.168.2.128/25"), Include: 1<<bitGuests | 1<<bitAlice},
		{MAC: bobMAC, Include: 1 << bitMAC},
	}
}

// learned makes an address known to a client through an answer for a name.
func (w *world) learned(t testing.TB, name string, client [6]byte, addrs ...netip.Addr) {
	t.Helper()
	f := answer(name, addrs...)
	f.dstMAC = client
	if got := w.run(t, bpfProgRouterdLearn, f.build(), via{out: w.lan}); got.verdict != passed {
		t.Fatalf("answer for %s: %s", name, got.verdict)
	}
	known := map[netip.Addr]bool{}
	all, err := w.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		known[k.Addr] = true
	}
	for _, a := range addrs {
		if !known[a] {
			t.Fatalf("answer for %s made %s not known", name, a)
		}
	}
}
