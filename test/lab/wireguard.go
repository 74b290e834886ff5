package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// WireGuardPort is where the exits listen.
const WireGuardPort = 51820

// tunnelMTU fits IPv6 within 1,500 bytes.
const tunnelMTU = 1420

// wireguardFile is the settings of an exit's device inside the exit.
const wireguardFile = runDir + "/wireguard.json"

// WireGuardConfig is one side of a tunnel, as `rdlab wireguard` reads it.
type WireGuardConfig struct {
	Device       string         `json:"device"`
	PrivateKey   string         `json:"private_key"` // base64, as everywhere
	ListenPort   int            `json:"listen_port"`
	PeerKey      string         `json:"peer_key"` // public, of the router
	PresharedKey string         `json:"preshared_key"`
	AllowedIPs   []netip.Prefix `json:"allowed_ips"`
	Addresses    []netip.Prefix `json:"addresses"` // of the device
	MTU          int            `json:"mtu"`
	// Endpoint (address:port) and PersistentKeepalive (seconds) are for a side
	// that begins; an exit has neither.
	Endpoint            string `json:"endpoint,omitempty"`
	PersistentKeepalive int    `json:"persistent_keepalive,omitempty"`
	// Userspace has wireguard-go carry it also where the kernel could.
	Userspace bool `json:"userspace,omitempty"`
}

// tunnel is one WireGuard tunnel between the router and an exit.
type tunnel struct {
	name          string // of the router's wg-quick file
	exit          string // host
	endpoint      netip.AddrPort
	exitAddresses []netip.Prefix
	routerSide    []netip.Prefix
}

// tunnels are those that a lab offers.
func (o Options) tunnels() []tunnel {
	port := func(a string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), WireGuardPort) }
	home := tunnel{
		"home", Exit, port(ExitAddress4),
		prefixes("10.50.0.1/24", "fd50::1/64"), prefixes("10.50.0.2/32", "fd50::2/128"),
	}
	other := tunnel{
		"other", Exit2, port(Exit2Address),
		prefixes("10.51.0.1/24", "fd51::1/64"), prefixes("10.51.0.2/32", "fd51::2/128"),
	}
	if o.Exit2NoIPv6 {
		other.exitAddresses, other.routerSide = other.exitAddresses[:1], other.routerSide[:1]
	}
	return []tunnel{home, other}
}

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, s := range all {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// configure makes keys for both sides of a tunnel.
func (t tunnel) configure() (exit WireGuardConfig, quick string, err error) {
	exitKey, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return exit, "", fmt.Errorf("make key of %s: %w", t.exit, err)
	}
	routerKey, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return exit, "", fmt.Errorf("make key of tunnel %s: %w", t.name, err)
	}
	shared, err := wgtypes.GenerateKey()
	if err != nil {
		return exit, "", fmt.Errorf("make preshared key of tunnel %s: %w", t.name, err)
	}
	exit = WireGuardConfig{
		Device: TunnelDevice, PrivateKey: exitKey.String(), ListenPort: WireGuardPort,
		PeerKey: routerKey.PublicKey().String(), PresharedKey: shared.String(),
		AllowedIPs: t.routerSide, Addresses: t.exitAddresses, MTU: tunnelMTU,
	}
	allowed := "0.0.0.0/0, ::/0"
	if len(t.routerSide) == 1 {
		allowed = "0.0.0.0/0"
	}
	quick = fmt.Sprintf(`[Interface]
PrivateKey = %s
Address = %s

[Peer]
PublicKey = %s
PresharedKey = %s
Endpoint = %s
AllowedIPs = %s
PersistentKeepalive = 25
`, routerKey, joinPrefixes(t.routerSide), exitKey.PublicKey(), shared, t.endpoint, allowed)
	return exit, quick, nil
}

func joinPrefixes(all []netip.Prefix) string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}

// quickFile is where a tunnel's wg-quick file stands on the router.
func quickFile(name string) string { return "/etc/routerd/" + name + ".conf" }

// WGQuick is the router's wg-quick file of a tunnel: "home" leads to exit,
// "other" to exit2. It also stands on the router as /etc/routerd/NAME.conf.
func (l *Lab) WGQuick(name string) ([]byte, error) { return l.ReadFile(Router, quickFile(name)) }

// raiseExits gives every exit its device and the router its wg-quick files.
func (l *Lab) raiseExits() error {
	for _, t := range l.state.Options.tunnels() {
		exit, quick, err := t.configure()
		if err != nil {
			return err
		}
		if err := l.WriteFile(Router, quickFile(t.name), []byte(quick), 0o600); err != nil {
			return err
		}
		raw, err := json.Marshal(exit)
		if err != nil {
			return fmt.Errorf("encode settings of %s: %w", t.exit, err)
		}
		if err := l.WriteFile(t.exit, wireguardFile, raw, 0o600); err != nil {
			return err
		}
		if err := l.hosts[t.exit].start("wireguard", l.state.Program, "wireguard", wireguardFile); err != nil {
			return err
		}
	}
	return nil
}
