package daemon

import (
	"context"
	"errors"
	"os"
	"time"
)

// handOverTime bounds how long a daemon that is to be replaced waits for lookups
// that are under way.
const handOverTime = 2 * time.Second

// errRestart ends the loop.
var errRestart = errors.New("another daemon is to begin")

// Restart is what Run returns where another process is to begin in place of this
// one. Lookups of clients wait in Sockets, which Options.Sockets of that process
// takes.
type Restart struct{ Sockets []*os.File }

// Error implements error.
func (*Restart) Error() string { return errRestart.Error() }

// requestRestart has the loop end.
func (d *daemon) requestRestart(ctx context.Context) error {
	select {
	case d.restarts <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handOver has the resolver answer what it has read, and gives its sockets.
// Without them queries of listed names would be refused until the next process
// listens.
func (d *daemon) handOver() []*os.File {
	if d.server == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), handOverTime)
	defer stop()
	d.serveNames(ctx)
	sockets, err := d.server.server.HandOver(ctx)
	d.warn("hand the resolver's sockets over", err)
	return sockets
}

// closeInherited closes sockets that were not taken: nobody would answer on them.
func (d *daemon) closeInherited() {
	for _, f := range d.o.Sockets {
		d.warn("close an inherited socket", f.Close())
	}
	d.o.Sockets = nil
}
