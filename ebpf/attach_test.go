package ebpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hooks runs a test with each hook that the kernel has.
func hooks(t *testing.T, test func(t *testing.T, h Hook)) {
	for _, h := range []Hook{HookTCX, HookClsact} {
		t.Run(string(h), func(t *testing.T) {
			enterNetns(t)
			if h == HookTCX {
				needTCX(t)
			}
			for _, name := range []string{"lan0", "lan1", "wan0"} {
				addVeth(t, name)
			}
			test(t, h)
		})
	}
}

func needTCX(t *testing.T) {
	t.Helper()
	if mustOpen(t, testOptions(t)).Hook() != HookTCX {
		t.Skip("the kernel has no tcx (before 6.6)")
	}
}

func openHook(t *testing.T, h Hook) *DataPlane {
	t.Helper()
	o := testOptions(t)
	o.Hook = h
	return mustOpen(t, o)
}

// dump is the state of the network namespace that programs of ours change, as
// the system's tools tell it.
func dump(t *testing.T, devices ...string) string {
	t.Helper()
	if _, err := exec.LookPath("tc"); err != nil {
		t.Fatalf("%v: `./scripts/test` installs it", err)
	}
	var b strings.Builder
	tool := func(args ...string) {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		fmt.Fprintf(&b, "%v %v\n%s\n", args, err, out)
	}
	tool("tc", "qdisc", "show")
	for _, d := range devices {
		tool("tc", "filter", "show", "dev", d, "ingress")
		tool("tc", "filter", "show", "dev", d, "egress")
		fmt.Fprintf(&b, "tcx %s %v\n", d, tcxPrograms(t, d))
	}
	tool("bpftool", "net", "show")
	return b.String()
}

// tcxPrograms are the names of a device's programs, those on the way in first.
// Debian's bpftool does not tell them.
func tcxPrograms(t *testing.T, device string) (names [2][]string) {
	t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		res, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: at})
		if err != nil {
			continue // the kernel has no tcx
		}
		for _, p := range res.Programs {
			names[i] = append(names[i], programName(t, p.ID))
		}
	}
	return names
}

// attached lists our programs: "device role", with how often each is there.
func attached(t *testing.T, d *DataPlane, devices ...string) []string {
	t.Helper()
	var out []string
	for _, name := range devices {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []role{steer, learn, guard} {
			for range runs(t, l, r) {
				out = append(out, name+" "+r.String())
			}
		}
	}
	return out
}

// runs gives the program IDs of a role that the kernel runs on a device, by
// either hook.
func runs(t *testing.T, l netlink.Link, r role) []ebpf.ProgramID {
	t.Helper()
	var ids []ebpf.ProgramID
	at := ebpf.AttachTCXEgress
	if r.ingress() {
		at = ebpf.AttachTCXIngress
	}
	if res, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: at}); err == nil {
		for _, p := range res.Programs {
			if programName(t, p.ID) == filterName(r) {
				ids = append(ids, p.ID)
			}
		}
	}
	filters, err := netlink.FilterList(l, attachment{role: r}.parent())
	if ignoreGone(err) != nil {
		t.Fatal(err)
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Name == filterName(r) {
			ids = append(ids, ebpf.ProgramID(b.Id))
		}
	}
	return ids
}

func programName(t *testing.T, id ebpf.ProgramID) string {
	t.Helper()
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(info.Name, "_ip")
}

func TestAttachSetsExactlyTheDevicesAskedFor(t *testing.T) {
	all := []string{"lo", "lan0", "lan1", "wan0"}
	hooks(t, func(t *testing.T, h Hook) {
		d := openHook(t, h)
		if d.Hook() != h {
			t.Fatalf("hook %s, want %s", d.Hook(), h)
		}
		for _, c := range []struct {
			lan, wan []string
			own      bool
			want     []string
		}{
			{[]string{"lan0"}, nil, false, []string{"lan0 steer", "lan0 learn"}},
			{[]string{"lan0", "lan1"}, []string{"wan0"}, true, []string{"lo learn", "lan0 steer", "lan0 learn", "lan1 steer", "lan1 learn", "wan0 guard"}},
			{[]string{"lan0", "lan1"}, []string{"wan0"}, true, []string{"lo learn", "lan0 steer", "lan0 learn", "lan1 steer", "lan1 learn", "wan0 guard"}},
			{[]string{"lan1"}, []string{"wan0"}, true, []string{"lo learn", "lan1 steer", "lan1 learn", "wan0 guard"}},
			{[]string{"lan1"}, []string{"lan1"}, false, []string{"lan1 steer", "lan1 learn", "lan1 guard"}},
			{nil, nil, false, nil},
		} {
			if err := attachNow(d, c.lan, c.wan, c.own); err != nil {
				t.Fatal(err)
			}
			if got := attached(t, d, all...); !slices.Equal(got, c.want) {
				t.Errorf("attached %v, want %v", got, c.want)
			}
		}
	})
}

