package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Hook is how programs are attached to a device.
type Hook string

// The values of Hook.
const (
	HookTCX    Hook = "tcx"    // Linux 6.6 and later
	HookClsact Hook = "clsact" // a qdisc and filters
)

// attachment is one program on one device.
type attachment struct {
	device  string
	ifindex int
	role    role
	ether   bool
}

// hook attaches programs. Both ways swap a program without a moment in which
// none is there, and both outlive the process.
type hook interface {
	kind() Hook
	// attach puts a program in place, replacing an earlier one of the role.
	attach(a attachment, p *ebpf.Program) error
	// prune detaches everything of ours that is not in keep.
	prune(keep []attachment) error
}

// newHook takes tcx where the kernel has it: it is tried on lo.
func newHook(d *DataPlane) (hook, error) {
	t, c := &tcx{dir: d.opts.Dir}, &clsact{dir: d.opts.Dir}
	switch d.opts.Hook {
	case HookTCX:
		return t, nil
	case HookClsact:
		return c, nil
	}
	p, err := loadProgram(&programSpec{name: "routerd_probe", kind: ebpf.SchedCLS}, idle(), d.spec.license)
	if err != nil {
		return nil, fmt.Errorf("load a program to find the hook: %w", explain(err))
	}
	defer p.Close()
	l, err := linkTCX(loIndex, p, ebpf.AttachTCXEgress)
	if err != nil {
		return c, nil
	}
	return t, l.close()
}

// idle is a program that leaves every packet alone: r0 = TC_ACT_UNSPEC; exit.
func idle() []byte { return []byte{0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0} }

// loIndex is the index of lo in every network namespace.
const loIndex = 1

// Hook says how programs are attached.
func (d *DataPlane) Hook() Hook { return d.hook.kind() }

// Attach puts the programs on exactly these devices: steer and learn on those
// of the LAN (and learn on lo where own is set), guard on those of the WAN. A
// device that does not exist, or that a program cannot be attached to, is skipped
// and named in the error, after all others are done. Without an error, devices
// that are newer than newest are strangers until the next Attach: what is closed
// does not leave for their clients. newest is what NewestDevice said before lan and
// wan were looked for: a device that came in between may be one of them. A device of
// the LAN that goes is missed until the next Attach, the last one until there is one
// again: names that are closed are not looked up for its clients. Of more than four
// devices the last ones are missed so.
func (d *DataPlane) Attach(lan, wan []string, own bool, newest Device) error {
	var want []attachment
	var errs []error
	add := func(name string, roles ...role) {
		l, err := netlink.LinkByName(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("find device %s: %w", name, err))
			return
		}
		for _, r := range roles {
			want = append(want, attachment{name, l.Attrs().Index, r, hasEthernet(l)})
		}
	}
	for _, name := range lan {
		add(name, steer, learn)
	}
	for _, name := range wan {
		add(name, guard)
	}
	if own {
		want = append(want, attachment{"lo", loIndex, learn, true})
	}
	if err := errors.Join(append(errs, d.apply(want))...); err != nil {
		return err
	}
	return d.setConfig(func(c *bpfRdConfig) {
		c.Newest = uint32(newest)
		if len(lan) > 0 {
			c.Lan = [4]uint32{}
		}
		for i := range lan { // want has two of each, in order
			c.Lan[i%len(c.Lan)] = uint32(want[2*i].ifindex)
		}
	})
}

// Device is the index of a device.
type Device uint32

// NewestDevice is the highest index that a device of this network has.
func NewestDevice() (Device, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return 0, fmt.Errorf("list devices: %w", err)
	}
	highest := loIndex
	for _, l := range all {
		highest = max(highest, l.Attrs().Index)
	}
	return Device(highest), nil
}

