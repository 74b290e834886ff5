package daemon

import (
	"net/netip"
	"time"

	"github.com/routerd/routerd/ebpf"
)

// drainTime is how long an address of a removed rule stays for its old flows
// after the last packet.
const drainTime = 10 * time.Minute

// idleTime is how long a learned entry outlives its TTL unused: clients keep
// answers longer than they should, so as long as there is room for it.
func idleTime(used, capacity int) time.Duration {
	switch fill := used * 100 / max(capacity, 1); {
	case fill < 50:
		return 24 * time.Hour
	case fill < 75:
		return 6 * time.Hour
	case fill < 90:
		return time.Hour
	}
	return 10 * time.Minute
}

// expired picks the entries to forget: grants whose TTL is over and which no
// packet has used for the idle time, and addresses that have no grant left.
func expired(now ebpf.Ticks, addresses, grants []ebpf.Known, capacity int) []ebpf.Known {
	idle := idleTime(max(len(addresses), len(grants)), capacity)
	held := map[netip.Addr]bool{}
	var out []ebpf.Known
	for _, g := range grants {
		if old(g, now, idle) {
			out = append(out, g)
		} else {
			held[g.Addr] = true
		}
	}
	for _, a := range addresses {
		if !held[a.Addr] && old(a, now, idle) {
			out = append(out, a)
		}
	}
	return out
}

func old(k ebpf.Known, now ebpf.Ticks, idle time.Duration) bool {
	if k.Draining {
		return k.Used.Since(now) > drainTime
	}
	return k.Expires < now && k.Used.Since(now) > idle && k.Seen.Since(now) > idle
}

// Times after which a flow that says nothing is taken off the table.
const (
	flowClosedTime = 30 * time.Second
	flowUDPTime    = 3 * time.Minute
	flowTCPTime    = 24 * time.Hour
)

// stale picks the flows that are over.
func stale(now ebpf.Ticks, flows []ebpf.Flow) []ebpf.Flow {
	var out []ebpf.Flow
	for _, f := range flows {
		limit := flowUDPTime
		if f.Protocol == protoTCP {
			limit = flowTCPTime
		}
		if f.Flags&(ebpf.FlowFIN|ebpf.FlowResetClient|ebpf.FlowResetServer|ebpf.FlowEnded) != 0 {
			limit = flowClosedTime
		}
		if max(f.LastTx, f.LastRx).Since(now) > limit {
			out = append(out, f)
		}
	}
	return out
}

// IANA protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)
