package tunnel

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// steps is a clock that stands still but for steps.
type steps struct{ now time.Time }

func (s *steps) read() time.Time     { return s.now }
func (s *steps) add(d time.Duration) { s.now = s.now.Add(d) }

// tended looks after tunnels as the daemon does, for a time, and counts the turns in
// which one was looked at whole.
func tended(t *testing.T, m *Manager, lasting time.Duration) (count int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < lasting; {
		again := m.Watch(t.Context(), nil).Again
		if _, any := m.Tend(t.Context()); any {
			count++
		}
		time.Sleep(again)
	}
	return count
}

func TestIdleTunnelIsLookedAtRarelyAndAUsedOneOnceASecond(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	p.echo("10.9.0.1:7")
	m := newTestManager(t, func(o *ManagerOptions) { o.ProbeIdle, o.AnswerTime = time.Hour, time.Hour })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	learned(t, m)
	watched(t, m, nil, "the tunnel is quiet", func(Watched) bool {
		m.Tend(t.Context())
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.tunnels[0].quiet()
	})
	const lasting = 11 * time.Second
	if got, most := tended(t, m, lasting), int(lasting/tendRarely)+2; got == 0 || got > most {
		t.Errorf("an idle tunnel was looked at %d times in %s, want 1 to %d", got, lasting, most)
	}

	before := m.States()[0]
	c, err := dialThrough("10.9.0.1:7")
	must(t, err)
	defer c.Close()
	used := 0
	for range 3 {
		must(t, exchange(c, "used"))
		used += tended(t, m, 1200*time.Millisecond)
	}
	if used < 3 {
		t.Errorf("a tunnel that is used was looked at %d times in 3.6 s", used)
	}
	if now := m.States()[0]; now.RxBytes <= before.RxBytes || now.TxBytes <= before.TxBytes {
		t.Errorf("octets are %d and %d, were %d and %d", now.RxBytes, now.TxBytes, before.RxBytes, before.TxBytes)
	}

	link, err := netlink.LinkByName("rd-home")
	must(t, err)
	must(t, netlink.LinkDel(link))
	tended(t, m, 2*time.Second)
	if s := m.States()[0]; s.Health == Up && s.Index == link.Attrs().Index {
		t.Error("two seconds after its device was deleted a tunnel is up")
	}
}

func TestDoubtedTunnelIsLookedAtAtOnce(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	clock := &steps{time.Now()}
	m := newTestManager(t, func(o *ManagerOptions) { o.Clock, o.AnswerTime = clock.read, time.Hour })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	if _, any := m.Tend(t.Context()); any {
		t.Error("a tunnel was looked at twice at the same time")
	}
	m.Doubt()
	if states, any := m.Tend(t.Context()); !any || len(states) != 1 {
		t.Errorf("it was not looked at: %v", states)
	}
}

func TestNewTunnelIsLookedAtSoonAndThenMoreRarely(t *testing.T) {
	newWorld(t) // in which nobody answers
	ours, _ := keys(t)
	_, theirPub := keys(t)
	clock := &steps{time.Now()}
	m := newTestManager(t, func(o *ManagerOptions) { o.Clock, o.AnswerTime = clock.read, time.Hour })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	var looks []time.Duration
	for since := time.Duration(0); since < 10*time.Second; {
		again := m.Watch(t.Context(), nil).Again
		if _, any := m.Tend(t.Context()); any {
			looks = append(looks, since)
		}
		clock.add(again)
		since += again
	}
	first := 0
	for _, at := range looks {
		if at < time.Second {
			first++
		}
	}
	if first < 6 || len(looks) > 35 {
		t.Errorf("looked at after %v: %d times in the first second, want 6 or more; %d in all, want 35 at most", looks, first, len(looks))
	}
}
