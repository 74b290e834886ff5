package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/command"
)

const (
	// restartTime bounds how long the next daemon may take to answer.
	restartTime = 3 * time.Minute
	// restartPoll is how often it is asked.
	restartPoll = 50 * time.Millisecond
)

func (a *app) restartCommand() *command.Command {
	cmd := &command.Command{
		Use:   "restart",
		Short: "Have the daemon begin anew, in place",
		Long: `Has the daemon begin anew with the program that lies at its path now, as after
an upgrade, in the same process: no lookup of a client fails meanwhile, it waits,
and no connection is touched. ` + "`/etc/init.d/routerd restart`" + ` does this where a
daemon runs. It returns when the next one answers.`,
		Example: `  routerd restart`,
		Args:    command.None,
	}
	a.socketFlag(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		ctx, stop := context.WithTimeout(ctx, restartTime)
		defer stop()
		before, err := a.client().Status(ctx)
		if err != nil {
			return err
		}
		if err := a.client().Restart(ctx); err != nil {
			return err
		}
		return a.untilNext(ctx, before.Started)
	}
	return cmd
}

// untilNext waits for a daemon that has not been there since before.
func (a *app) untilNext(ctx context.Context, before time.Time) error {
	turns := time.NewTicker(restartPoll)
	defer turns.Stop()
	for {
		s, err := a.client().Status(ctx)
		if err == nil && !s.Started.Equal(before) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the next daemon does not answer, its log says why: %w", errors.Join(err, ctx.Err()))
		case <-turns.C:
		}
	}
}

// inheritedFlag is the option of run that names sockets of the process before.
const inheritedFlag = "inherited"

// become puts the program that lies at this one's path in the place of this
// process, with its arguments and these sockets. It returns only where it fails.
func become(args []string, sockets []*os.File) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	var numbers []string
	for _, f := range sockets {
		fd := f.Fd()
		if _, err := unix.FcntlInt(fd, unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep a socket: %w", err)
		}
		numbers = append(numbers, strconv.Itoa(int(fd)))
	}
	if err := syscall.Exec(program, withInherited(args, numbers), os.Environ()); err != nil {
		return fmt.Errorf("begin %s anew: %w", program, err)
	}
	return nil
}

// withInherited are the arguments of the next process.
func withInherited(args, numbers []string) []string {
	const option = "--" + inheritedFlag + "="
	out := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, option) })
	if len(numbers) > 0 {
		out = append(out, option+strings.Join(numbers, ","))
	}
	return out
}

// openFiles are the files of the process before, by their numbers.
func openFiles(numbers []int) []*os.File {
	var out []*os.File
	for _, n := range numbers {
		unix.CloseOnExec(n)
		if f := os.NewFile(uintptr(n), "inherited socket"); f != nil {
			out = append(out, f)
		}
	}
	return out
}
