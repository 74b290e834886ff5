package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// fillDisk leaves no room in the state directory while the daemon works.
func fillDisk(ctx context.Context, r *run, e Event) (string, error) {
	const fill = owned.StateDir + "/fill"
	// dd ends with an error: that is what it is for.
	if _, err := r.router(ctx, "dd if=/dev/zero of="+fill+" bs=4096 2>/dev/null || true"); err != nil {
		return "", err
	}
	words := "state directory full"
	switch e.Variant % 3 {
	case 0:
		words += ", kill -9"
		if err := r.daemon.kill(); err != nil {
			return "", err
		}
	case 1:
		words += ", restart"
		if _, err := restart(ctx, r, e); err != nil {
			return "", err
		}
	case 2:
		words += ", reload"
		if _, err := reload(ctx, r, e); err != nil {
			return "", err
		}
	}
	if err := r.settle(ctx, fmt.Sprintf("%-18s %s", e, words), r.o.Converge); err != nil {
		return "", err
	}
	_, err := r.router(ctx, "rm -f "+fill)
	return words + ", room again", err
}

// shortMemory gives the daemon and its processes less memory than they use.
func shortMemory(ctx context.Context, r *run, e Event) (string, error) {
	used, err := r.memory.used()
	if err != nil {
		return "", err
	}
	limit := used * []int64{9, 7, 5}[e.Variant%3] / 10
	if err := r.memory.set(limit); err != nil {
		return "", err
	}
	err = r.wait(ctx, e.Hold)
	return fmt.Sprintf("%d of %d KiB of memory for %.1f s", limit>>10, used>>10, e.Hold.Seconds()),
		errors.Join(err, r.memory.lift())
}

// jumpClock sets this machine's clock years forth or back for a while. The lab's
// certificates do not hold then, so that nothing is asked of listed names
// meanwhile.
func jumpClock(ctx context.Context, r *run, e Event) (string, error) {
	years := []int{3, -20, 15}[e.Variant%3]
	if err := moveClock(years); err != nil {
		return "", err
	}
	err := errors.Join(r.wait(ctx, 2*e.Hold), moveClock(-years))
	return fmt.Sprintf("clock %+d years for %.1f s", years, 2*e.Hold.Seconds()), err
}

// moveClock moves the clock by years of 365 days.
func moveClock(years int) error {
	to := time.Now().Add(time.Duration(years) * 365 * 24 * time.Hour)
	t, err := unix.TimeToTimespec(to)
	if err != nil {
		return fmt.Errorf("move clock: %w", err)
	}
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &t); err != nil {
		return fmt.Errorf("move clock: %w", err)
	}
	return nil
}
