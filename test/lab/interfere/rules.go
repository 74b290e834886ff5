package interfere

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// Ports on which the provider's own programs listen, unseen by the customer.
const (
	forgePort = 5300 // DNS
	proxyPort = 5443 // TCP connections of any port
)

// DeliverMark is on packets that isp is to deliver to itself (tproxy).
const DeliverMark = 0x1000000

// inspectPackets is how far into a connection the provider looks, in packets of
// the client: a hello in more pieces passes unseen.
const inspectPackets = 64

// table is the name of an interference's nftables table.
func table(id string) string { return "lab-" + id }

// cutMark is what connections carry that an interference has silenced.
func cutMark(number int) uint32 { return 0x2000000 | uint32(number) }

// sentMark is on packets that the provider makes, so that no rule takes them for
// the customer's.
const sentMark = 0x4000000

// ruleset is what of an interference is done in the kernel's packet filter.
type ruleset struct {
	out, in []string // of packets from and to the customer; counted as hits
	extra   string   // more of the table
	arp     bool     // and no ARP
}

// looks says whether packets go to a queue.
func (r ruleset) looks() bool {
	all := strings.Join(slices.Concat(r.out, r.in, []string{r.extra}), "\n")
	return strings.Contains(all, toQueue)
}

func (r ruleset) empty() bool { return len(r.out)+len(r.in) == 0 && r.extra == "" }

// rulesOf gives an interference's rules; number is that of its queue.
func rulesOf(x Interference, number int) ruleset {
	switch x.Kind {
	case DNSForge, DNSRedirect:
		return ruleset{out: x.tproxy(forgePort)}
	case DNSInject, DNSDrop:
		return x.dnsRules()
	case TCPDrop, TCPReset, Unreachable, Drop, ServiceDown:
		return x.connectionRules()
	case TLSReset, HTTPReset:
		return ruleset{out: x.matches(Out, "tcp", inspected, toQueue)}
	case TLSDrop, QUICDrop:
		return x.cutRules(number)
	case TLSCert, HTTPBlockPage:
		return ruleset{out: x.tproxy(proxyPort)}
	}
	return x.lineRules(number)
}

func (x *Interference) lineRules(number int) ruleset {
	switch x.Kind {
	case Freeze:
		return x.freezeRules()
	case Rate:
		// Forwarding sets a packet's priority anew: both are done after it.
		r := x.both("meta priority set " + classID(number))
		return ruleset{in: slices.Concat(r.out, r.in)}
	case Loss:
		if x.Percent == 100 {
			return x.both("drop")
		}
		return x.both(fmt.Sprintf("numgen random mod 10000 < %d", int(math.Round(x.Percent*100))), "drop")
	case Delayed:
		return x.both(toQueue)
	case WGHandshake:
		return x.handshakeRules()
	case WANDown:
		r := x.both("drop")
		r.arp = x.Family == 0
		return r
	}
	return ruleset{}
}

const (
	toQueue   = "jump look"
	inspected = "ct original packets < 64"
	firstOnly = "tcp flags & (fin | syn | rst | ack) == syn"
	answerTo  = "tcp flags & (fin | syn | rst | ack) == (syn | ack)"
)

func (x *Interference) dnsRules() ruleset {
	q := x.queries()
	if x.Kind == DNSInject {
		return ruleset{out: q.matches(Out, "udp", toQueue)}
	}
	return ruleset{out: slices.Concat(q.matches(Out, "udp", toQueue), q.matches(Out, "tcp", toQueue))}
}

func (x *Interference) connectionRules() ruleset {
	switch x.Kind {
	case TCPDrop:
		if x.Direction == In {
			return ruleset{in: x.matches(In, "tcp", answerTo, "drop")}
		}
		return ruleset{out: x.matches(Out, "tcp", firstOnly, "drop")}
	case TCPReset:
		if x.On == OnData {
			return ruleset{out: x.matches(Out, "tcp", inspected, toQueue)}
		}
		return ruleset{out: x.matches(Out, "tcp", firstOnly, "reject with tcp reset")}
	case Unreachable:
		return ruleset{out: x.matches(Out, x.Protocol, "reject with icmpx host-unreachable")}
	case ServiceDown:
		if !x.Silent {
			return x.refuse()
		}
	}
	return x.both("drop")
}

