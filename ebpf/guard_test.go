package ebpf

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/routerd/routerd/internal/owned"
)

// Replies that say nothing of a flow leave its figures alone.
func TestAccountsOnlyWhatServersSend(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      func(*world) int
		server  string
		track   bool
		counted bool
	}{
		{"from a tunnel", func(*world) int { return loIndex }, "198.51.100.1", false, true},
		{"from the WAN", func(w *world) int { return w.wan }, "198.51.100.3", true, true},
		{"from the WAN, nothing goes direct", func(w *world) int { return w.wan }, "198.51.100.3", false, false},
		{"of the router itself", func(*world) int { return 0 }, "198.51.100.1", true, false},
		{"a reset of ours, turned round", func(w *world) int { return w.lan }, "198.51.100.1", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := servedWorld(t)
			w.tables.TrackDirect = c.track
			mustSet(t, w.DataPlane, w.tables)
			f := to(c.server)
			w.send(t, f)
			w.run(t, bpfProgRouterdLearn, back(f, flags(rst)).build(), via{in: c.in(w), out: w.lan})
			got := w.onlyFlow(t)
			if (got.RxPackets == 1) != c.counted || (got.Flags&FlowResetServer != 0) != c.counted {
				t.Errorf("flow %+v", got)
			}
		})
	}
}

func TestAccountIgnoresOtherFlows(t *testing.T) {
	w := servedWorld(t)
	f := to("198.51.100.1")
	w.send(t, f)
	w.comes(t, back(f, func(f *frame) { f.dst = netip.AddrPortFrom(alice, 50001) }))
	w.comes(t, back(f, fragment(88, false)))
	w.comes(t, back(to("192.0.2.1")))
	if got := w.onlyFlow(t); got.RxPackets != 0 {
		t.Errorf("flow %+v", got)
	}
}

func TestGuardStopsWhatMustNotLeaveByTheWAN(t *testing.T) {
	w := servedWorld(t)
	// The router's own lookups.
	for name, a := range map[string]string{"closed.example": "198.51.100.21", "open.example": "198.51.100.22", "blocked.example": "2001:db8:5::24"} {
		w.run(t, bpfProgRouterdLearn, answer(name, netip.MustParseAddr(a)).build(), via{out: loIndex})
	}
	forwarded := via{in: w.lan, out: w.wan}
	marked := func(p owned.PathIndex, v via) via {
		v.mark = uint32(owned.DefaultMask.Mark(p)) | 0xf0000001
		return v
	}
	own := via{out: w.wan}
	for _, c := range []struct {
		name  string
		frame frame
		via   via
		want  verdict
	}{
		{"unmarked", to("192.0.2.1"), forwarded, passed},
		{"unmarked to a closed destination: steer has seen it", to("198.51.100.1"), forwarded, passed},
		{"marked direct", to("198.51.100.1"), marked(owned.PathDirect, forwarded), passed},
		{"marked for a tunnel", to("198.51.100.1"), marked(tunnelA, forwarded), dropped},
		{"marked for a tunnel, unlisted", to("192.0.2.1"), marked(tunnelB, forwarded), dropped},
		{"marked for a tunnel, IPv6", to("2001:db8:9::9"), marked(tunnelB, forwarded), dropped},
		{"marked to be blocked", to("198.51.100.4"), marked(owned.PathBlock, forwarded), dropped},
		{"marked, of the router", to("192.0.2.1"), marked(tunnelA, own), dropped},
		{"marked, to an endpoint", to("198.51.100.200"), marked(tunnelA, forwarded), passed},
		{"marked, to a private range", to("10.99.0.1"), marked(tunnelA, forwarded), dropped},
		{"marked, VLAN", to("198.51.100.1", tagged(0x8100)), marked(tunnelA, forwarded), dropped},
		{"ARP", to("198.51.100.1", func(f *frame) { f.etherType = 0x0806 }), marked(tunnelA, forwarded), passed},
		{"own, unlisted", to("192.0.2.1"), own, passed},
		{"own, closed", to("198.51.100.21"), own, dropped},
		{"own, open", to("198.51.100.22"), own, passed},
		{"own, blocked", to("2001:db8:5::24"), own, dropped},
		{"own, closed, marked direct", to("198.51.100.21"), marked(owned.PathDirect, own), passed},
		{"own, closed for alice's lookups only", to("198.51.100.1"), own, passed},
		{"own, closed network", to("203.0.113.1"), own, dropped},
		{"own, open network", to("203.0.113.129"), own, passed},
		{"own, closed network, VLAN", to("203.0.113.1", tagged(0x8100)), own, dropped},
		{"own, closed network, IPv6", to("2001:db8:100::1"), own, dropped},
		{"forwarded, closed network", to("203.0.113.1"), forwarded, passed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := w.run(t, bpfProgRouterdGuard, c.frame.build(), c.via); got.verdict != c.want {
				t.Errorf("%s, want %s", got.verdict, c.want)
			}
		})
	}
	s, err := w.Stats()
	if err != nil || s.Guarded != 12 {
		t.Errorf("%d guarded, %v", s.Guarded, err)
	}
}

