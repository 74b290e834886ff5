package ebpf

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Known is a learned address: for everybody, or for one client.
type Known struct {
	Addr   netip.Addr
	Client Client // 0: the address' own entry
	// Rule is HashName of the rule's name; Full tells a full: rule.
	Rule                uint64
	Full                bool
	Target              Target
	Global              bool // steered for every client
	Shared              bool // also answers for unlisted names
	Draining            bool // its rule is gone: only old flows are steered
	Origin              Origin
	Seen, Used, Expires Ticks
}

// Origin is what made an address known, RD_ORIGIN_*.
type Origin uint8

// The values of Origin.
const (
	OriginDNS      Origin = 1 // an answer seen on the wire
	OriginResolver Origin = 2 // routerd's own resolver
	OriginTLS      Origin = 3 // a server name seen in a hello
)

// RD_K_* of bpf/abi.h.
const (
	knownGlobal = 1 << iota
	knownShared
	knownDrain
	knownFull
	knownShut
)

func known(a bpfRdAddr, c Client, v bpfRdKnown) Known {
	return Known{
		Addr: a.addr(), Client: c, Rule: v.Rule, Full: v.Flags&knownFull != 0, Target: Target(v.Target),
		Global: v.Flags&knownGlobal != 0, Shared: v.Flags&knownShared != 0, Draining: v.Flags&knownDrain != 0,
		Seen: Ticks(v.Seen), Used: Ticks(v.Used), Expires: Ticks(v.Expires),
		Origin: Origin(v.Origin),
	}
}

// Addresses lists the learned addresses, without the clients' entries.
func (d *DataPlane) Addresses() ([]Known, error) {
	all, err := entries[bpfRdAddr, bpfRdKnown](d.maps[bpfMapAddresses])
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	out := make([]Known, 0, len(all))
	for a, v := range all {
		out = append(out, known(a, 0, v))
	}
	return out, nil
}

// Grants lists what addresses are for single clients.
func (d *DataPlane) Grants() ([]Known, error) {
	all, err := entries[bpfRdGrantKey, bpfRdKnown](d.maps[bpfMapGrants])
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	out := make([]Known, 0, len(all))
	for k, v := range all {
		out = append(out, known(k.Addr, Client(k.Client), v))
	}
	return out, nil
}

// Forget removes learned entries. One that is given with Client 0 removes the
// address' own entry, which takes the address out of steering for everybody.
func (d *DataPlane) Forget(entries []Known) error {
	for _, k := range entries {
		var err error
		if k.Client == 0 {
			err = d.maps[bpfMapAddresses].Delete(addr(k.Addr))
		} else {
			err = d.maps[bpfMapGrants].Delete(bpfRdGrantKey{Addr: addr(k.Addr), Client: uint64(k.Client)})
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget %s: %w", k.Addr, err)
		}
	}
	return nil
}

// Ensure puts back entries of an event that an expiry running at the same moment
// has removed: the kernel can refresh an entry that is about to be deleted.
func (d *DataPlane) Ensure(e Event) error {
	shut, err := d.shut(uint16(e.Target))
	if err != nil {
		return fmt.Errorf("find destination of %s: %w", e.Name, err)
	}
	v := bpfRdKnown{
		Rule: e.Rule, Seen: uint32(e.Time), Used: uint32(e.Time), Expires: uint32(e.Time + e.TTL),
		Target: uint16(e.Target), Origin: uint8(e.origin()),
		Flags: uint8(flag(e.Full, knownFull) | flag(shut, knownShut)),
	}
	all := v
	all.Flags |= uint8(flag(e.Verified, knownGlobal))
	for _, a := range e.Addrs {
		key := bpfRdGrantKey{Addr: addr(a), Client: uint64(e.Client)}
		err := d.maps[bpfMapGrants].Update(key, v, ebpf.UpdateNoExist)
		if err == nil || errors.Is(err, ebpf.ErrKeyExist) {
			err = d.maps[bpfMapAddresses].Update(addr(a), all, ebpf.UpdateNoExist)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("learn %s: %w", a, err)
		}
	}
	return nil
}

// nameRules are the rules over names that hold now, by hash, and moved as in Tables.
type nameRules struct {
	now   map[uint64]bpfRdRule
	moved func(uint64) uint64
}

// retarget brings what was learned in line with the rules that hold now.
func (d *DataPlane) retarget(rules nameRules) error {
	if err := retargetMap[bpfRdAddr](d.maps[bpfMapAddresses], rules); err != nil {
		return fmt.Errorf("bring addresses in line with rules: %w", err)
	}
	if err := retargetMap[bpfRdGrantKey](d.maps[bpfMapGrants], rules); err != nil {
		return fmt.Errorf("bring grants in line with rules: %w", err)
	}
	return nil
}

func retargetMap[K comparable](m *ebpf.Map, rules nameRules) error {
	all, err := entries[K, bpfRdKnown](m)
	if err != nil {
		return err
	}
	for k, v := range all {
		if rules.retargeted(v) == v {
			continue
		}
		// Meanwhile it may have been learned anew, or have been removed: then
		// it stays so.
		err := m.Lookup(k, &v)
		if err == nil {
			err = m.Update(k, rules.retargeted(v), ebpf.UpdateExist)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// retargeted is an entry as the rules have it. Where the one that it was learned by is
// gone, it is the next wider rule's.
func (n nameRules) retargeted(v bpfRdKnown) bpfRdKnown {
	r, ok := n.now[v.Rule]
	if !ok && n.moved != nil {
		if to := n.moved(v.Rule); to != 0 {
			v.Rule, r = to, n.now[to]
			v.Flags &^= knownFull
		}
	}
	target := r.Suffix
	if v.Flags&knownFull != 0 && r.Full != 0 {
		target = r.Full
	}
	if v.Flags &^= knownDrain; target == 0 {
		v.Flags |= knownDrain
	} else {
		v.Target = target
	}
	return v
}
