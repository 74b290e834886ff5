package tunnel

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// watched calls Watch as its user does until ok says so, and fails the test when
// that takes too long.
func watched(t *testing.T, m *Manager, line []string, what string, ok func(Watched) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		w := m.Watch(t.Context(), line)
		if ok(w) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(w.Again)
	}
}

// learned waits until it is known that the tunnel's peer answers.
func learned(t *testing.T, m *Manager) {
	t.Helper()
	watched(t, m, nil, "the peer answers questions", func(Watched) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.tunnels[0].pulse.answers >= knownAnswers
	})
}

// chatter makes the line carry packets both ways while it goes on.
func chatter(t *testing.T) {
	t.Helper()
	c, err := net.Dial("udp4", "192.0.2.3:9")
	must(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with the test; each datagram is answered by an ICMP error or by ARP
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = pingOnce("192.0.2.3")
				_, _ = c.Write([]byte{0})
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		c.Close()
	})
}

// pingOnce sends an echo request and does not wait for its answer.
func pingOnce(host string) error {
	c, err := net.Dial("ip4:icmp", host)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(echo(8, 77))
	return err
}

func TestDeadPeerIsToldByItsSilenceWhileTheLineLives(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	m := newTestManager(t, func(o *ManagerOptions) { o.AnswerTime = time.Hour })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	learned(t, m)

	p.kill()
	must(t, nudge("rd-home", nudgeTarget(m.States()[0].Addresses, specOf(settingsTo(ours, theirPub, peerAddr4)).Settings.Peers[0].AllowedIPs)))
	quiet := time.Now().Add(3 * time.Second)
	watched(t, m, []string{"wan"}, "three seconds", func(got Watched) bool {
		if got.Changed {
			t.Fatal("taken for dead though nothing else answers either")
		}
		return time.Now().After(quiet)
	})
	chatter(t)
	watched(t, m, []string{"wan"}, "the peer is taken for dead", func(got Watched) bool { return got.Changed })
	s := m.Refresh(t.Context())[0]
	if s.Health != Down || s.Cause != CauseNoAnswer || s.Reason == "" {
		t.Errorf("%s %q: %s", s.Health, s.Cause, s.Reason)
	}

	w.startPeer(theirs, ourPub)
	watched(t, m, []string{"wan"}, "the peer is back", func(got Watched) bool { return got.Changed })
	if s := m.Refresh(t.Context())[0]; s.Health != Up {
		t.Errorf("%s: %s", s.Health, s.Reason)
	}
}

func TestTunnelsThatFellSilentTogetherMayComeBackOneAfterTheOther(t *testing.T) {
	now := time.Now()
	known := pulse{}.observe(now, 1, 1)
	known.answers = knownAnswers
	asked := func(p pulse, times int) pulse {
		for range times {
			now = now.Add(2 * questionEvery)
			p = p.question(now, 1, 0)
		}
		return p
	}
	for name, packets := range map[string]uint64{"silent": 0, "heard, but deaf": 1} {
		t.Run(name, func(t *testing.T) {
			a, b := &tunnel{}, &tunnel{}
			m := &Manager{tunnels: []*tunnel{a, b}}
			a.pulse = asked(known, deafQuestions)
			b.pulse = a.pulse
			line := func() uint64 { return 0 }
			m.note(a, now, 2, 1, true)
			if why := m.death(b, now, line); why != "" {
				t.Fatalf("the other one is back, and this one at once: %s", why)
			}
			for range deafQuestions {
				b.pulse = asked(b.pulse, 1)
				m.note(a, now, a.pulse.rx+1, 1, true)
				m.note(b, now, b.pulse.rx+packets, 1, false)
			}
			if m.death(b, now, line) == "" {
				t.Error("it stays silent, but lives")
			}
		})
	}
}

func TestAdministeredSilenceOfDeviceIsNoDeath(t *testing.T) {
	newWorld(t)
	m := newTestManager(t, nil)
	spec := Spec{Name: "other", Type: "interface", Device: "nosuch0"}
	_, _ = m.Ensure(t.Context(), []Spec{spec})
	if w := m.Watch(t.Context(), nil); w.Changed || len(w.Heard) != 0 || w.Again != lookRest {
		t.Errorf("%+v of a device that is not there", w)
	}
}

func TestStandbyTunnelIsThereWhileItIsNeeded(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	clock := &hands{now: time.Now()}
	m := newTestManager(t, func(o *ManagerOptions) { o.Clock = clock.read })
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	spec.Standby = true
	device := func() bool {
		_, err := netlink.LinkByName(spec.Device)
		return err == nil
	}
	states, err := m.Ensure(t.Context(), []Spec{spec})
	must(t, err)
	if s := states[0]; s.Health != Down || s.Cause != CauseStandby || device() {
		t.Errorf("not needed: %s %q: %s", s.Health, s.Cause, s.Reason)
	}
	m.Need(map[string]bool{"home": true})
	until(t, m, Up, 10*time.Second)

	m.Need(nil)
	if s := m.Refresh(t.Context())[0]; s.Health != Up {
		t.Errorf("just not needed any more: %s: %s", s.Health, s.Reason)
	}
	clock.forward(lingerTime)
	s := m.Refresh(t.Context())[0]
	if s.Health != Down || s.Cause != CauseStandby || device() {
		t.Errorf("not needed for long: %s %q: %s", s.Health, s.Cause, s.Reason)
	}
	if _, err := os.Stat(socketDir + "/rd-home.sock"); err == nil {
		t.Error("the sleeping tunnel's socket is there")
	}
	m.Need(map[string]bool{"home": true})
	until(t, m, Up, 10*time.Second)
}

func TestStandbyTunnelOfAnEarlierProcessStays(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{spec})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	spec.Standby = true
	states, err := newTestManager(t, nil).Ensure(t.Context(), []Spec{spec})
	must(t, err)
	if states[0].Health != Up {
		t.Errorf("%s: %s", states[0].Health, states[0].Reason)
	}
}

// hands are those of a clock that a test moves.
type hands struct{ now, moved time.Time }

func (h *hands) read() time.Time {
	if h.moved.IsZero() {
		return time.Now()
	}
	return h.now.Add(time.Since(h.moved))
}

func (h *hands) forward(d time.Duration) { h.now, h.moved = h.read().Add(d), time.Now() }
