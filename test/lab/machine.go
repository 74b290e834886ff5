package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Tools maps each program that a lab needs to the Debian package that has it.
func Tools() map[string]string {
	return map[string]string{
		"nsenter": "util-linux", "ip": "iproute2", "nft": "nftables", "iptables": "iptables",
		"dnsmasq": "dnsmasq-base", "unbound": "unbound", "nginx": "nginx-light",
	}
}

// checkMachine names what is missing.
func checkMachine() error {
	if os.Geteuid() != 0 {
		return errors.New("the lab needs root: it makes network, mount and PID namespaces")
	}
	if err := missingTools(lookPath); err != nil {
		return err
	}
	for _, kind := range []string{"overlay", "bpf", "tmpfs"} {
		if err := hasFilesystem(kind); err != nil {
			return err
		}
	}
	_, err := os.Stat("/dev/net/tun")
	if err != nil && exec.Command("modprobe", "tun").Run() == nil {
		_, err = os.Stat("/dev/net/tun")
	}
	if err != nil {
		return fmt.Errorf("the lab needs /dev/net/tun (kernel module tun): %w", err)
	}
	return nil
}

// missingTools names every program of Tools that find does not find, and the
// packages that have them.
func missingTools(find func(program string) (string, error)) error {
	var programs, packages []string
	for _, program := range slices.Sorted(maps.Keys(Tools())) {
		if _, err := find(program); err != nil {
			programs, packages = append(programs, program), append(packages, Tools()[program])
		}
	}
	if len(programs) == 0 {
		return nil
	}
	return fmt.Errorf("the lab needs %s: apt-get install --no-install-recommends %s",
		strings.Join(programs, ", "), strings.Join(packages, " "))
}

// lookPath finds a program where an administrator's PATH may not point.
func lookPath(program string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		path := filepath.Join(dir, program)
		if fi, err := os.Stat(path); err == nil && fi.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("find program: %w", err)
	}
	return path, nil
}

func hasFilesystem(kind string) error {
	raw, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("read file systems: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == kind {
			return nil
		}
	}
	if exec.Command("modprobe", kind).Run() == nil {
		return nil
	}
	return fmt.Errorf("the lab needs a kernel with the file system %s (module %s)", kind, kind)
}

// programPath is that of rdlab: given, or built into build/ of the module. The
// build is a fraction of a second when nothing has changed.
func programPath(ctx context.Context, o Options) (string, error) {
	if o.Program != "" {
		path, err := filepath.Abs(o.Program)
		if err != nil {
			return "", fmt.Errorf("find rdlab: %w", err)
		}
		return path, nil
	}
	raw, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module of rdlab (run inside the repository or set Options.Program): %w", err)
	}
	root := strings.TrimSpace(string(raw))
	path := filepath.Join(root, "build", "rdlab")
	unlock, err := lockBuild(filepath.Join(root, "build"))
	if err != nil {
		return "", err
	}
	defer unlock()
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./test/lab/cmd/rdlab")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rdlab: %w: %s", err, out)
	}
	return path, nil
}

// lockBuild lets one process at a time build, scripts/lab included.
func lockBuild(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lock build of rdlab: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".rdlab.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock build of rdlab: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock build of rdlab: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
