package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/tunnel"
)

const twoTunnels = `
config tunnel 'second'
	option type 'interface'
	option device 'tun1'
	option priority '20'
`

const device1 = `
ip link add tun1 type veth peer name far-tun1
ip link set far-tun1 up
ip addr add 10.98.0.2/24 dev tun1
ip link set tun1 up
`

// turn does what the loop does when time goes by.
func (r *router) turn(d *daemon) {
	r.Helper()
	d.refreshTunnels(r.Context())
	d.applyIfDirty(r.Context())
	if d.dirty != clean || d.unmet {
		r.Fatal("not applied")
	}
}

func TestFlowsOfADeadPathEndAtOnce(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run(device1)
	r.set("", twoTunnels+exchanges)
	d := r.inside()
	check := func(when, path, server string, wantOpen, wantEnded int) {
		t.Helper()
		open, ended := flowsTo(r, d.dp, server)
		if d.view.choices["exchanges"].Path != path || open != wantOpen || ended != wantEnded {
			t.Errorf("%s: path %s, %s has %d open and %d ended flows, want %s, %d, %d",
				when, d.view.choices["exchanges"].Path, server, open, ended, path, wantOpen, wantEnded)
		}
	}
	r.syn("5.5.5.1", 443)
	r.datagram("5.5.5.1", 443)
	check("at first", "other", "5.5.5.1", 2, 0)

	r.run("ip link set tun0 down")
	r.turn(d)
	// UDP is forgotten: its next packet takes the new path.
	check("the first tunnel died", "second", "5.5.5.1", 0, 1)

	r.syn("5.5.5.2", 443)
	r.run("ip link set tun0 up")
	r.turn(d)
	check("it came back, and may go again", "second", "5.5.5.2", 1, 0)
	expect(t, !d.health.again.IsZero(), "nothing says when the choice is to be made again")
	d.health.memories = nil // as if that were an hour ago
	d.soil(pathsOnly)
	r.turn(d)
	check("it came back for good", "other", "5.5.5.2", 1, 0)

	r.run("ip link set tun1 down")
	r.turn(d)
	check("the second died, where the destination is no more", "other", "5.5.5.2", 0, 1)

	r.syn("5.5.5.3", 443)
	r.run("ip link set tun0 down")
	r.turn(d)
	check("both are dead and nothing may replace them", "other", "5.5.5.3", 0, 1)
}

func TestNumbersOfWhatIsGoneAreFreed(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run(device1)
	const quiet = "\toption local_dns '0'" // canaries have a number too
	r.set(quiet, twoTunnels+exchanges+pools)
	d := r.inside()
	r.syn("5.5.5.1", 443)
	number := d.view.numbers["pools"]
	r.set(quiet, pools)
	_, err := d.reload(t.Context())
	need(t, err)
	d.expire(t.Context())
	dests, paths := taken(t, d)
	expect(t, dests == 2 && paths == 1, "%d destinations and %d paths have numbers, want 2 (one has a flow) and 1", dests, paths)
	open, _ := flowsTo(r, d.dp, "5.5.5.1")
	expect(t, open == 1, "%d flows of the destination that is gone, want 1", open)

	flows, err := d.dp.Flows()
	need(t, err)
	need(t, d.dp.ForgetFlows(flows))
	d.expire(t.Context())
	dests, _ = taken(t, d)
	expect(t, dests == 1, "%d destinations have numbers, want 1", dests)
	expect(t, d.view.numbers["pools"] == number, "pools has number %d, had %d", d.view.numbers["pools"], number)
}

// taken counts the numbers that are in use.
func taken(t *testing.T, d *daemon) (destinations, paths int) {
	t.Helper()
	a, err := d.dp.GoneDestinations(nil)
	need(t, err)
	b, err := d.dp.GonePaths(nil)
	need(t, err)
	return len(a), len(b)
}

