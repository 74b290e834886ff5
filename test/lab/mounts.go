package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountHost makes the file system of a host private, from inside its fresh
// mount namespace. /etc is an overlay whose changes stay in memory; /run,
// /var/lib, /var/log, /var/tmp, /dev/shm and /etc/ssl/certs are empty; /proc and /sys are those
// of the host's namespaces. /tmp and the rest are the machine's, so that
// programs and files of a test are found under their own paths.
func mountHost(host string) error {
	// Without this every mount below would appear on the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib", "/var/log", "/var/tmp", "/dev/shm"} {
		if err := mountAt("tmpfs", dir, "mode=0755"); err != nil {
			return err
		}
	}
	if err := overlayEtc(); err != nil {
		return err
	}
	if err := os.MkdirAll(trustDir, 0o755); err != nil {
		return fmt.Errorf("create %s: %w", trustDir, err)
	}
	if err := mountAt("tmpfs", trustDir, "mode=0755"); err != nil {
		return err
	}
	if err := mountAt("proc", "/proc", ""); err != nil {
		return err
	}
	if err := mountAt("sysfs", "/sys", ""); err != nil {
		return err
	}
	if err := privateVarRun(); err != nil {
		return err
	}
	return hostMounts(host)
}

// mountAt mounts a file system that needs no device.
func mountAt(kind, dir, options string) error {
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, dir, err)
	}
	return nil
}

// overlayEtc lets a host change its /etc without the machine seeing it.
func overlayEtc() error {
	const dir = "/run/.etc"
	for _, sub := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("create overlay directory: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=/etc,upperdir=%s/upper,workdir=%s/work", dir, dir)
	if err := unix.Mount("overlay", "/etc", "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay on /etc (the kernel needs overlayfs): %w", err)
	}
	return nil
}

// privateVarRun covers the systems where /var/run is not a link to /run.
func privateVarRun() error {
	fi, err := os.Lstat("/var/run")
	if err != nil || fi.Mode()&os.ModeSymlink != 0 {
		return nil // absent, or a link
	}
	if err := unix.Mount("/run", "/var/run", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind /run on /var/run: %w", err)
	}
	return nil
}

// hostMounts adds what only one host has.
func hostMounts(host string) error {
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return fmt.Errorf("create %s: %w", runDir, err)
	}
	if host != Router {
		return nil
	}
	// A bpffs is new with every mount: pins of a lab are its own.
	if err := mountAt("bpf", "/sys/fs/bpf", "mode=0700"); err != nil {
		return err
	}
	for dir, mode := range map[string]os.FileMode{"/etc/config": 0o755, "/etc/routerd": 0o700} {
		// The machine's own settings, if it has any, are not the lab's.
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
		if err := mountAt("tmpfs", dir, fmt.Sprintf("mode=%#o", mode)); err != nil {
			return err
		}
	}
	return nil
}
