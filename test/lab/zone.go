package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// recordTTL is that of every record, in seconds.
const recordTTL = 300

// zoneFile is the whole of the lab's DNS as one root zone.
func zoneFile(names []Name) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN .\n$TTL %d\n", recordTTL)
	b.WriteString("@ IN SOA a.root.example. nobody.example. 1 3600 600 864000 60\n@ IN NS a.root.example.\n")
	writeAddresses(&b, "a.root.example", []netip.Addr{netip.MustParseAddr(Resolver4)})
	writeAddresses(&b, ResolverName, []netip.Addr{netip.MustParseAddr(Resolver4), netip.MustParseAddr(Resolver6)})
	writeAddresses(&b, BlockPageName, []netip.Addr{netip.MustParseAddr(BlockPage4), netip.MustParseAddr(BlockPage6)})
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n.Name] = true
	}
	for _, n := range names {
		writeName(&b, n, known)
	}
	return b.String()
}

// writeName writes a name's records. The end of a CNAME chain gets the
// addresses, unless it is a name of its own that has them already.
func writeName(b *strings.Builder, n Name, known map[string]bool) {
	owner := n.Name
	for _, target := range n.CNAME {
		fmt.Fprintf(b, "%s. CNAME %s.\n", owner, target)
		owner = target
	}
	if owner == n.Name || !known[owner] {
		writeAddresses(b, owner, n.A)
		writeAddresses(b, owner, n.AAAA)
	}
	if n.HTTPS != nil {
		fmt.Fprintf(b, "%s. HTTPS %s\n", owner, n.HTTPS)
	}
}

func writeAddresses(b *strings.Builder, owner string, addresses []netip.Addr) {
	for _, a := range addresses {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		fmt.Fprintf(b, "%s. %s %s\n", owner, kind, a)
	}
}

// String is the record's data in presentation format (RFC 9460 section 2.1).
func (r *HTTPSRecord) String() string {
	parts := []string{fmt.Sprint(r.Priority), r.Target + "."}
	if len(r.ALPN) > 0 {
		parts = append(parts, "alpn="+strings.Join(r.ALPN, ","))
	}
	for key, hints := range map[string][]netip.Addr{"ipv4hint=": r.Hint4, "ipv6hint=": r.Hint6} {
		if len(hints) > 0 {
			parts = append(parts, key+joinAddresses(hints))
		}
	}
	return strings.Join(parts, " ")
}

func joinAddresses(all []netip.Addr) string {
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return strings.Join(out, ",")
}
