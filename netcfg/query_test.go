package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestDefaultDevicesAreThoseOfTheMainTable(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	assert := func(what string, want ...string) {
		t.Helper()
		got, err := n.DefaultDevices()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q (%v), want %q", what, got, err, want)
		}
	}
	assert("one of each family", "wan")
	run(t, "ip route add default dev awg0 metric 50")
	assert("a second, of a worse metric", "wan", "awg0")
	run(t, "ip route replace default dev rd-home")
	assert("a tunnel of ours", "awg0", "wan")
	run(t, `
ip route flush default
ip -6 route flush default`)
	assert("none")
	run(t, "ip route add default nexthop via 198.51.100.1 dev wan nexthop via 192.168.1.2 dev br-lan")
	assert("several hops", "wan", "br-lan")
	run(t, "ip route replace unreachable default")
	assert("unreachable")
}

func TestOwnAddressesAndConnectedNetworks(t *testing.T) {
	routerNetns(t)
	run(t, "ip addr add 10.5.0.1 peer 10.6.0.0/24 dev awg0")
	own, networks, err := newNet(t, WithFirewall(NFTables)).OwnAddresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs("127.0.0.1", "192.168.1.1", "198.51.100.2", "10.9.0.2", "10.5.0.1", "::1", "2001:db8:1::1") {
		if !slices.Contains(own, a) {
			t.Errorf("%s is missing of %s", a, own)
		}
	}
	text := fmt.Sprint(networks)
	for _, p := range []string{"127.0.0.0/8", "192.168.1.0/24", "2001:db8:1::/64", "198.51.100.0/24", "10.6.0.0/24"} {
		if !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.String() == p }) {
			t.Errorf("%s is missing of %s", p, text)
		}
	}
	for _, n := range networks {
		if n.IsSingleIP() {
			t.Errorf("%s is no network", n)
		}
	}
}
