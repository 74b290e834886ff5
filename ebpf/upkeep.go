package ebpf

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// Surroundings are what of Tables depends on the machine.
type Surroundings struct {
	Exempt   []netip.Prefix
	WAN      []int
	Resolver []ResolverAddress
}

// SetSurroundings changes only what of Tables depends on the machine. It costs as
// much as that is long, however many names there are.
func (d *DataPlane) SetSurroundings(s Surroundings) error {
	if err := d.setExempt(s.Exempt); err != nil {
		return err
	}
	resolving, port, err := d.setResolver(s.Resolver)
	if err != nil {
		return err
	}
	return d.setConfig(func(c *bpfRdConfig) {
		c.Flags = c.Flags&^(flagResolve|flagResolveOwn) | resolving
		c.ResolverPort = port
		c.Wan = [4]uint32{}
		for i := 0; i < len(s.WAN) && i < len(c.Wan); i++ {
			c.Wan[i] = uint32(s.WAN[i])
		}
	})
}

// ForgetUnused removes learned entries as Forget does, but only those that are
// still as they were read: one that the kernel has refreshed meanwhile is put
// back. It gives those that are gone.
func (d *DataPlane) ForgetUnused(entries []Known) ([]Known, error) {
	gone := make([]Known, 0, len(entries))
	for _, k := range entries {
		var fresh bool
		var err error
		if k.Client == 0 {
			fresh, err = take(d.maps[bpfMapAddresses], addr(k.Addr), k)
		} else {
			fresh, err = take(d.maps[bpfMapGrants], bpfRdGrantKey{Addr: addr(k.Addr), Client: uint64(k.Client)}, k)
		}
		if err != nil {
			return gone, fmt.Errorf("forget %s: %w", k.Addr, err)
		}
		if !fresh {
			gone = append(gone, k)
		}
	}
	return gone, nil
}

// take removes an entry; true where it was fresher than k and has been put back.
// Lookup and removal are one step in the kernel (since Linux 5.14 for a hash),
// so that what came after the removal is newer than what was read.
func take[K any](m *ebpf.Map, key K, k Known) (bool, error) {
	var v bpfRdKnown
	err := m.LookupAndDelete(key, &v)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return false, nil
	case err != nil:
		return false, err
	case Ticks(v.Used) == k.Used && Ticks(v.Seen) == k.Seen:
		return false, nil
	}
	err = m.Update(key, v, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		err = nil // learned anew meanwhile
	}
	return true, err
}

// GoneDestinations gives the numbers that are taken by destinations other than
// those named: flows and addresses may still hold them.
func (d *DataPlane) GoneDestinations(names []string) ([]Destination, error) {
	gone, err := d.gone(numberDestination, names)
	out := make([]Destination, 0, len(gone))
	for n := range gone {
		out = append(out, Destination(n))
	}
	return out, err
}

// GonePaths gives the path indexes that are taken by tunnels other than those
// named.
func (d *DataPlane) GonePaths(tunnels []string) ([]owned.PathIndex, error) {
	gone, err := d.gone(numberPath, tunnels)
	out := make([]owned.PathIndex, 0, len(gone))
	for n := range gone {
		out = append(out, owned.PathIndex(n))
	}
	return out, err
}

// FreeDestination makes a number free for another destination. Nothing may hold
// it any more.
func (d *DataPlane) FreeDestination(n Destination) error {
	return d.free(numberDestination, uint32(n))
}

// FreePath makes a path index free for another tunnel.
func (d *DataPlane) FreePath(i owned.PathIndex) error { return d.free(numberPath, uint32(i)) }

// gone finds the numbers of a kind that belong to none of the names, with the
// keys that hold them.
func (d *DataPlane) gone(kind numberKind, names []string) (map[uint32][16]byte, error) {
	known, err := entries[[16]byte, uint32](d.maps[bpfMapNumbers])
	if err != nil {
		return nil, fmt.Errorf("read numbers: %w", err)
	}
	for _, name := range names {
		delete(known, kind.key(name))
	}
	out := map[uint32][16]byte{}
	for key, v := range known {
		n := v &^ (1 << 31)
		if kind.value(n) == v {
			out[n] = key
		}
	}
	return out, nil
}

func (d *DataPlane) free(kind numberKind, n uint32) error {
	all, err := d.gone(kind, nil)
	if err != nil {
		return err
	}
	key, ok := all[n]
	if !ok {
		return nil
	}
	if err := d.maps[bpfMapNumbers].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("free number %d of a %s: %w", n, kind, err)
	}
	return nil
}
