package tunnel

import (
	"context"
	"time"

	"github.com/vishvananda/netlink"
)

// lingerTime is how long a standby tunnel stays after it was needed last: what
// needed it may again in a moment.
const lingerTime = 5 * time.Minute

// Need says which standby tunnels are needed now, by name. It is to be called
// whenever that is decided, at least once a minute while one is; the next Refresh
// or Tend brings them up, or down when they have not been needed for five minutes.
// Tunnels that are no standby ones are always there.
func (m *Manager) Need(names map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opts.Clock()
	for _, t := range m.tunnels {
		if t.spec.Standby && names[t.spec.Name] {
			t.neededAt, t.needed = now, true
		}
	}
}

// asleep sees to a standby tunnel that is not needed, and says whether it is one.
// A device that is there at first is an earlier process', which had its reasons.
func (m *Manager) asleep(ctx context.Context, t *tunnel, now time.Time) (bool, error) {
	if !t.spec.Standby {
		return false, nil
	}
	t.needed = false
	link, err := linkByName(t.spec.Device)
	if err != nil {
		return false, err
	}
	if t.neededAt.IsZero() && link != nil {
		t.neededAt = now
	}
	if !t.neededAt.IsZero() && now.Sub(t.neededAt) < lingerTime {
		return false, nil
	}
	return true, m.sleep(ctx, t, link)
}

// sleep takes a standby tunnel's device away, if it is there.
func (m *Manager) sleep(ctx context.Context, t *tunnel, link netlink.Link) error {
	if link != nil || t.child != nil {
		m.log.Info("putting standby tunnel to sleep", "tunnel", t.spec.Name)
		if err := m.discard(ctx, t, link); err != nil {
			return err
		}
	}
	t.renewed(0)
	t.state = State{
		Name: t.spec.Name, Device: t.spec.Device, Backend: t.state.Backend, Health: Down, Cause: CauseStandby,
		Reason: "standby: it is brought up when a destination needs it",
	}
	t.settled, t.crashes, t.retryAt = false, 0, time.Time{}
	return nil
}
