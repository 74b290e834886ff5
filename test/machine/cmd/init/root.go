package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/machine/job"
)

// mount is one call of mount(2).
type mount struct{ source, target, kind, data string }

// mountAll mounts in order and makes the folders; what is mounted there already
// stays.
func mountAll(all ...mount) error {
	for _, m := range all {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.source, m.target, m.kind, 0, m.data)
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

func linesOf(s string) iter.Seq[string] {
	return strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' })
}

// nineP are the options of a share: the outer machine writes nothing while the
// job runs that the job must see, so that whatever was read may be kept.
const nineP = "trans=virtio,version=9p2000.L,msize=262144,cache=loose"

// newRoot is where the file system is laid before it becomes the root.
const newRoot = "/newroot"

// layRoot makes the file system that the command sees and enters it. With
// tools, it is their disk; otherwise the initial one, in memory.
func layRoot(j job.Job) error {
	if j.Tools != "" {
		if err := mountTools(j.Tools); err != nil {
			return err
		}
		if err := enter(newRoot); err != nil {
			return err
		}
	}
	if err := furnish(); err != nil {
		return err
	}
	for _, s := range j.Shares { // last: some are below /tmp
		if err := os.MkdirAll(s.Path, 0o755); err != nil {
			return err
		}
		// Without MS_NOSUID each exec asks for an extended attribute, and QEMU's
		// answer that there is none has an error number of this machine's, which
		// says something else on MIPS.
		if err := unix.Mount(s.Tag, s.Path, "9p", unix.MS_RDONLY|unix.MS_NOSUID, nineP); err != nil {
			return fmt.Errorf("mount share %s: %w", s.Path, err)
		}
	}
	return nil
}

// mountTools mounts the disk that holds them. What is written goes to a copy
// that ends with the machine.
func mountTools(device string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(device); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the disk %s was not found", device)
		}
	}
	return mountAll(mount{device, newRoot, "ext4", ""})
}

// enter makes a mount the root of this process, and of all that come.
func enter(root string) error {
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("enter %s: %w", root, err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return unix.Chdir("/")
}

// furnish mounts what every Linux has and writes the few files that programs
// ask for.
func furnish() error {
	if err := mountAll(
		mount{"devtmpfs", "/dev", "devtmpfs", ""},
		mount{"devpts", "/dev/pts", "devpts", ""},
		mount{"proc", "/proc", "proc", ""},
		mount{"sysfs", "/sys", "sysfs", ""},
		mount{"bpf", "/sys/fs/bpf", "bpf", ""},
		mount{"tmpfs", "/run", "tmpfs", ""},
		mount{"tmpfs", "/tmp", "tmpfs", ""},
		mount{"tmpfs", "/dev/shm", "tmpfs", ""},
	); err != nil {
		return err
	}
	if err := staticNodes(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("machine")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	for file, text := range map[string]string{
		"/etc/hosts":  "127.0.0.1 localhost machine\n::1 localhost\n",
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nunbound:x:53:53::/:/bin/false\nwww-data:x:33:33::/:/bin/false\ndnsmasq:x:54:65534::/:/bin/false\n",
		"/etc/group":  "root:x:0:\nnogroup:x:65534:\nunbound:x:53:\nwww-data:x:33:\nadm:x:4:\ndip:x:30:\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/root", "/run/lock", "/var/run"} {
		if err := os.MkdirAll(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
