package ebpf

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// abi is RD_ABI of bpf/abi.h.
const abi = 4

// Limits of the data plane, those of bpf/abi.h.
const (
	MaxDestinations = 1024
	MaxTargets      = 4096
	ChainMax        = 4
	// MaxRestricted is how many destinations may name clients.
	MaxRestricted = 64
)

// Options are what a data plane is opened with.
type Options struct {
	Dir          string // of the pins, on a bpffs
	Mask         owned.Mask
	MaxAddresses int // learned addresses, and grants to clients
	MaxFlows     int
	Hook         Hook // "" probes
	Log          *slog.Logger
}

// DataPlane is the open data plane. Its methods may be called from any
// goroutine; those that take a whole desired state, from one at a time.
type DataPlane struct {
	opts    Options
	spec    *collection
	maps    map[string]*ebpf.Map
	progs   map[string]*ebpf.Program
	staged  bool // the table of tail calls is filled
	adopted bool
	seed    uint64
	hook    hook
	// stale are pinned maps that programs in the kernel still use, and whose
	// place those of the same names in maps take when new programs run.
	stale map[string]*ebpf.Map
	// stagesPin is where the table of tail calls is pinned.
	stagesPin string
	// names is the print, by printSeed, of the map of names that is in force.
	names     namesPrint
	printSeed maphash.Seed

	namesMu   sync.Mutex // guards openNames, and its use
	openNames *ebpf.Map  // the map of names in force; nil: not open
}

// adoptable says whether a map outlives the programs that use it. The table of
// tail calls belongs to one load of the programs, the scratch area to none.
func adoptable(name string) bool { return name != bpfMapScratch && name != bpfMapStages }

