// Package tunnel keeps WireGuard devices: kernel or userspace, from wg-quick
// files or inline settings, and says whether their peers answer. It knows
// nothing of policy.
package tunnel

import (
	"net/netip"
	"time"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/owned"
)

// Spec is what a tunnel shall be.
type Spec struct {
	Name     string
	Type     config.TunnelType
	Device   string // rd-NAME, or the device of type interface
	Backend  config.Backend
	Settings Settings   // type wireguard
	Mark     owned.Mark // of the tunnel's own encrypted packets: PathDirect's
	Standby  bool       // there only while it is needed: see Manager.Need
}

// Backend tells what carries a tunnel.
type Backend string

// The values of Backend.
const (
	BackendKernel    Backend = "kernel"
	BackendUserspace Backend = "userspace"
	BackendInterface Backend = "interface"
)

// Health is a tunnel's state as people are told it.
type Health string

// The values of Health.
const (
	Up         Health = "up"         // the peer answered lately
	Connecting Health = "connecting" // packets go out, no handshake yet
	Down       Health = "down"       // no device, or a peer that stopped answering
)

// State is what a tunnel is, as last measured. It holds no key.
type State struct {
	Name          string
	Device        string
	Backend       Backend
	Health        Health
	Reason        string // why Health is not Up; "" otherwise
	Cause         Cause  // the same in a word
	Watched       bool   // the peer answers questions: its silence is told within two seconds
	LastHandshake time.Time
	RxBytes       uint64
	TxBytes       uint64
	Addresses     []netip.Prefix   // of the device
	Endpoints     []netip.AddrPort // of the peers, as resolved now
	IPv4, IPv6    bool             // families the device can carry (address and allowed-ips)
	MTU           int
	Index         int // of the device; another number is another device, whose routes are gone; 0: no device
}
