package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Remove takes everything of a data plane out of the kernel: links, filters,
// qdiscs of ours, pins. Nothing that is already gone is an error; what others
// have pinned in dir stays.
func Remove(dir string) error {
	if err := (&tcx{dir: dir}).prune(nil); err != nil {
		return err
	}
	if err := (&clsact{dir: dir}).prune(nil); err != nil {
		return err
	}
	mounted, err := removePins(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return removeDir(dir, mounted)
}

// removePins says whether the file system that they were in is one of ours.
func removePins(dir string) (mounted bool, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	spec, err := loadImage()
	if err != nil {
		return false, err
	}
	for _, f := range files {
		if !ours(spec, f.Name()) {
			continue
		}
		mounted = mounted || f.Name() == mountMark
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return mounted, err
		}
	}
	return mounted, nil
}

// ours says whether a pin is one of this package's.
func ours(spec *collection, name string) bool {
	if _, ok := spec.maps[strings.TrimSuffix(name, newSuffix)]; ok || name == mountMark {
		return true
	}
	for _, prefix := range []string{linkPrefix, qdiscPrefix, bpfMapStages + "_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// removeDir removes the directory of the pins, and the file system on it where
// that is ours, unless somebody uses them.
func removeDir(dir string, mounted bool) error {
	if mounted {
		if err := unix.Unmount(dir, 0); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("unmount BPF file system on %s: %w", dir, err)
		}
	}
	err := os.Remove(dir)
	for _, used := range []error{os.ErrNotExist, syscall.ENOTEMPTY, syscall.EBUSY, syscall.EPERM} {
		if errors.Is(err, used) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove directory of pins: %w", err)
	}
	return nil
}

// mountMark is pinned in a BPF file system that mountBPF has mounted on the
// directory of the pins itself.
const mountMark = "mount"

// bpfRoot is where systems mount the BPF file system.
const bpfRoot = "/sys/fs/bpf"

// mountBPF sees to it that dir exists and lies on a BPF file system: OpenWrt
// mounts one, other systems may not. Nothing but dir itself is covered by a
// mount, except the usual place.
func mountBPF(dir string) error {
	on, err := onBPF(dir)
	if err != nil {
		return err
	}
	if !on && filepath.Dir(dir) == bpfRoot {
		if err := mount(bpfRoot); err != nil {
			return err
		}
		on = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make pin directory: %w", err)
	}
	if on {
		return nil
	}
	if err := mount(dir); err != nil {
		return err
	}
	return pinMark(filepath.Join(dir, mountMark))
}

func mount(at string) error {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("make mount point of the BPF file system: %w", err)
	}
	if err := unix.Mount("bpf", at, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount BPF file system on %s: %w", at, explain(err))
	}
	return nil
}

// onBPF says whether dir, or the nearest of its parents that is there, lies on a
// BPF file system.
func onBPF(dir string) (bool, error) {
	var st unix.Statfs_t
	for d := dir; ; d = filepath.Dir(d) {
		err := unix.Statfs(d, &st)
		if err == nil {
			return uint32(st.Type) == unix.BPF_FS_MAGIC, nil
		}
		if !errors.Is(err, syscall.ENOENT) || d == filepath.Dir(d) {
			return false, fmt.Errorf("look at %s: %w", d, err)
		}
	}
}

// pinMark pins something that says by its name alone what it says.
func pinMark(path string) error {
	m, err := makeMap(&mapSpec{Name: "routerd_mark", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make a mark: %w", explain(err))
	}
	defer m.Close()
	if err := repin(m, path); err != nil {
		return fmt.Errorf("pin a mark: %w", err)
	}
	return nil
}