// Open adopts the maps pinned in o.Dir, or makes them. Where a pin is gone, or is
// not the map that programs in the kernel use, it adopts that one. Entries of a map
// whose size has changed are taken over into a new one, and one that holds too much
// to become smaller stays as it is; a map of another layout is made anew, empty.
// Nothing is attached yet, and what is attached goes on with
// the maps that it has until Attach.
func Open(o Options) (_ *DataPlane, err error) {
	if err := mountBPF(o.Dir); err != nil {
		return nil, err
	}
	spec, err := loadImage()
	if err != nil {
		return nil, fmt.Errorf("read BPF programs: %w", err)
	}
	d := &DataPlane{
		opts: o, spec: spec, maps: map[string]*ebpf.Map{}, progs: map[string]*ebpf.Program{},
		stale: map[string]*ebpf.Map{}, printSeed: maphash.MakeSeed(),
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	d.size()
	d.mendPins()
	sound := d.abiAgrees()
	for name, ms := range spec.maps {
		m, err := d.openMap(name, ms, sound)
		if err != nil {
			return nil, fmt.Errorf("make map %s: %w", name, explain(err))
		}
		d.maps[name] = m
	}
	if err := d.configure(sound); err != nil {
		return nil, err
	}
	d.adopted = sound
	d.hook, err = newHook(d)
	return d, err
}

// Adopted says whether an earlier process' maps were taken over.
func (d *DataPlane) Adopted() bool { return d.adopted }

// Close closes what this process holds. Pinned maps and links go on.
func (d *DataPlane) Close() error {
	var errs []error
	for _, p := range d.progs {
		errs = append(errs, p.Close())
	}
	for _, m := range d.maps {
		errs = append(errs, m.Close())
	}
	for _, m := range d.stale {
		errs = append(errs, m.Close())
	}
	d.forgetNamesMap()
	return errors.Join(errs...)
}

// size sets what depends on the machine and the settings.
func (d *DataPlane) size() {
	d.spec.maps[bpfMapAddresses].MaxEntries = uint32(d.opts.MaxAddresses)
	d.spec.maps[bpfMapGrants].MaxEntries = uint32(d.opts.MaxAddresses)
	if d.opts.MaxFlows > 0 {
		d.spec.maps[bpfMapFlows].MaxEntries = uint32(d.opts.MaxFlows)
	}
	// A ring buffer is a whole number of pages, a power of two; pages have
	// up to 64 KiB.
	d.spec.maps[bpfMapEvents].MaxEntries = uint32(max(1<<16, os.Getpagesize()))
}

func (d *DataPlane) pin(name string) string { return filepath.Join(d.opts.Dir, name) }

// abiAgrees says whether the pinned maps were made for these programs.
func (d *DataPlane) abiAgrees() bool {
	m, err := ebpf.LoadPinnedMap(d.pin(bpfMapConfig), nil)
	if err != nil {
		return false
	}
	defer m.Close()
	var c bpfRdConfig
	if m.ValueSize() != uint32(binary.Size(c)) || m.Lookup(uint32(0), &c) != nil {
		return false
	}
	return c.Abi == abi
}

func (d *DataPlane) openMap(name string, spec *mapSpec, sound bool) (*ebpf.Map, error) {
	if !adoptable(name) {
		return makeMap(spec)
	}
	old, err := ebpf.LoadPinnedMap(d.pin(name), nil)
	if err != nil {
		return d.newMap(name, spec)
	}
	keep := sound && sameLayout(old, spec)
	if keep && (old.MaxEntries() == spec.MaxEntries || d.tooFull(name, old, spec.MaxEntries)) {
		return old, nil
	}
	d.stale[name] = old
	m, err := makeMap(spec)
	if err == nil && keep {
		d.takeOver(name, old, m)
	}
	return m, err
}

// tooFull says whether a map of learned entries holds more than half of what a
// smaller one would. An address that found no room in it would be unknown, and
// packets to it would take the direct path; the other half is for what is learned
// until the programs use the new map.
func (d *DataPlane) tooFull(name string, old *ebpf.Map, size uint32) bool {
	if name != bpfMapAddresses && name != bpfMapGrants || old.MaxEntries() <= size {
		return false
	}
	var held uint32
	var key, value []byte
	for it := old.Iterate(); it.Next(&key, &value); {
		held++
	}
	if held <= size/2 {
		return false
	}
	if d.opts.Log != nil {
		d.opts.Log.Info("a map holds too much to become smaller now", "map", name, "held", held, "wanted", size)
	}
	return true
}

// MaxAddresses is how many addresses can be known: Options.MaxAddresses, or more
// where an earlier process' map held too much to become smaller.
func (d *DataPlane) MaxAddresses() int { return int(d.maps[bpfMapAddresses].MaxEntries()) }

func sameLayout(m *ebpf.Map, spec *mapSpec) bool {
	key, value := spec.KeySize, spec.ValueSize
	if spec.Type == ebpf.RingBuf {
		key, value = m.KeySize(), m.ValueSize()
	}
	return m.Type() == spec.Type && m.KeySize() == key && m.ValueSize() == value
}

// newMap makes and pins a map.
func (d *DataPlane) newMap(name string, spec *mapSpec) (*ebpf.Map, error) {
	m, err := makeMap(spec)
	if err != nil {
		return nil, err
	}
	if err := repin(m, d.pin(name)); err != nil {
		m.Close()
		return nil, fmt.Errorf("pin: %w", err)
	}
	return m, nil
}

// takeOver copies what is not there yet, and tells what finds no room.
func (d *DataPlane) takeOver(name string, from, to *ebpf.Map) {
	if from.Type() == ebpf.RingBuf {
		return
	}
	var key, value []byte
	var lost int
	it := from.Iterate()
	for it.Next(&key, &value) {
		err := to.Update(key, value, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			lost++
		}
	}
	if lost > 0 && d.opts.Log != nil {
		d.opts.Log.Warn("entries of a map find no room in a smaller one", "map", name, "lost", lost)
	}
}

// settle puts the pins of new maps in the place of the old ones', once the
// programs use them, with what was learned into the old ones until then.
func (d *DataPlane) settle() error {
	for name, old := range d.stale {
		m := d.maps[name]
		if d.adopted && sameLayout(old, d.spec.maps[name]) {
			d.takeOver(name, old, m)
		}
		// bpffs reserves names with a dot.
		next := d.pin(name + newSuffix)
		err := repin(m, next)
		if err == nil {
			err = os.Rename(next, d.pin(name))
		}
		if err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
		delete(d.stale, name)
		old.Close()
	}
	return nil
}

// newSuffix ends the name of a pin that is about to take another's place.
const newSuffix = "_new"

// repin pins a map under a name, whatever is there now.
func repin(m *ebpf.Map, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c, err := m.Clone()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Pin(path)
}

func (d *DataPlane) configure(sound bool) error {
	var c bpfRdConfig
	m := d.maps[bpfMapConfig]
	if sound {
		if err := m.Lookup(uint32(0), &c); err != nil {
			return fmt.Errorf("read configuration map: %w", err)
		}
	} else {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("draw seed: %w", err)
		}
		c.Seed = binary.NativeEndian.Uint64(b[:])
	}
	c.Abi = abi
	c.MarkMask = uint32(d.opts.Mask)
	c.MarkShift = uint32(d.opts.Mask.Shift())
	d.seed = c.Seed
	if err := m.Put(uint32(0), c); err != nil {
		return fmt.Errorf("write configuration map: %w", err)
	}
	return nil
}

// setConfig changes the configuration in place; flags are RD_F_*.
func (d *DataPlane) setConfig(change func(*bpfRdConfig)) error {
	var c bpfRdConfig
	m := d.maps[bpfMapConfig]
	if err := m.Lookup(uint32(0), &c); err != nil {
		return fmt.Errorf("read configuration map: %w", err)
	}
	before := c
	change(&c)
	if c == before {
		return nil
	}
	if err := m.Put(uint32(0), c); err != nil {
		return fmt.Errorf("write configuration map: %w", err)
	}
	return nil
}
