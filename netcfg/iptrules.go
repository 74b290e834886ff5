package netcfg

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/routerd/routerd/internal/owned"
)

// The tables that we use.
const (
	tableFilter = "filter"
	tableNAT    = "nat"
	tableMangle = "mangle"
)

// Chains. The guard stands in two tables, with another end in each.
const (
	chainIPTForward = owned.ChainPrefix + "_FWD" // filter, from FORWARD
	chainIPTInput   = owned.ChainPrefix + "_IN"  // filter, from INPUT
	chainIPTGuard   = owned.ChainPrefix + "_GRD" // filter and mangle
	chainIPTRefuse  = owned.ChainPrefix + "_REF" // filter
	chainIPTStale   = owned.ChainPrefix + "_STL" // filter
	chainIPTNAT     = owned.ChainPrefix + "_NAT" // nat, from POSTROUTING
	chainIPTPre     = owned.ChainPrefix + "_PRE" // mangle, from PREROUTING: MSS of answers
	chainIPTPost    = owned.ChainPrefix + "_MNG" // mangle, from POSTROUTING: MSS, guard
	chainIPTOut     = owned.ChainPrefix + "_OUT" // mangle, from OUTPUT: own traffic
)

// maxOwnAddresses is how many targets of the router's own connections iptables
// takes in one family. Each is a rule that every new connection of the router
// passes, and ipset may not be there; nftables has no such limit.
const maxOwnAddresses = 1024

const synFlags = "-p tcp -m tcp --tcp-flags SYN,RST SYN"

// ownChain holds the targets of one destination, ownVerdict what becomes of
// them: a change of path rewrites the latter only.
func ownChain(id uint16) string   { return fmt.Sprintf("%s_O%d", owned.ChainPrefix, id) }
func ownVerdict(id uint16) string { return fmt.Sprintf("%s_D%d", owned.ChainPrefix, id) }

func ownTarget(id uint16, p netip.Prefix) []string {
	return []string{"-d", p.String(), "-g", ownVerdict(id)}
}

// iptOwn is an own route in one family.
type iptOwn struct {
	OwnRoute
	targets []netip.Prefix
}

// limitOwn takes own routes up to the limit and counts what is left out.
func limitOwn(d Desired, f Family) (own []iptOwn, dropped int) {
	if f == IPv6 && !d.IPv6 {
		return nil, 0
	}
	left := maxOwnAddresses
	for _, o := range d.Own {
		targets := f.prefixes(o.Prefixes)
		covered := normalise(targets, nil)
		for _, a := range f.of(o.Addresses) {
			if r := (ipRange{a, a}); len(outside([]ipRange{r}, covered)) > 0 {
				targets = append(targets, netip.PrefixFrom(a, a.BitLen()))
			}
		}
		if over := len(targets) - left; over > 0 {
			dropped += over
			targets = targets[:left]
		}
		left -= len(targets)
		own = append(own, iptOwn{o, targets})
	}
	return own, dropped
}

func markMatch(mask owned.Mask, v owned.Mark) string {
	return fmt.Sprintf("-m mark --mark %#x/%#x", uint32(v), uint32(mask))
}

func anyMark(mask owned.Mask) string {
	return fmt.Sprintf("-m mark ! --mark 0x0/%#x", uint32(mask))
}

// writeMarks are the rules that write our bits of the packet's and the
// connection's mark and keep all others.
func writeMarks(mask owned.Mask, v owned.Mark) []string {
	value := fmt.Sprintf("--set-xmark %#x/%#x", uint32(v), uint32(mask))
	return []string{"-j MARK " + value, "-j CONNMARK " + value}
}

