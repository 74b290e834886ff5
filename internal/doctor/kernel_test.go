package doctor

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
)

// expect says that exactly these findings came, each as "level: part of the
// text and of the mend", in order.
func expect(t *testing.T, got []control.Finding, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("findings %+v, want %q", got, want)
	}
	for i, w := range want {
		level, parts, _ := strings.Cut(w, ": ")
		f := got[i]
		if f.Level != level {
			t.Errorf("finding %+v, want level %s", f, level)
		}
		for part := range strings.SplitSeq(parts, " | ") {
			if !strings.Contains(f.Text+"\n"+f.Mend, part) {
				t.Errorf("finding %+v has no %q", f, part)
			}
		}
		complete(t, f)
	}
}

// complete says that a finding is one line and has a mend where one is needed.
func complete(t *testing.T, f control.Finding) {
	t.Helper()
	if f.Topic == "" || f.Text == "" || strings.Contains(f.Text+f.Mend, "\n") {
		t.Errorf("finding %+v is not one line with a topic", f)
	}
	if (f.Level == control.LevelOK) != (f.Mend == "") {
		t.Errorf("finding %+v: what is wrong has a mend, what is not has none", f)
	}
}

// able is a kernel that can do everything.
func able() kernelFacts { return kernelFacts{release: "6.6.1", jit: "1"} }

func TestKernelFindings(t *testing.T) {
	no := unix.EOPNOTSUPP
	for _, tc := range []struct {
		name   string
		change func(*kernelFacts)
		want   []string
	}{
		{"everything", func(*kernelFacts) {}, []string{"ok: 6.6.1", "ok: JIT is on", "ok: tcx", "ok: WireGuard is in the kernel"}},
		{"an older kernel", func(f *kernelFacts) { f.tcx = unix.EINVAL }, []string{"ok: 6.6.1", "ok: JIT", "ok: clsact", "ok: WireGuard"}},
		{"not root", func(f *kernelFacts) { f.maps = unix.EPERM }, []string{"error: root"}},
		{"not root in the namespace", func(f *kernelFacts) { f.namespace = unix.EPERM }, []string{"error: root"}},
		{"no bpf", func(f *kernelFacts) { f.maps, f.program = unix.ENOSYS, unix.ENOSYS; f.filter, f.tcx = no, no }, []string{"error: no bpf(2) | CONFIG_BPF_SYSCALL", "ok: JIT", "error: no BPF program", "ok: WireGuard"}},
		{"no trie", func(f *kernelFacts) { f.maps = errors.Join(unix.EINVAL, unix.EINVAL) }, []string{"error: refuses a map | 5.15", "ok: JIT", "ok: tcx", "ok: WireGuard"}},
		{"no tc programs", func(f *kernelFacts) { f.program = unix.EINVAL }, []string{"error: refuses tc programs | CONFIG_NET_CLS_ACT", "ok: JIT", "error: no BPF program", "ok: WireGuard"}},
		{"no bpffs", func(f *kernelFacts) { f.bpffs = errors.New("/sys/fs is not on a BPF file system") }, []string{"ok: 6.6.1", "note: not on a BPF file system yet: routerd mounts one | mount -t bpf", "ok: JIT", "ok: tcx", "ok: WireGuard"}},
		{"JIT off", func(f *kernelFacts) { f.jit = "0" }, []string{"ok: 6.6.1", "warning: JIT is off | sysctl -w net.core.bpf_jit_enable=1", "ok: tcx", "ok: WireGuard"}},
		{"no JIT", func(f *kernelFacts) { f.jit = "" }, []string{"ok: 6.6.1", "note: no BPF JIT", "ok: tcx", "ok: WireGuard"}},
		{"no clsact", func(f *kernelFacts) { f.tcx, f.clsact, f.filter = no, no, no }, []string{"ok: 6.6.1", "ok: JIT", "error: cannot attach | kmod-sched-core | kmod-sched-bpf", "ok: WireGuard"}},
		{"no classifier", func(f *kernelFacts) { f.tcx, f.filter = no, no }, []string{"ok: 6.6.1", "ok: JIT", "error: BPF classifier | install `kmod-sched-bpf`", "ok: WireGuard"}},
		{"no namespaces", func(f *kernelFacts) { f.namespace = unix.EINVAL }, []string{"ok: 6.6.1", "ok: JIT", "note: could not be tried | kmod-sched-core", "note: could not be tried | kmod-wireguard"}},
		{"userspace WireGuard", func(f *kernelFacts) { f.wireguard = no }, []string{"ok: 6.6.1", "ok: JIT", "ok: tcx", "note: its own over a TUN | kmod-wireguard"}},
		{"no WireGuard at all", func(f *kernelFacts) { f.wireguard, f.tun = no, unix.ENOENT }, []string{"ok: 6.6.1", "ok: JIT", "ok: tcx", "error: no WireGuard | kmod-wireguard | kmod-tun"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := able()
			tc.change(&f)
			expect(t, judgeKernel(f), tc.want...)
		})
	}
}

func TestTryingTheKernelLeavesNoTrace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	devices, files := countDevices(t), openFiles(t)
	for range 3 {
		f := gatherKernel("/", "/sys/fs/bpf/routerd")
		if f.release == "" || f.namespace != nil {
			t.Fatalf("the kernel could not be tried: %+v", f)
		}
		for what, err := range map[string]error{"maps": f.maps, "program": f.program, "clsact": f.clsact, "filter": f.filter} {
			if err != nil {
				t.Errorf("this kernel is known to have %s: %v", what, err)
			}
		}
		for _, finding := range judgeKernel(f) {
			complete(t, finding)
		}
	}
	if now := countDevices(t); now != devices {
		t.Errorf("%d devices, before %d", now, devices)
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d open files, before %d", now, files)
	}
}

func countDevices(t *testing.T) int {
	t.Helper()
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return len(devices)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestBPFFileSystemIsLookedForAboveTheDirectory(t *testing.T) {
	if err := tryBPFFS(t.TempDir() + "/not/there"); err == nil || !strings.Contains(err.Error(), "not on a BPF file system") {
		t.Errorf("a directory elsewhere: %v", err)
	}
	if err := tryBPFFS("/proc/self/mem/x"); err == nil {
		t.Error("a path below a file is taken for a BPF file system")
	}
}
