// Package netcfg makes the kernel's rules, routes, firewall and settings what
// a desired state says, over netlink, and removes them again without stored
// state. It knows neither eBPF nor UCI.
package netcfg

import (
	"net/netip"

	"github.com/routerd/routerd/internal/owned"
)

// Desired is the whole state that the kernel shall have. Apply takes all of
// it, every time; what is ours and not in it is removed.
type Desired struct {
	Mask  owned.Mask
	Paths []Path
	// LAN names the devices whose clients are steered.
	LAN []string
	// WAN names the devices of the direct path; a packet marked for a tunnel
	// or for PathBlock must never leave through one of them.
	WAN []string
	// Own holds what the router's own connections reach through a path; empty
	// when option own_traffic is off. Earlier entries win.
	Own []OwnRoute
	// IPv6 is false when option ipv6 is off: then nothing of family IPv6 is
	// made, and marked IPv6 packets still do not leave by the WAN.
	IPv6 bool
	// ResolverPort is the UDP and TCP port of our own resolver: it is reached
	// from the LAN's devices, whatever the firewall's zones say, and from lo, and
	// from nowhere else. 0: there is none.
	ResolverPort uint16
	// Offload has Net.Offload forward clients' established connections past routing,
	// rules and chains. Apply does not look at it.
	Offload bool
}

// Path is one path's rule (fwmark Mark(Index)/Mask lookup Table(Index)) and
// table, both families. PathDirect looks up the main table.
type Path struct {
	Index      owned.PathIndex
	Name       string       // tunnel's name, "direct" or "block"
	Device     string       // "" for direct and block
	Up         bool         // false: no device routes, only the end
	IPv4, IPv6 bool         // families that the device can carry
	Addresses  []netip.Addr // the device's own addresses (of tunnels that routerd owns)
	Masquerade bool         // source NAT on the device
}

// OwnRoute steers the router's own connections of one destination.
type OwnRoute struct {
	Destination string // its name; one set a family each is kept in step for it
	ID          uint16 // the data plane's number of the destination: names the sets
	Path        owned.PathIndex
	Prefixes    []netip.Prefix // networks of its rules
	Addresses   []netip.Addr   // learned addresses known at the time of Apply
}
