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

// ownTime is what this process has had of the processors.
func ownTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
