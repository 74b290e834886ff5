package tunnel

import (
	"context"
	"time"

	"github.com/routerd/routerd/internal/config"
)

// How often Tend looks at a tunnel whole, which costs some twenty times what a
// look at its device's counters does.
const (
	// tendTime is for one that is not as it shall be or carries packets, and
	// tendRarely for one that is idle.
	tendTime   = time.Second
	tendRarely = 5 * time.Second
	// tendSlack keeps a timer that is a little early from making a turn of two.
	tendSlack = tendTime / 10
	// tendSoonest is for one that has only been made: its peer answers within a
	// round trip, and clients wait for that. The longer it takes the more rarely is
	// looked.
	tendSoonest = 50 * time.Millisecond
)

// packets are a device's counters.
type packets struct{ rx, tx uint64 }

// Tend does what Refresh does for the tunnels that are due, and says whether there
// were any: those that are new many times in their first second, those that are not
// as they shall be or carry packets once a second, and those that are idle every
// five seconds. It costs nothing else, and is meant to be called after each Watch,
// which reads the counters.
func (m *Manager) Tend(ctx context.Context) ([]State, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, any := m.opts.Clock(), false
	for _, t := range m.tunnels {
		if ctx.Err() != nil {
			break
		}
		if now.Sub(t.tendedAt) >= t.rest(now) {
			any = true
			m.tend(ctx, t)
		}
	}
	if !any {
		return nil, false
	}
	m.reap()
	return m.publish(), true
}

// Doubt has the next Tend look at every tunnel: devices, addresses or routes have
// changed.
func (m *Manager) Doubt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tunnels {
		t.tendedAt = time.Time{}
	}
}

// tend steps one tunnel and takes note of what its device had carried before.
func (m *Manager) tend(ctx context.Context, t *tunnel) {
	t.tendedAt, t.carried = m.opts.Clock(), packets{t.pulse.rx, t.pulse.tx}
	if err := m.step(ctx, t); err != nil && t.firstTime(err) {
		m.log.Warn("tunnel is not as it shall be", "tunnel", t.spec.Name, "error", err)
	}
}

// rest is how long after the last look at a tunnel the next one is due.
func (t *tunnel) rest(now time.Time) time.Duration {
	switch {
	case t.quiet():
		return tendRarely
	case t.state.Health == Connecting && t.settled && t.dead == "":
		return min(max(now.Sub(t.began())/4, tendSoonest), tendTime-tendSlack)
	}
	return tendTime - tendSlack
}

// quiet says whether nothing can have happened to a tunnel that matters at once:
// it is up, nobody owes an answer, and its device, which is there, has carried
// nothing since it was looked at. In userspace handshakes and keepalives are not
// counted: they may be told of five seconds late.
func (t *tunnel) quiet() bool {
	if t.state.Cause == CauseStandby {
		return !t.needed
	}
	settled := t.spec.Type == config.TunnelInterface || t.settled && !t.fresh
	if t.state.Health != Up || t.dead != "" || t.call != nil || t.pulse.at.IsZero() || !settled {
		return false
	}
	return !t.asked() && t.carried == packets{t.pulse.rx, t.pulse.tx}
}

// asked says whether a peer owes an answer.
func (t *tunnel) asked() bool {
	for _, p := range t.peers {
		if !p.track.askedAt.IsZero() {
			return true
		}
	}
	return false
}

// began is when the newest of a tunnel's peers was seen first.
func (t *tunnel) began() time.Time {
	var newest time.Time
	for _, p := range t.peers {
		if p.track.began.After(newest) {
			newest = p.track.began
		}
	}
	return newest
}
