package tunnel

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/config"
)

// Watched is what Watch found.
type Watched struct {
	// Changed: a tunnel has died, or one that had is back. States tells which
	// from the next Refresh on.
	Changed bool
	// Again is how soon to watch again.
	Again time.Duration
	// Heard is how long ago something came through each tunnel that has a device,
	// by name.
	Heard map[string]time.Duration
}

// Watch looks at the counters of the tunnels' devices, asks peers that are silent
// while they should not be, and takes one for dead that does not answer while
// something else does: another tunnel's peer, or the line, whose devices are
// named. It costs a look at each device and a packet of 29 octets a question, and
// waits for nothing. It is meant to be called several times a second: as soon as
// Again says.
func (m *Manager) Watch(ctx context.Context, line []string) Watched {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opts.Clock()
	came := sync.OnceValue(func() uint64 { return received(line) }) // seldom asked for
	out := Watched{Again: lookRest, Heard: map[string]time.Duration{}}
	for _, t := range m.tunnels {
		if ctx.Err() != nil {
			break
		}
		m.look(t, now, came)
		if t.dead != "" && !t.pulse.doubted() {
			t.dead, out.Changed = "", true
		}
	}
	for _, t := range m.tunnels {
		if t.dead == "" {
			t.dead = m.death(t, now, came)
			out.Changed = out.Changed || t.dead != ""
		}
		if !t.pulse.at.IsZero() {
			out.Heard[t.spec.Name] = now.Sub(t.pulse.heardAt)
		}
		out.Again = min(out.Again, t.next(now))
	}
	return out
}

// next is when to look again.
func (t *tunnel) next(now time.Time) time.Duration {
	again := lookRest
	if !t.pulse.at.IsZero() {
		again = t.pulse.next(now)
	}
	if rest := t.rest(now); rest < tendTime/2 {
		again = min(again, rest)
	}
	return again
}

// look takes the device's counters and asks the peer if that is due.
func (m *Manager) look(t *tunnel, now time.Time, came func() uint64) {
	if t.state.Index == 0 || t.dead == "" && t.state.Health != Up {
		t.pulse = pulse{} // Refresh sees to it
		return
	}
	rx, tx, err := m.counters.packets(t.state.Index)
	if err != nil {
		t.pulse = pulse{}
		return
	}
	answered := slices.ContainsFunc(t.waiting, func(a asked) bool { return refused(a.by) })
	m.note(t, now, rx, tx, answered)
	m.learn(t, now, answered)
	if t.pulse.due(now) {
		m.inquire(t, now, came)
	}
}

// note takes the device's counters into account, and whether a question was answered.
func (m *Manager) note(t *tunnel, now time.Time, rx, tx uint64, answered bool) {
	suffered := t.pulse.suffered()
	t.pulse = t.pulse.observe(now, rx, tx)
	if answered {
		t.pulse = t.pulse.answered(now)
	}
	if suffered && !t.pulse.suffered() {
		m.outageEnded(t, now)
	}
}

// outageEnded gives the other tunnels another chance: what was dead may have been
// the line, and their next packet is on its way.
func (m *Manager) outageEnded(of *tunnel, now time.Time) {
	for _, t := range m.tunnels {
		if t != of && t.dead == "" {
			t.pulse = t.pulse.again(now)
		}
	}
}

// death says why a tunnel's peer counts as dead, or "".
func (m *Manager) death(t *tunnel, now time.Time, came func() uint64) string {
	switch {
	case t.pulse.gone(now) && m.othersAnswer(t, now, came):
		return t.pulse.silence(now, t.peerNames())
	case t.pulse.deaf(now) && m.anotherAnswered(t, now, came):
		return t.pulse.deafness(now, t.peerNames())
	}
	return ""
}

// learn finds out whether a peer answers questions, by the answers themselves:
// what else comes meanwhile says nothing. answered: one just came.
func (m *Manager) learn(t *tunnel, now time.Time, answered bool) {
	if answered {
		t.unlearn()
	}
	// A handshake takes both directions: a peer that made one does not answer
	// questions any more.
	if t.pulse.owed >= deafQuestions && t.shookSince(t.pulse.owedAt) {
		t.pulse = t.pulse.relearn()
	}
	if t.pulse.curious(now) && m.sendQuestions(t) > 0 {
		t.pulse = t.pulse.tried(now)
	}
}

