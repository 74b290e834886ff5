package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/routerd/routerd/test/machine"
	"github.com/routerd/routerd/test/machine/job"
)

// app is what the command line asks for.
type app struct {
	root    string // of the repository
	cache   string
	memory  int
	shares  []string
	limit   time.Duration
	figures string
	counted bool
	quiet   bool
	status  int // what to end with when nothing failed
}

// usageError marks errors of the command line.
type usageError struct{ error }

func wrong(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// command is the whole command line.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "vm TARGET [-- COMMAND …]",
		Short: "Run programs and tests on real kernels of other architectures",
		Long: `Run programs and tests on real kernels of other architectures, in virtual
machines: ` + strings.Join(machine.Names(), ", ") + `.

Without a command there is a shell. The command sees this repository at its own
path, read-only, and the folder of its program; what it writes elsewhere is in
memory and gone when it ends. A machine has no network but lo. Kernels and
Debian's tools are fetched once, into ${XDG_CACHE_HOME:-~/.cache}/routerd-vm.`,
		Example: `  scripts/vm mipsel
  scripts/vm arm64 -- uname -a
  scripts/vm mips --memory 96 -- build/routerd-mips_24kc version
  scripts/vm test mipsel ./ebpf -run TestSteer
  scripts/cross mips test -exec "$PWD/scripts/vm mips --" ./ebpf
  scripts/vm all`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              a.one,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	p := root.PersistentFlags()
	p.StringVar(&a.root, "root", "", "the repository")
	_ = p.MarkHidden("root")
	p.StringVar(&a.cache, "cache", "", "where kernels and tools are kept")
	p.BoolVarP(&a.quiet, "quiet", "q", false, "do not tell of progress")
	f := root.Flags()
	f.IntVar(&a.memory, "memory", 0, "MiB, instead of the target's own")
	f.StringSliceVar(&a.shares, "share", nil, "another folder that the machine sees")
	f.DurationVar(&a.limit, "timeout", 0, "stop the machine after so long")
	f.BoolVar(&a.counted, "counted", false, "have the machine's time pass by the instructions it executes, not by the clock")
	f.StringVar(&a.figures, "figures", "", "add what came of the command to this file, as a line of JSON")
	root.AddCommand(a.listCommand(), a.fetchCommand(), a.testCommand(), a.allCommand())
	return root
}

// store is the cache that the command line means.
func (a *app) store() (machine.Cache, error) {
	root := a.root
	if root == "" {
		return machine.Cache{}, usageError{errors.New("--root is needed: start scripts/vm")}
	}
	dir := a.cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return machine.Cache{}, fmt.Errorf("find a place for kernels: %w (or use --cache)", err)
		}
		dir = filepath.Join(user, "routerd-vm")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return machine.Cache{}, fmt.Errorf("find cache: %w", err)
	}
	return machine.Cache{Dir: dir, Root: root, Say: a.say}, nil
}

// say tells of progress.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(os.Stderr, "vm: "+format+"\n", args...)
	}
}

// one runs one command, or a shell, in one machine.
func (a *app) one(c *cobra.Command, args []string) error {
	t, err := targetOf(c, args)
	if err != nil {
		return usageError{err}
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	o, err := a.options(args[1:])
	if err != nil {
		return err
	}
	argv := args[1:]
	if len(argv) == 0 {
		argv = []string{"/bin/bash", "-l"}
		restore, err := a.shell(t, &o)
		if err != nil {
			return err
		}
		defer restore()
	}
	ctx, stop := a.context(c)
	defer stop()
	r, err := store.Run(ctx, t, argv, o)
	if errors.Is(err, machine.ErrHung) {
		return errors.Join(err, a.note(job.Result{Hung: true}))
	}
	if err != nil {
		return err
	}
	a.status = r.Status
	return a.note(r)
}

// targetOf is the target of a command line.
func targetOf(c *cobra.Command, args []string) (machine.Target, error) {
	dash, all := c.ArgsLenAtDash(), len(args)
	if dash != 1 && !(dash < 0 && all == 1) {
		return machine.Target{}, fmt.Errorf("want a target and, behind --, a command: %s", c.UseLine())
	}
	return machine.Find(args[0])
}

// shell prepares for a shell in a machine; what it gives restores the terminal.
func (a *app) shell(t machine.Target, o *machine.Options) (restore func(), err error) {
	if t.Debian == "" {
		return nil, fmt.Errorf("there is no shell for %s: Debian has no packages for it. scripts/vm s390x is a big-endian machine with one", t.Name)
	}
	o.Terminal, o.Stdin = true, os.Stdin
	return a.typing(o)
}

// typing prepares the terminal for a shell in a machine; what it gives restores
// it.
func (a *app) typing(o *machine.Options) (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, usageError{errors.New("a shell needs a terminal; name a command behind --")}
	}
	width, height, err := term.GetSize(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for the terminal's size: %w", err)
	}
	o.Columns, o.Rows = uint16(width), uint16(height)
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("prepare terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, before) }, nil
}

// options of a run; the folder of the program is shared if it is not in the
// repository.
func (a *app) options(argv []string) (machine.Options, error) {
	dir, err := os.Getwd()
	if err != nil {
		return machine.Options{}, fmt.Errorf("find folder: %w", err)
	}
	o := machine.Options{Memory: a.memory, Counted: a.counted, Stdout: os.Stdout}
	if within(dir, a.root) {
		o.Dir = dir
	}
	shares := a.shares
	if len(argv) > 0 && filepath.IsAbs(argv[0]) {
		if _, err := os.Stat(argv[0]); err == nil && !inMachine(argv[0]) {
			shares = append(shares, filepath.Dir(argv[0]))
		}
	}
	for _, s := range shares {
		abs, err := folder(s)
		if err != nil {
			return o, err
		}
		if !within(abs, a.root) {
			o.Shares = append(o.Shares, abs)
		}
	}
	return o, nil
}

// folder is the absolute path of a folder that is to be shared.
func folder(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("find share %s: %w", name, err)
	}
	if fi, err := os.Stat(abs); err != nil || !fi.IsDir() {
		return "", usageError{fmt.Errorf("--share %s is no folder", name)}
	}
	return abs, nil
}

// inMachine says whether a machine has a program of its own at a path.
func inMachine(path string) bool {
	for _, dir := range []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin"} {
		if within(path, dir) {
			return true
		}
	}
	return false
}

// within says whether a path is a folder or in it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// note adds a result to the file of figures.
func (a *app) note(result any) error {
	if a.figures == "" {
		return nil
	}
	line, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	f, err := os.OpenFile(a.figures, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
