package ebpf

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// role is what a program does on a device.
type role uint8

const (
	steer role = iota // ingress of a LAN device
	learn             // egress of a LAN device and of lo
	guard             // egress of a WAN device
)

// String is part of the names of pins and filters.
func (r role) String() string { return [...]string{"steer", "learn", "guard"}[r] }

func (r role) ingress() bool { return r == steer }

// program names the role's program for a device with or without Ethernet header.
func (r role) program(ether bool) string {
	i := 0
	if ether {
		i = 1
	}
	return [...][2]string{
		steer: {bpfProgRouterdSteerIp, bpfProgRouterdSteer},
		learn: {bpfProgRouterdLearnIp, bpfProgRouterdLearn},
		guard: {bpfProgRouterdGuardIp, bpfProgRouterdGuard},
	}[r][i]
}

// need loads those of programs, and all that they call, that have not been loaded:
// a router has no use for the variants of devices that it does not have. The kernel
// verifies each on the processor of the thread that loads it, so that several
// processors share them; memory for each verification bounds how many.
func (d *DataPlane) need(names []string) error {
	var missing []string
	for _, name := range slices.Concat(names, stagePrograms()) {
		if d.progs[name] == nil && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	loaded, errs := make([]*ebpf.Program, len(missing)), make([]error, len(missing))
	var next atomic.Int32
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), loadersMost, len(missing)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(missing); i = int(next.Add(1)) - 1 {
				loaded[i], errs[i] = d.load(missing[i])
			}
		})
	}
	all.Wait()
	for i, p := range loaded {
		if p != nil {
			d.progs[missing[i]] = p
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return d.fillStages()
}

// loadersMost is how many programs are loaded at once.
const loadersMost = 4

func (d *DataPlane) load(name string) (*ebpf.Program, error) {
	spec := d.spec.programs[name]
	code, err := spec.linked(d.maps)
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", name, err)
	}
	p, err := loadProgram(spec, code, d.spec.license)
	runtime.KeepAlive(d.maps)
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", name, explain(err))
	}
	return p, nil
}

// stagePrograms are the programs in the table of tail calls, in the order of
// enum stage.
func stagePrograms() []string {
	return []string{
		bpfProgRouterdAnswer, bpfProgRouterdMatch, bpfProgRouterdRecords, bpfProgRouterdHints,
		bpfProgRouterdQuery, bpfProgRouterdStream, bpfProgRouterdBack,
		bpfProgRouterdBypass, bpfProgRouterdHello, bpfProgRouterdWalk, bpfProgRouterdNamed,
	}
}

// fillStages fills the table of tail calls. It must be pinned while it is in use:
// the kernel empties a table that no process and no pin holds.
func (d *DataPlane) fillStages() error {
	if d.staged {
		return nil
	}
	for i, name := range stagePrograms() {
		if err := d.maps[bpfMapStages].Put(uint32(i), uint32(d.progs[name].FD())); err != nil {
			return fmt.Errorf("fill table of tail calls: %w", explain(err))
		}
	}
	d.staged = true
	return nil
}
