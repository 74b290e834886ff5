package device_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/device"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

const sources = "../.."

// build makes the packages of this machine's architecture once, by the script
// that makes those of a release, and a newer version of one.
var build = sync.OnceValues(func() (newer string, err error) {
	steps := [][]string{
		{"scripts/package", "x86_64"},
		{"sh", "-c", `build/package/pack stage --arch x86_64 --binary build/package/bin/routerd-linux-amd64 --version 0.1.1 \
			--out build/newer --work build/package/newer | grep -m1 '^ipk .*/routerd_' | while read -r packager config file; do
			build/package/nfpm package --packager "$packager" --config "$config" --target "$file"; done`},
	}
	for _, s := range steps {
		cmd := exec.Command(s[0], s[1:]...)
		cmd.Dir = sources
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", s, err, out)
		}
	}
	return filepath.Join(sources, "build/newer/ipk/x86_64/routerd_0.1.1-1_x86_64.ipk"), nil
})

// packaged is the path of a package that scripts/package has made.
func packaged(t *testing.T, name string) string {
	t.Helper()
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(sources, "build/packages/ipk/x86_64", name+"_*.ipk"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages %s: %v, %v", name, found, err)
	}
	return found[0]
}

// files are all files of a device that do not change by themselves, by path.
func files(t *testing.T, d *device.Device) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(d.Root, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(d.Root, path)
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{"proc", "sys", "dev", "var/log", "etc/ssl"}, rel):
			return fs.SkipDir
		case e.Type().IsRegular() && !strings.HasPrefix(rel, "bin/"):
			raw, err := os.ReadFile(path)
			out[rel] = string(raw)
			return err
		}
		// Directories belong to nobody, but for those of ours.
		if !e.IsDir() || regexp.MustCompile("routerd|wireguard").MatchString(rel) {
			out[rel] = e.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kernel is what routerd may leave behind in the router's kernel.
func kernel(t *testing.T, l *lab.Lab) string {
	t.Helper()
	return labtest.Run(t, l, lab.Router, "sh", "-c", `ip rule; ip -6 rule; ip -o link | grep -o 'rd-[a-z]*'; nft list tables
		nft -s list ruleset | grep -i routerd; tc qdisc show; for d in $(ls /sys/class/net); do tc filter show dev $d ingress; done
		find /sys/fs/bpf -mindepth 1; ip route show table all | grep -v 'proto kernel' | sort; ps -e -o args= | grep -v -e '^ps' -e '^sh' -e '^grep' | grep routerd || true`)
}

// path says how a client reaches a page, by the address that the server saw.
func path(t *testing.T, l *lab.Lab, name string) string {
	t.Helper()
	page := labtest.Run(t, l, lab.Client, "curl", "-sS", "-4", "--max-time", "20", "https://"+name+"/")
	switch {
	case strings.Contains(page, "client 22.60.0.2"):
		return "home"
	case strings.Contains(page, "client 22.100.0.2"):
		return "direct"
	}
	return page
}

func isRunning(d *device.Device) bool {
	return strings.Contains(d.Call("status", "{}"), `"running":true`)
}

func TestLifeOfAPackage(t *testing.T) {
	first := packaged(t, "routerd")
	newer, err := build()
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.Up(t, lab.Options{})
	d := device.New(t, l)
	before, kernelBefore := files(t, d), kernel(t, l)

	d.Install(first)
	d.Install(packaged(t, "luci-app-routerd"))
	d.Install(packaged(t, "luci-i18n-routerd-ru"))
	if !strings.Contains(d.Read("etc/config/luci"), "Русский") {
		t.Error("LuCI does not offer Russian")
	}
	d.Within("the daemon runs", func() bool { return isRunning(d) })
	d.UseLabsResolver()
	if !d.Exists("etc/rc.d/S19routerd") {
		t.Error("the service does not start with the router")
	}
	if got := path(t, l, "www.binance.com"); got != "direct" {
		t.Errorf("before there is a tunnel www.binance.com goes %s", got)
	}

	firstRun(t, d)
	settings := d.Read("etc/config/routerd")
	reloads(t, d, settings)
	upgrade(t, d, newer)
	splits(t, d, "after the upgrade")
	if d.Read("etc/config/routerd") != settings {
		t.Error("the upgrade has changed the settings")
	}

	for _, name := range []string{"luci-i18n-routerd-ru", "luci-app-routerd", "routerd"} {
		d.Remove(name)
	}
	if diff := cmp.Diff(before, files(t, d)); diff != "" {
		t.Errorf("files are not as before the installation (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(kernelBefore, kernel(t, l)); diff != "" {
		t.Errorf("the kernel is not as before the installation (-before +after):\n%s", diff)
	}
	if got := path(t, l, "www.binance.com"); got != "direct" {
		t.Errorf("after the removal www.binance.com goes %s", got)
	}
}

// firstRun adds a tunnel as LuCI does.
func firstRun(t *testing.T, d *device.Device) {
	t.Helper()
	conf, err := d.Lab.WGQuick("home")
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(map[string]any{"name": "home", "text": string(conf), "ubus_rpc_session": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Call("tunnel_import", string(request)); !strings.Contains(got, `"applied":true`) {
		t.Fatalf("tunnel_import answers %s", got)
	}
	d.Run("routerd", "tunnel", "test", "home")
	splits(t, d, "after the first run")
}

// reloads changes settings, and a network.
func reloads(t *testing.T, d *device.Device, settings string) {
	t.Helper()
	d.Write("etc/config/routerd", settings+"\nconfig destination 'mine'\n\tlist domain 'news.example'\n")
	d.Run("owbox", "procctl", "event", "config.change", "routerd")
	if got := path(t, d.Lab, "www.news.example"); got != "home" {
		t.Errorf("what has been listed goes %s after a reload", got)
	}
	d.Write("etc/config/routerd", settings)
	d.Run("owbox", "procctl", "event", "interface", "lan")
	splits(t, d, "after the interface's reload")
}

// splits fails unless listed names take the tunnel and others do not.
func splits(t *testing.T, d *device.Device, when string) {
	t.Helper()
	for name, want := range map[string]string{"www.binance.com": "home", "www.shopping.example": "direct"} {
		if got := path(t, d.Lab, name); got != want {
			t.Errorf("%s: %s goes %s, not %s", when, name, got, want)
		}
	}
}

// upgrade upgrades under a download of a listed name, which goes on, and nothing
// of which leaves by the WAN.
func upgrade(t *testing.T, d *device.Device, newer string) {
	t.Helper()
	if err := d.Lab.ResetCounts(); err != nil {
		t.Fatal(err)
	}
	// The daemon's own checks do go over the WAN; these two names have none.
	const loaded, opened = "www.bybit.com", "www.kraken.com"
	finish := download(t, d.Lab, loaded)
	old := daemon(t, d).Started
	d.Upgrade(newer)
	// New connections, while one daemon ends and the other begins. Until it has
	// begun a listed name may not be resolved; it goes nowhere else.
	for range 5 {
		d.Within(opened+" opens", func() bool {
			page, err := d.Lab.Run(t.Context(), lab.Client, "curl", "-sS", "-4", "--max-time", "20", "https://"+opened+"/")
			if err == nil && !strings.Contains(string(page), "client 22.60.0.2") {
				t.Errorf("during the upgrade %s is reached past the tunnel: %s", opened, page)
			}
			return err == nil
		})
	}
	d.Within("another daemon runs", func() bool { return !daemon(t, d).Started.Equal(old) })
	finish()
	counts, err := d.Lab.Counts(lab.ISP)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{loaded, opened} {
		for _, a := range addresses(t, name) {
			if counts[a] > 0 {
				t.Errorf("%d packets to %s (%s) left by the WAN", counts[a], a, name)
			}
		}
	}
}

// download begins a transfer that waits to be read; finish reads it to its end,
// which must be a good one.
func download(t *testing.T, l *lab.Lab, name string) (finish func()) {
	t.Helper()
	const size, begun = 16 << 20, 64 << 10
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	cmd := l.Command(ctx, lab.Client, "curl", "-sS", "-4", "--no-buffer", "--max-time", "300", fmt.Sprintf("https://%s/bytes/%d", name, size))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	if _, err := io.CopyN(io.Discard, reader, begun); err != nil {
		t.Fatalf("begin the download: %v", err)
	}
	return func() {
		t.Helper()
		n, err := io.Copy(io.Discard, reader)
		if err == nil {
			err = cmd.Wait()
		}
		if n += begun; err != nil || n != size {
			t.Errorf("the download got %d of %d octets: %v", n, size, err)
		}
	}
}

func addresses(t *testing.T, name string) []netip.Addr {
	t.Helper()
	all, err := lab.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if n.Name == name {
			return append(n.A, n.AAAA...)
		}
	}
	t.Fatalf("the lab has no name %s", name)
	return nil
}
