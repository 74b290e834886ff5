package daemon

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// gentleMost bounds one wait of gentle: work goes on, however busy the process is.
const gentleMost = time.Second

// gentle holds work that nobody waits for back while this process is busy: on the
// processor of a small router it would stand in the way of what somebody does wait
// for, such as a tunnel that has just come up. It belongs to one goroutine.
type gentle struct {
	used func() time.Duration // processor time of this process so far

	before time.Duration // used, when the last piece of work began
	began  time.Time     // when that was; zero: never
}

// pause is how long to wait before the next piece of work, so that the process
// takes no more than half of one processor.
func (g *gentle) pause(now time.Time) time.Duration {
	used := g.used()
	owed := 2*(used-g.before) - now.Sub(g.began)
	if g.began.IsZero() || owed < 0 {
		owed = 0
	}
	owed = min(owed, gentleMost)
	g.before, g.began = used, now.Add(owed)
	return owed
}

// wait waits for the next piece of work; false when ctx has ended.
func (g *gentle) wait(ctx context.Context) bool {
	pause := g.pause(time.Now())
	if pause == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// processorTime is what this process has used of the processors, in user and
// kernel mode; 0 where the kernel does not tell.
func processorTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
