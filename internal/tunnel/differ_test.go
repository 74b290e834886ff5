package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
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

// summary names what a config would change, without values that are keys.
func summary(c wgtypes.Config) string {
	var out []string
	add := func(is bool, text string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(text, args...))
		}
	}
	add(c.PrivateKey != nil, "private key")
	add(c.FirewallMark != nil, "mark")
	add(c.ListenPort != nil, "port")
	for _, p := range c.Peers {
		add(p.Remove, "remove")
		add(p.UpdateOnly, "update")
		add(!p.Remove && !p.UpdateOnly, "add")
		add(p.PresharedKey != nil, "psk")
		add(p.Endpoint != nil, "endpoint %v", p.Endpoint)
		add(p.PersistentKeepaliveInterval != nil, "keepalive")
		add(p.ReplaceAllowedIPs, "replace %d networks", len(p.AllowedIPs))
	}
	return strings.Join(out, ", ")
}

func TestOnlyDifferencesAreConfigured(t *testing.T) {
	other := keyOf(t, keyD)
	added := "add, endpoint 192.0.2.7:51820, keepalive, replace 2 networks"
	for _, c := range []struct {
		name   string
		change func(*wgtypes.Device)
		want   string
		rekeys bool
	}{
		{"nothing", func(*wgtypes.Device) {}, "", false},
		{"order of networks", func(d *wgtypes.Device) { slices.Reverse(d.Peers[0].AllowedIPs) }, "", false},
		{"endpoint that roamed", func(d *wgtypes.Device) { d.Peers[0].Endpoint.Port = 9 }, "", false},
		{"keepalive that waits for an endpoint", func(d *wgtypes.Device) {
			d.Peers[0].PersistentKeepaliveInterval, d.Peers[0].Endpoint = 0, nil
		}, "", false},
		{"private key", func(d *wgtypes.Device) { d.PrivateKey = other }, "private key", true},
		{"mark", func(d *wgtypes.Device) { d.FirewallMark = 1 }, "mark", false},
		{"preshared key", func(d *wgtypes.Device) { d.Peers[0].PresharedKey = other }, "update, psk", true},
		{"keepalive", func(d *wgtypes.Device) { d.Peers[0].PersistentKeepaliveInterval = 0 }, "update, keepalive", false},
		{"networks", func(d *wgtypes.Device) { d.Peers[0].AllowedIPs = nil }, "update, replace 2 networks", false},
		{"missing peer", func(d *wgtypes.Device) { d.Peers = nil }, added, false},
		{"peer too many", func(d *wgtypes.Device) { d.Peers = append(d.Peers, wgtypes.Peer{PublicKey: other}) }, "remove", false},
		{"another peer", func(d *wgtypes.Device) { d.Peers[0].PublicKey = other }, "remove, " + added, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settingsTo(clamp(keyOf(t, keyA)), keyOf(t, keyC), "vpn.example.org:51820")
			d := deviceOf(s)
			c.change(d)
			start := map[wgtypes.Key]netip.AddrPort{s.Peers[0].PublicKey: netip.MustParseAddrPort("192.0.2.7:51820")}
			got := differ(d, s, testMark, start)
			if text := summary(got.config); text != c.want || got.any != (c.want != "") {
				t.Errorf("configures %q, want %q", text, c.want)
			}
			if got.rekeys[s.Peers[0].PublicKey] != c.rekeys {
				t.Errorf("rekeys is %v", got.rekeys)
			}
		})
	}
}

func TestRemovedPresharedKeyIsCleared(t *testing.T) {
	s := settingsTo(clamp(keyOf(t, keyA)), keyOf(t, keyC), "vpn.example.org:51820")
	d := deviceOf(s)
	d.Peers[0].PresharedKey = keyOf(t, keyD)
	if psk := differ(d, s, testMark, nil).config.Peers[0].PresharedKey; psk == nil || *psk != (wgtypes.Key{}) {
		t.Error("the old preshared key stays")
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
