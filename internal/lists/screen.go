package lists

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/steer"
)

// The widest networks that a list may hold, prefix lengths.
const (
	minBits4 = 8
	minBits6 = 16
)

// screen says which rules are not taken from a list, whoever publishes it. What
// users write into their own settings is not screened.
type screen struct {
	reserved []netip.Prefix
	nat64    netip.Prefix // RFC 6052: an IPv4 address in its last 32 bits
}

func newScreen() screen {
	return screen{reserved: steer.Reserved(), nat64: netip.MustParsePrefix("64:ff9b::/96")}
}

// refuse says why a rule is not taken, or nil.
func (s screen) refuse(r catalogue.Rule) error {
	if r.Kind == catalogue.RuleAddress {
		return s.refuseNetwork(r.Prefix)
	}
	return refuseName(r)
}

// refuseName refuses names under which others' names lie, and local ones.
func refuseName(r catalogue.Rule) error {
	last := r.Name[strings.LastIndexByte(r.Name, '.')+1:]
	if slices.Contains([]string{"arpa", "home", "internal", "lan", "local", "localdomain", "localhost"}, last) {
		return fmt.Errorf("names below %s are local ones, a list cannot steer them; your own settings can", last)
	}
	if r.Kind == catalogue.RuleSuffix && isPublicSuffix(r.Name) {
		return errors.New("it is a public suffix, under which everybody's names lie; your own settings can list it")
	}
	return nil
}

func (s screen) refuseNetwork(p netip.Prefix) error {
	if s.nat64.Overlaps(p) {
		if p.Bits() < s.nat64.Bits() {
			return errors.New("it holds the NAT64 range, which is all of IPv4")
		}
		b := p.Addr().As16()
		p = netip.PrefixFrom(netip.AddrFrom4([4]byte(b[12:])), p.Bits()-s.nat64.Bits())
	}
	least := minBits6
	if p.Addr().Is4() {
		least = minBits4
	}
	if p.Bits() < least {
		return fmt.Errorf("a network wider than /%d is too much of the internet for a list; your own settings can list it", least)
	}
	for _, r := range s.reserved {
		if r.Overlaps(p) {
			return fmt.Errorf("it is in, or holds, %s, which is private or reserved; your own settings can list it", r)
		}
	}
	return nil
}