// asked is an address that was asked something, and the socket that an answer
// comes to.
type asked struct {
	to netip.Addr
	by *net.UDPConn
}

// sendQuestions asks every peer of a tunnel and says how many could be asked.
func (m *Manager) sendQuestions(t *tunnel) int {
	sent := 0
	for _, to := range t.askable() {
		if err := t.question(to); err != nil {
			m.log.Debug("peer not asked", "tunnel", t.spec.Name, "error", err)
			continue
		}
		sent++
	}
	return sent
}

// question asks an address, by the socket that waits for earlier answers if there
// is one.
func (t *tunnel) question(to netip.Addr) error {
	i := slices.IndexFunc(t.waiting, func(a asked) bool { return a.to == to })
	if i >= 0 {
		if _, err := t.waiting[i].by.Write([]byte{0}); err == nil {
			return nil
		}
		_ = t.waiting[i].by.Close()
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	c, err := question(t.spec.Device, to)
	if err != nil {
		return err
	}
	t.waiting = append(t.waiting, asked{to, c})
	return nil
}

// unlearn closes the sockets that wait for answers.
func (t *tunnel) unlearn() {
	for _, a := range t.waiting {
		_ = a.by.Close()
	}
	t.waiting = nil
}

// shookSince says whether a handshake was seen since a moment.
func (t *tunnel) shookSince(at time.Time) bool {
	for _, p := range t.peers {
		if p.track.handshakeAt.After(at) {
			return true
		}
	}
	return false
}

// inquire asks every peer of a tunnel whose silence is to mean something.
func (m *Manager) inquire(t *tunnel, now time.Time, came func() uint64) {
	if sent := m.sendQuestions(t); sent > 0 {
		t.pulse = t.pulse.question(now, sent, came())
	}
}

// askable are addresses that packets reach the peers by.
func (t *tunnel) askable() []netip.Addr {
	if t.spec.Type == config.TunnelInterface {
		everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		return valid(nudgeTarget(t.state.Addresses, everything))
	}
	var out []netip.Addr
	for _, p := range t.spec.Settings.Peers {
		out = append(out, valid(nudgeTarget(t.state.Addresses, p.AllowedIPs))...)
	}
	return out
}

func valid(a netip.Addr) []netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return []netip.Addr{a}
}

// othersAnswer says whether anything but this tunnel has answered since it was
// first asked. Tunnels that had nothing to say are asked, for the next time.
//
// A line that is dead for a moment is no reason to end connections, which live
// through that. So the line's own packets, among which broadcasts may be, count
// only where there is no other tunnel to be asked.
func (m *Manager) othersAnswer(t *tunnel, now time.Time, came func() uint64) bool {
	others := false
	for _, other := range m.tunnels {
		if other == t || other.pulse.answers < knownAnswers {
			continue
		}
		if other.pulse.heardSince(t.pulse.first) {
			return true
		}
		others = true
		if !other.pulse.doubted() {
			m.inquire(other, now, came)
		}
	}
	return !others && came() >= t.pulse.line+lineAlive
}

// anotherAnswered says whether another tunnel's peer has answered a question since
// this one owes an answer: then it is not the line that loses what is sent. Packets
// that only come say nothing of that.
func (m *Manager) anotherAnswered(t *tunnel, now time.Time, came func() uint64) bool {
	for _, other := range m.tunnels {
		if other == t || other.pulse.answers < knownAnswers {
			continue
		}
		if other.pulse.answeredSince(t.pulse.owedAt) {
			return true
		}
		if other.pulse.owed == 0 {
			m.inquire(other, now, came)
		}
	}
	return false
}

// peerNames tells people who a tunnel's peer is.
func (t *tunnel) peerNames() string {
	for _, p := range t.peers {
		if p.endpoint.IsValid() {
			return p.endpoint.String()
		}
	}
	return "the other side"
}

// received counts the packets that have come by devices; one that is not there
// counts for nothing.
func received(devices []string) uint64 {
	var sum uint64
	for _, name := range devices {
		link, err := netlink.LinkByName(name)
		if err == nil && link.Attrs().Statistics != nil {
			sum += link.Attrs().Statistics.RxPackets
		}
	}
	return sum
}
