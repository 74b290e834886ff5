package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Cache is where kernels and tools are kept, and how progress is told.
type Cache struct {
	// Dir is outside of the repository; made when it is not there.
	Dir string
	// Root is the repository.
	Root string
	// Say tells of what takes longer than a second, one line a call.
	Say func(format string, args ...any)
}

// recipe is changed with whatever changes what a target's folder holds: folders
// of another recipe are made anew.
const recipe = "4"

// toolPackages are Debian's packages that tests and people want in a machine.
func toolPackages() []string {
	return []string{
		"bash", "dash", "coreutils", "findutils", "grep", "sed", "mawk", "util-linux", "mount", "procps", "kmod",
		"iproute2", "nftables", "iptables", "conntrack", "wireguard-tools", "iputils-ping", "curl", "openssl",
		"dnsmasq-base", "unbound", "nginx-light",
	}
}

// folder of a target: kernel, version, modules/ (for the initial file system),
// tools.ext4 (where Debian has the architecture).
func (c Cache) folder(t Target) string { return filepath.Join(c.Dir, t.file()) }

// Fetch makes sure that a target's kernel and tools are in the cache. Only one
// process at a time does that for a target.
func (c Cache) Fetch(ctx context.Context, t Target) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	unlock, err := lock(filepath.Join(c.Dir, t.file()+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if c.fetched(t) {
		return nil
	}
	fresh := c.folder(t) + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clear cache: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(fresh, "modules"), 0o755); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	make := c.fromDebian
	if t.Debian == "" {
		make = c.fromSource
	}
	if err := make(ctx, t, fresh); err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	if err := os.WriteFile(filepath.Join(fresh, "recipe"), []byte(c.recipe(t)), 0o644); err != nil {
		return fmt.Errorf("end fetching: %w", err)
	}
	if err := os.RemoveAll(c.folder(t)); err != nil {
		return fmt.Errorf("clear cache: %w", err)
	}
	return os.Rename(fresh, c.folder(t))
}

func (c Cache) fetched(t Target) bool {
	raw, err := os.ReadFile(filepath.Join(c.folder(t), "recipe"))
	return err == nil && string(raw) == c.recipe(t)
}

// recipe of a target: what its folder was made from.
func (c Cache) recipe(t Target) string {
	text := fmt.Sprintln(recipe, t.Debian, t.Series, t.Flavour)
	if t.Debian == "" {
		config, _ := os.ReadFile(c.kernelConfig()) // its absence is told when it is used
		return text + string(config)
	}
	return text + strings.Join(toolPackages(), " ")
}

// lock holds a file's lock until the function is called.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// fromDebian fills a folder with Debian's kernel and tools.
func (c Cache) fromDebian(ctx context.Context, t Target, dir string) error {
	if err := needPrograms("dpkg", "dpkg-deb", "tar", "xz", "depmod", "modprobe", "mke2fs"); err != nil {
		return err
	}
	a := apt{dir: filepath.Join(c.Dir, "apt-"+t.Debian), arch: t.Debian, say: c.Say}
	unlock, err := lock(filepath.Join(c.Dir, "apt-"+t.Debian+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.open(ctx); err != nil {
		return err
	}
	tools := filepath.Join(dir, "tools")
	if err := c.kernelFrom(ctx, a, t, dir, tools); err != nil {
		return err
	}
	if err := c.toolsFrom(ctx, a, t, dir, tools); err != nil {
		return err
	}
	return a.drop(ctx)
}

// kernelFrom unpacks the kernel into dir, its modules into tools.
func (c Cache) kernelFrom(ctx context.Context, a apt, t Target, dir, tools string) error {
	name, err := a.kernel(ctx, t.Series, t.Flavour)
	if err != nil {
		return err
	}
	version := strings.TrimPrefix(name, "linux-image-")
	c.Say("%s: fetching kernel %s", t.Name, version)
	deb, err := a.download(ctx, filepath.Join(dir, "deb"), name)
	if err != nil {
		return err
	}
	if err := unpackKernel(ctx, deb, version, dir); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, "deb")); err != nil {
		return err
	}
	return earlyModules(ctx, t, tools, version, filepath.Join(dir, "modules"))
}

// toolsFrom unpacks the tools and makes a disk of them.
func (c Cache) toolsFrom(ctx context.Context, a apt, t Target, dir, tools string) error {
	c.Say("%s: fetching tools", t.Name)
	debs, err := a.closure(ctx, toolPackages())
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := quietly(ctx, "", "dpkg", "--extract", deb, tools); err != nil {
			return err
		}
	}
	if err := alternatives(tools); err != nil {
		return err
	}
	return makeDisk(ctx, tools, filepath.Join(dir, "tools.ext4"))
}

// makeDisk makes a disk of a folder and removes the folder. Machines write to
// copies of it, which takes some room.
func makeDisk(ctx context.Context, folder, disk string) error {
	// Nobody reads them in a machine, and they are a third of it.
	for _, name := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "boot"} {
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	if err := quietly(ctx, "", "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", folder, disk, "512M"); err != nil {
		return err
	}
	return os.RemoveAll(folder)
}

