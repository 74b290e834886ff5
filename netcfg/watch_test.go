package netcfg

import (
	"context"
	"testing"
	"time"
)

// watching starts Watch and waits for what the start itself may bring.
func watching(t *testing.T, n *Net) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := n.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range c { // the readers have ended when it is closed
		}
	})
	return c
}

func signalled(c <-chan struct{}, wait time.Duration) bool {
	select {
	case <-c:
		return true
	case <-time.After(wait):
		return false
	}
}

// drain takes signals until none came for three times the time in which they
// are joined.
func drain(c <-chan struct{}) (n int) {
	for signalled(c, 3*coalesce) {
		n++
	}
	return n
}

func TestWatchReportsChangesOfOthers(t *testing.T) {
	routerNetns(t)
	foreign(t)
	n := newNet(t)
	apply(t, n, desired())
	c := watching(t, n)
	for _, change := range []string{
		"ip rule del priority 700 fwmark 0x03000000/0x0f000000",
		"ip -6 rule del priority 700 fwmark 0x03000000/0x0f000000",
		"ip rule add priority 650 fwmark 0x01000000/0x0f000000 lookup 77",
		"ip route flush table 29187",
		"ip -6 route flush table 29187",
		"ip route change default via 198.51.100.9 dev wan",
		"ip -6 route del default",
		"ip addr add 192.168.9.1/24 dev br-lan",
		"ip link set rd-home mtu 1400",
		"ip link set rd-home down",
		"nft flush chain inet fw4 forward",
		"nft delete table inet fw4",
		"nft flush set inet routerd own4_5",
		"nft delete table inet routerd",
		"ip link del awg0",
	} {
		run(t, change)
		if !signalled(c, limit) {
			t.Errorf("%s: not reported", change)
		}
		drain(c)
	}
}

func TestWatchIsSilentAboutWhatDoesNotConcern(t *testing.T) {
	routerNetns(t)
	run(t, `
nft add table ip banip
nft add set ip banip bad { type ipv4_addr ; }`)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, desired())
	c := watching(t, n)
	d := desired()
	d.Own[0].Path = pathOther
	d.Paths[2].Up = false
	apply(t, n, d) // our own changes of rules, routes and nftables
	apply(t, n, desired())
	d.Paths = d.Paths[:3]
	d.Own = nil
	apply(t, n, d)
	apply(t, n, desired())
	if err := n.AddOwn(t.Context(), 6, addrs("192.0.2.99", "2001:db8:9::99")); err != nil {
		t.Fatal(err)
	}
	run(t, `
nft add element ip banip bad { 192.0.2.1 }
ip route add 10.20.0.0/16 via 198.51.100.7
ip route add default dev wan table 1
ip neigh add 192.168.1.9 lladdr 02:00:00:00:00:09 dev br-lan`)
	if k := drain(c); k > 0 {
		t.Errorf("%d signals", k)
	}
	// What we did not do is still seen.
	run(t, "ip route flush table 29187")
	if !signalled(c, limit) {
		t.Error("a flushed table is not reported")
	}
}

func TestWatchJoinsManyChanges(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	c := watching(t, n)
	for range 20 {
		run(t, "ip addr add 192.168.9.1/24 dev br-lan\nip addr del 192.168.9.1/24 dev br-lan")
	}
	if k := drain(c); k == 0 || k > 10 {
		t.Errorf("%d signals of 40 changes", k)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	routerNetns(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := newNet(t, WithFirewall(NFTables)).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	deadline := time.After(limit)
	for {
		select {
		case _, open := <-c:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the channel is not closed")
		}
	}
}
