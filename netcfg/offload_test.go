package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// offload makes the flowtable and skips the test where the kernel has none.
func offload(t *testing.T, n *Net, d Desired) {
	t.Helper()
	why, err := n.Offload(context.Background(), d)
	if err != nil {
		t.Fatalf("Offload: %v", err)
	}
	if strings.Contains(why, "kmod-nft-offload") {
		t.Skip("this kernel has no flowtables: scripts/vm test amd64-6.12 ./netcfg has")
	}
	if why != "" {
		t.Fatalf("Offload: %s", why)
	}
}

// loads says whether the kernel takes a ruleset; it fails the test where that is
// not for want of an expression.
func loads(t *testing.T, ruleset string) bool {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such file or directory") {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	return err == nil
}

// whyNot is the reason that Offload gives, whatever the kernel has.
func whyNot(t *testing.T, n *Net, d Desired) string {
	t.Helper()
	why, err := n.Offload(context.Background(), d)
	if err != nil {
		t.Fatalf("Offload: %v", err)
	}
	return why
}

// steerAs does what mark does, in a chain that is known to do no more with marks
// than route by them.
func (w *world) steerAs(t *testing.T, d Desired, path int) {
	t.Helper()
	input(t, fmt.Sprintf(`
table inet bpf
delete table inet bpf
table inet bpf {
	chain pbr_pre {
		type filter hook prerouting priority raw; policy accept;
		iifname "br-lan" ip daddr %s meta mark set meta mark & %#x | %#x
		iifname "br-lan" ip6 daddr %s meta mark set meta mark & %#x | %#x
	}
}`, target4, ^uint32(d.Mask), path<<d.Mask.Shift(), target6, ^uint32(d.Mask), path<<d.Mask.Shift()),
		"nft", "-f", "-")
}

// count has the router count what passes its chains for forwarded packets.
func count(t *testing.T) {
	t.Helper()
	input(t, `
table inet passed {
	chain forward {
		type filter hook forward priority -400; policy accept;
		meta l4proto { tcp, udp } counter
	}
}`, "nft", "-f", "-")
}

// passed is how many packets have passed the chains.
func passed(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`packets \d+`).FindString(run(t, "nft list table inet passed"))
}

// past says whether some packets there and back pass no chain.
func past(t *testing.T, c net.Conn) bool {
	t.Helper()
	before := passed(t)
	for range 4 {
		if err := echo(c); err != nil {
			t.Fatalf("echo: %v", err)
		}
	}
	return passed(t) == before
}

// goesPast waits until a connection's packets pass no chain: the kernel takes a
// connection into the flowtable with one of its packets, and frees one that was
// flushed in the background.
func goesPast(t *testing.T, c net.Conn, what string) {
	t.Helper()
	for deadline := time.Now().Add(limit); !past(t, c); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: packets still pass the chains", what)
		}
	}
}