// iptWanted are the tables of one family. With IPv6 off only what holds
// packets back is made for it.
func iptWanted(d Desired, links linkTable, f Family, own []iptOwn) []iptTable {
	on := f == IPv4 || d.IPv6
	filter := iptTable{
		name:  tableFilter,
		jumps: []iptJump{{"FORWARD", chainIPTForward}, {"INPUT", chainIPTInput}},
		chains: []iptChain{
			{name: chainIPTRefuse, rules: iptRefuse(f, "")},
			{name: chainIPTStale, rules: iptRefuse(f, "-m limit --limit 1/minute --limit-burst 5 ")},
			{name: chainIPTGuard, rules: append(iptGuard(d), "-j "+chainIPTRefuse)},
			{name: chainIPTForward, rules: iptForward(d, f, on)},
			{name: chainIPTInput, rules: iptInput(d, f)},
		},
	}
	mangle := iptTable{
		name:  tableMangle,
		jumps: []iptJump{{"POSTROUTING", chainIPTPost}},
		chains: []iptChain{
			{name: chainIPTGuard, rules: append(append([]string{"-o lo -j RETURN"}, iptGuard(d)...), "-j DROP")},
			{name: chainIPTPost, rules: iptPost(d)},
		},
	}
	if !on {
		return []iptTable{filter, mangle, {name: tableNAT}}
	}
	mangle.jumps = append(mangle.jumps, iptJump{"PREROUTING", chainIPTPre})
	mangle.chains = append(mangle.chains, iptChain{name: chainIPTPre, rules: iptPre(d, links, f)})
	if len(own) > 0 {
		mangle.jumps = append(mangle.jumps, iptJump{"OUTPUT", chainIPTOut})
		mangle.chains = append(mangle.chains, iptOut(d, own)...)
	}
	nat := iptTable{name: tableNAT}
	if rules := iptMasquerade(d); len(rules) > 0 {
		nat.jumps = []iptJump{{"POSTROUTING", chainIPTNAT}}
		nat.chains = []iptChain{{name: chainIPTNAT, rules: rules}}
	}
	return []iptTable{filter, mangle, nat}
}

// iptRefuse resets TCP, and tells of all others what matches.
func iptRefuse(f Family, others string) []string {
	other := "icmp-admin-prohibited"
	if f == IPv6 {
		other = "icmp6-adm-prohibited"
	}
	return []string{"-p tcp -j REJECT --reject-with tcp-reset", others + "-j REJECT --reject-with " + other}
}

// iptGuard returns from what leaves by its path's device.
func iptGuard(d Desired) []string {
	// The tunnels' own packets are of path direct, whether d names it or not.
	out := []string{markMatch(d.Mask, d.Mask.Mark(owned.PathDirect)) + " -j RETURN"}
	for _, p := range d.Paths {
		if p.Device != "" {
			out = append(out, fmt.Sprintf("-o %s %s -j RETURN", p.Device, markMatch(d.Mask, d.Mask.Mark(p.Index))))
		}
	}
	return out
}

func iptForward(d Desired, f Family, on bool) []string {
	var out []string
	for _, p := range d.Paths {
		if on && p.Device != "" && p.Masquerade {
			out = append(out, iptStale(p, f.of(p.Addresses))...)
		}
		if owned.IsDevice(p.Device) {
			out = append(out, fmt.Sprintf("-i %s -m conntrack --ctstate NEW -j DROP", p.Device))
		}
	}
	out = append(out, anyMark(d.Mask)+" -j "+chainIPTGuard)
	if on {
		out = append(out, iptAccept(d)...)
	}
	return out
}

// iptAccept is what forwardRules makes.
func iptAccept(d Desired) []string {
	var out []string
	for _, p := range d.Paths {
		if p.Device == "" {
			continue
		}
		only := ""
		if !owned.IsDevice(p.Device) {
			only = markMatch(d.Mask, d.Mask.Mark(p.Index)) + " "
		}
		for _, lan := range d.LAN {
			out = append(out,
				fmt.Sprintf("-i %s -o %s %s-j ACCEPT", lan, p.Device, only),
				fmt.Sprintf("-i %s -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", p.Device, lan))
		}
	}
	return out
}

