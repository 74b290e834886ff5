package ebpf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// innerID is the map of names that is in force.
func (d *DataPlane) innerID(t testing.TB) ebpf.MapID {
	t.Helper()
	inner := d.inner(t)
	defer inner.Close()
	info, err := inner.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return id
}

func (d *DataPlane) inner(t testing.TB) *ebpf.Map {
	t.Helper()
	var inner *ebpf.Map
	if err := d.maps[bpfMapRules].Lookup(uint32(0), &inner); err != nil {
		t.Fatal(err)
	}
	return inner
}

// contents is what the maps of the tables hold.
func (d *DataPlane) contents(t *testing.T) map[string]any {
	t.Helper()
	out := map[string]any{}
	keep := func(name string, v any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out[name] = v
	}
	targets, err := entries[uint32, bpfRdTarget](d.maps[bpfMapTargets])
	keep("targets", targets, err)
	slots, err := entries[uint32, uint32](d.maps[bpfMapSlots])
	keep("slots", slots, err)
	networks, err := entries[bpfRdPrefix, bpfRdRule](d.maps[bpfMapNetworks])
	keep("networks", networks, err)
	exempt, err := entries[bpfRdPrefix, uint32](d.maps[bpfMapExempt])
	keep("exempt", exempt, err)
	clients, err := entries[bpfRdPrefix, bpfRdClients](d.maps[bpfMapClientNetworks])
	keep("clients", clients, err)
	macs, err := entries[uint64, bpfRdClients](d.maps[bpfMapClientMacs])
	keep("macs", macs, err)
	inner := d.inner(t)
	defer inner.Close()
	names, err := entries[uint64, bpfRdRule](inner)
	keep("names", names, err)
	return out
}

func TestSetTablesTwiceChangesNothing(t *testing.T) {
	w := ownServedWorld(t)
	before, id := w.contents(t), w.innerID(t)
	mustSet(t, w.DataPlane, w.tables)
	shuffled := *w.tables
	shuffled.Names = slices.Clone(w.tables.Names)
	slices.Reverse(shuffled.Names)
	mustSet(t, w.DataPlane, &shuffled)
	diff(t, w.contents(t), before)
	if got := w.innerID(t); got != id {
		t.Error("the map of names was replaced by one that says the same")
	}
	next := w.again(t)
	mustSet(t, next, w.tables)
	diff(t, next.contents(t), before)
}

func TestSetTablesTakesAwayWhatIsGone(t *testing.T) {
	w := newWorld(t)
	mustSet(t, w.DataPlane, &Tables{})
	got := w.contents(t)
	for _, name := range []string{"networks", "exempt", "clients", "macs", "names"} {
		if s := fmt.Sprint(got[name]); s != "map[]" {
			t.Errorf("%s: %s", name, s)
		}
	}
	if f := (&bpfRdConfig{}); w.maps[bpfMapConfig].Lookup(uint32(0), f) != nil || f.Flags != 0 || f.Wan != [4]uint32{} {
		t.Errorf("configuration %+v", f)
	}
}

// Learned addresses hold a target: it means the same whatever is added before it.
func TestTargetsStayAcrossReloads(t *testing.T) {
	w := newWorld(t)
	first, err := w.internTargets(w.tables)
	if err != nil {
		t.Fatal(err)
	}
	more := *w.tables
	more.Names = append([]NameRule{{Name: "new.example", Suffix: Chain{
		{Destination: w.dest["open"], Include: true, Bit: 9}, {Destination: w.dest["closed"], Exclude: true, Bit: 3},
	}}}, w.tables.Names...)
	mustSet(t, w.DataPlane, &more)
	second, err := w.internTargets(&more)
	if err != nil {
		t.Fatal(err)
	}
	for chain, id := range first {
		if second[chain] != id {
			t.Errorf("chain %v: target %d, before %d", chain, second[chain], id)
		}
	}
}

func TestChainsAreCutToWhatTheKernelTries(t *testing.T) {
	w := newWorld(t)
	link := func(bit uint8) Link {
		return Link{Destination: w.dest["closed"], Include: true, Bit: bit}
	}
	w.tables.Names = []NameRule{{Name: "long.example", Suffix: Chain{link(10), link(11), link(12), link(13), {Destination: w.dest["open"]}}}}
	mustSet(t, w.DataPlane, w.tables)
	w.learned(t, "long.example", aliceMAC, addrs("198.51.100.1")...)
	w.goes(t, "fifth link", to("198.51.100.1"), unsteered)
}

