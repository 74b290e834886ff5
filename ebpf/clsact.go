package ebpf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// clsact keeps one filter for each attachment. Whether the qdisc is ours to
// remove is told by a pin beside the maps: a qdisc can carry no mark.
type clsact struct{ dir string }

func (*clsact) kind() Hook { return HookClsact }

const (
	qdiscPrefix = "qdisc_"
	// filterPriority is low enough to run before the filters that people add.
	filterPriority = 0x72
	filterHandle   = 1
)

func (a attachment) parent() uint32 {
	if a.role.ingress() {
		return netlink.HANDLE_MIN_INGRESS
	}
	return netlink.HANDLE_MIN_EGRESS
}

func filterName(r role) string { return owned.FilterName + r.String() }

func (c *clsact) attach(a attachment, p *ebpf.Program) error {
	if err := c.addQdisc(a.ifindex); err != nil {
		return fmt.Errorf("add qdisc clsact: %w", err)
	}
	// One priority a role: a device may be LAN and, by mistake, WAN.
	f := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: a.ifindex, Parent: a.parent(), Handle: filterHandle,
			Priority: filterPriority + uint16(a.role), Protocol: unix.ETH_P_ALL,
		},
		Fd: p.FD(), Name: filterName(a.role), DirectAction: true,
	}
	return netlink.FilterReplace(f)
}

func (c *clsact) addQdisc(ifindex int) error {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return err
	}
	q := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	err = netlink.QdiscAdd(q)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	if err != nil {
		return err
	}
	// The kernel takes a queue length of 0 for a mistake when a qdisc comes, and
	// raises it (qdisc_create). clsact has no queue: the device keeps its own.
	if l.Attrs().TxQLen == 0 {
		if err := netlink.LinkSetTxQLen(l, 0); err != nil {
			return fmt.Errorf("keep queue length: %w", err)
		}
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer m.Close()
	return repin(m, c.qdiscPin(ifindex))
}

func (c *clsact) qdiscPin(ifindex int) string {
	return fmt.Sprintf("%s/%s%d", c.dir, qdiscPrefix, ifindex)
}

// prune looks at every device: nothing needs to be remembered.
func (c *clsact) prune(keep []attachment) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	for _, l := range links {
		if err := c.pruneLink(l, keep); err != nil {
			return fmt.Errorf("remove filters of %s: %w", l.Attrs().Name, err)
		}
	}
	return c.pruneMarks(links)
}

func (c *clsact) pruneLink(l netlink.Link, keep []attachment) error {
	index := l.Attrs().Index
	for _, r := range []role{steer, learn, guard} {
		a := attachment{ifindex: index, role: r}
		kept := slices.ContainsFunc(keep, func(k attachment) bool { return k.ifindex == index && k.role == r })
		if kept {
			continue
		}
		if err := removeFilter(l, a); err != nil {
			return err
		}
	}
	used := slices.ContainsFunc(keep, func(k attachment) bool { return k.ifindex == index })
	if _, err := os.Stat(c.qdiscPin(index)); err != nil || used {
		return nil
	}
	return c.removeQdisc(l)
}

func removeFilter(l netlink.Link, a attachment) error {
	filters, err := netlink.FilterList(l, a.parent())
	if err != nil {
		return ignoreGone(err)
	}
	for _, f := range filters {
		b, ok := f.(*netlink.BpfFilter)
		if !ok || !strings.HasPrefix(b.Name, filterName(a.role)) {
			continue
		}
		if err := netlink.FilterDel(b); err != nil {
			return ignoreGone(err)
		}
	}
	return nil
}

// removeQdisc removes a qdisc that we added, unless others now use it.
func (c *clsact) removeQdisc(l netlink.Link) error {
	index := l.Attrs().Index
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(l, parent)
		if err == nil && len(filters) > 0 {
			return nil
		}
	}
	q := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := netlink.QdiscDel(q); err != nil {
		if err := ignoreGone(err); err != nil {
			return err
		}
	}
	return os.Remove(c.qdiscPin(index))
}

// pruneMarks forgets the qdiscs of devices that are gone.
func (c *clsact) pruneMarks(links []netlink.Link) error {
	files, err := os.ReadDir(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), qdiscPrefix) {
			continue
		}
		there := slices.ContainsFunc(links, func(l netlink.Link) bool {
			return c.qdiscPin(l.Attrs().Index) == c.dir+"/"+f.Name()
		})
		if !there {
			if err := os.Remove(c.dir + "/" + f.Name()); err != nil {
				return fmt.Errorf("remove pin: %w", err)
			}
		}
	}
	return nil
}

// ignoreGone takes the errors of a device, qdisc or filter that is not there as
// success.
func ignoreGone(err error) error {
	for _, gone := range []error{syscall.ENOENT, syscall.ENODEV, syscall.EINVAL, syscall.EOPNOTSUPP} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}

// Remove takes everything of a data plane out of the kernel: links, filters,
// qdiscs of ours, pins. Nothing that is already gone is an error.
func Remove(dir string) error {
	if err := (&tcx{dir: dir}).prune(nil); err != nil {
		return err
	}
	if err := (&clsact{dir: dir}).prune(nil); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}
