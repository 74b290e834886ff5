package tunnel

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// deviceOf is a device that is exactly as the settings say.
func deviceOf(s Settings) *wgtypes.Device {
	d := &wgtypes.Device{PrivateKey: s.PrivateKey, FirewallMark: int(testMark), ListenPort: 40000}
	for _, p := range s.Peers {
		d.Peers = append(d.Peers, wgtypes.Peer{
			PublicKey: p.PublicKey, PresharedKey: p.psk(), AllowedIPs: ipNets(p.AllowedIPs),
			PersistentKeepaliveInterval: p.Keepalive,
			Endpoint:                    net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:51820")),
		})
	}
	return d
}

func TestOnlyDifferencesAreConfigured(t *testing.T) {
	other := keyOf(t, keyD)
	for _, c := range []struct {
		name   string
		change func(*wgtypes.Device)
		ok     func(wgtypes.Config) bool
		rekeys bool
	}{
		{"nothing", func(*wgtypes.Device) {}, nil, false},
		{"order of networks", func(d *wgtypes.Device) {
			a := d.Peers[0].AllowedIPs
			a[0], a[1] = a[1], a[0]
		}, nil, false},
		{"endpoint that roamed", func(d *wgtypes.Device) { d.Peers[0].Endpoint.Port = 9 }, nil, false},
		{"private key", func(d *wgtypes.Device) { d.PrivateKey = other }, func(c wgtypes.Config) bool {
			return c.PrivateKey != nil && c.FirewallMark == nil && len(c.Peers) == 0
		}, true},
		{"mark", func(d *wgtypes.Device) { d.FirewallMark = 1 }, func(c wgtypes.Config) bool {
			return *c.FirewallMark == int(testMark) && c.PrivateKey == nil && len(c.Peers) == 0
		}, false},
		{"preshared key", func(d *wgtypes.Device) { d.Peers[0].PresharedKey = other }, func(c wgtypes.Config) bool {
			return *c.Peers[0].PresharedKey == wgtypes.Key{} && c.Peers[0].UpdateOnly && c.Peers[0].AllowedIPs == nil
		}, true},
		{"keepalive", func(d *wgtypes.Device) { d.Peers[0].PersistentKeepaliveInterval = 0 }, func(c wgtypes.Config) bool {
			return *c.Peers[0].PersistentKeepaliveInterval == DefaultKeepalive && c.Peers[0].PresharedKey == nil
		}, false},
		{"keepalive that waits for an endpoint", func(d *wgtypes.Device) {
			d.Peers[0].PersistentKeepaliveInterval, d.Peers[0].Endpoint = 0, nil
		}, nil, false},
		{"networks", func(d *wgtypes.Device) { d.Peers[0].AllowedIPs = d.Peers[0].AllowedIPs[:1] }, func(c wgtypes.Config) bool {
			return c.Peers[0].ReplaceAllowedIPs && len(c.Peers[0].AllowedIPs) == 2 && c.Peers[0].UpdateOnly
		}, false},
		{"missing peer", func(d *wgtypes.Device) { d.Peers = nil }, func(c wgtypes.Config) bool {
			p := c.Peers[0]
			return !p.UpdateOnly && p.Endpoint.String() == "192.0.2.7:51820" && *p.PersistentKeepaliveInterval == DefaultKeepalive && len(p.AllowedIPs) == 2
		}, false},
		{"peer too many", func(d *wgtypes.Device) { d.Peers = append(d.Peers, wgtypes.Peer{PublicKey: other}) }, func(c wgtypes.Config) bool {
			return len(c.Peers) == 1 && c.Peers[0].Remove && c.Peers[0].PublicKey == other
		}, false},
		{"another peer", func(d *wgtypes.Device) { d.Peers[0].PublicKey = other }, func(c wgtypes.Config) bool {
			return len(c.Peers) == 2 && c.Peers[0].Remove && !c.Peers[1].Remove
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settingsTo(clamp(keyOf(t, keyA)), keyOf(t, keyC), "vpn.example.org:51820")
			d := deviceOf(s)
			c.change(d)
			start := map[wgtypes.Key]netip.AddrPort{s.Peers[0].PublicKey: netip.MustParseAddrPort("192.0.2.7:51820")}
			got := differ(d, s, testMark, start)
			if got.any != (c.ok != nil) || c.ok != nil && !c.ok(got.config) {
				t.Errorf("config is %+v", got.config)
			}
			if got.rekeys[s.Peers[0].PublicKey] != c.rekeys {
				t.Errorf("rekeys is %v", got.rekeys)
			}
			if c.name != "mark" && got.config.FirewallMark != nil {
				t.Error("the mark is set again")
			}
		})
	}
}

func TestPeerWithoutKnownEndpointWaitsWithItsKeepalive(t *testing.T) {
	s := settingsTo(clamp(keyOf(t, keyA)), keyOf(t, keyC), "vpn.example.org:51820")
	c := differ(&wgtypes.Device{}, s, testMark, nil)
	p := c.config.Peers[0]
	if p.Endpoint != nil || p.PersistentKeepaliveInterval != nil {
		t.Errorf("peer is %+v", p)
	}
	moved := moveEndpoint(p.PublicKey, netip.MustParseAddrPort("192.0.2.7:1"), time.Second).Peers[0]
	if !moved.UpdateOnly || *moved.PersistentKeepaliveInterval != time.Second || moved.AllowedIPs != nil || moved.ReplaceAllowedIPs {
		t.Errorf("move is %+v", moved)
	}
}

func TestListenPortIsSetOnlyIfWanted(t *testing.T) {
	s, err := ParseQuick(strings.NewReader(goodFile))
	must(t, err)
	if c := differ(deviceOf(s), s, testMark, nil); c.any {
		t.Errorf("config is %+v", c.config)
	}
	s.ListenPort = 51821
	if c := differ(deviceOf(s), s, testMark, nil); c.config.ListenPort == nil || *c.config.ListenPort != 51821 {
		t.Errorf("config is %+v", c.config)
	}
}
