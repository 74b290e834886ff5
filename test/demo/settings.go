package demo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/routerd/routerd/test/lab"
)

// settingsText is the router's /etc/config/routerd before a tunnel is imported;
// the verbs are the public resolver, an IPv4 and an IPv6 network.
const settingsText = `config routerd 'main'
	option enabled '1'
	list lan 'br-lan'
	option own_traffic '1'
	option dns 'secure'
	list resolver 'https://%[1]s/dns-query'
	list resolver 'tls://%[1]s'
	option ipv6 '1'

# Exceptions: the more specific rule wins.
config destination 'allowed'
	option label 'Exceptions, on the direct path'
	list domain 'full:api.okx.com'
	option policy 'direct'

config destination 'refused'
	option check_direct '0'
	option label 'Blocked'
	list service 'metamask'
	option policy 'block'

config destination 'exchanges'
	option check_direct '0'
	option label 'Exchanges'
	list category 'exchange'
	option policy 'tunnel'
	option fallback 'block'

config destination 'pools'
	option check_direct '0'
	option label 'Mining pools'
	list category 'pool'
	list address '%[2]s'
	list address '%[3]s'
	option policy 'tunnel'
	option fallback 'block'
`

// tunnelName is the tunnel that the wg-quick file is imported as.
const tunnelName = "home"

// network6 lies in lab.ServerNet6, outside of what the lab gives to names.
const network6 = "2d00:10:ffff::/48"

// settings is the text of the router's settings.
func settings(net4, net6 netip.Prefix) string {
	return fmt.Sprintf(settingsText, lab.Resolver4, net4, net6)
}

// freeNetwork finds 16 IPv4 addresses of the lab's servers that no name has.
func freeNetwork(names []lab.Name) (netip.Prefix, error) {
	const bits = 28
	taken := map[netip.Prefix]bool{}
	for _, n := range names {
		for _, a := range n.A {
			p, err := a.Prefix(bits)
			if err != nil {
				return netip.Prefix{}, fmt.Errorf("find a free network: %w", err)
			}
			taken[p] = true
		}
	}
	all := netip.MustParsePrefix(lab.ServerNet4)
	// The first block of each /24 but the very first: far from .0 and .255.
	for at := all.Addr().As4(); all.Contains(netip.AddrFrom4(at)); at = nextBlock(at) {
		p := netip.PrefixFrom(netip.AddrFrom4(at), bits)
		if at[3] != 0 && !taken[p] {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("find a free network: every server address has a name")
}

// nextBlock is the address 16 further on.
func nextBlock(a [4]byte) [4]byte {
	at := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	at += 16
	return [4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)}
}

// someAddress is an address inside a network, not its first.
func someAddress(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	raw[len(raw)-1] += 7
	a, _ := netip.AddrFromSlice(raw)
	return a
}