func TestNumbersOfAnEarlierProcessAreFreed(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run(device1)
	// More generations of tunnels than there are path numbers.
	for i := range 16 {
		name := string(rune('a' + i))
		r.set("", strings.ReplaceAll(twoTunnels, "second", name)+strings.ReplaceAll(exchanges, "exchanges", "dest_"+name))
		d := r.inside()
		d.expire(t.Context())
		if d.view.paths[name] == 0 || len(d.view.paths) != 2 {
			t.Fatalf("paths: %v", d.view.paths)
		}
		if gone, err := d.dp.GoneDestinations(destinationNames(d.view.settings)); err != nil || len(gone) > 0 {
			t.Errorf("numbers of destinations that are gone: %v, %v", gone, err)
		}
		d.close()
	}
}

func TestPathsFitANarrowerMask(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	section := func(name string) string {
		return "\nconfig tunnel '" + name + "'\n\toption type 'interface'\n\toption device '" + name + "'\n"
	}
	var many strings.Builder
	for i := range 7 {
		many.WriteString(section("t" + string(rune('a'+i))))
	}
	r.set("", many.String()+exchanges)
	d := r.inside()
	last := "tg"
	if d.view.paths[last] < 8 {
		t.Fatalf("paths: %v", d.view.paths)
	}
	r.set("\toption mark_mask '0x07000000'", section(last)+exchanges)
	if _, err := d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.view.paths[last]; got == 0 || got > 7 {
		t.Errorf("path %d does not fit three bits", got)
	}
}

func TestTunnelsTouchNoNames(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run(device1)
	r.set("", twoTunnels+exchanges)
	d := r.inside()
	filled := d.filled
	slot := func() string { return d.view.choices["exchanges"].Path }
	r.run("ip link set tun0 down")
	r.turn(d)
	if d.filled != filled || slot() != "second" {
		t.Errorf("filled anew: %t, path %s", d.filled != filled, slot())
	}
	r.run("ip addr add 203.0.112.5/24 dev wan")
	d.networkChanged()
	r.turn(d)
	if d.filled != filled || !slices.Contains(d.filled.around.Exempt, netip.MustParsePrefix("203.0.112.5/32")) {
		t.Errorf("filled anew: %t, exempt %v", d.filled != filled, d.filled.around.Exempt)
	}
	if _, err := d.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.filled == filled {
		t.Error("settings that were read again are not in the maps")
	}
}

// Whoever answers a lookup of a listed name says what its addresses are. Those that
// are private, the router's own, its networks' or a tunnel's peer's are not taken;
// nor is anything that an unlisted name's answer says.
func TestAnswersSteerNeitherPrivateNorOwnNorUnlistedAddresses(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges+`
config tunnel 'peer'
	option standby '1'
	option priority '20'
	option private_key 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk='
	option public_key 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='
	option endpoint '20.9.9.9:51820'
	list address '10.9.0.2/32'
`)
	d := r.inside()
	from := r.resolver("127.0.0.1", "127.0.0.1")
	from.answer("unlisted.example", numbered(3))
	var bad []netip.Addr
	for _, a := range []string{
		"10.0.0.1", "172.16.1.1", "192.168.1.1", "192.168.1.77", "127.0.0.1", "169.254.1.1", "100.64.0.1", "224.0.0.251", "255.255.255.255",
		"0.0.0.0", "9.9.1.2", "9.9.1.77", "20.9.9.9",
	} {
		bad = append(bad, netip.MustParseAddr(a))
	}
	from.answer("example.org", append(bad, numbered(1))...)
	var known snapshot
	r.wait("the sound address is known", func() bool {
		var err error
		known, err = d.snapshot()
		return err == nil && len(known.addresses) > 0
	})
	expect(t, len(known.addresses) == 1 && known.addresses[0].Addr == numbered(1), "known: %+v", known.addresses)
	expect(t, len(known.grants) == 1 && known.grants[0].Addr == numbered(1), "granted: %+v", known.grants)
	need(t, d.learnVerified("example.org", 0, append(bad, numbered(2)), 60))
	known, err := d.snapshot()
	need(t, err)
	expect(t, len(known.addresses) == 2, "known by the resolver: %+v", known.addresses)
}

