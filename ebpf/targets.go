package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// chainKey is a chain as a key of maps. Chains are cut to ChainMax.
type chainKey struct {
	links [ChainMax]Link
	n     int
}

func keyOf(c Chain) chainKey {
	var k chainKey
	k.n = copy(k.links[:], c)
	return k
}

// chains maps chains to their targets.
type chains map[chainKey]Target

func (t chains) of(c Chain) uint16 { return uint16(t[keyOf(c)]) }

// errTargets is for more chains than there are targets.
var errTargets = fmt.Errorf("rules combine destinations in more than %d ways", MaxTargets-1)

// internTargets gives every chain of t a target. Links that are already in the
// map keep their number, so that learned addresses, which hold a target, mean
// the same destination before and after; new links get numbers that are free.
// Numbers that nothing holds any more are taken again only when all are used up.
func (d *DataPlane) internTargets(t *Tables) (chains, error) {
	in, err := d.newInterner(nil)
	if err != nil {
		return nil, err
	}
	out, err := in.chains(t)
	if errors.Is(err, errTargets) {
		live, err := d.liveTargets()
		if err != nil {
			return nil, err
		}
		if in, err = d.newInterner(live); err != nil {
			return nil, err
		}
		if out, err = in.chains(t); err != nil {
			return nil, fmt.Errorf("number targets: %w", err)
		}
	}
	for id, link := range in.fresh {
		if err := d.maps[bpfMapTargets].Put(uint32(id), link); err != nil {
			return nil, fmt.Errorf("write targets: %w", err)
		}
	}
	return out, nil
}

// interner numbers links.
type interner struct {
	byLink map[bpfRdTarget]Target
	taken  map[Target]bool
	fresh  map[Target]bpfRdTarget
	next   Target
}

// newInterner knows the links in the map; where live is given, only those.
func (d *DataPlane) newInterner(live map[Target]bool) (*interner, error) {
	in := &interner{byLink: map[bpfRdTarget]Target{}, taken: map[Target]bool{}, fresh: map[Target]bpfRdTarget{}, next: 1}
	all, err := elements[bpfRdTarget](d.maps[bpfMapTargets])
	if err != nil {
		return nil, fmt.Errorf("read targets: %w", err)
	}
	for i, v := range all {
		if id := Target(i); v.Dest != 0 && (live == nil || live[id]) {
			in.byLink[v], in.taken[id] = id, true
		}
	}
	return in, nil
}

// chains numbers every chain of t.
func (in *interner) chains(t *Tables) (chains, error) {
	out := chains{}
	add := func(c Chain) error {
		key := keyOf(c)
		if _, ok := out[key]; ok {
			return nil
		}
		id, err := in.intern(key.links[:key.n])
		out[key] = id
		return err
	}
	for _, r := range t.Names {
		if err := errors.Join(add(r.Full), add(r.Suffix)); err != nil {
			return nil, err
		}
	}
	for _, r := range t.Networks {
		if err := add(r.Chain); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// intern numbers a chain from its end, so that equal ends are one.
func (in *interner) intern(c Chain) (Target, error) {
	var id Target
	for i := len(c) - 1; i >= 0; i-- {
		v := bpfRdTarget{Dest: uint16(c[i].Destination), Next: uint16(id), Bit: c[i].Bit}
		if c[i].Include {
			v.Flags |= targetInclude
		}
		if c[i].Exclude {
			v.Flags |= targetExclude
		}
		known, ok := in.byLink[v]
		if !ok {
			for in.taken[in.next] {
				in.next++
			}
			if known = in.next; known >= MaxTargets {
				return 0, errTargets
			}
			in.byLink[v], in.taken[known], in.fresh[known] = known, true, v
		}
		id = known
	}
	return id, nil
}

// RD_T_* of bpf/abi.h.
const (
	targetInclude = 1 << iota
	targetExclude
)

// liveTargets are those that rules in the kernel or learned addresses hold, with
// the links behind them.
func (d *DataPlane) liveTargets() (map[Target]bool, error) {
	held := map[Target]bool{}
	err := errors.Join(
		holders[bpfRdAddr](d.maps[bpfMapAddresses], held),
		holders[bpfRdGrantKey](d.maps[bpfMapGrants], held),
		ruleHolders[bpfRdPrefix](d.maps[bpfMapNetworks], held),
	)
	var inner *ebpf.Map
	switch lookup := d.maps[bpfMapRules].Lookup(uint32(0), &inner); {
	case lookup == nil:
		defer inner.Close()
		err = errors.Join(err, ruleHolders[uint64](inner, held))
	case !errors.Is(lookup, ebpf.ErrKeyNotExist):
		err = errors.Join(err, lookup)
	}
	if err != nil {
		return nil, fmt.Errorf("find targets in use: %w", err)
	}
	live := map[Target]bool{}
	for id := range held {
		for id != 0 && !live[id] {
			live[id] = true
			var v bpfRdTarget
			if err := d.maps[bpfMapTargets].Lookup(uint32(id), &v); err != nil {
				return nil, fmt.Errorf("read targets: %w", err)
			}
			id = Target(v.Next)
		}
	}
	return live, nil
}

func holders[K comparable](m *ebpf.Map, held map[Target]bool) error {
	all, err := entries[K, bpfRdKnown](m)
	for _, v := range all {
		held[Target(v.Target)] = true
	}
	return err
}

func ruleHolders[K comparable](m *ebpf.Map, held map[Target]bool) error {
	all, err := entries[K, bpfRdRule](m)
	for _, v := range all {
		held[Target(v.Suffix)] = true
		if m.Type() == ebpf.Hash { // a network has a flag there
			held[Target(v.Full)] = true
		}
	}
	return err
}