// iptStale is what nftRules.stale makes.
func iptStale(p Path, addrs []netip.Addr) []string {
	if len(addrs) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-o %s -m conntrack --ctdir ORIGINAL --ctstatus CONFIRMED", p.Device)
	for _, a := range addrs {
		fmt.Fprintf(&b, " -m conntrack ! --ctrepldst %s", a)
	}
	return []string{b.String() + " -j " + chainIPTStale}
}

func iptInput(d Desired, f Family) []string {
	icmp := "icmp"
	if f == IPv6 {
		icmp = "ipv6-icmp"
	}
	var out []string
	for _, p := range d.Paths {
		if owned.IsDevice(p.Device) {
			// Invalid: see device in nftrules.go.
			out = append(out, fmt.Sprintf("-i %s ! -p %s -m conntrack --ctstate INVALID,NEW -j DROP", p.Device, icmp))
		}
	}
	return append(out, iptResolver(d)...)
}

func iptMasquerade(d Desired) []string {
	var out []string
	for _, p := range d.Paths {
		if p.Masquerade && p.Device != "" {
			out = append(out, fmt.Sprintf("-o %s -j MASQUERADE", p.Device))
		}
	}
	return out
}

func iptPre(d Desired, links linkTable, f Family) []string {
	headers := headersIPv4
	if f == IPv6 {
		headers = headersIPv6
	}
	var out []string
	for _, p := range d.Paths {
		if mtu := links[p.Device].mtu; owned.IsDevice(p.Device) && mtu > minMTU {
			out = append(out, fmt.Sprintf("-i %s %s -j TCPMSS --set-mss %d", p.Device, synFlags, mtu-headers))
		}
	}
	return out
}

func iptPost(d Desired) []string {
	var out []string
	for _, p := range d.Paths {
		if p.Device == "" {
			continue
		}
		only := ""
		if !owned.IsDevice(p.Device) {
			only = markMatch(d.Mask, d.Mask.Mark(p.Index)) + " "
		}
		out = append(out, fmt.Sprintf("-o %s %s%s -j TCPMSS --clamp-mss-to-pmtu", p.Device, only, synFlags))
	}
	return append(out, anyMark(d.Mask)+" -j "+chainIPTGuard)
}

// iptOut are the chains for the router's own connections, see nftRules.own.
func iptOut(d Desired, own []iptOwn) []iptChain {
	out := iptChain{name: chainIPTOut, rules: []string{anyMark(d.Mask) + " -j RETURN", "-o lo -j RETURN"}}
	for _, dev := range d.LAN {
		out.rules = append(out.rules, fmt.Sprintf("-o %s -j RETURN", dev))
	}
	out.rules = append(out.rules, "-m addrtype --dst-type LOCAL -j RETURN")
	var chains []iptChain
	for _, p := range d.Paths {
		v := d.Mask.Mark(p.Index)
		keep := iptChain{
			name:  fmt.Sprintf("%s_P%d", owned.ChainPrefix, p.Index),
			rules: writeMarks(d.Mask, v),
		}
		chains = append(chains, keep)
		out.rules = append(out.rules, fmt.Sprintf("-m connmark --mark %#x/%#x -g %s",
			uint32(v), uint32(d.Mask), keep.name))
	}
	out.rules = append(out.rules,
		"-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", "-m conntrack --ctdir REPLY -j RETURN")
	for _, o := range own {
		targets := iptChain{name: ownChain(o.ID), single: true}
		for _, p := range o.targets {
			targets.rules = append(targets.rules, strings.Join(ownTarget(o.ID, p), " "))
		}
		chains = append(chains,
			iptChain{name: ownVerdict(o.ID), rules: writeMarks(d.Mask, d.Mask.Mark(o.Path))}, targets)
		out.rules = append(out.rules, fmt.Sprintf("-m mark --mark 0x0/%#x -j %s", uint32(d.Mask), ownChain(o.ID)))
	}
	return append(chains, out)
}