func TestGuardLeavesOwnTrafficAloneWhereItIsNotSteered(t *testing.T) {
	w := servedWorld(t)
	w.tables.Own = false
	mustSet(t, w.DataPlane, w.tables)
	if got := w.run(t, bpfProgRouterdGuard, to("203.0.113.1").build(), via{out: w.wan}); got.verdict != passed {
		t.Errorf("own packet %s", got.verdict)
	}
}

func TestGuardOnBareDevices(t *testing.T) {
	w := servedWorld(t)
	bare := func(f *frame) { f.bare, f.src = true, netip.AddrPortFrom(bareV4, 1) }
	mark := uint32(owned.DefaultMask.Mark(tunnelA))
	for _, c := range []struct {
		name  string
		frame frame
		via   via
		want  verdict
	}{
		{"marked", to("192.0.2.1", bare), via{in: w.lan, out: w.wan, mark: mark}, dropped},
		{"own, closed network", to("203.0.113.1", bare), via{out: w.wan}, dropped},
		{"unlisted", to("192.0.2.1", bare), via{out: w.wan}, passed},
	} {
		if got := w.run(t, bpfProgRouterdGuardIp, c.frame.build(), c.via); got.verdict != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.verdict, c.want)
		}
	}
}

// A device that came after the last Attach has no programs, and its clients'
// packets have been seen by nobody.
func TestGuardStopsWhatIsClosedForClientsBehindNewDevices(t *testing.T) {
	w := servedWorld(t)
	const old, stranger = 40, 41
	if err := w.setConfig(func(c *bpfRdConfig) { c.Newest = old }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		server string
		in     int
		want   verdict
	}{
		{"closed, behind a device that is known", "198.51.100.1", old, passed},
		{"closed", "198.51.100.1", stranger, dropped},
		{"closed, IPv6", "2001:db8:5::1", stranger, dropped},
		{"blocked", "198.51.100.4", stranger, dropped},
		{"open", "198.51.100.2", stranger, passed},
		{"direct", "198.51.100.3", stranger, passed},
		{"closed for some client", "198.51.100.5", stranger, dropped},
		{"closed network", "203.0.113.1", stranger, dropped},
		{"open network", "203.0.113.129", stranger, passed},
		{"unlisted", "192.0.2.1", stranger, passed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := w.run(t, bpfProgRouterdGuard, to(c.server).build(), via{in: c.in, out: w.wan}); got.verdict != c.want {
				t.Errorf("%s, want %s", got.verdict, c.want)
			}
		})
	}
}

// guardsQuery checks what becomes of a query on its way out by the WAN: one that is
// redirected goes back with SERVFAIL.
func (w *world) guardsQuery(t *testing.T, question string, in int, want verdict) {
	t.Helper()
	before, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	got := w.run(t, bpfProgRouterdGuard, ask(question, dns.TypeA).build(), via{in: in, out: w.wan})
	if got.verdict != want {
		t.Errorf("%s, want %s", got.verdict, want)
	}
	after, err := w.Stats()
	if refused := after.Unanswered > before.Unanswered; err != nil || refused != (want == redirected) {
		t.Errorf("refused: %t, %v", refused, err)
	}
}

