package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// release is the Debian whose packages are used, and keyring what they are
// signed with.
const (
	release = "bookworm"
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// listsFor is how long package lists serve before they are fetched again.
const listsFor = 12 * time.Hour

// apt is an apt of its own for one architecture: package lists, downloads and
// the record of what is installed (nothing) are in a folder of the cache, so
// that the machine's own packages are neither seen nor changed. Where packages
// come from, proxies included, is what the machine's apt is set to.
type apt struct {
	dir, arch string
	say       func(format string, args ...any)
}

// open lays the folder and makes sure of package lists.
func (a apt) open(ctx context.Context) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("apt-get is needed to fetch Debian's packages, and there is none here: this works on Debian 12")
	}
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return fmt.Errorf("make apt root: %w", err)
		}
	}
	sources, err := hostSources(ctx)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"apt.conf": a.config(), "sources.list": sources, "state/status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("make apt root: %w", err)
		}
	}
	return a.update(ctx)
}

// config is read after the machine's own configuration.
func (a apt) config() string {
	at := func(name string) string { return filepath.Join(a.dir, name) }
	return fmt.Sprintf(`#clear APT::Architectures;
#clear APT::Update;
#clear APT::Periodic;
#clear DPkg;
APT::Architecture "%[1]s";
APT::Architectures { "%[1]s"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "%[2]s";
Dir::State::status "%[3]s";
Dir::Cache "%[4]s";
Dir::Etc::sourcelist "%[5]s";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
`, a.arch, at("state"), at("state/status"), at("cache"), at("sources.list"))
}

// run runs one of apt's programs in a folder and gives its standard output.
func (a apt) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	args = append([]string{"--config-file", filepath.Join(a.dir, "apt.conf")}, args...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, failed := progress{arch: a.arch, say: a.say, told: time.Now()}, bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s for %s: %w\n%s", program, a.arch, err, lastLines(said(failed.String(), out.String()), 12))
	}
	return out.String(), nil
}

// progress keeps what one of apt's programs writes, and tells of its downloads.
type progress struct {
	bytes.Buffer
	arch string
	say  func(format string, args ...any)
	told time.Time
}

// telling is how often progress is told.
const telling = 20 * time.Second

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.Buffer.Write(b)
	if gets := bytes.Count(p.Bytes(), []byte("Get:")); gets > 0 && time.Since(p.told) >= telling {
		p.say("fetching from Debian for %s, file %d", p.arch, gets)
		p.told = time.Now()
	}
	return n, err
}

// said is what a program wrote about its failure.
func said(stderr, stdout string) string {
	if strings.TrimSpace(stderr) != "" {
		return stderr
	}
	return stdout
}

// update fetches package lists unless there are fresh ones. A list that cannot
// be had, of backports say, is told and is no error: what it would have given
// is missed by name later.
func (a apt) update(ctx context.Context) error {
	stamp := filepath.Join(a.dir, "updated")
	if fi, err := os.Stat(stamp); err == nil && time.Since(fi.ModTime()) < listsFor {
		return nil
	}
	a.say("fetching the package lists of Debian for %s", a.arch)
	var failure error
	err := a.patiently(ctx, func() error {
		_, failure = a.run(ctx, a.dir, "apt-get", "update")
		if lists, _ := filepath.Glob(filepath.Join(a.dir, "state/lists/*_Packages*")); len(lists) > 0 {
			return nil
		}
		return failure
	})
	if err != nil {
		return fmt.Errorf("fetch package lists: %w", err)
	}
	if failure != nil {
		a.say("some package lists could not be fetched: %s", firstError(failure))
		return nil // without a stamp: the next one tries again
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// firstError is apt's own line about what failed, or the whole error.
func firstError(err error) string {
	for line := range strings.Lines(err.Error()) {
		if strings.HasPrefix(line, "E: ") {
			return strings.TrimSpace(strings.TrimPrefix(line, "E: "))
		}
	}
	return err.Error()
}

// patiently tries again what a network may spoil.
func (a apt) patiently(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == fetchTries || ctx.Err() != nil {
			return err
		}
		a.say("trying again in %s: %s", fetchPause, firstError(err))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(fetchPause):
		}
	}
}

// Beside these apt tries each file three times.
const (
	fetchTries = 4
	fetchPause = 15 * time.Second
)

// download fetches one package into a folder and gives its file.
func (a apt) download(ctx context.Context, dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder for %s: %w", name, err)
	}
	err := a.patiently(ctx, func() error {
		_, err := a.run(ctx, dir, "apt-get", "download", name)
		return err
	})
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("package %s was downloaded as %q, want one file", name, files)
	}
	return files[0], nil
}

// closure fetches packages and all that they depend on, and gives their files.
func (a apt) closure(ctx context.Context, names []string) ([]string, error) {
	args := append([]string{"install", "--yes", "--download-only"}, names...)
	err := a.patiently(ctx, func() error {
		_, err := a.run(ctx, a.dir, "apt-get", args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(a.dir, "cache/archives/*.deb"))
}

// drop removes the packages that were fetched; the lists stay.
func (a apt) drop(ctx context.Context) error {
	_, err := a.run(ctx, a.dir, "apt-get", "clean")
	return err
}

// kernel gives the name of the newest kernel package of a series and flavour.
func (a apt) kernel(ctx context.Context, series, flavour string) (string, error) {
	out, err := a.run(ctx, a.dir, "apt-cache", "pkgnames", "linux-image-"+series+".")
	if err != nil {
		return "", err
	}
	name := newestKernel(strings.Fields(out), series, flavour)
	if name == "" {
		return "", fmt.Errorf("no list of Debian's for %s has a kernel linux-image-%s.*-%s; %s", a.arch, series, flavour,
			"if a list could not be fetched, as told above, try again later")
	}
	return name, nil
}

// newestKernel picks from names of packages such as
// linux-image-6.12.95+deb12-arm64; "" where none fits.
func newestKernel(names []string, series, flavour string) string {
	form := regexp.MustCompile(`^linux-image-` + regexp.QuoteMeta(series) + `\.[0-9][0-9a-z.+]*(-[0-9]+)?-` + regexp.QuoteMeta(flavour) + `$`)
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !form.MatchString(s) })
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, func(a, b string) int {
		return compareVersions(strings.TrimSuffix(a, flavour), strings.TrimSuffix(b, flavour))
	})
}

// compareVersions orders names by the numbers in them.
func compareVersions(a, b string) int {
	numbers := regexp.MustCompile(`[0-9]+`)
	return slices.CompareFunc(numbers.FindAllString(a, -1), numbers.FindAllString(b, -1), func(x, y string) int {
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
}

// hostSources makes a list of sources from those of the machine's apt: its
// Debian 12, and backports from the same place.
func hostSources(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(CREATED_BY) $(COMPONENT) $(CODENAME) $(REPO_URI)").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt-get where this machine's packages come from: %w", err)
	}
	return sourcesFrom(string(out))
}

func sourcesFrom(targets string) (string, error) {
	var lines []string
	add := func(uri, codename string) {
		line := fmt.Sprintf("deb [signed-by=%s] %s %s main", keyring, uri, codename)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for line := range strings.Lines(targets) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != "Packages" || f[1] != "main" || !strings.HasPrefix(f[2], release) {
			continue
		}
		add(f[3], f[2])
		if f[2] == release {
			add(f[3], release+"-backports")
		}
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("this machine's apt has no source of Debian 12 (%s): machines need one (apt-get update may be due)", release)
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// lastLines are the last n lines of a text.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