// refuse answers as a host does on which nothing listens.
func (x *Interference) refuse() ruleset {
	var out []string
	if x.Protocol != "udp" {
		out = x.matches(Out, "tcp", "reject with tcp reset")
	}
	if x.Protocol != "tcp" {
		out = append(out, x.matches(Out, x.Protocol, "reject with icmpx port-unreachable")...)
	}
	return ruleset{out: out}
}

// cutRules silence a connection, both ways, whose packet the inspection marked.
func (x *Interference) cutRules(number int) ruleset {
	mark := fmt.Sprintf("%#x", cutMark(number))
	protocol := "tcp"
	if x.Kind == QUICDrop {
		protocol = "udp"
	}
	return ruleset{
		out: append([]string{"ct mark " + mark + " drop"}, x.matches(Out, protocol, inspected, toQueue)...),
		in:  []string{"ct mark " + mark + " drop"},
		extra: fmt.Sprintf(`	chain cut {
		type filter hook prerouting priority -148; policy accept;
		meta mark %[1]s ct mark set %[1]s drop
	}
`, mark),
	}
}

// freezeRules count the whole packets of a connection in one direction, headers
// included. A virtual cable carries up to 64 KiB as one packet, which would go
// too far at once: the queue, ahead of connection tracking, has the kernel cut
// such packets to those that a wire carries.
func (x *Interference) freezeRules() ruleset {
	counts, cut := "reply", x.matchesAt(`iifname != "cust"`, "saddr @to", "th sport", x.Protocol, toQueue)
	if x.Direction == Out {
		counts, cut = "original", x.matches(Out, x.Protocol, toQueue)
	}
	all := *x
	all.Direction = Both
	r := all.both(fmt.Sprintf("ct %s bytes > %d", counts, x.Bytes), "drop")
	r.extra = "\tchain cut {\n\t\ttype filter hook prerouting priority -300; policy accept;\n\t\t" +
		strings.Join(cut, "\n\t\t") + "\n\t}\n"
	return r
}

// handshakeRules tell WireGuard's handshake by its first four bytes (type and
// three zeros) and the length of the datagram with its header.
func (x *Interference) handshakeRules() ruleset {
	var r ruleset
	for _, m := range x.Messages {
		match := []string{"udp length 156 @th,64,32 0x01000000", "drop"}
		if m == Response {
			match[0] = "udp length 100 @th,64,32 0x02000000"
		}
		// Either side of the customer's line may be the one that begins.
		r.out = append(r.out, x.matches(Out, "udp", match...)...)
		r.in = append(r.in, x.matches(In, "udp", match...)...)
	}
	return r
}

// both does the same in the directions that x names.
func (x *Interference) both(parts ...string) ruleset {
	var r ruleset
	if x.Direction != In {
		r.out = x.matches(Out, x.Protocol, parts...)
	}
	if x.Direction != Out {
		r.in = x.matches(In, x.Protocol, parts...)
	}
	return r
}

// tproxy delivers new TCP connections, and DNS queries over UDP, to a program of
// the provider that sees where they were going.
func (x *Interference) tproxy(port int) []string {
	q := *x
	if port == forgePort {
		q = x.queries()
	}
	families := []int{4, 6}
	if q.Family != 0 {
		families = []int{q.Family}
	}
	var out []string
	for _, family := range families {
		q.Family = family
		to := fmt.Sprintf("meta mark set %#x tproxy %s to :%d", DeliverMark, map[int]string{4: "ip", 6: "ip6"}[family], port)
		out = append(out, q.matches(Out, "tcp", firstOnly, to)...)
		if port == forgePort {
			out = append(out, q.matches(Out, "udp", to)...)
		}
	}
	return out
}

// queries is x as seen by the queries it touches: those to its servers, or to
// every one. A family of records may be asked for over either family of packets.
func (x *Interference) queries() Interference {
	q := *x
	q.Addresses, q.Targets, q.Ports = nil, nil, []uint16{53}
	if x.Kind != DNSRedirect {
		q.Family = 0
	}
	for _, s := range x.Servers {
		q.Addresses = append(q.Addresses, netip.PrefixFrom(s, s.BitLen()))
	}
	return q
}

