package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/daemon"
)

func (a *app) runCommand() *command.Command {
	cmd := &command.Command{
		Use:   "run",
		Short: "Run the daemon, in the foreground",
		Long: `Runs the daemon in the foreground; it logs to standard error. SIGHUP makes it
read its settings again, SIGINT and SIGTERM end it. What it made in the kernel
stays and goes on steering: ` + "`routerd cleanup`" + ` removes it.`,
		Example: `  routerd run
  routerd run --config ./routerd.uci --socket /tmp/a.sock --state-dir /tmp/a --bpf-dir /sys/fs/bpf/a`,
		Args: command.None,
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.stateFlags(cmd)
	cmd.String(&a.files.listDir, "list-dir", "`DIR` of the lists' last good content; one for each daemon")
	var inherited []int
	cmd.Ints(&inherited, inheritedFlag, "`FDS` of the resolver's sockets, from the process before").Hidden = true
	level := "info"
	cmd.String(&level, "log-level", "`LEVEL` until the settings are read: debug, info, warn or error")
	cmd.Run = func(ctx context.Context, _ []string) error {
		o, err := a.daemonOptions(level)
		if err != nil {
			return err
		}
		hangups, stop := hangups(ctx)
		defer stop()
		o.Reload, o.Sockets = hangups, openFiles(inherited)
		err = unlessEnded(ctx, daemon.Run(ctx, o))
		var next *daemon.Restart
		if errors.As(err, &next) {
			return become(os.Args, next.Sockets)
		}
		return err
	}
	return cmd
}

// unlessEnded drops the error of a start that a signal broke off: it did as it
// was told.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (a *app) cleanupCommand() *command.Command {
	cmd := &command.Command{
		Use:   "cleanup",
		Short: "Remove everything of routerd from the kernel",
		Long: `Removes every device, rule, route, firewall rule, tc filter and pinned map of
routerd from the kernel. It needs no daemon and no stored state; doing it twice
changes nothing. Stop the daemon first.`,
		Example: `  /etc/init.d/routerd stop && routerd cleanup`,
		Args:    command.None,
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.stateFlags(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		o, err := a.daemonOptions("info")
		if err != nil {
			return err
		}
		return daemon.Cleanup(ctx, o)
	}
	return cmd
}

func (a *app) daemonOptions(level string) (daemon.Options, error) {
	lv := new(slog.LevelVar)
	if err := parseLevel(lv, level); err != nil {
		return daemon.Options{}, err
	}
	return daemon.Options{
		ConfigFile: a.files.config,
		Socket:     a.files.socket,
		StateDir:   a.files.state,
		BPFDir:     a.files.bpf,
		ListDir:    a.files.listDir,
		Version:    release,
		Log:        slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: lv})),
		LogLevel:   lv,
	}, nil
}

// parseLevel takes the words of option log_level, not slog's "info+2".
func parseLevel(lv *slog.LevelVar, s string) error {
	switch strings.ToLower(s) {
	case "debug", "info", "warn", "error":
		return lv.UnmarshalText([]byte(s))
	}
	return usageError{fmt.Errorf("--log-level %q: debug, info, warn or error is allowed", s)}
}

// hangups turns SIGHUPs into requests to reload. Several that come before the
// daemon takes one are one.
func hangups(ctx context.Context) (requests <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 1)
	out := make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with stop
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		cancel()
	}
}
