package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
)

func TestDomainOfAService(t *testing.T) {
	for name, want := range map[string]string{
		"www.okx.com": "okx.com", "okx.com": "okx.com", "localhost": "localhost", "": "",
		"api.example.co.uk": "example.co.uk", "api.okx.com": "okx.com", "a.example.de": "example.de", "a.b.c.binance.com": "binance.com",
	} {
		if got := domain(name); got != want {
			t.Errorf("%q is of %q, want %q", name, got, want)
		}
	}
}

func TestConnectionsAsTheyAreJudged(t *testing.T) {
	const home = owned.PathTunnel0
	v := view{
		numbers: map[string]ebpf.Destination{"exchanges": 3}, paths: map[string]owned.PathIndex{"home": home},
	}
	server := netip.MustParseAddrPort("5.5.5.1:443")
	now := ebpf.Now()
	flows := []ebpf.Flow{
		{
			Destination: 3, Path: home, Server: server, Protocol: protoTCP, Created: now - 10, LastTx: now - 1, LastRx: now - 5, RxPackets: 9,
			Flags: ebpf.FlowSYN | ebpf.FlowSYNACK | ebpf.FlowHello | ebpf.FlowData, Waiting: 1500 * time.Millisecond, Again: 3,
		},
		{Destination: 3, Path: owned.PathDirect, Server: server, Protocol: protoUDP, Created: now, LastTx: now},
		{Destination: 3, Path: home, Server: server, Protocol: protoTCP, Created: now, LastTx: now, Flags: ebpf.FlowHello | ebpf.FlowResetServer},
		{Destination: 3, Path: home, Server: server, Protocol: protoTCP, Created: now, LastTx: now, Flags: ebpf.FlowFIN},
		{Destination: 4, Path: home, Server: server},            // of a destination that is gone
		{Destination: 3, Path: home + 1, Server: server},        // of a tunnel that is gone
		{Destination: 3, Path: owned.PathBlock, Server: server}, // answered by ourselves
	}
	got := passiveFlows(flows, &v, func(netip.Addr) []string { return []string{"x.example", "api.okx.com"} })
	for i := range got {
		// A tick may have passed.
		got[i].Age, got[i].Said = got[i].Age.Round(5*time.Second), got[i].Said.Round(5*time.Second)
		if got[i].Heard > 0 {
			got[i].Heard = got[i].Heard.Round(5 * time.Second)
		}
	}
	base := reach.PassiveFlow{Destination: "exchanges", Path: "home", Server: server, Service: "okx.com", TCP: true, Heard: -1}
	want := []reach.PassiveFlow{base, base, base, base}
	want[0].Age, want[0].Heard, want[0].Waiting, want[0].Again = 10*time.Second, 5*time.Second, 1500*time.Millisecond, 3
	want[0].Established, want[0].Asked, want[0].Answered = true, true, true
	want[1].Path, want[1].TCP = "direct", false
	want[2].Asked, want[2].Reset = true, true
	want[3].Over = true
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("connections (-want +got):\n%s", d)
	}
}

func TestVerdictsMoveDestinationsAndEndWhatWaits(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run(device1)
	r.set("", twoTunnels+exchanges)
	d := r.inside()
	r.syn("5.5.5.1", 443)
	path := func() string { return d.view.choices["exchanges"].Path }
	expect(t, path() == "other", "at first on %s, want other", path())
	waiting := func() bool {
		flows, err := d.dp.Flows()
		need(t, err)
		return len(flows) == 1 && flows[0].Waiting >= reach.PassiveStall
	}
	r.wait("the connection has waited long", waiting)

	d.setVerdicts(map[string]steer.Evidence{"exchanges": {Checks: map[string]steer.Finding{
		"other":  {Sign: steer.SignFails, Reason: "reset after the hello"},
		"second": {Sign: steer.SignRefused},
	}}})
	r.turn(d)
	expect(t, path() == "second", "other fails: on %s, want second", path())
	c := d.view.choices["exchanges"]
	expect(t, strings.Contains(c.Reason, "other: reset after the hello"), "reason %q", c.Reason)
	open, ended := flowsTo(r, d.dp, "5.5.5.1")
	expect(t, open == 0 && ended == 1, "%d open and %d ended flows, want the one that waits to be ended", open, ended)

	r.syn("5.5.5.2", 443)
	d.setVerdicts(nil)
	r.turn(d)
	expect(t, path() == "second", "other may work: on %s, want second until it is known", path())
	expect(t, !d.health.again.IsZero(), "nothing says when to choose again")
	open, _ = flowsTo(r, d.dp, "5.5.5.2")
	expect(t, open == 1, "%d open flows on the path that works, want 1", open)
}

// A path that fails clients' connections counts so for a minute.
func TestTrafficCountsForAWhile(t *testing.T) {
	h, now := newHealth(), time.Now()
	h.traffic["x"] = map[string]shown{
		"home":  {steer.Finding{Sign: steer.SignFails}, now.Add(time.Second)},
		"other": {steer.Finding{Sign: steer.SignFails}, now.Add(-time.Second)},
	}
	h.verdicts = map[string]steer.Evidence{"x": {Checks: map[string]steer.Finding{"home": {Sign: steer.SignWorks}}, Offline: true}}
	want := steer.Evidence{
		Checks: map[string]steer.Finding{"home": {Sign: steer.SignWorks}}, Offline: true,
		Traffic: map[string]steer.Finding{"home": {Sign: steer.SignFails}},
	}
	if d := cmp.Diff(want, h.evidence("x", now)); d != "" {
		t.Errorf("evidence (-want +got):\n%s", d)
	}
	if !h.again.Equal(now.Add(time.Second)) {
		t.Errorf("looked at again at %s, want when the finding ends", h.again)
	}
}
