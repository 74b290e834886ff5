package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab"
)

func execCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "exec HOST COMMAND [ARGUMENT…]", Short: "Run a program inside a host",
		Long: `Runs a program inside a host with this terminal, and ends with its exit status.
Options of the lab stand before the host. The program "rdlab" is this one; its
command "client" makes traffic as tests do.`,
		Example: `  scripts/lab exec client kdig www.binance.com
  scripts/lab exec --name two router nft list ruleset
  scripts/lab exec client2 curl -6 https://www.okx.com/
  scripts/lab exec client rdlab client stratum stratum.braiins.com:3333 --for 5s`,
		Args: atLeast(2, "a host and a command"),
	}
	name := nameFlag(c)
	c.Flags().SetInterspersed(false) // what follows belongs to the command
	c.RunE = func(_ *cobra.Command, args []string) error {
		return inside(*name, args[0], args[1], args[2:]...)
	}
	return c
}

func shellCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "shell HOST", Short: "Open a shell inside a host",
		Long:    "Opens an interactive shell inside a host, with the host's name in its prompt.",
		Example: "  scripts/lab shell router\n  scripts/lab shell client --name two",
		Args:    atLeast(1, "a host"),
	}
	name := nameFlag(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		return inside(*name, args[0], "env", "PS1=["+args[0]+"] \\w # ", "bash", "--norc", "-i")
	}
	return c
}

// atLeast refuses too few arguments with what is missing.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{fmt.Errorf("%s needs %s, such as:\n%s", c.Name(), what, c.Example)}
		}
		return nil
	}
}

// inside runs a program with our own terminal.
func inside(labName, host, program string, args ...string) error {
	l, err := lab.Open(labName)
	if err != nil {
		return err
	}
	if program == "rdlab" {
		program = l.Program()
	}
	cmd := exec.Command(program, args...)
	if errors.Is(cmd.Err, exec.ErrDot) {
		cmd.Err = nil
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if cmd.Dir, err = os.Getwd(); err != nil {
		return fmt.Errorf("find working directory: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	defer signal.Stop(signals)
	if err := l.Start(host, cmd); err != nil {
		return err
	}
	// A terminal's Ctrl-C reaches the program by itself; one more does no harm.
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	return cmd.Wait() //nolint:wrapcheck // its exit status becomes ours
}