// unpackKernel takes the image and the modules that machines may want.
func unpackKernel(ctx context.Context, deb, version, dir string) error {
	tools := filepath.Join(dir, "tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return err
	}
	kernel := "./lib/modules/" + version + "/kernel/"
	args := []string{"--extract", "--directory", tools, "--wildcards", "./boot/vmlinuz-*", "./lib/modules/" + version + "/modules.*"}
	for _, part := range []string{"net", "crypto", "lib", "fs/9p", "fs/overlayfs", "fs/netfs", "fs/fscache", "fs/ext4", "fs/jbd2", "fs/mbcache.ko*", "drivers/block/virtio_blk.ko*", "drivers/virtio", "drivers/s390/virtio", "drivers/char/hw_random"} {
		args = append(args, kernel+part)
	}
	for _, part := range []string{"drivers/net/*.ko*", "drivers/net/wireguard*", "arch/*/crypto*", "arch/*/lib*"} {
		args = append(args, kernel+part)
	}
	for _, part := range []string{"net/wireless", "net/mac80211", "net/bluetooth", "net/sunrpc", "net/ceph", "net/sctp", "net/tipc", "net/rds", "net/batman-adv"} {
		args = append(args, "--exclude", kernel+part)
	}
	// tar complains of patterns that match nothing in this kernel; what is
	// needed is asked for below.
	line := `dpkg-deb --fsys-tarfile "$0" | { tar "$@" 2>/dev/null || true; }`
	if err := quietly(ctx, "", "sh", append([]string{"-c", line, deb}, args...)...); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	if err := os.Rename(filepath.Join(tools, "boot", "vmlinuz-"+version), filepath.Join(dir, "kernel")); err != nil {
		return fmt.Errorf("%s has no kernel: %w", filepath.Base(deb), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte(version), 0o644); err != nil {
		return err
	}
	return quietly(ctx, "", "depmod", "--basedir", tools, version)
}

// earlyModules copies the modules that find the tools, in order, unpacked.
func earlyModules(ctx context.Context, t Target, tools, version, to string) error {
	var list []string
	for _, name := range earlyNames(t.Bus) {
		out, err := exec.CommandContext(ctx, "modprobe", "--dirname", tools, "--set-version", version, "--show-depends", name).Output()
		if err != nil {
			return fmt.Errorf("kernel %s has no module %s", version, name)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0] != "insmod" {
				continue // built in
			}
			base := strings.TrimSuffix(filepath.Base(f[1]), ".xz")
			if _, err := os.Stat(filepath.Join(to, base)); err == nil {
				continue
			}
			if err := unpackModule(ctx, f[1], filepath.Join(to, base)); err != nil {
				return err
			}
			list = append(list, base)
		}
	}
	return os.WriteFile(filepath.Join(to, "list"), []byte(strings.Join(list, "\n")+"\n"), 0o644)
}

// earlyNames are the modules that find the tools over a bus. That of s390x is
// never a module (CONFIG_S390_GUEST is y or n), and modprobe knows of no such name.
func earlyNames(bus string) []string {
	names := []string{"virtio_rng", "9pnet_virtio", "9p", "virtio_blk", "ext4"}
	if driver, is := map[string]string{"pci": "virtio_pci", "device": "virtio_mmio"}[bus]; is {
		names = append([]string{driver}, names...)
	}
	return names
}

func unpackModule(ctx context.Context, from, to string) error {
	if !strings.HasSuffix(from, ".xz") {
		raw, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(to, raw, 0o644)
	}
	raw, err := exec.CommandContext(ctx, "xz", "--decompress", "--stdout", from).Output()
	if err != nil {
		return fmt.Errorf("unpack module %s: %w", from, err)
	}
	return os.WriteFile(to, raw, 0o644)
}

// alternatives makes the links that packages make when they are installed.
func alternatives(tools string) error {
	for name, target := range map[string]string{
		"bin/sh": "dash", "usr/bin/awk": "mawk",
		"usr/sbin/iptables": "iptables-nft", "usr/sbin/ip6tables": "ip6tables-nft",
		"usr/sbin/iptables-save": "iptables-nft-save", "usr/sbin/ip6tables-save": "ip6tables-nft-save",
		"usr/sbin/iptables-restore": "iptables-nft-restore", "usr/sbin/ip6tables-restore": "ip6tables-nft-restore",
	} {
		err := os.Symlink(target, filepath.Join(tools, name))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	// Where shares and what furnishes a machine are mounted.
	return os.MkdirAll(filepath.Join(tools, "root"), 0o755)
}

// needPrograms names every program that is missing.
func needPrograms(names ...string) error {
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s not found: scripts/vm fetch installs what it needs as root on Debian 12", strings.Join(missing, ", "))
}

// quietly runs a program and shows what it said only when it fails.
func quietly(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, lastLines(string(out), 10))
	}
	return nil
}