func (d *DataPlane) apply(want []attachment) error {
	names := make([]string, len(want))
	for i, a := range want {
		names[i] = a.role.program(a.ether)
	}
	if err := d.need(names); err != nil {
		return err
	}
	if err := d.pinStages(); err != nil {
		return fmt.Errorf("pin table of tail calls: %w", err)
	}
	var errs []error
	for i, a := range want {
		if err := d.hook.attach(a, d.progs[names[i]]); err != nil {
			errs = append(errs, fmt.Errorf("attach %s to device %s: %w", a.role, a.device, explain(err)))
		}
	}
	errs = append(errs, d.settle(), d.prune(want))
	if err := errors.Join(errs...); err != nil {
		return err // programs of an earlier process may still run
	}
	return d.dropStages()
}

// pinStages pins the table of tail calls under a name that no other has. It must
// outlive the process before a program that uses it does; and an earlier one's
// must not be let go before its last program is.
func (d *DataPlane) pinStages() error {
	for i := 0; d.stagesPin == ""; i++ {
		path := fmt.Sprintf("%s_%d", d.pin(bpfMapStages), i)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := repin(d.maps[bpfMapStages], path); err != nil {
			return err
		}
		d.stagesPin = path
	}
	return nil
}

// dropStages lets go of earlier processes' tables of tail calls.
func (d *DataPlane) dropStages() error {
	pins, err := filepath.Glob(d.pin(bpfMapStages) + "*")
	if err != nil {
		return fmt.Errorf("list tables of tail calls: %w", err)
	}
	for _, path := range pins {
		if path == d.stagesPin {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("let go of a table of tail calls: %w", err)
		}
	}
	return nil
}

// prune detaches what is not wanted. Programs of the other hook, of an earlier
// process, must not run too.
func (d *DataPlane) prune(want []attachment) error {
	for _, h := range []hook{&tcx{dir: d.opts.Dir}, &clsact{dir: d.opts.Dir}} {
		keep := want
		if h.kind() != d.hook.kind() {
			keep = nil
		}
		if err := h.prune(keep); err != nil {
			return err
		}
	}
	return nil
}

// hasEthernet says whether a device's packets begin with an Ethernet header.
func hasEthernet(l netlink.Link) bool {
	switch l.Attrs().EncapType {
	case "ether", "loopback":
		return true
	}
	return false
}

// tcx keeps one pinned link for each attachment.
type tcx struct{ dir string }

func (*tcx) kind() Hook { return HookTCX }

const linkPrefix = "link_"

func (t *tcx) pin(a attachment) string {
	return fmt.Sprintf("%s/%s%d_%s", t.dir, linkPrefix, a.ifindex, a.role)
}

func (t *tcx) attach(a attachment, p *ebpf.Program) error {
	if t.update(a, p) {
		return nil
	}
	if err := os.Remove(t.pin(a)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	at := ebpf.AttachTCXEgress
	if a.role.ingress() {
		at = ebpf.AttachTCXIngress
	}
	l, err := linkTCX(a.ifindex, p, at)
	if err != nil {
		return err
	}
	defer l.close()
	return l.pin(t.pin(a))
}

// update swaps the program of a pinned link; false where there is none, or one
// whose device is gone.
func (t *tcx) update(a attachment, p *ebpf.Program) bool {
	l, err := pinned(t.pin(a))
	if err != nil {
		return false
	}
	defer l.close()
	return l.onDevice(a.ifindex) && l.update(p) == nil
}

func (t *tcx) prune(keep []attachment) error {
	files, err := os.ReadDir(t.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, f := range files {
		path := t.dir + "/" + f.Name()
		kept := slices.ContainsFunc(keep, func(a attachment) bool { return t.pin(a) == path })
		if !strings.HasPrefix(f.Name(), linkPrefix) || kept {
			continue
		}
		if err := unlink(path); err != nil {
			return fmt.Errorf("remove pin: %w", err)
		}
	}
	return nil
}

// unlink detaches a pinned link at once: without its pin the kernel would do so
// in its own time. Of a pin that is no link there is nothing to detach.
func unlink(path string) error {
	if l, err := pinned(path); err == nil {
		if _, ok := l.info(); ok {
			err = l.detach()
		}
		l.close()
		if err != nil {
			return err
		}
	}
	return os.Remove(path)
}
