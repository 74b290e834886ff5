package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// names is a resolver that the test controls.
type names struct {
	mu    sync.Mutex
	addrs []netip.Addr // guarded by mu
	err   error        // guarded by mu
	asked int          // guarded by mu
}

func (n *names) set(err error, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs, n.err = nil, err
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParseAddr(a))
	}
}

func (n *names) lookup(context.Context, string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.addrs, n.err
}

const namedEndpoint = "vpn.example.org:51820"

func TestEndpointByNameIsFoundAndFollowed(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	dns := &names{}
	dns.set(errors.New("no such host"))
	m := newTestManager(t, func(o *ManagerOptions) { o.Lookup = dns.lookup })
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, namedEndpoint))})
	must(t, err)
	if len(states[0].Endpoints) != 0 {
		t.Errorf("endpoints are %v", states[0].Endpoints)
	}
	s := until(t, m, Down, 5*time.Second)
	if s.Reason != "cannot resolve the endpoint vpn.example.org: no such host" {
		t.Errorf("reason is %q", s.Reason)
	}
	dns.set(nil, "192.0.2.2")
	s = until(t, m, Up, 10*time.Second)
	if want := addrPorts("192.0.2.2:51820"); !slices.Equal(s.Endpoints, want) {
		t.Errorf("endpoints are %v", s.Endpoints)
	}

	// The server moves: its old address is gone, its name has another.
	before := s.LastHandshake
	link, err := w.net.LinkByName("net")
	must(t, err)
	for _, a := range []string{"192.0.2.3/24", "192.0.2.2/24"} {
		must(t, w.net.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a))}))
	}
	addAddresses(t, w.net.LinkByName, w.net.AddrAdd, "net", "192.0.2.9/24")
	dns.set(nil, "192.0.2.9")
	until(t, m, Down, 10*time.Second)
	s = until(t, m, Up, 30*time.Second)
	if s.Endpoints[0] != netip.MustParseAddrPort("192.0.2.9:51820") {
		t.Errorf("endpoints are %v", s.Endpoints)
	}
	if s.LastHandshake.Before(before) {
		t.Errorf("handshake went back from %v to %v", before, s.LastHandshake)
	}
}

func TestOtherFamilyIsTriedWhenTheFirstIsSilent(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	dns := &names{}
	dns.set(nil, "2001:db8::99", "192.0.2.2", "2001:db8::98")
	m := newTestManager(t, func(o *ManagerOptions) { o.Lookup = dns.lookup })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, namedEndpoint))})
	must(t, err)
	s := until(t, m, Up, 20*time.Second)
	if s.Endpoints[0] != netip.MustParseAddrPort("192.0.2.2:51820") {
		t.Errorf("endpoints are %v", s.Endpoints)
	}
	if !slices.Contains(s.Endpoints, netip.MustParseAddrPort("[2001:db8::98]:51820")) {
		t.Errorf("%v lacks an address that may be tried yet", s.Endpoints)
	}
}

func TestHealthyPeerIsNotResolvedAgain(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	dns := &names{}
	dns.set(nil, "192.0.2.2")
	m := newTestManager(t, func(o *ManagerOptions) { o.Lookup, o.ResolveEvery = dns.lookup, time.Nanosecond })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, namedEndpoint))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	dns.mu.Lock()
	asked := dns.asked
	dns.mu.Unlock()
	for range 20 {
		m.Refresh(t.Context())
	}
	dns.mu.Lock()
	defer dns.mu.Unlock()
	if dns.asked != asked {
		t.Errorf("%d lookups while the peer answers", dns.asked-asked)
	}
}

func TestSlowResolverBlocksNothing(t *testing.T) {
	needIsolation(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	ended := make(chan struct{})
	m := newTestManager(t, func(o *ManagerOptions) {
		o.Lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			defer close(ended)
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, namedEndpoint))})
	must(t, err)
	if s := states[0]; s.Health != Connecting || s.Reason != "resolving the endpoint vpn.example.org" {
		t.Errorf("state is %s: %s", s.Health, s.Reason)
	}
	m.Refresh(t.Context())
	m.Close()
	<-ended
}

func TestChangedEndpointIsTakenOver(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	before := until(t, m, Up, 10*time.Second)
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, "192.0.2.3:51820"))})
	must(t, err)
	if got := states[0].Endpoints[0]; got != netip.MustParseAddrPort("192.0.2.3:51820") {
		t.Errorf("endpoint is %v", got)
	}
	after := until(t, m, Up, 10*time.Second)
	if after.Index != before.Index {
		t.Error("the device was made anew")
	}
}

func TestMTUFollowsTheWayToTheEndpoint(t *testing.T) {
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	wan, err := netlink.LinkByName("wan")
	must(t, err)
	m := newTestManager(t, nil)
	settings := settingsTo(ours, theirPub, peerAddr4)
	for _, c := range []struct{ wan, set, want int }{{1500, 0, 1420}, {1492, 0, 1412}, {1300, 0, 1280}, {9000, 0, 1420}, {1492, 1400, 1400}} {
		must(t, netlink.LinkSetMTU(wan, c.wan))
		settings.MTU = c.set
		states, err := m.Ensure(t.Context(), []Spec{specOf(settings)})
		must(t, err)
		link, err := netlink.LinkByName("rd-home")
		must(t, err)
		if states[0].MTU != c.want || link.Attrs().MTU != c.want {
			t.Errorf("WAN %d, option %d: MTU %d, device %d, want %d", c.wan, c.set, states[0].MTU, link.Attrs().MTU, c.want)
		}
	}
}

func TestDriftIsRepaired(t *testing.T) {
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	specs := []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))}
	_, err := m.Ensure(t.Context(), specs)
	must(t, err)
	link, err := netlink.LinkByName("rd-home")
	must(t, err)
	must(t, netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.9.0.2/24"))}))
	must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.1.1.1/32"))}))
	_, err = m.Ensure(t.Context(), specs)
	must(t, err)
	got, err := addressesOf(link)
	must(t, err)
	slices.SortFunc(got, comparePrefixes)
	if !slices.Equal(got, specs[0].Settings.Addresses) {
		t.Errorf("addresses are %v", got)
	}
	// Refresh repairs what stops traffic: the link and the peers.
	must(t, netlink.LinkSetDown(link))
	m.Refresh(t.Context())
	if link, err = netlink.LinkByName("rd-home"); err != nil || link.Attrs().RawFlags&1 == 0 {
		t.Errorf("the device stays down (%v)", err)
	}
	all, err := netlink.AddrList(link, netlink.FAMILY_V6)
	must(t, err)
	if slices.ContainsFunc(all, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() }) {
		t.Error("the kernel made up a link-local address")
	}
	dev, err := readDevice("rd-home")
	must(t, err)
	if len(dev.Peers) != 1 || !strings.HasPrefix(dev.Peers[0].Endpoint.String(), "192.0.2.2:") {
		t.Errorf("peers are %v", dev.Peers)
	}
}
