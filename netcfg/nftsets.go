package netcfg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/routerd/routerd/internal/sorting"
)

// ipRange is one element of a set: both ends belong to it. An address is a
// range of one.
type ipRange struct{ from, to netip.Addr }

func (r ipRange) String() string {
	if r.from == r.to {
		return r.from.String()
	}
	return r.from.String() + "-" + r.to.String()
}

// prefixRange is the range of a prefix.
func prefixRange(p netip.Prefix) ipRange {
	p = p.Masked()
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return ipRange{p.Addr(), last}
}

// ownSet is the set of one own route and family.
type ownSet struct {
	name     string
	family   Family
	interval bool // holds networks; else a hash of addresses
	ranges   []ipRange
}

// ownSetSpec derives a set from an own route.
func ownSetSpec(o OwnRoute, f Family) ownSet {
	prefixes := f.prefixes(o.Prefixes)
	return ownSet{
		name:     ownSetName(o.ID, f),
		family:   f,
		interval: len(prefixes) > 0,
		ranges:   normalise(prefixes, f.of(o.Addresses)),
	}
}

func ownSetName(id uint16, f Family) string {
	if f == IPv6 {
		return fmt.Sprintf("own6_%d", id)
	}
	return fmt.Sprintf("own4_%d", id)
}

// ruleName differs between the two kinds of set: a rule must go before its set
// can be made anew as the other kind.
func (s ownSet) ruleName(destination string) string {
	kind := "addresses"
	if s.interval {
		kind = "networks"
	}
	return fmt.Sprintf("%.40s %s: %s", destination, s.name, kind)
}

// prefixes picks the networks of the family; an address with all its bits is
// one of the addresses' kind only where it came as an address.
func (f Family) prefixes(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if p.IsValid() && p.Addr().Is4() == (f == IPv4) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// normalise gives ranges that do not overlap, in order: an interval set
// refuses an element that lies inside another.
func normalise(prefixes []netip.Prefix, addrs []netip.Addr) []ipRange {
	all := slices.Clone(prefixes)
	for _, a := range addrs {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	sorting.By(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []ipRange
	for _, p := range all {
		r := prefixRange(p)
		if n := len(out); n > 0 && out[n-1].to.Compare(r.from) >= 0 {
			continue // inside the one before: prefixes nest or are apart
		}
		out = append(out, r)
	}
	return out
}

// elements encodes ranges for the kernel. The element after an interval's last
// address ends it; an interval up to the last address of all has no end.
func (s ownSet) elements(ranges []ipRange) []nftables.SetElement {
	out := make([]nftables.SetElement, 0, 2*len(ranges))
	for _, r := range ranges {
		out = append(out, nftables.SetElement{Key: r.from.AsSlice()})
		if !s.interval {
			continue
		}
		if end := r.to.Next(); end.IsValid() {
			out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

// decodeElements is the inverse of elements, in whatever order the kernel
// lists them.
func decodeElements(elems []nftables.SetElement, interval bool) []ipRange {
	type edge struct {
		addr netip.Addr
		end  bool
	}
	edges := make([]edge, 0, len(elems))
	for _, e := range elems {
		if a, ok := netip.AddrFromSlice(e.Key); ok {
			edges = append(edges, edge{a, e.IntervalEnd})
		}
	}
	// An end comes before the beginning at the same address.
	sorting.By(edges, func(a, b edge) int {
		return cmp.Or(a.addr.Compare(b.addr), compareBool(b.end, a.end))
	})
	var out []ipRange
	for i, e := range edges {
		switch {
		case e.end:
		case !interval:
			out = append(out, ipRange{e.addr, e.addr})
		case i+1 < len(edges) && edges[i+1].end:
			out = append(out, ipRange{e.addr, edges[i+1].addr.Prev()})
		default:
			out = append(out, ipRange{e.addr, prefixRange(netip.PrefixFrom(e.addr, 0)).to})
		}
	}
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// missing lists what is in a and not in b.
func missing(a, b []ipRange) []ipRange {
	in := make(map[ipRange]struct{}, len(b))
	for _, r := range b {
		in[r] = struct{}{}
	}
	var out []ipRange
	for _, r := range a {
		if _, ok := in[r]; !ok {
			out = append(out, r)
		}
	}
	return out
}

// nft is the set as the library takes it.
func (s ownSet) nft(t *nftables.Table) *nftables.Set {
	kind := nftables.TypeIPAddr
	if s.family == IPv6 {
		kind = nftables.TypeIP6Addr
	}
	return &nftables.Set{
		Table: t, Name: s.name, KeyType: kind, Interval: s.interval, KeyByteOrder: binaryutil.BigEndian,
	}
}

// elementsPerMessage keeps the attribute that holds a message's elements below
// 65,536 bytes, the most that an attribute can be.
const elementsPerMessage = 500

// queueElements adds or deletes elements in as many messages as they need.
func (s ownSet) queueElements(
	t *nftables.Table, ranges []ipRange, queue func(*nftables.Set, []nftables.SetElement) error,
) error {
	for chunk := range slices.Chunk(ranges, elementsPerMessage) {
		if err := queue(s.nft(t), s.elements(chunk)); err != nil {
			return fmt.Errorf("encode elements of set %s: %w", s.name, err)
		}
	}
	return nil
}
