package tunnel

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/sorting"
)

// change is what must be told to a device.
type change struct {
	config wgtypes.Config
	any    bool                 // false: the device is as it shall be
	rekeys map[wgtypes.Key]bool // peers whose session ends by this
}

// differ says what a device lacks. What is right already is not in the result,
// so that a session in use is not disturbed. start holds the endpoints of peers
// that the device does not know yet.
func differ(have *wgtypes.Device, want Settings, mark owned.Mark, start map[wgtypes.Key]netip.AddrPort) change {
	c := change{rekeys: map[wgtypes.Key]bool{}}
	newKey := have.PrivateKey != want.PrivateKey
	if newKey {
		key := want.PrivateKey
		c.config.PrivateKey, c.any = &key, true
	}
	if m := int(mark); have.FirewallMark != m {
		c.config.FirewallMark, c.any = &m, true
	}
	if p := int(want.ListenPort); p != 0 && have.ListenPort != p {
		c.config.ListenPort, c.any = &p, true
	}
	c.peers(have.Peers, want.Peers, start)
	if newKey {
		for _, w := range want.Peers {
			c.rekeys[w.PublicKey] = true
		}
	}
	c.any = c.any || len(c.config.Peers) > 0
	return c
}

// peers adds what is to be told about peers.
func (c *change) peers(have []wgtypes.Peer, want []Peer, start map[wgtypes.Key]netip.AddrPort) {
	known := map[wgtypes.Key]wgtypes.Peer{}
	for _, p := range have {
		known[p.PublicKey] = p
	}
	// Removals come first: a network may move from one peer to another.
	for _, p := range have {
		if !slices.ContainsFunc(want, func(w Peer) bool { return w.PublicKey == p.PublicKey }) {
			c.config.Peers = append(c.config.Peers, wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true})
		}
	}
	for _, w := range want {
		p, ok := known[w.PublicKey]
		if !ok {
			c.config.Peers = append(c.config.Peers, newPeer(w, start[w.PublicKey]))
			continue
		}
		pc, differs := differPeer(p, w)
		if differs {
			c.config.Peers = append(c.config.Peers, pc)
		}
		if pc.PresharedKey != nil {
			c.rekeys[w.PublicKey] = true
		}
	}
}

// newPeer is the whole of a peer. Turning the keepalive on is what makes
// WireGuard begin the handshake at once, so that waits for an endpoint.
func newPeer(w Peer, endpoint netip.AddrPort) wgtypes.PeerConfig {
	pc := wgtypes.PeerConfig{
		PublicKey: w.PublicKey, PresharedKey: w.PresharedKey,
		ReplaceAllowedIPs: true, AllowedIPs: ipNets(w.AllowedIPs),
	}
	if endpoint.IsValid() {
		pc.Endpoint = net.UDPAddrFromAddrPort(endpoint)
		pc.PersistentKeepaliveInterval = &w.Keepalive
	}
	return pc
}

// differPeer says what a peer that the device knows lacks; not its endpoint,
// which chooseEndpoint decides about.
func differPeer(p wgtypes.Peer, w Peer) (wgtypes.PeerConfig, bool) {
	pc := wgtypes.PeerConfig{PublicKey: w.PublicKey, UpdateOnly: true}
	differs := false
	if psk := w.psk(); p.PresharedKey != psk {
		pc.PresharedKey, differs = &psk, true
	}
	if p.Endpoint != nil && p.PersistentKeepaliveInterval != w.Keepalive {
		keepalive := w.Keepalive
		pc.PersistentKeepaliveInterval, differs = &keepalive, true
	}
	if !slices.Equal(prefixesOf(p.AllowedIPs), w.AllowedIPs) {
		pc.ReplaceAllowedIPs, pc.AllowedIPs, differs = true, ipNets(w.AllowedIPs), true
	}
	return pc, differs
}

// moveEndpoint tells a device where to seek a peer. The keepalive is turned on
// with it if it was waiting for that.
func moveEndpoint(peer wgtypes.Key, to netip.AddrPort, keepalive time.Duration) wgtypes.Config {
	return wgtypes.Config{Peers: []wgtypes.PeerConfig{{
		PublicKey: peer, UpdateOnly: true,
		Endpoint: net.UDPAddrFromAddrPort(to), PersistentKeepaliveInterval: &keepalive,
	}}}
}

func ipNets(ps []netip.Prefix) []net.IPNet {
	out := make([]net.IPNet, len(ps))
	for i, p := range ps {
		out[i] = net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	return out
}

// prefixesOf converts and sorts.
func prefixesOf(ns []net.IPNet) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(ns))
	for _, n := range ns {
		addr, ok := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		if ok {
			out = append(out, netip.PrefixFrom(addr.Unmap(), ones))
		}
	}
	sorting.By(out, comparePrefixes)
	return out
}

// endpointAddr is a peer's endpoint as the device has it.
func endpointAddr(p wgtypes.Peer) netip.AddrPort {
	if p.Endpoint == nil {
		return netip.AddrPort{}
	}
	ap := p.Endpoint.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
