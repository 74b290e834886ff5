package dns

import (
	"fmt"
	"net/netip"
	"slices"
)

// Reason says in what way one answer differs from another.
type Reason string

// The reasons.
const (
	ReasonSame     Reason = ""         // nothing speaks against it
	ReasonBogon    Reason = "bogon"    // an address that no public name has
	ReasonName     Reason = "nxdomain" // "no such name", of a name that has addresses
	ReasonInvented Reason = "invented" // addresses of a name that does not exist
	ReasonEmpty    Reason = "empty"    // no address, of a name that has some
	ReasonError    Reason = "error"    // refused or failed, of a name that has addresses
	ReasonDisjoint Reason = "disjoint" // other networks altogether
)

// Tampered is what the comparison of two answers says. Only where Sure is set
// does one comparison do as evidence; otherwise it has to repeat: servers answer
// differently by place and time.
type Tampered struct {
	Reason Reason
	Sure   bool
	Detail string // for people
}

const (
	// Networks that are the same to us: the smallest that are announced.
	sameBits4 = 24
	sameBits6 = 48
)

// Compare says whether the answer a, of a provider, has been tampered with,
// taking b, to the same question from a trusted server, for the truth.
func Compare(a, b Answer) Tampered {
	switch {
	case b.Rcode == rcodeName && len(a.Addrs) > 0:
		return Tampered{ReasonInvented, true, fmt.Sprintf("%s for a name that does not exist", a.Addrs[0])}
	case b.Rcode != rcodeSuccess || len(b.Addrs) == 0:
		return Tampered{} // nothing to compare with
	case a.Rcode != rcodeSuccess || len(a.Addrs) == 0:
		return missing(a, b.Addrs[0])
	}
	i := slices.IndexFunc(a.Addrs, isBogon)
	if i >= 0 && !slices.ContainsFunc(b.Addrs, isBogon) {
		return Tampered{ReasonBogon, true, fmt.Sprintf("%s is no public address", a.Addrs[i])}
	}
	if !overlap(a.Addrs, b.Addrs) {
		return Tampered{ReasonDisjoint, false, fmt.Sprintf("%s, but the trusted answer is %s", a.Addrs[0], b.Addrs[0])}
	}
	return Tampered{}
}

// missing judges an answer without addresses of a name that has one.
func missing(a Answer, has netip.Addr) Tampered {
	switch a.Rcode {
	case rcodeName:
		return Tampered{ReasonName, true, fmt.Sprintf("no such name, but it has %s", has)}
	case rcodeSuccess:
		return Tampered{ReasonEmpty, false, fmt.Sprintf("no address, but it has %s", has)}
	}
	return Tampered{ReasonError, false, fmt.Sprintf("response code %d, but it has %s", a.Rcode, has)}
}

// overlap says whether two sets have a network in common. Families that only
// one of them has say nothing.
func overlap(a, b []netip.Addr) bool {
	comparable := false
	for _, x := range a {
		for _, y := range b {
			if x.Is4() != y.Is4() {
				continue
			}
			comparable = true
			if network(x).Contains(y) {
				return true
			}
		}
	}
	return !comparable
}

func network(a netip.Addr) netip.Prefix {
	bits := sameBits6
	if a.Is4() {
		bits = sameBits4
	}
	p, _ := a.Prefix(bits)
	return p
}

// isBogon says whether no public name can have an address: RFC 6890 and its
// registries, but for the ranges of documentation, which no block page uses and
// laboratories do.
func isBogon(a netip.Addr) bool {
	return !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(reserved, func(p string) bool {
		return netip.MustParsePrefix(p).Contains(a)
	})
}

var reserved = []string{
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
	"::/96", "100::/64", "2001:2::/48", "2001:10::/28",
}
