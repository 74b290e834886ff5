package steer

import (
	"net/netip"
	"slices"
)

// own gives, by destination, the networks that are its for the router itself,
// which no client rule names: without the more specific parts that are another
// destination's. What it gives of two destinations never overlaps.
func (p *Plan) own() map[int][]netip.Prefix {
	out := map[int][]netip.Prefix{}
	for i, n := range p.Networks {
		taker, ok := p.Taker(n.Chain, netip.Addr{}, [6]byte{})
		if !ok {
			continue
		}
		// Sorted by address, then length: what lies inside follows at once.
		inside := p.Networks[i+1:]
		end := slices.IndexFunc(inside, func(m NetworkRule) bool { return !n.Prefix.Contains(m.Prefix.Addr()) })
		if end >= 0 {
			inside = inside[:end]
		}
		var holes []netip.Prefix
		for _, m := range inside {
			if _, ok := p.Taker(m.Chain, netip.Addr{}, [6]byte{}); ok {
				holes = append(holes, m.Prefix)
			}
		}
		out[taker] = without(out[taker], n.Prefix, holes)
	}
	return out
}

// without appends to out what is left of a network when holes are cut out of it.
func without(out []netip.Prefix, p netip.Prefix, holes []netip.Prefix) []netip.Prefix {
	var in []netip.Prefix
	for _, h := range holes {
		if h.Bits() <= p.Bits() && h.Contains(p.Addr()) {
			return out // all of it
		}
		if p.Overlaps(h) {
			in = append(in, h)
		}
	}
	if len(in) == 0 {
		return append(out, p)
	}
	low, high := halves(p)
	return without(without(out, low, in), high, in)
}

// halves splits a network of more than one address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits()
	b := p.Masked().Addr().AsSlice()
	b[bits/8] |= 0x80 >> (bits % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Masked().Addr(), bits+1), netip.PrefixFrom(a, bits+1)
}
