package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// errName is wrapped by errors about names that no DNS message can hold.
var errName = errors.New("not a DNS name")

// wireName turns a name in presentation form (lower case, no dot at the end)
// into wire form without the root label (RFC 1035 section 3.1).
func wireName(name string) ([]byte, error) {
	if name == "" || len(name) > 253 {
		return nil, fmt.Errorf("read name %q: %w", name, errName)
	}
	wire := make([]byte, 0, len(name)+1)
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return nil, fmt.Errorf("read name %q: %w", name, errName)
		}
		wire = append(wire, byte(len(label)))
		for _, c := range []byte(label) {
			wire = append(wire, lower(c))
		}
	}
	return wire, nil
}

// lower is what DNS compares by (RFC 4343): letters of ASCII and no others.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// textName turns a wire name into lower-case presentation form without the dot
// at the end. Octets that are no printable ASCII are written as \DDD.
func textName(wire []byte) string {
	var b strings.Builder
	for len(wire) > 0 {
		n := int(wire[0])
		if n == 0 || n >= len(wire) {
			break
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		for _, c := range wire[1 : 1+n] {
			switch {
			case c > ' ' && c < 0x7f && c != '.' && c != '\\':
				b.WriteByte(lower(c))
			default:
				fmt.Fprintf(&b, "\\%03d", c)
			}
		}
		wire = wire[1+n:]
	}
	return b.String()
}

// fnvPrime is FNV's for 64 bits.
const fnvPrime = 0x100000001b3

// HashName is the data plane's hash of a name: FNV-1a, from seed, over the wire
// form in lower case, read from its end and without the root label.
func HashName(seed uint64, name string) (uint64, error) {
	wire, err := wireName(name)
	if err != nil {
		return 0, err
	}
	h := seed
	for i := len(wire) - 1; i >= 0; i-- {
		h = (h ^ uint64(wire[i])) * fnvPrime
	}
	return h, nil
}

// addr is an address as the maps hold it.
func addr(a netip.Addr) bpfRdAddr { return bpfRdAddr{B: a.As16()} }

func (a bpfRdAddr) addr() netip.Addr { return netip.AddrFrom16(a.B).Unmap() }

// prefix is a network as the longest-prefix maps hold it.
func prefix(p netip.Prefix) bpfRdPrefix {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return bpfRdPrefix{Bits: uint32(bits), Addr: addr(p.Masked().Addr())}
}

func (p bpfRdPrefix) prefix() netip.Prefix {
	a, bits := netip.AddrFrom16(p.Addr.B), int(p.Bits)
	if a.Is4In6() && bits >= 96 {
		return netip.PrefixFrom(a.Unmap(), bits-96)
	}
	return netip.PrefixFrom(a, bits)
}

// Hash is HashName with the data plane's own seed: Known.Rule and Event.Rule.
func (d *DataPlane) Hash(name string) (uint64, error) { return HashName(d.seed, name) }