// A daemon that runs for years does not run out of targets.
func TestTargetsAreTakenAgain(t *testing.T) {
	w := newWorld(t)
	w.learned(t, "closed.example", aliceMAC, addrs("198.51.100.1")...)
	for round := range 4 {
		tables := *w.tables
		tables.Names = slices.Clone(w.tables.Names)
		for i := range 1500 {
			chain := Chain{{Destination: Destination(1 + (round*1500+i)%1000), Include: true, Bit: uint8((round*1500 + i) / 1000)}}
			tables.Names = append(tables.Names, NameRule{Name: fmt.Sprintf("n%d.example", i), Suffix: chain})
		}
		mustSet(t, w.DataPlane, &tables)
		w.goes(t, "learned before", to("198.51.100.1", port(uint16(51000+round))), tunnelA)
	}
	tables := *w.tables
	for i := range MaxTargets {
		tables.Names = append(tables.Names, NameRule{Name: fmt.Sprintf("m%d.example", i), Suffix: Chain{
			{Destination: Destination(1 + i%1000), Exclude: true, Bit: uint8(i / 1000)},
		}})
	}
	if err := w.SetTables(&tables); err == nil || !strings.Contains(err.Error(), "4095") {
		t.Errorf("error %v, want one that names the limit", err)
	}
}

func TestLearnedAddressesFollowTheirRule(t *testing.T) {
	w := newWorld(t)
	w.learned(t, "both.example", aliceMAC, addrs("198.51.100.1")...)
	w.learned(t, "www.both.example", aliceMAC, addrs("198.51.100.2")...)
	set := func(full, suffix Chain) {
		w.tables.Names = []NameRule{{Name: "both.example", Full: full, Suffix: suffix}}
		mustSet(t, w.DataPlane, w.tables)
	}
	check := func(what string, full, suffix owned.PathIndex) {
		t.Helper()
		w.forgetFlows(t)
		w.goes(t, what+", full", to("198.51.100.1"), full)
		w.goes(t, what+", suffix", to("198.51.100.2", port(50001)), suffix)
	}
	check("first", tunnelA, tunnelB)
	set(w.all("open"), w.all("blocked"))
	check("moved", tunnelB, reset)
	set(nil, w.all("open"))
	check("full is gone", tunnelB, tunnelB)
	set(w.all("closed"), nil)
	check("suffix is gone", tunnelA, unsteered)
	set(w.all("closed"), w.all("closed"))
	check("both are back", tunnelA, tunnelA)
}

func TestNetworksWhoseRuleIsGoneCarryTheirOldFlows(t *testing.T) {
	w := newWorld(t)
	for _, server := range []string{"203.0.113.1", "203.0.113.129", "2001:db8:100::1"} {
		w.goes(t, "SYN", to(server), map[bool]owned.PathIndex{false: tunnelA, true: tunnelB}[server == "203.0.113.129"])
		w.comes(t, back(to(server), flags(syn|ack)))
	}
	w.tables.Networks = []NetworkRule{{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Chain: w.all("closed")}}
	for range 2 {
		mustSet(t, w.DataPlane, w.tables)
		w.goes(t, "old flow of the shorter prefix", to("203.0.113.1", flags(ack)), tunnelA)
		w.goes(t, "old flow of the longer prefix", to("203.0.113.129", flags(ack)), tunnelB)
		w.goes(t, "old flow of IPv6", to("2001:db8:100::1", flags(ack)), tunnelA)
		w.goes(t, "new flow, now of the shorter prefix", to("203.0.113.129", port(50001)), tunnelA)
		w.goes(t, "new flow of IPv6", to("2001:db8:100::1", port(50001)), unsteered)
		w.forgetPort(t, 50001)
	}
	w.tables.Networks = nil
	mustSet(t, w.DataPlane, w.tables)
	w.goes(t, "old flow without any network listed", to("203.0.113.1", flags(ack)), tunnelA)
	w.forgetFlows(t)
	mustSet(t, w.DataPlane, w.tables)
	if n, err := entries[bpfRdPrefix, bpfRdRule](w.maps[bpfMapNetworks]); err != nil || len(n) > 0 {
		t.Errorf("networks %v, %v", n, err)
	}
}

func (d *DataPlane) forgetPort(t *testing.T, port uint16) {
	t.Helper()
	flows := slices.DeleteFunc(d.mustFlows(t), func(f Flow) bool { return f.Client.Port() != port })
	if err := d.ForgetFlows(flows); err != nil {
		t.Fatal(err)
	}
}