func TestProgramsGoOnAndAreSwapped(t *testing.T) {
	hooks(t, func(t *testing.T, h Hook) {
		d := openHook(t, h)
		lan, err := netlink.LinkByName("lan0")
		if err != nil {
			t.Fatal(err)
		}
		mustAttach(t, d, "lan0")
		before := runs(t, lan, steer)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got := runs(t, lan, steer); !slices.Equal(got, before) {
			t.Errorf("programs %v after the process' end, before %v", got, before)
		}
		next := mustOpen(t, d.opts)
		if got := runs(t, lan, steer); !slices.Equal(got, before) {
			t.Errorf("programs %v after Open, before %v", got, before)
		}
		mustAttach(t, next, "lan0")
		if got := runs(t, lan, steer); len(got) != 1 || slices.Equal(got, before) {
			t.Errorf("programs %v after Attach, before %v; want one other", got, before)
		}
		pins, err := os.ReadDir(d.opts.Dir)
		if err != nil {
			t.Fatal(err)
		}
		tables := slices.DeleteFunc(pins, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), bpfMapStages) })
		if len(tables) != 1 {
			t.Errorf("tables of tail calls %v, want the last alone", tables)
		}
	})
}

func TestHookOfAnEarlierProcessIsLetGo(t *testing.T) {
	hooks(t, func(t *testing.T, h Hook) {
		needTCX(t)
		other := map[Hook]Hook{HookTCX: HookClsact, HookClsact: HookTCX}[h]
		d := openHook(t, h)
		mustAttach(t, d, "lan0", "wan0")
		o := d.opts
		o.Hook = other
		next := mustOpen(t, o)
		mustAttach(t, next, "lan0", "wan0")
		want := []string{"lo learn", "lan0 steer", "lan0 learn", "wan0 guard"}
		if got := attached(t, next, "lo", "lan0", "wan0"); !slices.Equal(got, want) {
			t.Errorf("attached %v, want %v", got, want)
		}
	})
}

func TestMissingDeviceIsNamedAndTheOthersAreDone(t *testing.T) {
	hooks(t, func(t *testing.T, h Hook) {
		d := openHook(t, h)
		err := attachNow(d, []string{"lan7", "lan0"}, []string{"wan7", "wan0"}, false)
		if err == nil || !strings.Contains(err.Error(), "lan7") || !strings.Contains(err.Error(), "wan7") {
			t.Errorf("error %v, want one that names both devices", err)
		}
		want := []string{"lan0 steer", "lan0 learn", "wan0 guard"}
		if got := attached(t, d, "lan0", "wan0"); !slices.Equal(got, want) {
			t.Errorf("attached %v, want %v", got, want)
		}
	})
}