// dialUDP opens a flow that serveUDP answers.
func (w *world) dialUDP(t *testing.T, target string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	w.in(t, w.client, func() { c, err = dialHere("udp", netip.MustParseAddr(target), 53, w.patience) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// fastWorld is a world whose router forwards past the rules.
func fastWorld(t *testing.T) (*world, *Net, Desired) {
	t.Helper()
	w := newWorld(t)
	d := w.state()
	d.Offload = true
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, d)
	offload(t, n, d)
	count(t)
	return w, n, d
}

func TestEstablishedConnectionsGoPastTheRules(t *testing.T) {
	w, n, d := fastWorld(t)
	targets(t, func(target, _ string, _ int) {
		for _, way := range []struct {
			name        string
			path        int
			there, away netns.NsHandle
		}{
			{"direct", 0, w.inet, w.exit}, {"steered", int(pathHome), w.exit, w.inet},
		} {
			if way.path != 0 {
				w.steerAs(t, d, way.path)
			}
			w.serve(t, way.there, target)
			w.serveUDP(t, way.there, target)
			w.nothing(t, way.away, "other way's end", func() {
				tcp, udp := mustDial(t, w, w.client, target), w.dialUDP(t, target)
				goesPast(t, tcp, way.name+" TCP to "+target)
				goesPast(t, udp, way.name+" UDP to "+target)
				if err := n.FlushOffload(context.Background()); err != nil {
					t.Fatal(err)
				}
				if past(t, tcp) {
					t.Errorf("%s TCP to %s passes no chain right after a flush", way.name, target)
				}
				goesPast(t, tcp, way.name+" TCP after a flush")
				goesPast(t, udp, way.name+" UDP after a flush")
				tcp.Close()
				udp.Close()
			})
		}
		w.unmark(t)
	})
	d.Offload = false
	w.serve(t, w.inet, "198.51.100.1")
	c := mustDial(t, w, w.client, "198.51.100.1")
	goesPast(t, c, "before")
	if why := whyNot(t, n, d); why != whyOff {
		t.Errorf("switched off for %q", why)
	}
	if past(t, c) {
		t.Error("packets pass no chain after it was switched off")
	}
	if has := run(t, "nft list ruleset"); strings.Contains(has, "flowtable") || strings.Contains(has, "chain "+chainTake) {
		t.Errorf("switched off, there is\n%s", has)
	}
}

func TestAFlushHasTheRulesEndWhatBeganElsewhere(t *testing.T) {
	w, n, d := fastWorld(t)
	targets(t, func(target, _ string, _ int) {
		w.serve(t, w.inet, target)
		c := mustDial(t, w, w.client, target)
		goesPast(t, c, "direct")
		w.steerAs(t, d, int(pathHome))
		if err := echo(c); err != nil {
			t.Errorf("%s: it was not in the flowtable: %v", target, err)
		}
		if err := n.FlushOffload(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.nothing(t, w.inet, "WAN", func() {
			if err := echo(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: %v, want a reset", target, err)
			}
		})
		w.unmark(t)
	})
}

func TestAnOffloadedConnectionCanBeForgotten(t *testing.T) {
	w, n, _ := fastWorld(t)
	w.serveUDP(t, w.inet, target4)
	c := w.dialUDP(t, target4)
	goesPast(t, c, "direct")
	count, err := n.DropConntrack(context.Background(), func(_, dst netip.AddrPort, _ uint8, _ netip.Addr) bool {
		return dst.Addr() == netip.MustParseAddr(target4)
	})
	if count != 1 || err != nil {
		t.Errorf("forgot %d, %v", count, err)
	}
	goesPast(t, c, "begun anew")
}

func TestAnOffloadedConnectionLeavesWithItsRoute(t *testing.T) {
	w, n, d := fastWorld(t)
	w.steerAs(t, d, int(pathHome))
	targets(t, func(target, _ string, _ int) {
		w.serve(t, w.exit, target)
		c := mustDial(t, w, w.client, target)
		goesPast(t, c, "steered")
		w.nothing(t, w.inet, "WAN", func() {
			w.nothing(t, w.exit, "tunnel's end", func() {
				d.Paths[2].Up = false
				apply(t, n, d)
				if err := echo(c); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s: %v, want a reset", target, err)
				}
			})
		})
		d.Paths[2].Up = true
		apply(t, n, d)
	})
}

func TestTheFlowtableIsMended(t *testing.T) {
	w, n, d := fastWorld(t)
	want := tidy(run(t, "nft list table inet routerd"))
	golden(t, "nft-offload.txt", want)
	handles := tidy(run(t, "nft -a list table inet routerd"))
	apply(t, n, d)
	offload(t, n, d)
	offload(t, newNet(t, WithFirewall(NFTables)), d) // the next process
	same(t, "made again though nothing had changed", handles, tidy(run(t, "nft -a list table inet routerd")))
	for what, spoil := range map[string]string{
		"a device made anew": "ip link del rd-home",
		"rules deleted":      "nft flush chain inet routerd take",
		"all deleted":        "nft delete table inet routerd",
		"another device":     "ip link add br-guest type dummy",
	} {
		run(t, spoil)
		if what == "a device made anew" {
			w.link(t, "rd-home", w.exit, "10.9.0.2/24", "fd09::2/64", "10.9.0.1/24", "fd09::1/64")
			run(t, "ip link set rd-home mtu 1420")
		}
		if what == "another device" {
			d.LAN = []string{"br-lan", "br-guest"}
			offload(t, n, d)
			if has := run(t, "nft list flowtables"); !strings.Contains(has, "br-guest") {
				t.Errorf("another device is not in\n%s", has)
			}
			d.LAN = d.LAN[:1]
		}
		apply(t, n, d)
		offload(t, n, d)
		same(t, "after "+what, want, tidy(run(t, "nft list table inet routerd")))
	}
	w.serve(t, w.inet, target4)
	goesPast(t, mustDial(t, w, w.client, target4), "after all of that")
	if err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	if has := run(t, "nft list ruleset"); strings.Contains(has, "routerd") {
		t.Errorf("cleanup left\n%s", has)
	}
}

func TestConnectionsMeetTheRulesWhereOthersNeedThat(t *testing.T) {
	w := newWorld(t)
	d := w.state()
	d.Offload = true
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, d)
	free := whyNot(t, n, d) // "", or that the kernel has no flowtables
	for _, tt := range []struct{ name, rule, want string }{
		{"time to live", "oifname wan ip ttl set 65", "nftables chain c of table other changes packets"},
		{"DSCP", "ip6 dscp set cs1", "changes packets"},
		{"mark", "meta mark set 0x10", "marks packets"},
		{"mark within a mask", "meta mark set meta mark | 0x10", "marks packets"},
		{"priority", "meta priority set 1:2", "sets packets' priority"},
		{"queue", "tcp dport 443 ct original packets 1-6 queue num 200", "hands packets to a program"},
		{"rate", "ip saddr 192.168.1.40 limit rate over 100 kbytes/second drop", "limits their rate"},
		{"log", `limit rate 2/second log prefix "x"`, ""},
		{"judging", "tcp dport 25 counter reject", ""},
		{"segment size", "tcp flags syn tcp option maxseg size set rt mtu", ""},
		{"connection's mark", "ct mark set 5", ""},
	} {
		if !loads(t, "table inet other {\nchain c {\ntype filter hook forward priority 10;\n"+tt.rule+"\n}\n}\n") {
			t.Logf("%s: this kernel has no such rules", tt.name)
			continue
		}
		why := whyNot(t, n, d)
		if ok := why == free; tt.want == "" && !ok || tt.want != "" && !strings.Contains(why, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, why, tt.want)
		}
		run(t, "nft delete table inet other")
	}
	input(t, "table inet other {\nchain c {\ntype filter hook output priority 10;\nmeta mark set 0x10\n}\n}\n", "nft", "-f", "-")
	if why := whyNot(t, n, d); why != free {
		t.Errorf("marks of the router's own packets: %q", why)
	}
	if why := whyNot(t, n, w.state()); why != whyOff {
		t.Errorf("switched off: %q", why)
	}
}

