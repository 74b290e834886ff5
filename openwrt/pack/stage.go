package pack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// StageOptions say what to pack for one architecture.
type StageOptions struct {
	Root    string // of the sources
	Arch    string // of OpenWrt
	Binary  string // the daemon
	Version string
	Out     string // packages go to OUT/ipk/ARCH and OUT/apk/ARCH
	Work    string // what nfpm reads
	APKKey  string // an RSA key; "": apk packages are not signed
}

// Job is one package that nfpm is to make.
type Job struct{ Packager, Config, File string }

// release is the number of the packaging, which counts beside the version.
const release = "1"

// file is one file of a package, as nfpm takes it.
type file struct {
	Src  string   `json:"src"`
	Dst  string   `json:"dst"`
	Type string   `json:"type,omitempty"` // config: the user's changes are kept
	Info fileInfo `json:"file_info"`
}

type fileInfo struct {
	Mode  fs.FileMode `json:"mode"`
	Owner string      `json:"owner"`
	Group string      `json:"group"`
}

// nfpm is the part of nfpm's configuration that is used; JSON is YAML.
type nfpm struct {
	Name        string            `json:"name"`
	Arch        string            `json:"arch"`
	Platform    string            `json:"platform"`
	Version     string            `json:"version"`
	Release     string            `json:"release"`
	Section     string            `json:"section"`
	Maintainer  string            `json:"maintainer"`
	Description string            `json:"description"`
	Homepage    string            `json:"homepage"`
	License     string            `json:"license"`
	Depends     []string          `json:"depends"`
	Recommends  []string          `json:"recommends,omitempty"`
	Contents    []file            `json:"contents"`
	Scripts     map[string]string `json:"scripts,omitempty"`
	IPK         map[string]any    `json:"ipk,omitempty"`
	APK         map[string]any    `json:"apk,omitempty"`
}

// spec is one package.
type spec struct {
	name, description string
	all               bool // for every architecture
	depends           []string
	recommends        []string
	files             []file
	scripts           scripts
}

// scripts are what runs around an installation, removed after the files are gone;
// "" is nothing.
type scripts struct{ installed, upgraded, removing, removed string }