// Rules are tidied while clients hold addresses that they gave: as long as another lists
// the name, its addresses stay steered.
func TestAddressesOfARuleThatIsGoneAreTheWiderRules(t *testing.T) {
	w := newWorld(t)
	rules := []NameRule{
		{Name: "one.example", Full: w.all("open"), Suffix: w.all("closed")},
		{Name: "two.example", Suffix: w.all("closed")},
		{Name: "api.two.example", Full: w.all("open")},
	}
	w.tables.Names = rules
	mustSet(t, w.DataPlane, w.tables)
	w.learned(t, "one.example", aliceMAC, addrs("198.51.100.1")...)
	w.learned(t, "api.two.example", aliceMAC, addrs("198.51.100.2")...)
	w.goes(t, "full rule", to("198.51.100.1"), tunnelB)
	w.goes(t, "longer name", to("198.51.100.2"), tunnelB)
	w.forgetFlows(t)
	rules[0].Full = nil
	w.tables.Names = rules[:2]
	w.tables.Moved = func(rule uint64) uint64 {
		for from, to := range map[string]string{"api.two.example": "two.example"} {
			if h, err := w.Hash(from); err == nil && h == rule {
				wider, _ := w.Hash(to)
				return wider
			}
		}
		return 0
	}
	for _, round := range []string{"at once", "and once more, with nothing moved"} {
		mustSet(t, w.DataPlane, w.tables)
		w.goes(t, "full rule gone "+round, to("198.51.100.1"), tunnelA)
		w.goes(t, "longer name gone "+round, to("198.51.100.2"), tunnelA)
		w.forgetFlows(t)
		w.tables.Moved = nil
	}
	w.tables.Names = rules[1:2]
	mustSet(t, w.DataPlane, w.tables)
	w.goes(t, "no rule left", to("198.51.100.1"), unsteered)
}

// The maps hold IPv4 inside of IPv6; rules do not.
func TestIPv6PrefixesDoNotCoverIPv4(t *testing.T) {
	w := newWorld(t)
	all6 := NetworkRule{Prefix: netip.MustParsePrefix("::/0"), Chain: w.all("closed")}
	w.tables.Networks = []NetworkRule{all6}
	w.tables.Exempt = prefixes("::/64")
	w.tables.Clients = []ClientRule{{Prefix: netip.MustParsePrefix("::/1"), Include: 1 << bitAlice}}
	mustSet(t, w.DataPlane, w.tables)
	w.goes(t, "IPv4", to("192.0.2.1"), unsteered)
	w.goes(t, "IPv6", to("2001:db8:9::9"), tunnelA)
	w.learned(t, "solo.example", aliceMAC, addrs("198.51.100.1")...)
	w.goes(t, "client of IPv4", to("198.51.100.1"), unsteered)
	w.tables.Networks = []NetworkRule{all6, {Prefix: netip.MustParsePrefix("0.0.0.0/0"), Chain: w.all("open")}}
	mustSet(t, w.DataPlane, w.tables)
	w.goes(t, "IPv4, listed as a whole", to("192.0.2.1"), tunnelB)
}

func TestForgetAndEnsure(t *testing.T) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	a := addrs("198.51.100.1", "2001:db8:5::1")
	w.learned(t, "closed.example", aliceMAC, a...)
	ev := pending(t, events)[0]
	ev.Time = Now()
	all, err := w.Grants()
	if err != nil || w.Forget(all) != nil || w.Forget(all) != nil {
		t.Fatal(err)
	}
	w.goes(t, "without the grant", to("198.51.100.1"), unsteered)
	if err := w.Forget([]Known{{Addr: a[0]}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Ensure(ev); err != nil {
		t.Fatal(err)
	}
	w.goes(t, "put back", to("198.51.100.1"), tunnelA)
	w.learned(t, "direct.example", aliceMAC, a[0])
	w.goes(t, "once a name that is not closed has it too", to("198.51.100.1"), tunnelA)
	again, err := w.Grants()
	if err != nil || len(again) != 2 || again[0].Expires != ev.Time+300 || again[0].Client != ClientMAC(aliceMAC) {
		t.Errorf("grants %+v, %v", again, err)
	}
}

// Every entry is read, however many there are in one bucket.
func TestReadsLargeMaps(t *testing.T) {
	w := openWorld(t, func(o *Options) { o.MaxAddresses = 8192 })
	want := map[bpfRdAddr]bpfRdKnown{}
	for i := range 8000 {
		want[addr(netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)}))] = bpfRdKnown{Rule: uint64(i), Target: 1}
	}
	if err := putAll(w.maps[bpfMapAddresses], want); err != nil {
		t.Fatal(err)
	}
	got, err := entries[bpfRdAddr, bpfRdKnown](w.maps[bpfMapAddresses])
	if err != nil || len(got) != len(want) {
		t.Errorf("%d entries, %v; want %d", len(got), err, len(want))
	}
}
