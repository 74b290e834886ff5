// Package cli is the command line of routerd: it parses arguments, asks the
// daemon over its control socket or edits the settings, and prints tables or
// JSON.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/internal/control"
)

// The exit statuses; CONTRACT.md promises them.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitUnreached  = 4
)

// Main runs one command and gives its exit status. Results go to stdout,
// everything else to stderr. SIGINT and SIGTERM end what goes on for long.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := keepMemory(); err != nil {
		fmt.Fprintln(stderr, "routerd:", err)
		return exitFailed
	}
	return newApp(stdin, stdout, stderr).main(ctx, args)
}

// app is what the commands of one call share.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	term   terminal
	now    func() time.Time
	zone   *time.Location // of the times that are shown
	files  files
	ran    bool // a command began: errors from here on are not of usage
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{
		stdin: stdin, stdout: stdout, stderr: stderr,
		term:  newTerminal(stdout, os.Getenv),
		now:   time.Now,
		zone:  time.Local,
		files: defaultFiles(),
	}
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

// silent is an error whose words have been printed already.
type silent struct{ status int }

func (silent) Error() string { return "" }

// usageError is an error of usage that a command finds after it began.
type usageError struct{ error }

// report prints an error with what to do about it, and gives the exit status.
func (a *app) report(cmd *cobra.Command, err error) int {
	var quiet silent
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return quiet.status
	case !a.ran, errors.As(err, &usage):
		a.complain("%v\nTry `%s --help`.", err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, control.ErrNotRunning):
		a.complain("routerd is not running (nothing answers on %s); start it with `/etc/init.d/routerd start` or `routerd run`", a.files.socket)
		return exitNotRunning
	}
	a.complain("%v", err)
	return exitFailed
}

// complain writes to stderr, in the name of the program.
func (a *app) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.HasPrefix(text, "routerd ") {
		text = "routerd: " + text
	}
	_, _ = fmt.Fprintln(a.stderr, text)
}

// client is a client of the daemon on the socket that the flags name.
func (a *app) client() *control.Client { return control.NewClient(a.files.socket) }

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "routerd",
		Short: "Send listed services through a tunnel and leave everything else direct",
		Long: `routerd sends the connections of listed services (exchanges, mining pools and
what belongs to them) through a WireGuard tunnel, chosen by name in the kernel,
and leaves everything else on the direct path.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 the daemon does not run, 4 (check
only) something listed is not reachable over the path in use.`,
		Example: `  routerd status
  routerd check exchanges
  routerd why api.binance.com
  routerd add example.org --to exchanges`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              a.unknown,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetHelpCommand(a.helpCommand())
	root.AddCommand(
		a.runCommand(), a.statusCommand(), a.checkCommand(), a.historyCommand(), a.whyCommand(),
		a.flowsCommand(), a.eventsCommand(),
		a.addCommand(), a.removeCommand(), a.catalogueCommand(), a.listsCommand(), a.tunnelCommand(),
		a.validateCommand(), a.reloadCommand(), a.restartCommand(), a.cleanupCommand(), a.doctorCommand(),
		a.importCommand(), a.reportCommand(), a.versionCommand(), a.rpcdCommand(), a.wireguardCommand(),
	)
	return root
}

// unknown answers a call without a command, or with one that does not exist.
func (a *app) unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(a.stderr)
		_ = cmd.Help()
		return silent{exitUsage}
	}
	path := strings.TrimPrefix(cmd.CommandPath()+" "+args[0], cmd.Root().Name()+" ")
	text := fmt.Sprintf("there is no command %q", path)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usageError{errors.New(text)}
}

// helpCommand replaces cobra's own, which ends with 0 for a topic it does not
// know.
func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Tell about a command",
		Example: "  routerd help tunnel import",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || topic == cmd.Root() && len(rest) > 0 {
				return usageError{fmt.Errorf("there is no command %q", strings.Join(args, " "))}
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// action makes a RunE that notes that the command line was in order.
func (a *app) action(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.ran = true
		return do(cmd.Context(), args)
	}
}