// matches are the rules, one for each family where addresses are compared, that
// do parts to the packets of one direction.
func (x *Interference) matches(d Direction, protocol string, parts ...string) []string {
	way, far, port := `iifname "cust"`, "daddr @to", "th dport"
	if d == In {
		way, far, port = `oifname "cust"`, "saddr @to", "th sport"
	}
	switch info, _ := InfoOf(x.Kind); {
	case info.Service:
		way = ""
	case x.Kind == Rate && d == Out:
		way = `oifname != "cust"`
	}
	return x.matchesAt(way, far, port, protocol, parts...)
}

// matchesAt is matches for packets of a device, with the far side's address and
// port in these fields.
func (x *Interference) matchesAt(way, far, port, protocol string, parts ...string) []string {
	var wheres []string
	switch {
	case len(x.restricted()) > 0:
		for _, f := range []struct {
			is   int
			text string
		}{{4, "ip " + far + "4"}, {6, "ip6 " + far + "6"}} {
			if x.Family == 0 || x.Family == f.is {
				wheres = append(wheres, f.text)
			}
		}
	case x.Family != 0:
		wheres = []string{fmt.Sprintf("meta nfproto ipv%d", x.Family)}
	default:
		wheres = []string{""}
	}
	var out []string
	for _, where := range wheres {
		words := []string{way, where, protocols(protocol, len(x.Ports) > 0)}
		if len(x.Ports) > 0 {
			words = append(words, port+" "+set(x.Ports))
		}
		out = append(out, strings.Join(strings.Fields(strings.Join(append(words, counted(parts)...), " ")), " "))
	}
	return out
}

// counted puts the counter before what is done, which is the last part.
func counted(parts []string) []string {
	last := len(parts) - 1
	if parts[last] == toQueue {
		return parts // the inspection counts what it touches
	}
	return append(slices.Clone(parts[:last]), "counter name hits", parts[last])
}

func protocols(protocol string, ports bool) string {
	switch {
	case protocol != "":
		return "meta l4proto " + protocol
	case ports:
		return "meta l4proto { tcp, udp }"
	}
	return ""
}

func set[T any](all []T) string {
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = fmt.Sprint(x)
	}
	return "{ " + strings.Join(out, ", ") + " }"
}

// priority is that of the chain for packets from the customer. What is refused is
// so ahead of connection tracking: the answer would share an entry that nothing has
// confirmed, and a queue drops such packets (nf_ct_drop_unconfirmed in
// net/netfilter/nfnetlink_queue.c).
func (r ruleset) priority() int {
	if strings.Contains(strings.Join(r.out, "\n"), "reject with") {
		return -310
	}
	return -150
}

// script is what nft reads to make an interference's tables.
func (r ruleset) script(x Interference) string {
	addresses := x.restricted()
	for _, s := range x.Servers {
		addresses = append(addresses, netip.PrefixFrom(s, s.BitLen()))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n\tcounter hits { }\n%s%s", table(x.ID), addressSet(addresses, 4), addressSet(addresses, 6))
	b.WriteString("\tchain look { }\n")
	b.WriteString(r.extra)
	writeChain(&b, "out", fmt.Sprintf("prerouting priority %d", r.priority()), r.out)
	// After source addresses have been put back as the customer sees them.
	writeChain(&b, "in", "postrouting priority 200", r.in)
	b.WriteString("}\n")
	if r.arp {
		fmt.Fprintf(&b, `table arp %s {
	chain in {
		type filter hook input priority 0; policy accept;
		iifname "cust" drop
	}
	chain out {
		type filter hook output priority 0; policy accept;
		oifname "cust" drop
	}
}
`, table(x.ID))
	}
	return b.String()
}

func writeChain(b *strings.Builder, name, hook string, rules []string) {
	if len(rules) == 0 {
		return
	}
	fmt.Fprintf(b, "\tchain %s {\n\t\ttype filter hook %s; policy accept;\n\t\tmeta mark %#x accept\n", name, hook, sentMark)
	for _, r := range rules {
		fmt.Fprintf(b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
}

func addressSet(all []netip.Prefix, family int) string {
	var of []netip.Prefix
	for _, p := range all {
		if p.Addr().Is4() == (family == 4) {
			of = append(of, p.Masked())
		}
	}
	elements := ""
	if len(of) > 0 {
		elements = " elements = " + set(of)
	}
	kind := map[int]string{4: "ipv4_addr", 6: "ipv6_addr"}[family]
	return fmt.Sprintf("\tset to%d { type %s; flags interval; auto-merge;%s }\n", family, kind, elements)
}