func TestWhatBecomesExemptIsForgotten(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	r.resolver("127.0.0.1", "127.0.0.1").answer("example.org", numbered(1), numbered(2))
	r.wait("the router's own lookup is followed", func() bool {
		select {
		case ev := <-d.learned:
			d.learn(t.Context(), d.waiting(ev))
		default:
		}
		return r.ownSet() == 2
	})
	r.run("ip addr add " + numbered(1).String() + "/32 dev wan")
	d.networkChanged()
	r.turn(d)
	known, err := d.snapshot()
	need(t, err)
	expect(t, len(known.grants) == 1 && len(known.addresses) == 1 && known.grants[0].Addr == numbered(2), "known: %+v", known)
	expect(t, r.ownSet() == 1, "own traffic is steered to %d addresses, want 1", r.ownSet())
}

func TestInterfaceThatMovesToAnotherDevice(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run(device1)
	ubus(t, map[string]string{"tun0": `{"up":true,"l3_device":"tun0"}`})
	r.set("", exchanges)
	d := r.inside()
	ubus(t, map[string]string{"tun0": `{"up":true,"l3_device":"tun1"}`})
	d.networkChanged()
	r.turn(d)
	if got := d.view.tunnels[0]; got.Device != "tun1" || got.Health != tunnel.Up {
		t.Errorf("the tunnel is %+v", got)
	}
}

// lookups has the daemon learn what three kinds of client looked up: numbered 1
// and 2 the LAN's, 7 one behind a device without hardware addresses, 8 the
// router itself.
func (r *router) lookups() {
	r.Helper()
	r.meetClient()
	r.run("ip tuntap add wg0 mode tun\nip addr add 10.97.0.1/24 dev wg0\nip link set wg0 up")
	r.set("\tlist lan 'wg0'", exchanges)
	r.start()
	r.resolver("10.97.0.1", "10.97.0.2").answer("example.org", numbered(7))
	r.resolver("127.0.0.1", "127.0.0.1").answer("example.org", numbered(8))
	r.resolver("192.168.1.1", lanClient).answer("WWW.Example.ORG", numbered(1), numbered(2), netip.MustParseAddr("10.0.0.1"))
	r.wait("the addresses are known", func() bool {
		why, err := r.client().Why(context.Background(), "www.example.org", lanClient)
		return err == nil && len(why.Addresses) == 2 && why.Path == "other" && why.Rule == "example.org"
	})
}

func TestWhyTellsOfLookupsAndRules(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.lookups()
	tests := []struct {
		query, client, path, reason string
		from                        string // what made the address known; "": nothing
	}{
		{numbered(1).String(), lanClient, "other", "learned by a lookup", "dns"},
		{numbered(1).String(), "", "other", "learned by a lookup", "dns"},
		{numbered(1).String(), "192.168.1.41", "direct", "this is none of them", "dns"},
		{numbered(7).String(), "10.97.0.2", "other", "learned by a lookup", "dns"},
		{numbered(7).String(), lanClient, "direct", "this is none of them", "dns"},
		{numbered(8).String(), "192.168.1.1", "other", "learned by a lookup", "dns"},
		{numbered(8).String(), "127.0.0.1", "other", "learned by a lookup", "dns"},
		{"5.5.5.9", lanClient, "other", "rule 5.5.5.0/24", "rule"},
		{numbered(9).String(), "", "direct", "no lookup of a listed name gave it", ""},
		{"unlisted.example", "", "direct", "no rule lists this name", ""},
		{"new.example.org", "", "other", "no lookup of it was seen", ""},
	}
	for _, tt := range tests {
		why, err := r.client().Why(context.Background(), tt.query, tt.client)
		need(t, err)
		from := ""
		for _, a := range why.Addresses {
			from = a.LearnedFrom
		}
		expect(t, why.Path == tt.path && from == tt.from && strings.Contains(why.Reason, tt.reason),
			"why %s for %q: %+v", tt.query, tt.client, why)
	}
}

