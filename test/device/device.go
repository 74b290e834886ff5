package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// Device is the root file system of the lab's router as OpenWrt sees it.
type Device struct {
	testing.TB
	Lab  *lab.Lab
	Root string // on the machine; the router sees it under the same path
}

// limit bounds one program of the device.
const limit = 2 * time.Minute

// New makes a device without any package and starts its procd. It ends with the
// lab.
func New(t testing.TB, l *lab.Lab) *Device {
	t.Helper()
	d := &Device{TB: t, Lab: l, Root: filepath.Join(t.TempDir(), "root")}
	d.populate()
	d.mount()
	procd := exec.Command("chroot", d.Root, "/sbin/owbox", "procd")
	procd.Env = d.env()
	if err := l.Start(lab.Router, procd); err != nil {
		t.Fatal(err)
	}
	go func() { _ = procd.Wait() }() // ends with the lab
	d.Within("procd listens", func() bool {
		_, err := os.Stat(filepath.Join(d.Root, "var/run/procd.sock"))
		return err == nil
	})
	t.Cleanup(func() {
		_, _ = l.Run(context.Background(), lab.Router, "umount", "--recursive", "--lazy", d.Root)
		if raw, err := os.ReadFile(filepath.Join(d.Root, "var/log/messages")); t.Failed() && err == nil {
			t.Logf("the device logged:\n%s", raw)
		}
	})
	return d
}

// env is the environment of a program on OpenWrt.
func (d *Device) env() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=vt100"}
}

// populate writes what a device has before any package.
func (d *Device) populate() {
	d.Helper()
	for _, dir := range []string{
		"bin", "sbin", "usr/bin", "usr/sbin", "lib", "etc/config", "etc/init.d", "etc/rc.d", "etc/uci-defaults", "etc/ssl",
		"proc", "sys", "dev", "tmp", "var/run", "var/log", "root", "usr/share",
	} {
		d.check(os.MkdirAll(filepath.Join(d.Root, dir), 0o755))
	}
	busybox, err := exec.LookPath("busybox")
	d.check(err)
	d.Copy(busybox, "bin/busybox", 0o755)
	own := filepath.Join(here(), "root")
	d.Copy(filepath.Join(own, "etc/rc.common"), "etc/rc.common", 0o755)
	d.Copy(filepath.Join(own, "lib/functions.sh"), "lib/functions.sh", 0o644)
	d.build("./test/device/cmd/owbox", "sbin/owbox")
	for _, name := range []string{"uci", "ubus"} {
		d.check(os.Symlink("owbox", filepath.Join(d.Root, "sbin", name)))
	}
	d.check(os.Symlink("/tmp/resolv.conf", filepath.Join(d.Root, "etc/resolv.conf")))
	d.Write("etc/config/firewall", "config defaults\n\toption input 'ACCEPT'\n")
	d.Write("etc/config/luci", "config core 'main'\n\toption lang 'auto'\n\nconfig internal 'languages'\n")
	d.Write("tmp/resolv.conf", "nameserver 127.0.0.1\n")
	// busybox has no say before its links are there.
	out, err := exec.Command("chroot", d.Root, "/bin/busybox", "--install", "-s", "/bin").CombinedOutput()
	if err != nil {
		d.Fatalf("install busybox: %v: %s", err, out)
	}
}

// mount gives the device the router's kernel.
func (d *Device) mount() {
	d.Helper()
	script := `set -e
mount --rbind /proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount --rbind /etc/ssl "$1/etc/ssl"
`
	if out, err := d.Lab.Run(d.Context(), lab.Router, "sh", "-c", script, "sh", d.Root); err != nil {
		d.Fatalf("%v\n%s", err, out)
	}
}

// here is this package's directory.
func here() string { return filepath.Join(repository(), "test/device") }

// repository is the root of the sources: tests run in their package's directory.
func repository() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// build builds a program of ours into the device.
func (d *Device) build(pkg, to string) {
	d.Helper()
	cmd := exec.Command("go", "build", "-o", filepath.Join(d.Root, to), pkg)
	cmd.Dir = repository()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		d.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
}

func (d *Device) check(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// Copy copies a file of the machine into the device.
func (d *Device) Copy(from, to string, mode os.FileMode) {
	d.Helper()
	raw, err := os.ReadFile(from)
	d.check(err)
	path := filepath.Join(d.Root, to)
	d.check(os.MkdirAll(filepath.Dir(path), 0o755))
	// A program that runs is replaced, not written to.
	_ = os.Remove(path)
	d.check(os.WriteFile(path, raw, mode))
	d.check(os.Chmod(path, mode))
}

// Write writes a file of the device.
func (d *Device) Write(path, text string) {
	d.Helper()
	full := filepath.Join(d.Root, path)
	d.check(os.MkdirAll(filepath.Dir(full), 0o755))
	d.check(os.WriteFile(full, []byte(text), 0o600))
}

// Read reads a file of the device.
func (d *Device) Read(path string) string {
	d.Helper()
	raw, err := os.ReadFile(filepath.Join(d.Root, path))
	d.check(err)
	return string(raw)
}

// Exists says whether the device has a file.
func (d *Device) Exists(path string) bool {
	_, err := os.Lstat(filepath.Join(d.Root, path))
	return err == nil
}

// Try runs a program of the device with standard input and gives what it wrote
// and its exit status.
func (d *Device) Try(stdin string, args ...string) (out string, status int) {
	d.Helper()
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	cmd := d.Lab.Command(ctx, lab.Router, "chroot", append([]string{d.Root}, args...)...)
	cmd.Env = d.env()
	cmd.Stdin = strings.NewReader(stdin)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.Fatalf("run %v: %v", args, err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

// Run is Try for a program that must succeed.
func (d *Device) Run(args ...string) string {
	d.Helper()
	out, status := d.Try("", args...)
	if status != 0 {
		d.Fatalf("%v: exit status %d\n%s", args, status, out)
	}
	return out
}

// Call asks the ubus object routerd as rpcd would.
func (d *Device) Call(method, request string) string {
	d.Helper()
	out, status := d.Try(request, "/usr/libexec/rpcd/routerd", "call", method)
	if status != 0 {
		d.Fatalf("call %s: exit status %d\n%s", method, status, out)
	}
	return out
}

// Within waits until ok says so.
func (d *Device) Within(what string, ok func() bool) {
	d.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			d.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// InstallSources puts the packages' files in place as they stand in the sources,
// with a fresh build of the daemon, and runs what follows an installation.
func (d *Device) InstallSources() {
	d.Helper()
	d.build("./cmd/routerd", "usr/sbin/routerd")
	for from, to := range map[string]string{
		"openwrt/routerd/files":         ".",
		"openwrt/luci-app-routerd/root": ".",
	} {
		d.copyTree(filepath.Join(repository(), from), to)
	}
	d.Run("/usr/share/routerd/package", "installed")
}

// UseLabsResolver puts the lab's resolver in the place of the first settings' own,
// which the lab's internet does not have.
func (d *Device) UseLabsResolver() {
	d.Helper()
	const settings = "etc/config/routerd"
	d.Write(settings, strings.Replace(d.Read(settings), "https://1.1.1.1/", "https://22.8.8.8/", 1))
	d.Run("owbox", "procctl", "event", "config.change", "routerd")
}

func (d *Device) copyTree(from, to string) {
	d.Helper()
	d.check(filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return fmt.Errorf("copy %s: %w", path, err)
		}
		d.Copy(path, filepath.Join(to, rel), info.Mode().Perm())
		return nil
	}))
}
