package ebpf

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/routerd/routerd/internal/owned"
)

// enterNetns runs the rest of the test in a network namespace of its own. The
// namespace is that of the thread, so that subtests, which run on others, must
// enter it with inside.
func enterNetns(t testing.TB) netns.NsHandle {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces and loads BPF programs")
	}
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Set(before); err != nil {
			t.Fatal(err)
		}
		ns.Close()
		before.Close()
		runtime.UnlockOSThread()
	})
	up(t, "lo")
	return ns
}

// inside calls f in a network namespace.
func inside(t testing.TB, ns netns.NsHandle, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(before); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

func up(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	return l
}

// addVeth adds a device with an Ethernet header and returns it; what it sends
// comes out of the device whose name has a p behind it.
func addVeth(t testing.TB, name string) netlink.Link {
	t.Helper()
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"})
	if err != nil {
		t.Fatal(err)
	}
	up(t, name+"p")
	return up(t, name)
}

// pinDir is a directory of the test's own on the machine's bpffs. What the test
// leaves there is removed.
func pinDir(t testing.TB) string {
	t.Helper()
	dir := fmt.Sprintf("/sys/fs/bpf/routerd_test_%d_%d", os.Getpid(), runtime.NumGoroutine())
	for i := 0; ; i++ {
		dir := fmt.Sprintf("%s_%d", dir, i)
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			return dir
		}
	}
}

func testOptions(t testing.TB) Options {
	return Options{Dir: pinDir(t), Mask: owned.DefaultMask, MaxAddresses: 1024, MaxFlows: 1024}
}

func mustOpen(t testing.TB, o Options) *DataPlane {
	t.Helper()
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// newPlane is an open data plane in a network namespace of its own.
func newPlane(t testing.TB) *DataPlane {
	t.Helper()
	enterNetns(t)
	return mustOpen(t, testOptions(t))
}

func mustSet(t testing.TB, d *DataPlane, tables *Tables) {
	t.Helper()
	if err := d.SetTables(tables); err != nil {
		t.Fatal(err)
	}
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// diff compares values of this package.
func diff[T any](t testing.TB, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
		t.Errorf("unexpected (-want +got):\n%s", d)
	}
}

// program loads one program, and what it calls.
func (d *DataPlane) program(name string) (*ebpf.Program, error) {
	err := d.need([]string{name})
	return d.progs[name], err
}
