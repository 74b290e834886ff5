package device

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/routerd/routerd/openwrt/pack"
)

// infoDir is where opkg keeps what it knows of packages.
const infoDir = "usr/lib/opkg/info"

// Install installs a package as opkg does: data, then postinst.
func (d *Device) Install(path string) {
	d.Helper()
	d.unpack(path)
	d.script(nameOf(path), "postinst", false, "configure")
}

// Upgrade goes from one version of a package to another: the old prerm, the new
// data, what is no longer part of it removed, the old postrm, the new postinst.
func (d *Device) Upgrade(path string) {
	d.Helper()
	name := nameOf(path)
	old := d.listed(name)
	d.script(name, "prerm", true, "upgrade", "new")
	postrm := d.Read(filepath.Join(infoDir, name+".postrm"))
	d.unpack(path)
	kept := "\n" + strings.Join(d.listed(name), "\n") + "\n"
	for _, f := range old {
		if !strings.Contains(kept, "\n"+f+"\n") {
			_ = os.Remove(filepath.Join(d.Root, f))
		}
	}
	const aside = "tmp/postrm" // in whose place is the new one's by now
	d.Write(aside, postrm)
	d.run("/"+aside, true, "upgrade", "new")
	d.check(os.Remove(filepath.Join(d.Root, aside)))
	d.script(name, "postinst", true, "configure")
}

// Remove removes a package: prerm, its files but for settings that were changed,
// postrm. Directories stay, as with opkg, whose lists of files name none.
func (d *Device) Remove(name string) {
	d.Helper()
	d.script(name, "prerm", false, "remove")
	files := d.listed(name)
	for _, f := range files {
		path := filepath.Join(d.Root, f)
		if sum, ok := d.conffile(name, f); ok && sum != d.sum(path) {
			continue
		}
		_ = os.Remove(path)
	}
	d.script(name, "postrm", false, "remove")
	info, err := filepath.Glob(filepath.Join(d.Root, infoDir, name+".*"))
	d.check(err)
	for _, path := range info {
		d.check(os.Remove(path))
	}
}

// nameOf is the package's name in a file name NAME_VERSION_ARCH.ipk.
func nameOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), "_")
	return name
}

// unpack puts a package's files in place.
func (d *Device) unpack(path string) {
	d.Helper()
	raw, err := os.ReadFile(path)
	d.check(err)
	p, err := pack.ReadIPK(raw)
	d.check(err)
	name := nameOf(path)
	d.check(os.MkdirAll(filepath.Join(d.Root, infoDir), 0o755))
	for _, m := range p.Control {
		d.check(os.WriteFile(filepath.Join(d.Root, infoDir, name+"."+m.Name()), m.Content, 0o755))
	}
	conffiles, _ := pack.Pick(p.Control, "conffiles")
	var list, sums strings.Builder
	for _, m := range p.Data {
		if m.Header.Typeflag != tar.TypeReg {
			continue
		}
		file := "/" + m.Name()
		list.WriteString(file + "\n")
		setting := bytes.Contains(append(conffiles, '\n'), []byte(file+"\n"))
		if setting {
			sums.WriteString(file + " " + sumOf(m.Content) + "\n")
			if d.Exists(m.Name()) {
				continue // the user's
			}
		}
		d.place(m)
	}
	d.Write(filepath.Join(infoDir, name+".list"), list.String())
	d.Write(filepath.Join(infoDir, name+".sums"), sums.String())
}

// place writes a file beside its place and moves it there.
func (d *Device) place(m pack.Member) {
	d.Helper()
	path := filepath.Join(d.Root, m.Name())
	d.check(os.MkdirAll(filepath.Dir(path), 0o755))
	d.check(os.WriteFile(path+".new", m.Content, m.Header.FileInfo().Mode().Perm()))
	d.check(os.Chmod(path+".new", m.Header.FileInfo().Mode().Perm()))
	d.check(os.Rename(path+".new", path))
}

func (d *Device) listed(name string) []string {
	d.Helper()
	return strings.Fields(d.Read(filepath.Join(infoDir, name+".list")))
}

// conffile is the sum of a setting as it was packed.
func (d *Device) conffile(name, file string) (sum string, ok bool) {
	d.Helper()
	fields := strings.Fields(d.Read(filepath.Join(infoDir, name+".sums")))
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == file {
			return fields[i+1], true
		}
	}
	return "", false
}

func (d *Device) sum(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return sumOf(raw)
}

func sumOf(raw []byte) string {
	s := sha256.Sum256(raw)
	return hex.EncodeToString(s[:])
}

// script runs one of a package's scripts, which must succeed.
func (d *Device) script(name, script string, upgrade bool, args ...string) {
	d.Helper()
	if path := "/" + filepath.Join(infoDir, name+"."+script); d.Exists(path) {
		d.run(path, upgrade, args...)
	}
}

func (d *Device) run(path string, upgrade bool, args ...string) {
	d.Helper()
	command := []string{"/bin/sh", path}
	if upgrade {
		command = []string{"/bin/env", "PKG_UPGRADE=1", "/bin/sh", path}
	}
	if out, status := d.Try("", append(command, args...)...); status != 0 {
		d.Fatalf("%s: exit status %d\n%s", path, status, out)
	}
}
