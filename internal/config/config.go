// Package config turns /etc/config/routerd (UCI) into one validated, immutable
// value and writes changes back. It knows nothing of the kernel.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/owned"
)

// DNSMode is option dns of section main.
type DNSMode string

// The values of DNSMode.
const (
	DNSSecure  DNSMode = "secure"  // listed names are resolved by routerd through the tunnel
	DNSObserve DNSMode = "observe" // learn only
)

// Policy is option policy of a destination.
type Policy string

// The values of Policy.
const (
	PolicyTunnel Policy = "tunnel"
	PolicyAuto   Policy = "auto"
	PolicyDirect Policy = "direct"
	PolicyBlock  Policy = "block"
)

// Fallback is option fallback of a destination.
type Fallback string

// The values of Fallback.
const (
	FallbackBlock  Fallback = "block"
	FallbackDirect Fallback = "direct"
)

// TunnelType is option type of a tunnel.
type TunnelType string

// The values of TunnelType.
const (
	TunnelWireGuard TunnelType = "wireguard" // routerd owns the device
	TunnelInterface TunnelType = "interface" // somebody else owns the device
)

// Backend is option backend of a WireGuard tunnel.
type Backend string

// The values of Backend.
const (
	BackendAuto      Backend = "auto"
	BackendKernel    Backend = "kernel"
	BackendUserspace Backend = "userspace"
)

// Config is the whole of the settings, validated, defaults filled in. A Config
// is never changed after it has been made; slices must not be written to.
type Config struct {
	Main         Main
	Tunnels      []Tunnel      // in order of priority, then of the file
	Destinations []Destination // in order of the file; disabled ones included
	Lists        []List
}

// Main is section main.
type Main struct {
	Enabled       bool
	LAN           []string // netifd networks or devices
	WAN           string   // network or device; "" is that of the default route
	OwnTraffic    bool
	DNS           DNSMode
	Resolvers     []string // https://, tls://, udp://, tcp:// URLs, in order
	LocalDNS      bool
	IPv6          bool
	FlowOffload   bool // the kernel forwards established connections past the rules
	MarkMask      owned.Mask
	MaxAddresses  int
	LogLevel      slog.Level
	MetricsListen string // host:port or ""
	// Controls are neutral services that tell a blocked service from a dead line;
	// none: those of package reach.
	Controls []catalogue.Target
}

// Tunnel is one section of type tunnel.
type Tunnel struct {
	Name      string // UCI section name: [a-z0-9_]{1,12}, so that rd-NAME is a device name
	Enabled   bool
	Type      TunnelType
	Device    string // type interface: device or netifd network
	File      string // wg-quick file ("" when the settings are inline)
	WireGuard WireGuard
	Backend   Backend
	Priority  int  // lower is preferred
	Standby   bool // brought up only when a destination needs it; type wireguard
}

// WireGuard holds the inline settings of a tunnel, as they stand in UCI, not
// yet decoded. Package tunnel decodes both this and wg-quick files.
type WireGuard struct {
	PrivateKey          string
	Addresses           []netip.Prefix
	MTU                 int // 0: default
	PublicKey           string
	PresharedKey        string
	Endpoint            string // host:port
	PersistentKeepalive time.Duration
}

// Destination is one section of type destination.
type Destination struct {
	Name           string
	Enabled        bool
	Label          string
	Services       []string             // ids of the catalogue
	Categories     []catalogue.Category // whole categories
	Rules          []catalogue.Rule     // of list domain and list address, in order
	Files          []string
	Policy         Policy
	Tunnels        []string // names; empty: every tunnel by priority
	Fallback       Fallback
	Clients        []Client
	ExcludeClients []Client
	Checks         []string
	CheckInterval  time.Duration
	CheckDirect    bool // also over the WAN
}

// Client is one value of list client or exclude_client: a prefix or a MAC.
type Client struct {
	Prefix netip.Prefix // valid for an address or a CIDR
	MAC    [6]byte      // used when Prefix is not valid
}

// List is one section of type list.
type List struct {
	Name        string
	URL         string
	Format      string
	Destination string
	Interval    time.Duration
}
