package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/machine"
)

// context ends with the command line's, or at the time limit.
func (a *app) context(c *cobra.Command) (context.Context, context.CancelFunc) {
	if a.limit <= 0 {
		return context.WithCancel(c.Context())
	}
	return context.WithTimeoutCause(c.Context(), a.limit, fmt.Errorf("it ran for %s (--timeout)", a.limit))
}

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "name the targets", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "TARGET\tGO\tKERNEL\tMEMORY\tCACHED")
			for _, t := range machine.Targets() {
				cached, err := store.Version(t)
				if err != nil {
					cached = "no"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d MiB\t%s\n", t.Name, t.Arch, t.Series, t.Memory, cached)
			}
			return w.Flush()
		},
	}
}

func (a *app) fetchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fetch [TARGET …]", Short: "fetch or build kernels and tools ahead of their use",
		Example: "  scripts/vm fetch\n  scripts/vm fetch mips mipsel",
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := chosen(args)
			if err != nil {
				return err
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			var failed []error
			for _, t := range targets {
				if err := store.Fetch(c.Context(), t); err != nil {
					failed = append(failed, err)
					continue
				}
				version, err := store.Version(t)
				if err != nil {
					return err
				}
				a.say("%s: Linux %s is there", t.Name, version)
			}
			return errors.Join(failed...)
		},
	}
}

// chosen gives the targets of their names; none or all: every one.
func chosen(names []string) ([]machine.Target, error) {
	if len(names) == 0 || slices.Equal(names, []string{"all"}) {
		return machine.Targets(), nil
	}
	var out []machine.Target
	for _, name := range names {
		t, err := machine.Find(name)
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, t)
	}
	return out, nil
}

func (a *app) testCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test TARGET PACKAGE … [go test's flags]", Short: "run tests of packages in a machine",
		Example:            "  scripts/vm test mipsel ./ebpf -run TestSteer -v",
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			// Flags are go test's, but for the one that scripts/vm puts ahead.
			if len(args) > 2 && args[0] == "--root" {
				a.root, args = args[1], args[2:]
			}
			if len(args) < 2 || slices.Contains(args, "--help") || slices.Contains(args, "-h") {
				return c.Help()
			}
			t, err := machine.Find(args[0])
			if err != nil {
				return usageError{err}
			}
			cmd := goTest(c.Context(), a.root, t, nil, args[1:])
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			err = cmd.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				a.status = exit.ExitCode()
				return nil
			}
			return err
		},
	}
}

// goTest is a run of go test whose test programs run in a machine; flags are those
// of scripts/vm for it. Vetting is done where the code is for this machine.
func goTest(ctx context.Context, root string, t machine.Target, flags, args []string) *exec.Cmd {
	wrapper := strings.Join(append([]string{filepath.Join(root, "scripts/vm"), "--quiet", t.Name}, flags...), " ")
	args = append([]string{t.Arch, "test", "-count=1", "-p=1", "-vet=off", "-timeout=2h", "-exec", wrapper + " --"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts/cross"), args...)
	cmd.Dir = root
	return machine.Together(cmd)
}
