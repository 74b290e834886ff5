package ebpf

import (
	"fmt"
	"runtime"

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

// program loads a program when it is first needed: a router has no use for the
// variants of devices that it does not have.
func (d *DataPlane) program(name string) (*ebpf.Program, error) {
	if p := d.progs[name]; p != nil {
		return p, nil
	}
	if err := d.loadStages(); err != nil {
		return nil, err
	}
	p, err := d.load(name)
	if err != nil {
		return nil, err
	}
	d.progs[name] = p
	return p, nil
}

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

// loadStages fills the table of tail calls. It must be pinned while it is in
// use: the kernel empties a table that no process and no pin holds.
func (d *DataPlane) loadStages() error {
	stages := d.maps[bpfMapStages]
	for i, name := range stagePrograms() {
		if d.progs[name] != nil {
			continue
		}
		p, err := d.load(name)
		if err != nil {
			return err
		}
		d.progs[name] = p
		if err := stages.Put(uint32(i), uint32(p.FD())); err != nil {
			return fmt.Errorf("fill table of tail calls: %w", explain(err))
		}
	}
	return nil
}
