package machine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kernelConfig is the configuration of the kernel that is built here: what
// differs from allnoconfig.
func (c Cache) kernelConfig() string { return filepath.Join(c.Root, "test/machine/kernel-mips.config") }

// steps is about how many lines a build of that configuration prints: it only
// serves the progress.
const steps = 2100

// fromSource fills a folder with a kernel for big-endian MIPS, which Debian does
// not build, from Debian's source. What an interrupted build has made is used by
// the next.
func (c Cache) fromSource(ctx context.Context, t Target, dir string) error {
	if err := needPrograms("dpkg", "tar", "xz", "make", "gcc", "mips-linux-gnu-gcc", "flex", "bison", "bc"); err != nil {
		return err
	}
	tree, err := c.kernelSource(ctx, t)
	if err != nil {
		return err
	}
	run := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "make", append([]string{"--directory", tree, "ARCH=mips", "CROSS_COMPILE=mips-linux-gnu-"}, args...)...)
		// What is in the image must not depend on who builds it, where and when.
		cmd.Env = append(os.Environ(), "KBUILD_BUILD_USER=routerd", "KBUILD_BUILD_HOST=machine", "KBUILD_BUILD_TIMESTAMP=1970-01-01", "LC_ALL=C")
		return cmd
	}
	if out, err := run("KCONFIG_ALLCONFIG="+c.kernelConfig(), "allnoconfig").CombinedOutput(); err != nil {
		return fmt.Errorf("configure kernel: %w\n%s", err, lastLines(string(out), 10))
	}
	if err := sameConfig(c.kernelConfig(), filepath.Join(tree, ".config")); err != nil {
		return err
	}
	if err := c.compile(run("-j", strconv.Itoa(runtime.NumCPU()), "vmlinux"), t); err != nil {
		return err
	}
	version, err := run("--silent", "kernelrelease").Output()
	if err != nil {
		return fmt.Errorf("ask for kernel's version: %w", err)
	}
	// QEMU needs no symbols; they are nine tenths of the file.
	if err := quietly(ctx, "", "mips-linux-gnu-strip", "-o", filepath.Join(dir, "kernel"), filepath.Join(tree, "vmlinux")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "modules/list"), nil, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte(strings.TrimSpace(string(version))), 0o644); err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

// kernelSource gives the folder of the kernel's source, unpacked.
func (c Cache) kernelSource(ctx context.Context, t Target) (string, error) {
	name := "linux-source-" + t.Series
	tree := filepath.Join(c.Dir, name)
	if _, err := os.Stat(filepath.Join(tree, "Makefile")); err == nil {
		c.Say("%s: going on with %s", t.Name, tree)
		return tree, nil
	}
	native, err := exec.CommandContext(ctx, "dpkg", "--print-architecture").Output()
	if err != nil {
		return "", fmt.Errorf("ask dpkg for this machine's architecture: %w", err)
	}
	arch := strings.TrimSpace(string(native))
	unlock, err := lock(filepath.Join(c.Dir, "apt-"+arch+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	a := apt{dir: filepath.Join(c.Dir, "apt-"+arch), arch: arch, say: c.Say}
	if err := a.open(ctx); err != nil {
		return "", err
	}
	c.Say("%s: fetching %s", t.Name, name)
	temp := tree + ".new"
	defer os.RemoveAll(temp)
	if err := os.RemoveAll(temp); err != nil {
		return "", fmt.Errorf("clear cache: %w", err)
	}
	deb, err := a.download(ctx, temp, name)
	if err != nil {
		return "", err
	}
	if err := quietly(ctx, "", "dpkg", "--extract", deb, temp); err != nil {
		return "", err
	}
	c.Say("%s: unpacking %s", t.Name, name)
	if err := quietly(ctx, "", "tar", "--extract", "--directory", temp, "--file", filepath.Join(temp, "usr/src", name+".tar.xz")); err != nil {
		return "", err
	}
	return tree, os.Rename(filepath.Join(temp, name), tree)
}

// compile runs the build and tells how far it is.
func (c Cache) compile(cmd *exec.Cmd, t Target) error {
	c.Say("%s: building the kernel, 4 to 10 minutes on two idle cores", t.Name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("build kernel: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := Together(cmd).Start(); err != nil {
		return fmt.Errorf("build kernel: %w", err)
	}
	last := c.progress(out, t)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("build kernel: %w\n%s", err, strings.Join(last, "\n"))
	}
	return nil
}

// progress reads a build's lines and gives the last of them.
func (c Cache) progress(out io.Reader, t Target) []string {
	var last []string
	told, n := time.Now(), 0
	for s := bufio.NewScanner(out); s.Scan(); n++ {
		last = append(last[max(0, len(last)-20):], s.Text())
		if time.Since(told) > 30*time.Second {
			c.Say("%s: building the kernel, about %d %%", t.Name, min(99, n*100/steps))
			told = time.Now()
		}
	}
	return last
}

// sameConfig makes sure that the kernel took every option: kconfig drops in
// silence what it does not know, or what lacks something else.
func sameConfig(want, got string) error {
	asked, err := os.ReadFile(want)
	if err != nil {
		return fmt.Errorf("read kernel's options: %w", err)
	}
	raw, err := os.ReadFile(got)
	if err != nil {
		return fmt.Errorf("read kernel's options: %w", err)
	}
	have := strings.Split(string(raw), "\n")
	var missing []string
	for line := range strings.Lines(string(asked)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, "=n") && !slices.Contains(have, line) {
			missing = append(missing, line)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the kernel did not take %s of %s", strings.Join(missing, ", "), filepath.Base(want))
	}
	return nil
}
