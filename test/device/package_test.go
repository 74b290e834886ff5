package device_test

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/openwrt/pack"
	"github.com/routerd/routerd/test/device"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

// contents are a package's files with mode and size, by path.
func contents(members []pack.Member) map[string]string {
	out := map[string]string{}
	for _, m := range members {
		if m.Header.Typeflag == tar.TypeReg {
			out[m.Name()] = fmt.Sprintf("%04o %d %s:%s", m.Header.Mode&0o7777, len(m.Content), m.Header.Uname, m.Header.Gname)
		}
	}
	return out
}

// wanted are the files of a tree of the sources below a directory of the router.
func wanted(t *testing.T, tree, to string) map[string]string {
	t.Helper()
	out := map[string]string{}
	root := filepath.Join(sources, tree)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := 0o644
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		rel, err := filepath.Rel(root, path)
		if rel == "etc/config/routerd" {
			mode = 0o600
		}
		out[filepath.Join(to, rel)] = fmt.Sprintf("%04o %d root:root", mode, info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// both reads a package in its two formats.
func both(t *testing.T, name string) (pack.IPK, pack.APK) {
	t.Helper()
	ipk, err := pack.ReadIPK(read(t, packaged(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(sources, "build/packages/apk/x86_64", name+"-[0-9]*.apk"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages %s: %v, %v", name, found, err)
	}
	apk, err := pack.ReadAPK(read(t, found[0]))
	if err != nil {
		t.Fatal(err)
	}
	return ipk, apk
}

func TestPackagesHoldTheSourcesFiles(t *testing.T) {
	for name, want := range map[string]map[string]string{
		"routerd": wanted(t, "openwrt/routerd/files", ""),
		"luci-app-routerd": func() map[string]string {
			all := wanted(t, "openwrt/luci-app-routerd/root", "")
			maps.Copy(all, wanted(t, "openwrt/luci-app-routerd/htdocs", "www"))
			return all
		}(),
	} {
		ipk, apk := both(t, name)
		if name == "routerd" {
			size := len(read(t, filepath.Join(sources, "build/package/bin/routerd-linux-amd64")))
			want["usr/sbin/routerd"] = fmt.Sprintf("0755 %d root:root", size)
		}
		if diff := cmp.Diff(want, contents(ipk.Data)); diff != "" {
			t.Errorf("%s for opkg (-sources +package):\n%s", name, diff)
		}
		if diff := cmp.Diff(want, contents(apk.Data)); diff != "" {
			t.Errorf("%s for apk (-sources +package):\n%s", name, diff)
		}
	}
	ipk, _ := both(t, "luci-i18n-routerd-ru")
	lmo, ok := pack.Pick(ipk.Data, "usr/lib/lua/luci/i18n/routerd.ru.lmo")
	texts, err := pack.ReadLMO(lmo)
	if !ok || err != nil || texts[pack.SFH("Overview")] != "Обзор" {
		t.Errorf("the translation is there: %t, %v, Overview is %q", ok, err, texts[pack.SFH("Overview")])
	}
}

// fields reads NAME: VALUE or NAME = VALUE, values of one name in one list.
func fields(text []byte, sep string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), sep)
		if ok {
			out[name] = append(out[name], strings.Split(value, ", ")...)
		}
	}
	return out
}

// Both formats say the same, each in its way; what they must say the feed's
// Makefiles are compared with.
func TestBothFormatsSayTheSame(t *testing.T) {
	ipk, apk := both(t, "routerd")
	control, _ := pack.Pick(ipk.Control, "control")
	info, _ := pack.Pick(apk.Control, ".PKGINFO")
	opkg, alpine := fields(control, ": "), fields(info, " = ")
	for _, v := range []struct {
		what      string
		want, got []string
	}{
		{"the version", []string{strings.Replace(opkg["Version"][0], "-", "-r", 1)}, alpine["pkgver"]},
		{"the dependencies", opkg["Depends"], alpine["depend"]},
		{"opkg's architecture", []string{"x86_64"}, opkg["Architecture"]},
		{"apk's architecture", []string{"x86_64"}, alpine["arch"]},
		{"opkg's recommendations", []string{"kmod-tun"}, opkg["Recommends"]},
	} {
		if len(v.want) == 0 || !slices.Equal(v.want, v.got) {
			t.Errorf("%s: %v, want %v", v.what, v.got, v.want)
		}
	}
	conffiles, _ := pack.Pick(ipk.Control, "conffiles")
	if strings.TrimSpace(string(conffiles)) != "/etc/config/routerd" {
		t.Errorf("conffiles are %q", conffiles)
	}
	for _, script := range []string{".post-upgrade", ".post-deinstall"} {
		if _, ok := pack.Pick(apk.Control, script); !ok {
			t.Errorf("apk has no %s", script)
		}
	}
}

// A reload of the firewall empties fw4's chains; what the package puts into them
// lets clients into the tunnel until the daemon's own rules are back, and these
// take its place.
func TestForwardingSurvivesAReloadOfFW4(t *testing.T) {
	l := labtest.Up(t, lab.Options{})
	d := device.New(t, l)
	d.InstallSources()
	d.Within("the daemon answers", func() bool { return isRunning(d) })
	d.UseLabsResolver()
	conf, err := l.WGQuick("home")
	if err != nil {
		t.Fatal(err)
	}
	d.Write("tmp/home.conf", string(conf))
	d.Run("routerd", "tunnel", "import", "home", "/tmp/home.conf")
	d.Run("routerd", "tunnel", "test", "home")
	ruleset := read(t, filepath.Join(sources, "test/lab/firewall/fw4.nft"))
	include := read(t, filepath.Join(sources, "openwrt/routerd/files/usr/share/nftables.d/chain-pre/forward/50-routerd.nft"))
	const chain = "type filter hook forward priority filter; policy drop;\n"
	if !strings.Contains(string(ruleset), chain) {
		t.Fatal("the lab's fw4 has no forward chain")
	}
	// fw4 puts chain-pre's files at the head of the chain.
	text := strings.Replace(string(ruleset), chain, chain+string(include), 1)
	for range 3 {
		d.Write("tmp/fw4.nft", text)
		labtest.Run(t, l, lab.Router, "nft", "-f", filepath.Join(d.Root, "tmp/fw4.nft"))
		if got := path(t, l, "www.binance.com"); got != "home" {
			t.Errorf("at once after a reload www.binance.com goes %s", got)
		}
	}
	list := func() string { return labtest.Run(t, l, lab.Router, "nft", "list", "chain", "inet", "fw4", "forward") }
	d.Within("the daemon's own rules stand in the place of the include's", func() bool {
		return strings.Contains(list(), "!routerd home: br-lan to rd-home") && !strings.Contains(list(), "rd-*")
	})
	d.Run("/usr/share/routerd/package", "removing")
	if strings.Contains(list(), "routerd") {
		t.Errorf("after the removal fw4 has rules of routerd's:\n%s", list())
	}
}
