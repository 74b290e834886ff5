package daemon

import (
	"context"
	"time"

	"github.com/routerd/routerd/netcfg"
)

// The pause between two flushes: it doubles while packets go on being stopped, so
// that one that no flush helps costs no more than that.
const (
	flushAgain    = time.Second
	flushAgainMax = time.Minute
)

// fast is what the loop knows of connections that are forwarded past the rules.
type fast struct {
	guarded uint64 // packets stopped at the WAN, when last counted
	waiting bool   // some were, and nothing has been done about it
	pause   time.Duration
	flushed time.Time
}

// due says whether the flowtable is to be flushed: packets have been stopped at the
// WAN since the last time, and that was long enough ago.
func (f *fast) due(guarded uint64, now time.Time) bool {
	f.waiting = f.waiting || guarded != f.guarded
	f.guarded = guarded
	since := now.Sub(f.flushed)
	if !f.waiting || since < f.pause {
		return false
	}
	if since > 2*f.pause {
		f.pause = 0
	}
	f.pause = min(max(2*f.pause, flushAgain), flushAgainMax)
	f.waiting, f.flushed = false, now
	return true
}

// offload lets the kernel forward established connections past the rules, now that
// programs are in place. Without it everything works, only slower. In a new process
// routes into the tunnels come first: use applies once more.
func (d *daemon) offload(ctx context.Context, want netcfg.Desired, e extent) {
	if e == everything && !d.view.applied {
		return
	}
	slow, err := d.net.Offload(ctx, want)
	d.warn("let established connections pass the rules by", err)
	if err != nil {
		slow = err.Error()
	}
	if slow != d.view.slow {
		d.log.Debug("flow offload", "off", slow)
	}
	d.set(func(v *view) { v.slow = slow })
}

// mendOffload flushes the flowtable when the guard has stopped packets at the WAN:
// a connection that goes past the rules began before its address became listed. Its
// next packet meets the rules, which end it, so that the client's retry takes the
// tunnel.
func (d *daemon) mendOffload(ctx context.Context, now time.Time) {
	if d.view.slow != "" {
		return
	}
	guarded, err := d.dp.Guarded()
	if err != nil {
		d.warn("count packets stopped at the WAN", err)
		return
	}
	if d.fast.due(guarded, now) {
		d.warn("put connections back under the rules", d.net.FlushOffload(ctx))
	}
}