func TestFlowsAndStatusTellOfLookups(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.lookups()
	r.syn(numbered(1).String(), 443)
	flows, err := r.client().Flows(context.Background())
	need(t, err)
	for i := range flows {
		flows[i].AgeS, flows[i].IdleS = 0, 0
	}
	want := []control.Flow{{
		Destination: "exchanges", Path: "other", Protocol: "tcp", Source: lanClient + ":40443", Target: numbered(1).String() + ":443",
		Name: "www.example.org", State: "connecting", TxBytes: 40,
	}}
	if diff := cmp.Diff(want, flows); diff != "" {
		t.Errorf("flows (-want +got):\n%s", diff)
	}
	s := r.status()
	expect(t, s.DNS.Learned == 4 && s.DataPlane.Addresses == 4 && s.DataPlane.Flows == 1, "status: %+v", s)
	wantDest := []control.DestinationStatus{{
		Name: "exchanges", Label: s.Destinations[0].Label, Policy: "tunnel", Path: "other", State: "ok", Addresses: 4, Flows: 1, TxBytes: 40,
		Verdict: s.Destinations[0].Verdict, VerdictReason: s.Destinations[0].VerdictReason, // checks may end meanwhile
	}}
	if diff := cmp.Diff(wantDest, s.Destinations); diff != "" {
		t.Errorf("destinations (-want +got):\n%s", diff)
	}
}

func TestExpiryPutsBackWhatWasLearnedAnew(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.meetClient()
	r.set("", exchanges)
	d := r.inside()
	dns := r.resolver("192.168.1.1", lanClient)
	dns.answer("example.org", numbered(1))
	forget := func(s snapshot) int {
		t.Helper()
		gone, err := d.dp.ForgetUnused(append(s.grants, s.addresses...))
		need(t, err)
		return len(gone)
	}
	read := func(entries int) snapshot {
		t.Helper()
		s, err := d.snapshot()
		need(t, err)
		expect(t, len(s.grants) == entries && len(s.addresses) == entries, "want %d, have %+v", entries, s)
		return s
	}
	old := read(1)
	r.wait("the data plane's clock moves", func() bool { return ebpf.Now() > old.grants[0].Seen })
	dns.answer("example.org", numbered(1))
	expect(t, forget(old) == 0, "forgotten although it was refreshed")
	fresh := read(1)
	expect(t, fresh.grants[0].Seen > old.grants[0].Seen, "what was put back is old: %+v", fresh)
	expect(t, forget(fresh) == 2, "not forgotten")
	read(0)
}

// ownSet counts the addresses that the firewall steers for the router itself.
func (r *router) ownSet() int {
	r.Helper()
	return strings.Count(r.run("nft list table inet routerd"), "20.0.")
}

func TestOwnTrafficFollowsAFloodOfLookups(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	dns := r.resolver("127.0.0.1", "127.0.0.1")
	const many = 5000
	begin := time.Now()
	for i := range many {
		dns.answer("host.example.org", numbered(i))
	}
	t.Logf("%d answers in %v", many, time.Since(begin))
	r.wait("all addresses are steered", func() bool { return r.ownSet() == many })
	t.Logf("steered after %v", time.Since(begin))
	if lines := strings.Count(r.log.String(), "\n"); lines > 10 {
		t.Errorf("the flood made %d lines of log:\n%s", lines, r.log.String())
	}
}

func TestAddressMapFillsAndRecovers(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.meetClient()
	r.set("\toption max_addresses '1024'", exchanges)
	r.start()
	dns := r.resolver("192.168.1.1", lanClient)
	for i := range 3000 {
		dns.answer("host.example.org", numbered(i))
	}
	r.wait("the full map is told", func() bool { return r.problem("address map is full") })
	if n := strings.Count(r.log.String(), "address map full"); n != 1 {
		t.Errorf("the full map is told %d times in the log", n)
	}
	if lines := strings.Count(r.log.String(), "\n"); lines > 10 {
		t.Errorf("the flood made %d lines of log:\n%s", lines, r.log.String())
	}
	r.halt()

	d := r.inside()
	d.makeRoom(t.Context(), ebpf.Event{Kind: ebpf.EventFull, Name: "host.example.org"})
	if !d.view.full {
		t.Fatal("a map that is full of what is in use has room")
	}
	known, err := d.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.dp.ForgetUnused(append(known.grants[:300], known.addresses...)); err != nil {
		t.Fatal(err)
	}
	d.expire(t.Context())
	if d.view.full {
		t.Error("a map with room is still told to be full")
	}
}