// Stage writes what nfpm needs for every package of an architecture.
func Stage(o StageOptions) ([]Job, error) {
	specs, err := o.specs()
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, s := range specs {
		for _, packager := range []string{"ipk", "apk"} {
			job, err := o.job(s, packager)
			if err != nil {
				return nil, fmt.Errorf("stage %s: %w", s.name, err)
			}
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

func (o StageOptions) specs() ([]spec, error) {
	daemon, err := treeFiles(filepath.Join(o.Root, "openwrt/routerd/files"), "/")
	if err != nil {
		return nil, err
	}
	daemon = append(daemon, newFile(o.Binary, "/usr/sbin/routerd", 0o755))
	pages, err := treeFiles(filepath.Join(o.Root, "openwrt/luci-app-routerd/htdocs"), "/www")
	if err != nil {
		return nil, err
	}
	root, err := treeFiles(filepath.Join(o.Root, "openwrt/luci-app-routerd/root"), "/")
	if err != nil {
		return nil, err
	}
	russian, err := o.translation("ru", "Русский (Russian)")
	if err != nil {
		return nil, err
	}
	const reread = "rm -f /tmp/luci-indexcache*\nrm -rf /tmp/luci-modulecache\n[ ! -x /etc/init.d/rpcd ] || /etc/init.d/rpcd reload\n"
	own := func(action string) string { return `exec "$IPKG_INSTROOT/usr/share/routerd/package" ` + action + "\n" }
	return []spec{
		{
			name: "routerd", description: "Split tunnel for listed services, chosen by name in the kernel by eBPF",
			depends: []string{
				"kmod-sched-core", "kmod-sched-bpf", "kmod-wireguard", "kmod-nft-core", "kmod-nft-fib", "kmod-nft-nat", "ca-bundle",
			},
			recommends: []string{"kmod-tun"}, files: daemon,
			scripts: scripts{own("installed"), own("upgraded"), own("removing"), removed()},
		},
		{
			name: "luci-app-routerd", description: "LuCI pages of routerd", all: true,
			depends: []string{"luci-base", "rpcd-mod-luci", "routerd"}, files: append(pages, root...),
			scripts: scripts{reread, reread, "", empty("/www/luci-static/resources/routerd", "/www/luci-static/resources/view/routerd") + reread},
		},
		{
			name: "luci-i18n-routerd-ru", description: "LuCI pages of routerd in Russian", all: true,
			depends: []string{"luci-app-routerd"}, files: russian,
			scripts: scripts{first("/etc/uci-defaults/luci-i18n-routerd-ru") + reread, reread, "", forget("ru") + reread},
		},
	}, nil
}

// removed deletes what a manager of packages would leave: settings that have been
// changed and what has been made since, keys too.
func removed() string {
	return "rm -rf /etc/routerd /etc/config/routerd /etc/config/routerd-opkg /etc/config/routerd.apk-new\n" + empty("/usr/share/routerd")
}

// empty removes directories that nothing is in any more, which opkg leaves.
func empty(dirs ...string) string {
	return "rmdir " + strings.Join(dirs, " ") + " 2>/dev/null\n"
}

// forget takes a language from LuCI's choice where nothing is translated into it any
// more.
func forget(lang string) string {
	return fmt.Sprintf("set -- /usr/lib/lua/luci/i18n/*.%[1]s.lmo\n[ -e \"$1\" ] || { uci -q delete luci.languages.%[1]s && uci commit luci; }\n", lang)
}

// first runs a script of first settings, once.
func first(path string) string {
	return fmt.Sprintf("[ ! -f %[1]s ] || { (. %[1]s) && rm -f %[1]s; }\n", path)
}

// translation makes the files of a language's package as luci.mk does.
func (o StageOptions) translation(lang, name string) ([]file, error) {
	in, err := os.Open(filepath.Join(o.Root, "openwrt/luci-app-routerd/po", lang, "routerd.po"))
	if err != nil {
		return nil, fmt.Errorf("open translation: %w", err)
	}
	defer in.Close()
	c, err := ParsePO(in)
	if err != nil {
		return nil, fmt.Errorf("read translation %s: %w", lang, err)
	}
	lmo, err := LMO(c)
	if err != nil {
		return nil, fmt.Errorf("translation %s: %w", lang, err)
	}
	dir := filepath.Join(o.Work, "i18n", lang)
	catalogue, defaults := filepath.Join(dir, "routerd."+lang+".lmo"), filepath.Join(dir, "luci-i18n-routerd-"+lang)
	script := fmt.Sprintf("uci set luci.languages.%s='%s'; uci commit luci\n", lang, name)
	err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(catalogue, lmo, 0o644), os.WriteFile(defaults, []byte(script), 0o644))
	if err != nil {
		return nil, fmt.Errorf("write translation: %w", err)
	}
	return []file{
		newFile(catalogue, "/usr/lib/lua/luci/i18n/routerd."+lang+".lmo", 0o644),
		newFile(defaults, "/etc/uci-defaults/luci-i18n-routerd-"+lang, 0o644),
	}, nil
}

func newFile(src, dst string, mode fs.FileMode) file {
	f := file{Src: src, Dst: dst, Info: fileInfo{Mode: mode, Owner: "root", Group: "root"}}
	if strings.HasPrefix(dst, "/etc/config/") {
		f.Type, f.Info.Mode = "config", 0o600
	}
	return f
}

// treeFiles are the files below a directory; programs are those that the owner
// may run.
func treeFiles(root, to string) ([]file, error) {
	var out []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		out = append(out, newFile(path, filepath.Join(to, rel), mode))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	return out, nil
}

// job writes one package's configuration.
func (o StageOptions) job(s spec, packager string) (Job, error) {
	arch := o.Arch
	if s.all {
		arch = map[string]string{"ipk": "all", "apk": "noarch"}[packager]
	}
	c := nfpm{
		Name: s.name, Arch: arch, Platform: "linux", Version: o.Version, Release: release, Section: "net",
		Maintainer: "routerd contributors", Description: s.description, Homepage: "https://github.com/routerd/routerd",
		License: "Apache-2.0", Depends: s.depends, Contents: s.files,
	}
	dir := filepath.Join(o.Work, o.Arch, packager, s.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Job{}, err
	}
	if err := c.addScripts(s.scripts, packager, dir); err != nil {
		return Job{}, err
	}
	name := fmt.Sprintf("%s-%s-r%s.apk", s.name, o.Version, release)
	if packager == "ipk" {
		name = fmt.Sprintf("%s_%s-%s_%s.ipk", s.name, o.Version, release, arch)
		c.Recommends = s.recommends
		c.IPK = map[string]any{"arch": arch}
	} else {
		c.APK["arch"] = arch
		if o.APKKey != "" {
			c.APK["signature"] = map[string]string{"key_file": o.APKKey, "key_name": apkKeyName(o.APKKey)}
		}
	}
	out := filepath.Join(o.Out, packager, o.Arch)
	config := filepath.Join(dir, "nfpm.json")
	raw, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return Job{}, err
	}
	return Job{packager, config, filepath.Join(out, name)}, errors.Join(os.MkdirAll(out, 0o755), os.WriteFile(config, raw, 0o644))
}

// addScripts writes the scripts. opkg has one for an installation and an upgrade
// and tells by PKG_UPGRADE; apk has one for each, and none runs before the files
// of an upgrade are in place: the old process works on until then.
func (c *nfpm) addScripts(s scripts, packager, dir string) error {
	c.Scripts, c.APK = map[string]string{}, map[string]any{}
	var err error
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
		return path
	}
	const upgrading = `[ "$PKG_UPGRADE" = 1 ] || [ "$1" = upgrade ]`
	after, before, gone := s.installed, s.removing, s.removed
	if packager == "ipk" {
		if s.upgraded != s.installed {
			after = "if " + upgrading + "; then\n\t" + s.upgraded + "fi\n" + s.installed
		}
		before = "{ " + upgrading + "; } && exit 0\n" + s.removing
		gone = "{ " + upgrading + "; } && exit 0\n" + s.removed
	} else {
		c.APK["scripts"] = map[string]string{"postupgrade": write("post-upgrade", s.upgraded)}
	}
	c.Scripts["postinstall"] = write("post-install", after)
	if s.removing != "" {
		c.Scripts["preremove"] = write("pre-remove", before)
	}
	if s.removed != "" {
		c.Scripts["postremove"] = write("post-remove", "[ -z \"$IPKG_INSTROOT\" ] || exit 0\n"+gone+"exit 0\n")
	}
	return err
}
