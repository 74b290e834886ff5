package daemon

import (
	"time"

	"github.com/routerd/routerd/internal/memory"
)

const (
	// settleTime is how long after settings came into force the daemon has done
	// what only a start does: names are looked up by then.
	settleTime = 2 * time.Minute
	// releaseEvery is how often what was used once is let go of later on.
	releaseEvery = time.Hour
)

// releaseProgram lets go of the program's pages that a start or something rare has
// used. Those that are needed come back from the kernel's cache.
func (d *daemon) releaseProgram(now time.Time) {
	if now.Before(d.release) {
		return
	}
	d.release = now.Add(releaseEvery)
	released, err := memory.ReleaseProgram()
	d.warn("let go of the program's pages", err)
	d.log.Debug("the program's pages were let go of", "octets", uint64(released))
}
