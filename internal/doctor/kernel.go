package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
)

// kernelFacts are what the kernel can do, found by trying. An error that is nil
// says that it can.
type kernelFacts struct {
	release   string
	maps      error
	program   error
	bpffs     error
	jit       string // net.core.bpf_jit_enable, "" where it does not exist
	namespace error  // making one to try the next four in
	tcx       error
	clsact    error
	filter    error // cls_bpf
	wireguard error
	tun       error
}

func gatherKernel(root, bpfDir string) kernelFacts {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails for a bad pointer only
	f := kernelFacts{
		release: unix.ByteSliceToString(u.Release[:]),
		maps:    tryMaps(),
		bpffs:   tryBPFFS(bpfDir),
		jit:     readWord(root, "proc/sys/net/core/bpf_jit_enable"),
		tun:     tryTUN(),
	}
	prog, err := loadNothing()
	f.program = err
	if err == nil {
		defer func() { _ = unix.Close(prog) }()
	}
	done := make(chan struct{})
	go func() { // ends with its thread
		defer close(done)
		f.tryInNamespace(prog)
	}()
	<-done
	return f
}

// tryInNamespace tries what changes a network in one that nobody else sees. The
// goroutine must end after it: its thread stays in that namespace.
func (f *kernelFacts) tryInNamespace(prog int) {
	runtime.LockOSThread() // never unlocked, so that the thread dies
	if f.namespace = unix.Unshare(unix.CLONE_NEWNET); f.namespace != nil {
		return
	}
	// Without a family all are opened, IPsec too, which a router need not have.
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		f.namespace = err
		return
	}
	defer h.Close()
	f.wireguard = h.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "probe"}})
	lo, err := h.LinkByName("lo")
	if err != nil {
		f.namespace = err
		return
	}
	index := lo.Attrs().Index
	f.clsact = h.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if f.program != nil {
		f.filter, f.tcx = f.program, f.program
		return
	}
	f.filter = f.clsact
	if f.clsact == nil {
		f.filter = h.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL,
			},
			Fd: prog, Name: "probe", DirectAction: true,
		})
	}
	f.tcx = tryTCX(prog, index)
}

// tryTUN opens the device that userspace WireGuard needs.
func tryTUN() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// bpffsMagic is BPF_FS_MAGIC of linux/magic.h.
const bpffsMagic = 0xcafe4a11

// tryBPFFS looks at the file system that holds, or will hold, the pins.
func tryBPFFS(dir string) error {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	for errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &st)
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if uint32(st.Type) != bpffsMagic {
		return fmt.Errorf("%s is not on a BPF file system", dir)
	}
	return nil
}

func judgeKernel(f kernelFacts) []control.Finding {
	if errors.Is(f.maps, unix.EPERM) || errors.Is(f.namespace, unix.EPERM) {
		return []control.Finding{fault(topicKernel, "the kernel cannot be tried without root's rights", "run `routerd doctor` as root")}
	}
	out := []control.Finding{judgeBPF(f)}
	if f.bpffs != nil {
		out = append(out, note(topicKernel, fmt.Sprintf("%v yet: routerd mounts one at its start", f.bpffs), "nothing; should that fail: `mount -t bpf bpf /sys/fs/bpf`"))
	}
	out = append(out, judgeJIT(f.jit), judgeHook(f))
	return append(out, judgeWireGuard(f)...)
}

func judgeBPF(f kernelFacts) control.Finding {
	switch {
	case errors.Is(f.maps, unix.ENOSYS):
		return fault(topicKernel, "Linux "+f.release+" has no bpf(2)", "use a firmware whose kernel has CONFIG_BPF_SYSCALL; OpenWrt's own images of 22.03 and newer do")
	case f.maps != nil:
		return fault(topicKernel, fmt.Sprintf("Linux %s refuses a map that routerd needs: %v", f.release, oneLine(f.maps)), "use a newer firmware: Linux 5.15 and newer are known to work")
	case f.program != nil:
		return fault(topicKernel, fmt.Sprintf("Linux %s refuses tc programs: %v", f.release, f.program), "use a firmware whose kernel has CONFIG_NET_CLS_ACT and CONFIG_BPF_SYSCALL")
	}
	return fine(topicKernel, "Linux "+f.release+" takes routerd's kinds of BPF maps and programs")
}

func judgeJIT(jit string) control.Finding {
	switch jit {
	case "":
		return note(topicKernel, "the kernel has no BPF JIT: programs are interpreted, which costs some throughput", "nothing to do on this firmware")
	case "0":
		return warn(topicKernel, "the BPF JIT is off: programs are interpreted, which costs throughput",
			"`sysctl -w net.core.bpf_jit_enable=1`, and the same setting in /etc/sysctl.d/20-routerd.conf to keep it")
	}
	return fine(topicKernel, "the BPF JIT is on")
}

func judgeHook(f kernelFacts) control.Finding {
	switch {
	case f.namespace != nil:
		return note(topicModules, fmt.Sprintf("the tc hooks could not be tried: no network namespace: %v", f.namespace), "install `kmod-sched-core` and `kmod-sched-bpf` unless `routerd status` shows a hook")
	case f.program != nil:
		return fault(topicModules, "the tc hooks could not be tried: no BPF program can be loaded", "mend the kernel's fault above first")
	case f.tcx == nil:
		return fine(topicModules, "programs attach with tcx")
	case f.clsact != nil:
		return fault(topicModules, fmt.Sprintf("programs cannot attach: no tcx (%v), no clsact (%v)", f.tcx, f.clsact), "install `kmod-sched-core` and `kmod-sched-bpf`")
	case f.filter != nil:
		return fault(topicModules, fmt.Sprintf("programs cannot attach: no tcx (%v), no BPF classifier (%v)", f.tcx, f.filter), "install `kmod-sched-bpf`")
	}
	return fine(topicModules, "programs attach with clsact (no tcx here)")
}

func judgeWireGuard(f kernelFacts) []control.Finding {
	if f.namespace == nil && f.wireguard == nil {
		return []control.Finding{fine(topicModules, "WireGuard is in the kernel")}
	}
	if f.tun != nil {
		return []control.Finding{fault(topicModules, fmt.Sprintf("no WireGuard: neither the kernel's nor a TUN device for routerd's own (%v)", f.tun), "install `kmod-wireguard`, or `kmod-tun` at least")}
	}
	if f.namespace != nil {
		return []control.Finding{note(topicModules, "the kernel's WireGuard could not be tried; a TUN device is there", "install `kmod-wireguard` for speed")}
	}
	return []control.Finding{note(topicModules, "the kernel has no WireGuard: routerd runs its own over a TUN device, slower", "install `kmod-wireguard` for speed")}
}

// oneLine writes joined errors on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