func TestGuardAnswersListedQueriesFromBehindNewDevices(t *testing.T) {
	const old, stranger = 40, 41
	worlds := map[string]func(testing.TB) *world{"secure": resolvingWorld, "observe": servedWorld}
	for _, c := range []struct {
		name     string
		question string
		in       int
		want     verdict
	}{
		{"listed", "closed.example", stranger, redirected},
		{"listed, behind a device that is known", "closed.example", old, passed},
		{"closed for some client", "alice.example", stranger, redirected},
		{"unlisted", "www.example", stranger, passed},
		{"direct", "direct.example", stranger, passed},
	} {
		for mode, make := range worlds {
			t.Run(c.name+", "+mode, func(t *testing.T) {
				w := make(t)
				if err := w.setConfig(func(c *bpfRdConfig) { c.Newest = old }); err != nil {
					t.Fatal(err)
				}
				w.guardsQuery(t, c.question, c.in, c.want)
			})
		}
	}
}

// A forwarder on the router, such as dnsmasq, asks for clients whose device is new: the
// daemon has not seen that, where the one of before is gone.
func TestGuardAnswersListedQueriesOfTheRouterWhileALANDeviceIsGone(t *testing.T) {
	const gone = 4711
	w := servedWorld(t)
	for _, c := range []struct {
		name     string
		question string
		lan      [4]uint32
		want     verdict
	}{
		{"listed, all are there", "closed.example", [4]uint32{uint32(w.lan), loIndex}, passed},
		{"listed, one is gone", "closed.example", [4]uint32{uint32(w.lan), gone}, redirected},
		{"unlisted, one is gone", "www.example", [4]uint32{gone}, passed},
		{"listed, none was ever there", "closed.example", [4]uint32{}, passed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := w.setConfig(func(f *bpfRdConfig) { f.Lan = c.lan }); err != nil {
				t.Fatal(err)
			}
			w.guardsQuery(t, c.question, 0, c.want)
		})
	}
}

func TestAttachMissesTheLastDeviceOfTheLAN(t *testing.T) {
	w := ownWorld(t)
	lan := func() (c bpfRdConfig) {
		t.Helper()
		if err := w.maps[bpfMapConfig].Lookup(uint32(0), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	mustAttach(t, w.DataPlane, "lan0")
	if got := lan().Lan; got != [4]uint32{uint32(w.lan)} {
		t.Errorf("devices of the LAN are %v", got)
	}
	if err := attachNow(w.DataPlane, nil, nil, true); err != nil {
		t.Fatal(err)
	}
	if got := lan().Lan; got != [4]uint32{uint32(w.lan)} {
		t.Errorf("the last device is forgotten: %v", got)
	}
}

func TestAttachTellsWhichDevicesAreNew(t *testing.T) {
	w := ownWorld(t)
	newest := func() uint32 {
		var c bpfRdConfig
		if err := w.maps[bpfMapConfig].Lookup(uint32(0), &c); err != nil {
			t.Fatal(err)
		}
		return c.Newest
	}
	if got := newest(); got != 0 {
		t.Errorf("%d is the newest device before any program is attached", got)
	}
	mustAttach(t, w.DataPlane, "lan0")
	before := newest()
	if before < uint32(max(w.lan, w.wan)) {
		t.Errorf("%d is the newest device, there are %d and %d", before, w.lan, w.wan)
	}
	inside(t, w.ns, func() { addVeth(t, "lan9") })
	if newest() != before {
		t.Error("a new device is known before programs are attached again")
	}
	mustAttach(t, w.DataPlane, "lan0")
	if newest() <= before {
		t.Error("a new device stays a stranger")
	}

	// It is made again while devices are looked for, and not found.
	before = newest()
	inside(t, w.ns, func() {
		seen, err := NewestDevice()
		if err != nil {
			t.Fatal(err)
		}
		addVeth(t, "lan8")
		if err := w.Attach([]string{"lan0"}, nil, true, seen); err != nil {
			t.Fatal(err)
		}
	})
	if newest() != before {
		t.Error("a device is known that nobody looked for")
	}
}
