// Package owned names everything that routerd puts into a kernel: mark values,
// routing tables, rule priorities, device, table and chain names, pin paths.
// It is a leaf; whoever applies or removes kernel state takes the name from
// here, so that cleanup finds all of it without stored state.
package owned

import (
	"fmt"
	"math/bits"
	"strings"
)

// Mark is a value of skb->mark or of SO_MARK, host byte order.
type Mark uint32

// PathIndex numbers a path inside one router. It is what the mark bits, the
// data plane's path slots and the table numbers are derived from.
type PathIndex uint8

// The fixed paths. Tunnels are numbered from PathTunnel0 up to what the mask
// holds (13 tunnels with the default mask of four bits).
const (
	// PathNone is a packet that is not steered.
	PathNone PathIndex = 0
	// PathDirect is the WAN, chosen on purpose: exceptions, tunnels' own
	// encrypted packets, checks of the direct path.
	PathDirect PathIndex = 1
	// PathBlock ends in a prohibit route.
	PathBlock PathIndex = 2
	// PathTunnel0 is the first tunnel.
	PathTunnel0 PathIndex = 3
	// MaxPaths bounds every array that is indexed by PathIndex.
	MaxPaths = 16
)

// Kernel names and numbers. pbr uses rules from 29998 and tables from 256,
// mwan3 rules 1001–3000 and tables 1–250, tailscale rules 5210–5270 and table
// 52, netifd rules 10000–90000, wg-quick table 51820: none overlaps these.
const (
	// RulePriority is that of all our ip rules; it precedes mwan3's.
	RulePriority = 700
	// TableBase plus a PathIndex is the path's routing table.
	TableBase = 0x7200
	// RouteProtocol is rtm_protocol of our routes and FRA_PROTOCOL of our
	// rules, so that a dump tells which are ours.
	RouteProtocol = 0x72
	// DevicePrefix begins the name of every device that routerd creates.
	DevicePrefix = "rd-"
	// NFTable is the nftables table (family inet) that holds all our chains.
	NFTable = "routerd"
	// ChainPrefix begins every iptables chain and ipset-like name of ours.
	ChainPrefix = "ROUTERD"
	// Comment marks a rule of ours inside somebody else's chain.
	Comment = "!routerd"
	// FilterName begins the name of our tc filters and BPF programs.
	FilterName = "routerd_"
	// BPFDir is the default directory of pinned maps and links.
	BPFDir = "/sys/fs/bpf/routerd"
	// StateDir is the default directory of run-time state (tmpfs).
	StateDir = "/var/run/routerd"
	// Socket is the default control socket.
	Socket = "/var/run/routerd.sock"
	// ConfigFile is the default settings file.
	ConfigFile = "/etc/config/routerd"
	// TunnelDir is where `routerd tunnel import` puts wg-quick files.
	TunnelDir = "/etc/routerd"
	// ListDir keeps the last good content of lists.
	ListDir = TunnelDir + "/lists"
	// ResolverPort is the UDP and TCP port of our own resolver on every local
	// address. Queries for listed names are turned to it in the kernel; it is not
	// 53, so that dnsmasq keeps its place.
	ResolverPort = 5399
	// DefaultMask is the default value of option mark_mask.
	DefaultMask Mask = 0x0f000000
)

// Mask is the set of mark bits that routerd owns: contiguous, three bits to
// four. All other bits of a mark are left as they are.
type Mask uint32

// Validate says why a mask cannot be used, or nil.
func (m Mask) Validate() error {
	v := uint32(m) >> m.Shift()
	if m == 0 || v&(v+1) != 0 {
		return fmt.Errorf("mask %#x is not one run of bits", uint32(m))
	}
	if n := bits.OnesCount32(uint32(m)); n < 3 || n > 4 {
		return fmt.Errorf("mask %#x has %d bits, 3 or 4 are needed", uint32(m), n)
	}
	return nil
}

// Shift is the number of the lowest bit.
func (m Mask) Shift() int { return bits.TrailingZeros32(uint32(m)) }

// Tunnels is how many tunnels the mask can tell apart.
func (m Mask) Tunnels() int {
	return int(uint32(m)>>m.Shift()) + 1 - int(PathTunnel0)
}

// Mark is the mark of a path; only bits of the mask are set.
func (m Mask) Mark(p PathIndex) Mark { return Mark(uint32(p) << m.Shift() & uint32(m)) }

// Path is the path that a mark names.
func (m Mask) Path(v Mark) PathIndex { return PathIndex(uint32(v) & uint32(m) >> m.Shift()) }

// Table is the routing table of a path.
func Table(p PathIndex) int { return TableBase + int(p) }

// Device is the name of the device of a tunnel that routerd owns.
func Device(tunnel string) string { return DevicePrefix + tunnel }

// IsDevice says whether a device name is one of ours.
func IsDevice(name string) bool { return strings.HasPrefix(name, DevicePrefix) }
