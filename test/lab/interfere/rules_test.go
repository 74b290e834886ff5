package interfere

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRulesSayWhatEachKindDoes(t *testing.T) {
	at := []netip.Prefix{netip.MustParsePrefix("22.10.1.1/32"), netip.MustParsePrefix("2d00:10::1/128")}
	for _, c := range []struct {
		x       Interference
		out, in []string
	}{
		{
			x: Interference{Kind: TCPDrop, Targets: at},
			out: []string{
				`iifname "cust" ip daddr @to4 meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn counter name hits drop`,
				`iifname "cust" ip6 daddr @to6 meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn counter name hits drop`,
			},
		},
		{
			x:  Interference{Kind: TCPDrop, Direction: In, Family: 6},
			in: []string{`oifname "cust" meta nfproto ipv6 meta l4proto tcp tcp flags & (fin | syn | rst | ack) == (syn | ack) counter name hits drop`},
		},
		{
			x:   Interference{Kind: TCPReset, On: OnSYN, Targets: at, Family: 4, Ports: []uint16{443, 80}},
			out: []string{`iifname "cust" ip daddr @to4 meta l4proto tcp th dport { 443, 80 } tcp flags & (fin | syn | rst | ack) == syn counter name hits reject with tcp reset`},
		},
		{x: Interference{Kind: Unreachable}, out: []string{`iifname "cust" counter name hits reject with icmpx host-unreachable`}},
		{x: Interference{Kind: TLSReset}, out: []string{`iifname "cust" meta l4proto tcp ct original packets < 64 jump look`}},
		{
			x:   Interference{Kind: Drop, Protocol: "udp", Ports: []uint16{443}},
			out: []string{`iifname "cust" meta l4proto udp th dport { 443 } counter name hits drop`},
			in:  []string{`oifname "cust" meta l4proto udp th sport { 443 } counter name hits drop`},
		},
		{
			x:   Interference{Kind: Loss, Percent: 19.99, Direction: Out},
			out: []string{`iifname "cust" numgen random mod 10000 < 1999 counter name hits drop`},
		},
		{x: Interference{Kind: Loss, Percent: 100, Direction: In}, in: []string{`oifname "cust" counter name hits drop`}},
		{
			x:   Interference{Kind: WGHandshake, Messages: []string{Initiation, Response}},
			out: []string{`iifname "cust" meta l4proto udp udp length 156 @th,64,32 0x01000000 counter name hits drop`, `iifname "cust" meta l4proto udp udp length 100 @th,64,32 0x02000000 counter name hits drop`},
			in:  []string{`oifname "cust" meta l4proto udp udp length 156 @th,64,32 0x01000000 counter name hits drop`, `oifname "cust" meta l4proto udp udp length 100 @th,64,32 0x02000000 counter name hits drop`},
		},
		{
			x:  Interference{Kind: Rate, Direction: In},
			in: []string{`oifname "cust" counter name hits meta priority set 1:a`},
		},
		{
			x:   Interference{Kind: ServiceDown, Targets: at[:1], Protocol: "tcp", Family: 4},
			out: []string{`ip daddr @to4 meta l4proto tcp counter name hits reject with tcp reset`},
		},
		{
			x: Interference{Kind: DNSForge, Servers: []netip.Addr{netip.MustParseAddr("22.8.8.8")}, Family: 6},
			out: []string{
				`iifname "cust" ip daddr @to4 meta l4proto tcp th dport { 53 } tcp flags & (fin | syn | rst | ack) == syn counter name hits meta mark set 0x1000000 tproxy ip to :5300`,
				`iifname "cust" ip daddr @to4 meta l4proto udp th dport { 53 } counter name hits meta mark set 0x1000000 tproxy ip to :5300`,
				`iifname "cust" ip6 daddr @to6 meta l4proto tcp th dport { 53 } tcp flags & (fin | syn | rst | ack) == syn counter name hits meta mark set 0x1000000 tproxy ip6 to :5300`,
				`iifname "cust" ip6 daddr @to6 meta l4proto udp th dport { 53 } counter name hits meta mark set 0x1000000 tproxy ip6 to :5300`,
			},
		},
	} {
		got := rulesOf(c.x, 10)
		if diff := cmp.Diff([][]string{c.out, c.in}, [][]string{got.out, got.in}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.x, diff)
		}
	}
}

func TestEveryKindHasRulesOrAnotherWay(t *testing.T) {
	for _, info := range Kinds() {
		x := exampleOf(info)
		x.ID = "i1"
		if err := x.Complete(); err != nil {
			t.Fatal(err)
		}
		rules := rulesOf(x, 1)
		if files := info.Kind == ServiceStatus || info.Kind == ServiceReject; rules.empty() != files {
			t.Errorf("%s has no rules: %v", info.Kind, rules.empty())
		}
		if script := rules.script(x); strings.Count(script, "{") != strings.Count(script, "}") || strings.Contains(script, "%!") {
			t.Errorf("%s: %s", info.Kind, script)
		}
	}
}

func TestScriptHoldsItsAddressesAndARP(t *testing.T) {
	x := Interference{
		ID: "i7", Kind: Drop, Delay: time.Second,
		Addresses: []netip.Prefix{netip.MustParsePrefix("22.10.1.9/24"), netip.MustParsePrefix("2d00:10::/32"), netip.MustParsePrefix("22.11.0.0/16")},
	}
	script := ruleset{out: []string{"drop"}, arp: true}.script(x)
	for _, want := range []string{
		"table inet lab-i7 {", "table arp lab-i7 {", "elements = { 22.10.1.0/24, 22.11.0.0/16 } }", "elements = { 2d00:10::/32 } }",
		"type filter hook prerouting priority -150; policy accept;",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in %s", want, script)
		}
	}
	if strings.Contains(script, "chain in {\n\t\ttype filter hook postrouting") {
		t.Error("an empty chain is hooked")
	}
}

func TestClassesOfARateComeAndGoWithTheirDiscipline(t *testing.T) {
	join := func(all [][]string) string {
		var b strings.Builder
		for _, c := range all {
			b.WriteString(strings.Join(c, " ") + "\n")
		}
		return b.String()
	}
	first, second := join(rateCommands(1, 128, true)), join(rateCommands(2, 100_000, false))
	for text, is := range map[string]bool{
		"qdisc add dev cust root handle 1: htb": true, "class add dev exit2 parent 1: classid 1:1 htb": true,
		"parent 1:1 handle 1001: tbf rate 128kbit burst 3200 limit 65536": true,
	} {
		if strings.Contains(first, text) != is {
			t.Errorf("%q in %s", text, first)
		}
	}
	if strings.Contains(second, "root") || !strings.Contains(second, "burst 125000 limit 12500000") {
		t.Error(second)
	}
	if got := join(unrateCommands(1, false)); strings.Contains(got, "root") || !strings.Contains(got, "class del dev net classid 1:1") {
		t.Error(got)
	}
	if got := join(unrateCommands(2, true)); !strings.Contains(got, "qdisc del dev exit root") {
		t.Error(got)
	}
}
