package router

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSleepingCostsNoProcessorTime finds golang/go#77934 where the toolchain has
// it and was not cured: on big-endian MIPS every sleep of less than a second
// spins. Others' work on this machine may cost a try some time, not all of them.
func TestSleepingCostsNoProcessorTime(t *testing.T) {
	const tries, asleep, most = 5, 2 * time.Second, 200 * time.Millisecond
	var least time.Duration = asleep
	for try := 0; try < tries && least > most; try++ {
		before := ownTime(t)
		for start := time.Now(); time.Since(start) < asleep; {
			time.Sleep(900 * time.Millisecond)
		}
		least = min(least, ownTime(t)-before)
	}
	t.Logf("%s of sleeping took %s of the processor", asleep, least)
	if least > most {
		t.Errorf("%s of sleeping took %s of the processor at best, want at most %s", asleep, least, most)
	}
}

// comesToRest waits until the daemon leaves the processor alone for a while. One that
// spins, as without the cure for golang/go#77934 on big-endian MIPS, never does; one that
// has just started looks names up, and does after some minutes.
func (w *world) comesToRest() {
	w.Helper()
	const window = 10 * time.Second
	pid := w.daemon.Process.Pid
	w.within("the daemon comes to rest", func() bool {
		before, began := processorTime(w, pid), time.Now()
		w.within("time passes", func() bool { return time.Since(began) > window })
		share := float64(processorTime(w, pid)-before) / float64(time.Since(began)) * 100
		w.Logf("figure idle %.2f", share)
		return share <= idleAnywhere
	})
	w.tellMemory(pid)
}

// ownTime is what this process has had of the processors.
func ownTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
