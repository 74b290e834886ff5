package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/routerd/routerd/test/lab"
)

// The witnesses' table. It stands ahead of the lab's own counters, and sees what
// comes out of the router's WAN (on isp) or out of a tunnel (on the exits).
const witnessTable = "chaos"

// witnessRules counts packets to closed and plain addresses, and keeps from whom
// and to what those went that must not be there.
const witnessRules = `table inet chaos
delete table inet chaos
table inet chaos {
	set closed4 { type ipv4_addr; elements = { {{.Closed4}} }; }
	set closed6 { type ipv6_addr; elements = { {{.Closed6}} }; }
	set plain4 { type ipv4_addr; elements = { {{.Plain4}} }; }
	set plain6 { type ipv6_addr; elements = { {{.Plain6}} }; }
	set wrong4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; size 1024; flags dynamic; counter; }
	set wrong6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; size 1024; flags dynamic; counter; }
	counter closed { }
	counter plain { }
	chain count {
		type filter hook prerouting priority -320; policy accept;
		iifname "{{.Device}}" ip daddr @closed4 counter name closed{{if .WAN}} add @wrong4 { ip saddr . ip daddr . meta l4proto . th dport }{{end}}
		iifname "{{.Device}}" ip6 daddr @closed6 counter name closed{{if .WAN}} add @wrong6 { ip6 saddr . ip6 daddr . meta l4proto . th dport }{{end}}
		iifname "{{.Device}}" ip daddr @plain4 counter name plain{{if not .WAN}} add @wrong4 { ip saddr . ip daddr . meta l4proto . th dport }{{end}}
		iifname "{{.Device}}" ip6 daddr @plain6 counter name plain{{if not .WAN}} add @wrong6 { ip6 saddr . ip6 daddr . meta l4proto . th dport }{{end}}
	}
}
`

// witnesses are the hosts outside of the router that count.
func witnesses() []string { return []string{lab.ISP, lab.Exit, lab.Exit2} }

// seen is what a witness has counted since the run began, packets.
type seen struct{ closed, plain uint64 }

// wrong is what a witness says of seen that must be none.
func (s seen) wrong(host string) uint64 {
	if host == lab.ISP {
		return s.closed
	}
	return s.plain
}

// install places the witnesses.
func install(ctx context.Context, l *lab.Lab, p *population) error {
	rules, err := template.New("rules").Parse(witnessRules)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	four := func(a netip.Addr) bool { return a.Is4() }
	for _, host := range witnesses() {
		device := lab.TunnelDevice
		if host == lab.ISP {
			device = "cust"
		}
		var text bytes.Buffer
		err := rules.Execute(&text, map[string]any{
			"Device": device, "WAN": host == lab.ISP,
			"Closed4": joined(p.closed, four, true), "Closed6": joined(p.closed, four, false),
			"Plain4": joined(p.plain, four, true), "Plain6": joined(p.plain, four, false),
		})
		if err != nil {
			return fmt.Errorf("write rules: %w", err)
		}
		const file = "/run/chaos.nft"
		if err := l.WriteFile(host, file, text.Bytes(), 0o600); err != nil {
			return err
		}
		if _, err := l.Run(ctx, host, "nft", "-f", file); err != nil {
			return err
		}
	}
	return nil
}

// joined lists the addresses for which is is as wanted.
func joined(all []netip.Addr, is func(netip.Addr) bool, wanted bool) string {
	var out []string
	for _, a := range all {
		if is(a) == wanted {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, ", ")
}

// look reads a witness's counters. It asks the kernel itself: nft would fetch every
// address of every set first, some 30 ms of a processor each time.
func look(l *lab.Lab, host string) (s seen, err error) {
	err = l.Inside(host, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for name, packets := range map[string]*uint64{"closed": &s.closed, "plain": &s.plain} {
			if *packets, err = packetsOf(conn, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return seen{}, fmt.Errorf("read counters of %s: %w", host, err)
	}
	return s, nil
}

// packetsOf is one counter of a witness.
func packetsOf(conn *nftables.Conn, name string) (uint64, error) {
	o, err := conn.GetObject(&nftables.NamedObj{
		Table: &nftables.Table{Name: witnessTable, Family: nftables.TableFamilyINet},
		Name:  name, Type: nftables.ObjTypeCounter,
	})
	if err != nil {
		return 0, fmt.Errorf("counter %s: %w", name, err)
	}
	if named, ok := o.(*nftables.NamedObj); ok {
		if c, ok := named.Obj.(*expr.Counter); ok {
			return c.Packets, nil
		}
	}
	return 0, fmt.Errorf("counter %s is a %T", name, o)
}

// culprits tells which packets a witness saw that must not be, and forgets them.
func culprits(ctx context.Context, l *lab.Lab, host string) ([]string, error) {
	var out []string
	for _, set := range []string{"wrong4", "wrong6"} {
		raw, err := l.Run(ctx, host, "nft", "list", "set", "inet", witnessTable, set)
		if err != nil {
			return nil, err
		}
		out = append(out, elements(string(raw))...)
		if _, err := l.Run(ctx, host, "nft", "flush", "set", "inet", witnessTable, set); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// elements are those of a set as nft lists it, in order.
func elements(listing string) []string {
	_, rest, ok := strings.Cut(listing, "elements = {")
	if !ok {
		return nil
	}
	rest, _, _ = strings.Cut(rest, "}")
	var out []string
	for part := range strings.SplitSeq(rest, ",") {
		out = append(out, strings.Join(strings.Fields(part), " "))
	}
	slices.Sort(out)
	return out
}
