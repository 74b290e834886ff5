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

	"github.com/routerd/routerd/internal/command"
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
	cmd, err := a.root().Execute(ctx, args, a.stdout)
	return a.report(cmd, err)
}

// silent is an error whose words have been printed already.
type silent struct{ status int }

func (silent) Error() string { return "" }

// usageError is an error of usage that a command finds after it began.
type usageError struct{ error }

// report prints an error with what to do about it, and gives the exit status.
func (a *app) report(cmd *command.Command, err error) int {
	var quiet silent
	var usage usageError
	var line command.UsageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return quiet.status
	case errors.Is(err, command.ErrIncomplete):
		_ = cmd.Help(a.stderr)
		return exitUsage
	case errors.As(err, &usage), errors.As(err, &line):
		a.complain("%v\nTry `%s --help`.", err, cmd.Path())
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
func (a *app) root() *command.Command {
	root := &command.Command{
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
	}
	root.Add(
		a.runCommand(), a.statusCommand(), a.checkCommand(), a.historyCommand(), a.whyCommand(),
		a.flowsCommand(), a.eventsCommand(),
		a.addCommand(), a.removeCommand(), a.catalogueCommand(), a.listsCommand(), a.tunnelCommand(),
		a.validateCommand(), a.reloadCommand(), a.restartCommand(), a.cleanupCommand(), a.doctorCommand(),
		a.importCommand(), a.reportCommand(), a.versionCommand(), a.rpcdCommand(), a.wireguardCommand(),
		a.helpCommand(root),
	)
	return root
}

// helpCommand tells about the command that its arguments name.
func (a *app) helpCommand(root *command.Command) *command.Command {
	return &command.Command{
		Use:     "help [COMMAND]",
		Short:   "Tell about a command",
		Example: "  routerd help tunnel import",
		Run: func(_ context.Context, args []string) error {
			topic, rest := root.Find(args)
			if topic == root && len(rest) > 0 {
				return usageError{fmt.Errorf("there is no command %q", strings.Join(args, " "))}
			}
			return topic.Help(a.stdout)
		},
	}
}
