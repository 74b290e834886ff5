package ebpf

import "fmt"

// chains maps a chain's canonical text to its target.
type chains map[string]Target

func chainKey(c Chain) string { return fmt.Sprint([]Link(c)) }

func (t chains) of(c Chain) uint16 { return uint16(t[chainKey(c)]) }

// internTargets gives every chain of t a target. Links that are already in the
// map keep their number, so that learned addresses, which hold a target, mean
// the same destination before and after; new links get numbers that are free.
func (d *DataPlane) internTargets(t *Tables) (chains, error) {
	m := d.maps[bpfMapTargets]
	in := &interner{byLink: map[bpfRdTarget]Target{}, taken: map[Target]bool{}, next: 1}
	for i := range uint32(MaxTargets) {
		var v bpfRdTarget
		if err := m.Lookup(i, &v); err != nil {
			return nil, fmt.Errorf("read targets: %w", err)
		}
		if v.Dest != 0 {
			in.byLink[v], in.taken[Target(i)] = Target(i), true
		}
	}
	out := chains{}
	add := func(c Chain) error {
		key := chainKey(c)
		if _, ok := out[key]; ok {
			return nil
		}
		id, err := in.intern(c)
		out[key] = id
		return err
	}
	for _, r := range t.Names {
		if err := add(r.Full); err != nil {
			return nil, err
		}
		if err := add(r.Suffix); err != nil {
			return nil, err
		}
	}
	for _, r := range t.Networks {
		if err := add(r.Chain); err != nil {
			return nil, err
		}
	}
	for id, link := range in.fresh {
		if err := m.Put(uint32(id), link); err != nil {
			return nil, fmt.Errorf("write targets: %w", err)
		}
	}
	return out, nil
}

type interner struct {
	byLink map[bpfRdTarget]Target
	taken  map[Target]bool
	fresh  map[Target]bpfRdTarget
	next   Target
}

// intern numbers a chain from its end, so that equal ends are one.
func (in *interner) intern(c Chain) (Target, error) {
	if len(c) > ChainMax {
		c = c[:ChainMax]
	}
	var id Target
	for i := len(c) - 1; i >= 0; i-- {
		v := bpfRdTarget{Dest: uint16(c[i].Destination), Next: uint16(id), Bit: c[i].Bit}
		if c[i].Include {
			v.Flags |= 1 // RD_T_INCLUDE
		}
		if c[i].Exclude {
			v.Flags |= 2 // RD_T_EXCLUDE
		}
		known, ok := in.byLink[v]
		if !ok {
			for in.taken[in.next] {
				in.next++
			}
			if known = in.next; known >= MaxTargets {
				return 0, fmt.Errorf("number targets: rules combine destinations in more than %d ways", MaxTargets-1)
			}
			in.byLink[v], in.taken[known] = known, true
			if in.fresh == nil {
				in.fresh = map[Target]bpfRdTarget{}
			}
			in.fresh[known] = v
		}
		id = known
	}
	return id, nil
}
