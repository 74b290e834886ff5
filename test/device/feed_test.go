package device_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/openwrt/pack"
)

// feed is what OpenWrt's build would make of the feed's Makefiles, by real make and
// stand-ins for the parts of OpenWrt that they include.
type feed struct {
	*testing.T
	out string
}

// makeFeed builds the packages of a feed that lies in a directory.
func makeFeed(t *testing.T, dir string, variables ...string) feed {
	t.Helper()
	f := feed{t, t.TempDir()}
	standin, err := filepath.Abs("feed")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"routerd", "luci-app-routerd"} {
		args := append([]string{
			"-s", "-C", filepath.Join(dir, name), "TOPDIR=" + standin, "INCLUDE_DIR=" + filepath.Join(standin, "include"), "OUT=" + f.out, "all",
		}, variables...)
		if out, err := exec.Command("make", args...).CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", name, err, out)
		}
	}
	return f
}

func (f feed) read(name string) string { return string(read(f.T, filepath.Join(f.out, name))) }

// info are a package's version, release and dependencies.
func (f feed) info(name string) (version, release string, depends []string) {
	f.Helper()
	words := strings.Fields(f.read(name + ".info"))
	for _, w := range words[2:] {
		if !strings.HasPrefix(w, "@") {
			depends = append(depends, strings.TrimPrefix(w, "+"))
		}
	}
	return words[0], words[1], depends
}

// files are a package's, with their modes.
func (f feed) files(name string) map[string]string {
	f.Helper()
	out := map[string]string{}
	root := filepath.Join(f.out, name)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out[rel] = fmt.Sprintf("%04o", info.Mode().Perm())
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return out
}

// A buildroot makes of a checkout what scripts/package makes.
func TestTheFeedMakesThePackagesOfTheScript(t *testing.T) {
	f := makeFeed(t, filepath.Join(sources, "openwrt"))
	for _, name := range []string{"routerd", "luci-app-routerd", "luci-i18n-routerd-ru"} {
		ipk, _ := both(t, name)
		control, _ := pack.Pick(ipk.Control, "control")
		said := fields(control, ": ")
		version, release, depends := f.info(name)
		if got := []string{version + "-" + release}; !slices.Equal(got, said["Version"]) {
			t.Errorf("%s: the feed's version is %s, the script's %s", name, got, said["Version"])
		}
		if diff := cmp.Diff(said["Depends"], depends); diff != "" {
			t.Errorf("%s: dependencies (-script +feed):\n%s", name, diff)
		}
		packed := map[string]string{}
		for path, what := range contents(ipk.Data) {
			packed[path], _, _ = strings.Cut(what, " ")
		}
		if diff := cmp.Diff(packed, f.files(name)); diff != "" {
			t.Errorf("%s: files (-script +feed):\n%s", name, diff)
		}
		f.removes(name, ipk)
	}
	out, err := exec.Command(filepath.Join(f.out, "routerd/usr/sbin/routerd"), "version").CombinedOutput()
	if version, _, _ := f.info("routerd"); err != nil || !strings.Contains(string(out), "routerd "+version+"\n") {
		t.Errorf("what the feed has built of a copy says %q, %v", out, err)
	}
	if !strings.Contains(f.read("routerd.conffiles"), "/etc/config/routerd\n") {
		t.Errorf("settings of the feed's package: %q", f.read("routerd.conffiles"))
	}
}

// removes fails unless the feed's package deletes after itself what the script's
// does. LuCI's own Makefile makes the languages' packages.
func (f feed) removes(name string, ipk pack.IPK) {
	f.Helper()
	if strings.HasPrefix(name, "luci-i18n") {
		return
	}
	packed, _ := pack.Pick(ipk.Control, "postrm")
	own := map[string]bool{}
	for line := range strings.Lines(f.read(name + ".postrm")) {
		own[strings.TrimSpace(line)] = true
	}
	deleted := 0
	for line := range strings.Lines(string(packed)) {
		if strings.HasPrefix(line, "rm") {
			deleted++
			if !own[strings.TrimSpace(line)] {
				f.Errorf("%s: the feed's postrm lacks %s", name, line)
			}
		}
	}
	if deleted == 0 {
		f.Errorf("%s: the script's postrm deletes nothing:\n%s", name, packed)
	}
}

// A feed that has been copied out of its checkout fetches the release that it is of.
func TestACopiedFeedFetchesItsRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "openwrt")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(sources, "openwrt"))); err != nil {
		t.Fatal(err)
	}
	f := makeFeed(t, dir, "FETCHED=1")
	version, _, _ := f.info("routerd")
	if got, want := strings.TrimSpace(f.read("fetched")), "git https://github.com/routerd/routerd.git v"+version; got != want {
		t.Errorf("it fetches %q, want %q", got, want)
	}
	released := string(read(t, filepath.Join(sources, "internal/cli/version.go")))
	if !strings.Contains(released, `const release = "`+version+`"`) {
		t.Errorf("the program says another version than %s", version)
	}
	if names := slices.Sorted(maps.Keys(f.files("luci-app-routerd"))); len(names) == 0 {
		t.Error("the pages' package is empty")
	}
}
