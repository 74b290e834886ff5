package tunnel

import (
	"sync/atomic"
	"time"
)

// gate bounds how many packets are inside wireguard-go at once in one
// direction. wireguard-go gives each a buffer of 64 KiB and queues up to 1,024
// of them, which a router of 64 MB does not have; here the kernel's queues hold
// the rest. wireguard-go also drops packets without a word, so that the count
// may be too high: who waits in vain for gatePatience starts from zero.
type gate struct {
	limit  int64
	inside atomic.Int64
	freed  chan struct{} // capacity 1: somebody left
}

// gatePatience is far longer than a packet takes and short enough that lost
// counts do not matter.
const gatePatience = 10 * time.Millisecond

func newGate(limit int) *gate {
	return &gate{limit: int64(limit), freed: make(chan struct{}, 1)}
}

// wait returns when there is room for one more.
func (g *gate) wait() {
	if g.inside.Load() < g.limit {
		return
	}
	timer := time.NewTimer(gatePatience)
	defer timer.Stop()
	for g.inside.Load() >= g.limit {
		select {
		case <-g.freed:
		case <-timer.C:
			g.inside.Store(0)
			return
		}
	}
}

// enter counts a packet that goes in.
func (g *gate) enter() { g.inside.Add(1) }

// leave counts a packet that comes out.
func (g *gate) leave() {
	if g.inside.Add(-1) < 0 {
		g.inside.CompareAndSwap(-1, 0)
	}
	select {
	case g.freed <- struct{}{}:
	default:
	}
}
