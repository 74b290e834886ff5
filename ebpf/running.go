package ebpf

import (
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Pins can be removed, or put in each other's place, by anybody who is root. As
// long as programs of ours are attached the kernel knows which maps they use:
// without those, addresses that clients use would be unknown until they are looked
// up again, and their packets would leave by the WAN.

// mendPins puts the maps that attached programs use in the place of pins that are
// gone or are something else. What cannot be found is made anew by Open.
func (d *DataPlane) mendPins() {
	running := d.runningMaps()
	for name, ids := range running {
		if !adoptable(name) || slices.Contains(ids, d.pinnedID(name)) {
			continue
		}
		m, err := mapOf(ids[0])
		if err != nil {
			continue
		}
		if err := repin(m, d.pin(name)); err == nil && d.opts.Log != nil {
			d.opts.Log.Warn("the pin of a map was gone or another's, the map in use is pinned again", "map", name)
		}
		m.Close()
	}
}

// pinnedID is the number of the map that is pinned under a name; 0: none.
func (d *DataPlane) pinnedID(name string) uint32 {
	m, err := ebpf.LoadPinnedMap(d.pin(name), nil)
	if err != nil {
		return 0
	}
	defer m.Close()
	return mapInfoOf(m.FD()).id
}

// runningMaps are the numbers of the maps that attached programs use, by name,
// without those that no map of ours is called. Those of a program that is attached
// come ahead of those of its stages.
func (d *DataPlane) runningMaps() map[string][]uint32 {
	names := map[[unix.BPF_OBJ_NAME_LEN]byte]string{}
	for name := range d.spec.maps {
		names[nameOfObject(name)] = name
	}
	out := map[string][]uint32{}
	seen := map[uint32]bool{}
	for queue := d.attachedPrograms(); len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		for _, id := range mapsOfProgram(queue[0]) {
			info, stages := lookAtMap(id)
			queue = append(queue, stages...)
			if name := names[info.name]; name != "" && !slices.Contains(out[name], id) {
				out[name] = append(out[name], id)
			}
		}
	}
	return out
}

// attachedPrograms are the numbers of our programs on this network's devices.
func (d *DataPlane) attachedPrograms() (out []uint32) {
	pins, _ := filepath.Glob(filepath.Join(d.opts.Dir, linkPrefix+"*"))
	for _, path := range pins {
		if l, err := pinned(path); err == nil {
			if info, ok := l.info(); ok {
				out = append(out, info.program)
			}
			_ = l.close()
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return out
	}
	for _, l := range links {
		for _, r := range []role{steer, learn, guard} {
			out = append(out, filterPrograms(l, r)...)
		}
	}
	return out
}

func filterPrograms(l netlink.Link, r role) (out []uint32) {
	filters, err := netlink.FilterList(l, attachment{role: r}.parent())
	if err != nil {
		return nil // the device has no such qdisc, or is gone
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Name == filterName(r) {
			out = append(out, uint32(b.Id))
		}
	}
	return out
}

// programInfo is the beginning of struct bpf_prog_info (linux/bpf.h, Linux 4.15):
// from type to created_by_uid, nr_map_ids and map_ids.
type programInfo struct {
	_      [13]uint32
	maps   uint32
	mapIDs uint64 // address of an array of maps numbers
}

// mapInfo is the beginning of struct bpf_map_info, from type on.
type mapInfo struct {
	_, id uint32
	_     [4]uint32 // from key_size to map_flags
	name  [unix.BPF_OBJ_NAME_LEN]byte
}

// mapsMost is more than a program of ours uses; the verifier allows 64.
const mapsMost = 64

// mapsOfProgram are the numbers of the maps that a program uses.
func mapsOfProgram(id uint32) []uint32 {
	fd, err := objectByID(unix.BPF_PROG_GET_FD_BY_ID, id)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	ids := make([]uint32, mapsMost)
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&ids[0])
	info, err := objectInfo(fd, programInfo{maps: mapsMost, mapIDs: uint64(uintptr(unsafe.Pointer(&ids[0])))})
	if err != nil {
		return nil
	}
	return ids[:min(info.maps, mapsMost)]
}

// lookAtMap tells what a map is and, of a table of tail calls, which programs are
// in it.
func lookAtMap(id uint32) (info mapInfo, programs []uint32) {
	m, err := mapOf(id)
	if err != nil {
		return info, nil
	}
	defer m.Close()
	info = mapInfoOf(m.FD())
	if m.Type() != ebpf.ProgramArray {
		return info, nil
	}
	for i := range m.MaxEntries() {
		var program uint32
		if m.Lookup(i, &program) == nil {
			programs = append(programs, program)
		}
	}
	return info, programs
}

// mapInfoOf is zero where the kernel does not tell.
func mapInfoOf(fd int) mapInfo {
	info, _ := objectInfo(fd, mapInfo{})
	return info
}

func mapOf(id uint32) (*ebpf.Map, error) {
	fd, err := objectByID(unix.BPF_MAP_GET_FD_BY_ID, id)
	if err != nil {
		return nil, err
	}
	return ebpf.NewMapFromFD(fd)
}

// objectByID opens a program or a map by its number.
func objectByID(cmd uintptr, id uint32) (int, error) {
	return bpf(cmd, &struct{ id, next, flags uint32 }{id, 0, 0})
}
