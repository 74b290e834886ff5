package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// FlowFlags tell what has been seen of a flow, RD_FL_*.
type FlowFlags uint8

// The values of FlowFlags.
const (
	FlowSYN FlowFlags = 1 << iota
	FlowSYNACK
	FlowHello // the client sent payload
	FlowData  // the server sent payload
	FlowFIN
	FlowResetClient
	FlowResetServer
	FlowEnded // EndFlows was called for it
)

// Flow is one steered connection.
type Flow struct {
	Client      netip.AddrPort
	Server      netip.AddrPort
	Protocol    uint8 // IANA
	Destination Destination
	Path        owned.PathIndex
	Flags       FlowFlags
	Ifindex     int // the LAN device
	// Ack is what the client last acknowledged, TCP only.
	Ack                  uint32
	TxBytes, RxBytes     uint64 // from and to the client, IP octets
	TxPackets, RxPackets uint32
	Created              Ticks
	LastTx, LastRx       Ticks
	// RTT is from SYN to SYN-ACK as seen at the router; 0: not measured.
	RTT time.Duration
	// Waiting is how long ago the client sent what nothing has come back for
	// since (a SYN, a FIN, data or a datagram); 0: it waits for nothing. It is
	// exact to about a millisecond, and right up to 25 days.
	Waiting time.Duration
	// Again counts the packets since then that repeat what was sent; of a
	// protocol other than TCP, all of them.
	Again uint32
	key   bpfRdFlowKey
}

// Flows lists the steered connections.
func (d *DataPlane) Flows() ([]Flow, error) {
	all, err := entries[bpfRdFlowKey, bpfRdFlow](d.maps[bpfMapFlows])
	if err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	out := make([]Flow, 0, len(all))
	now := fineNow()
	for k, v := range all {
		f := Flow{
			Client:   netip.AddrPortFrom(k.Client.addr(), k.ClientPort),
			Server:   netip.AddrPortFrom(k.Server.addr(), k.ServerPort),
			Protocol: k.Proto, Destination: Destination(v.Dest), Path: owned.PathIndex(v.Path),
			Flags: FlowFlags(v.Flags), Ifindex: int(v.Ifindex), Ack: v.Ack,
			TxBytes: v.TxBytes, RxBytes: v.RxBytes, TxPackets: v.TxPackets, RxPackets: v.RxPackets,
			Created: Ticks(v.Created), LastTx: Ticks(v.LastTx), LastRx: Ticks(v.LastRx),
			RTT: time.Duration(v.RttUs) << 10, key: k,
		}
		if v.Asked != 0 {
			f.Waiting, f.Again = fineSince(v.Asked, now), v.Again
		}
		out = append(out, f)
	}
	return out, nil
}

// EndFlows marks flows as over: every further packet of theirs is answered by a
// reset (TCP) or an ICMP error; a new connection starts anew.
func (d *DataPlane) EndFlows(flows []Flow) error {
	m := d.maps[bpfMapFlows]
	for _, f := range flows {
		var v bpfRdFlow
		err := m.Lookup(f.key, &v)
		if err == nil {
			v.Flags |= uint8(FlowEnded)
			err = m.Update(f.key, v, ebpf.UpdateExist)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("end flow %s: %w", f.Client, err)
		}
	}
	return nil
}

// ForgetFlows removes flows from the table: the next packet begins anew.
func (d *DataPlane) ForgetFlows(flows []Flow) error {
	for _, f := range flows {
		if err := d.maps[bpfMapFlows].Delete(f.key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget flow %s: %w", f.Client, err)
		}
	}
	return nil
}