func TestADeviceBelowAnotherIsInNoFlowtable(t *testing.T) {
	links := linkTable{"eth0": {index: 2}, "eth0.2": {index: 3, carrier: 2}, "wan": {index: 4}}
	for _, tt := range []struct {
		devices []string
		want    string
	}{
		{[]string{"eth0", "wan"}, ""},
		{[]string{"eth0.2", "wan"}, ""},
		{[]string{"eth0", "eth0.2"}, "eth0"},
	} {
		if got := links.carrier(tt.devices); got != tt.want {
			t.Errorf("%q: %q carries another, want %q", tt.devices, got, tt.want)
		}
	}
}

func TestAnotherFlowtableIsLeftAlone(t *testing.T) {
	_, n, d := fastWorld(t)
	input(t, `
table inet fw {
	flowtable ft {
		hook ingress priority 0
		devices = { br-lan, wan }
	}
	chain forward {
		type filter hook forward priority 0;
		meta l4proto { tcp, udp } flow add @ft
	}
}`, "nft", "-f", "-")
	if why := whyNot(t, n, d); !strings.Contains(why, "flowtable ft of table fw") {
		t.Errorf("beside another flowtable: %q", why)
	}
	if has := run(t, "nft list flowtables"); strings.Contains(has, "table inet routerd") && strings.Contains(has, flowtableName) {
		t.Errorf("two flowtables:\n%s", has)
	}
	run(t, "nft delete table inet fw")
	offload(t, n, d)
}

func TestIPTablesHasNoFlowtable(t *testing.T) {
	w := newWorld(t)
	d := w.state()
	d.Offload = true
	n := newNet(t, WithFirewall(IPTables), WithIPTablesCommands("iptables-nft", "ip6tables-nft"))
	apply(t, n, d)
	if why := whyNot(t, n, d); !strings.Contains(why, "the firewall is iptables") {
		t.Errorf("with iptables: %q", why)
	}
	if err := n.FlushOffload(context.Background()); err != nil {
		t.Error(err)
	}
}
