package ebpf

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// numberKind keeps destinations' and tunnels' names apart in one map.
type numberKind string

const (
	numberDestination numberKind = "destination"
	numberPath        numberKind = "path"
)

func (k numberKind) key(name string) [16]byte {
	sum := sha256.Sum256([]byte(string(k) + ":" + name))
	return [16]byte(sum[:16])
}

// numbered is how the map holds a number: with its kind, so that the numbers in
// use are known without the names.
func (k numberKind) value(n uint32) uint32 {
	if k == numberPath {
		return n | 1<<31
	}
	return n
}

// Destinations gives each named destination its number: that of earlier times
// where it had one. The numbers of names that are not given stay taken until
// FreeDestination, since flows and addresses may still hold them.
func (d *DataPlane) Destinations(names []string) (map[string]Destination, error) {
	all, err := d.number(numberDestination, names, 1, MaxDestinations)
	out := make(map[string]Destination, len(all))
	for name, n := range all {
		out[name] = Destination(n)
	}
	return out, err
}

// Paths gives each tunnel its path index, from PathTunnel0 to below limit, in
// the same way as Destinations.
func (d *DataPlane) Paths(tunnels []string, limit owned.PathIndex) (map[string]owned.PathIndex, error) {
	all, err := d.number(numberPath, tunnels, uint32(owned.PathTunnel0), uint32(limit))
	out := make(map[string]owned.PathIndex, len(all))
	for name, n := range all {
		out[name] = owned.PathIndex(n)
	}
	return out, err
}

// ReleasePath frees the number of a tunnel that is gone.
func (d *DataPlane) ReleasePath(tunnel string) error { return d.release(numberPath, tunnel) }

func (d *DataPlane) release(kind numberKind, name string) error {
	err := d.maps[bpfMapNumbers].Delete(kind.key(name))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("release number of %s %s: %w", kind, name, err)
	}
	return nil
}

func (d *DataPlane) number(kind numberKind, names []string, first, limit uint32) (map[string]uint32, error) {
	m := d.maps[bpfMapNumbers]
	known, err := entries[[16]byte, uint32](m)
	if err != nil {
		return nil, fmt.Errorf("read numbers: %w", err)
	}
	taken, err := d.taken(kind, known, int(limit-first)-len(names))
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint32, len(names))
	next := first
	for _, name := range names {
		key := kind.key(name)
		v, ok := known[key]
		if !ok {
			for taken[kind.value(next)] {
				next++
			}
			if next >= limit {
				return nil, fmt.Errorf("number %s %s: more than %d are in use", kind, name, limit-first)
			}
			v = kind.value(next)
			if err := put(m, key, v); err != nil {
				return nil, fmt.Errorf("number %s %s: %w", kind, name, err)
			}
			taken[v], known[key] = true, v
		}
		out[name] = v &^ (1 << 31)
	}
	return out, nil
}

// taken are the numbers in use. Where no destination has one although chains lead
// to some, their numbers were lost: those of the chains are left out, as far as
// room goes, because learned addresses still mean the destinations of then.
func (d *DataPlane) taken(kind numberKind, known map[[16]byte]uint32, room int) (map[uint32]bool, error) {
	taken, lost := map[uint32]bool{}, kind == numberDestination
	for _, v := range known {
		taken[v] = true
		lost = lost && v >= 1<<31 // a path's
	}
	if !lost {
		return taken, nil
	}
	chains, err := elements[bpfRdTarget](d.maps[bpfMapTargets])
	if err != nil {
		return nil, fmt.Errorf("read targets: %w", err)
	}
	for _, v := range chains {
		if v.Dest != 0 && len(taken) < room {
			taken[uint32(v.Dest)] = true
		}
	}
	return taken, nil
}
