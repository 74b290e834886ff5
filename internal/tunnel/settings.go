package tunnel

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// DefaultKeepalive is the keepalive interval of a peer whose settings name
// none. WireGuard itself would be silent; routerd asks every peer regularly,
// so that it knows whether the tunnel works before somebody needs it.
const DefaultKeepalive = 25 * time.Second

// The bounds of what a settings file may hold.
const (
	maxFileSize  = 64 << 10
	maxPeers     = 64
	maxAddresses = 16
	maxPrefixes  = 4096 // allowed-ips of all peers together
	minMTU       = 576
	minMTUv6     = 1280 // RFC 8200, section 5
	maxMTU       = 9000
)

// Settings are the decoded, validated settings of a WireGuard tunnel. They hold
// keys: every way of printing them (fmt, slog, JSON) shows none.
type Settings struct {
	PrivateKey wgtypes.Key // clamped as Curve25519 wants it
	Addresses  []netip.Prefix
	MTU        int      // 0: from the path to the endpoint
	ListenPort uint16   // 0: any
	DNS        []string // as the file has them; not used, see Notes
	Peers      []Peer   // at least one
	Notes      []Note   // what was accepted but deserves a word
}

// Peer is one peer of a tunnel.
type Peer struct {
	PublicKey    wgtypes.Key
	PresharedKey *wgtypes.Key // nil: none
	AllowedIPs   []netip.Prefix
	Endpoint     Endpoint
	Keepalive    time.Duration // 0: none
}

// Endpoint is where a peer is: an address or a name, and a UDP port.
type Endpoint struct {
	Host string // without brackets
	Port uint16
}

// Note is a remark about settings that are in force.
type Note struct {
	Line    int // 0: not about a line
	Option  string
	Text    string
	Warning bool // something is unsafe, not just unused
}

// Addr is the endpoint's address, and whether it is one rather than a name.
func (e Endpoint) Addr() (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(e.Host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), e.Port), true
}

// String is host:port, IPv6 addresses in brackets.
func (e Endpoint) String() string {
	port := strconv.Itoa(int(e.Port))
	if strings.Contains(e.Host, ":") {
		return "[" + e.Host + "]:" + port
	}
	return e.Host + ":" + port
}

// GenerateKey makes a key pair.
func GenerateKey() (private, public wgtypes.Key, err error) {
	private, err = wgtypes.GeneratePrivateKey()
	if err != nil {
		return wgtypes.Key{}, wgtypes.Key{}, fmt.Errorf("generate key: %w", err)
	}
	return private, private.PublicKey(), nil
}

// String describes the settings without any key.
func (s Settings) String() string {
	peers := make([]string, len(s.Peers))
	for i, p := range s.Peers {
		peers[i] = p.String()
	}
	return fmt.Sprintf("{addresses %v mtu %d private key %s peers [%s]}",
		s.Addresses, s.MTU, hidden, strings.Join(peers, " "))
}

// Format makes every verb of fmt print what String does: %x or %#v would
// otherwise print the bytes of the keys.
func (s Settings) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue keeps keys out of logs.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON keeps keys out of JSON.
func (s Settings) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// String describes the peer without any key.
func (p Peer) String() string {
	return fmt.Sprintf("{endpoint %s allowed-ips %v keepalive %v}", p.Endpoint, p.AllowedIPs, p.Keepalive)
}

// Format makes every verb of fmt print what String does.
func (p Peer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }

// LogValue keeps keys out of logs.
func (p Peer) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalJSON keeps keys out of JSON.
func (p Peer) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// Equal says whether both mean the same tunnel. Notes do not count.
func (s Settings) Equal(o Settings) bool {
	return s.PrivateKey == o.PrivateKey && s.MTU == o.MTU && s.ListenPort == o.ListenPort &&
		slices.Equal(s.Addresses, o.Addresses) && slices.EqualFunc(s.Peers, o.Peers, Peer.Equal)
}

// Equal says whether both mean the same peer.
func (p Peer) Equal(o Peer) bool {
	return p.PublicKey == o.PublicKey && p.psk() == o.psk() && p.Endpoint == o.Endpoint &&
		p.Keepalive == o.Keepalive && slices.Equal(p.AllowedIPs, o.AllowedIPs)
}

// psk is the preshared key as WireGuard stores it: zeros mean none.
func (p Peer) psk() wgtypes.Key {
	if p.PresharedKey == nil {
		return wgtypes.Key{}
	}
	return *p.PresharedKey
}