func TestDeviceThatIsMadeAnew(t *testing.T) {
	hooks(t, func(t *testing.T, h Hook) {
		d := openHook(t, h)
		mustAttach(t, d, "lan0", "wan0")
		l, err := netlink.LinkByName("lan0")
		if err == nil {
			err = netlink.LinkDel(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		addVeth(t, "lan0")
		mustAttach(t, d, "lan0", "wan0")
		want := []string{"lan0 steer", "lan0 learn", "wan0 guard"}
		if got := attached(t, d, "lan0", "wan0"); !slices.Equal(got, want) {
			t.Errorf("attached %v, want %v", got, want)
		}
		pins, err := os.ReadDir(d.opts.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pins {
			if strings.Contains(p.Name(), fmt.Sprintf("_%d", l.Attrs().Index)) && !strings.HasPrefix(p.Name(), bpfMapStages) {
				t.Errorf("pin %s of the device that is gone is left", p.Name())
			}
		}
	})
}

// foreign is somebody else's filter or qdisc.
func foreignProgram(t *testing.T) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "foreign", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func addForeignFilter(t *testing.T, device string, parent uint32, priority uint16) {
	t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	f := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: l.Attrs().Index, Parent: parent, Handle: 1, Priority: priority, Protocol: unix.ETH_P_ALL,
		},
		Fd: foreignProgram(t).FD(), Name: "foreign", DirectAction: true,
	}
	if err := netlink.FilterAdd(f); err != nil {
		t.Fatal(err)
	}
}

func addForeignQdisc(t *testing.T, device string, kind ...string) {
	t.Helper()
	if _, err := exec.LookPath("tc"); err != nil {
		t.Fatalf("%v: `./scripts/test` installs it", err)
	}
	out, err := exec.Command("tc", append([]string{"qdisc", "add", "dev", device}, kind...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// surroundings are what may be on the devices before we come.
var surroundings = map[string]func(t *testing.T){
	"nothing":        func(*testing.T) {},
	"foreign clsact": func(t *testing.T) { addForeignQdisc(t, "lan0", "clsact") },
	"foreign clsact with filters": func(t *testing.T) {
		addForeignQdisc(t, "lan0", "clsact")
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			addForeignFilter(t, "lan0", parent, 1)
			addForeignFilter(t, "lan0", parent, 2)
			addForeignFilter(t, "lan0", parent, 0xc000)
		}
	},
	foreignIngress: func(t *testing.T) {
		addForeignQdisc(t, "wan0", "ingress")
		addForeignFilter(t, "wan0", netlink.HANDLE_MIN_INGRESS, 10)
	},
	"foreign root qdisc": func(t *testing.T) { addForeignQdisc(t, "wan0", "root", "handle", "5:", "pfifo") },
	"foreign tcx":        addForeignTCX,
}

// foreignIngress is as SQM leaves it; without tcx, it has no place for a guard.
const foreignIngress = "foreign ingress"

func addForeignTCX(t *testing.T) {
	l, err := netlink.LinkByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	x, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: foreignProgram(t), Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { x.Close() })
}

func TestRemoveLeavesEverythingAsItWas(t *testing.T) {
	for name, surround := range surroundings {
		t.Run(name, func(t *testing.T) {
			hooks(t, func(t *testing.T, h Hook) {
				var want error
				if name == foreignIngress && h == HookClsact {
					want = errQdisc
				}
				comeAndGo(t, h, surround, want)
			})
		})
	}
}

// comeAndGo attaches and removes everything, twice each.
func comeAndGo(t *testing.T, h Hook, surround func(t *testing.T), want error) {
	d := openHook(t, h)
	mustRemove(t, d.opts.Dir)
	surround(t)
	before := dump(t, "lan0", "lan1", "wan0", "lo")
	d = mustOpen(t, d.opts)
	for range 2 {
		if err := attachNow(d, []string{"lan0", "lan1"}, []string{"wan0"}, true); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	if during := dump(t, "lan0", "lan1", "wan0", "lo"); during == before {
		t.Error("nothing was attached")
	}
	d.Close()
	for range 2 {
		mustRemove(t, d.opts.Dir)
		if after := dump(t, "lan0", "lan1", "wan0", "lo"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if _, err := os.Lstat(d.opts.Dir); !os.IsNotExist(err) {
			t.Errorf("the directory of the pins is left: %v", err)
		}
	}
}

// Others may come to use what we made.
func TestRemoveLeavesAQdiscThatOthersNowUse(t *testing.T) {
	enterNetns(t)
	addVeth(t, "lan0")
	d := openHook(t, HookClsact)
	mustAttach(t, d, "lan0")
	addForeignFilter(t, "lan0", netlink.HANDLE_MIN_EGRESS, 50)
	if err := attachNow(d, nil, nil, false); err != nil {
		t.Fatal(err)
	}
	mustRemove(t, d.opts.Dir)
	got := dump(t, "lan0")
	if !strings.Contains(got, "foreign") || strings.Contains(got, "routerd_steer") {
		t.Errorf("left:\n%s", got)
	}
}

func TestRemoveLeavesForeignPins(t *testing.T) {
	d := newPlane(t)
	mine := d.pin("somebody_elses")
	if err := pinMark(mine); err != nil {
		t.Fatal(err)
	}
	d.Close()
	mustRemove(t, d.opts.Dir)
	files, err := os.ReadDir(d.opts.Dir)
	if err != nil || len(files) != 1 {
		t.Errorf("left %v, %v; want the foreign pin alone", files, err)
	}
	mustRemove(t, d.opts.Dir+"_that_never_was")
}

// Ours run first, whoever else is there: a filter that ends the chain would let
// packets past.
func TestProgramsRunBeforeThoseOfOthers(t *testing.T) {
	enterNetns(t)
	addVeth(t, "lan0")
	addForeignQdisc(t, "lan0", "clsact")
	addForeignFilter(t, "lan0", netlink.HANDLE_MIN_INGRESS, 10)
	d := openHook(t, HookClsact)
	mustAttach(t, d, "lan0")
	l, err := netlink.LinkByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	filters, err := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
	if err != nil || len(filters) != 2 {
		t.Fatalf("filters %v, %v", filters, err)
	}
	for _, f := range filters {
		b := f.(*netlink.BpfFilter)
		if ours := b.Name == filterName(steer); ours != (b.Priority < 10) {
			t.Errorf("filter %s has priority %d", b.Name, b.Priority)
		}
	}
}
