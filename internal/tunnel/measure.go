package tunnel

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/owned"
)

// candidates are the addresses at which a peer may be, as far as known. A name
// that is not known yet is asked for.
func (m *Manager) candidates(p Peer) []netip.AddrPort {
	if addr, ok := p.Endpoint.Addr(); ok {
		return []netip.AddrPort{addr}
	}
	addrs, _ := m.resolver.known(p.Endpoint.Host)
	if len(addrs) == 0 {
		m.resolver.ask(p.Endpoint.Host)
	}
	return candidates(addrs, p.Endpoint.Port)
}

// measure judges the peers of a device that routerd owns, moves endpoints and
// asks silent peers.
func (m *Manager) measure(t *tunnel, dev *wgtypes.Device, now time.Time) {
	best := judgement{}
	var endpoints []netip.AddrPort
	for _, want := range t.spec.Settings.Peers {
		i := slices.IndexFunc(dev.Peers, func(p wgtypes.Peer) bool { return p.PublicKey == want.PublicKey })
		if i < 0 {
			continue
		}
		p := t.peer(dev.Peers[i], now)
		j := m.judge(p, dev.Peers[i], t.spec.Mark, now)
		if moved := m.seek(t, p, want, j, now); moved || !p.endpoint.IsValid() {
			j = m.unresolved(p, want, j)
		} else {
			m.ask(t, p, t.state.Addresses, want.AllowedIPs, now)
		}
		best = best.better(j)
		endpoints = appendNew(endpoints, p.endpoint)
	}
	t.fresh = false
	for _, want := range t.spec.Settings.Peers {
		cands := m.candidates(want)
		t.fresh = t.fresh || len(cands) == 0 // not known yet which are right
		endpoints = appendNew(endpoints, cands...)
	}
	t.report(best, dev, endpoints)
}

// peer is the record of a peer, made if need be.
func (t *tunnel) peer(have wgtypes.Peer, now time.Time) *peer {
	p := t.peers[have.PublicKey]
	if p == nil {
		p = &peer{movedAt: now}
		t.peers[have.PublicKey] = p
	}
	p.endpoint = endpointAddr(have)
	return p
}

// judgement is what is said of one peer, or of the best of several.
type judgement struct {
	health    Health // "": of none
	reason    string
	cause     Cause
	handshake time.Time
}

// better is the better of two; the first of equals.
func (j judgement) better(o judgement) judgement {
	rank := func(h Health) int { return slices.Index([]Health{"", Down, Connecting, Up}, h) }
	if rank(o.health) > rank(j.health) {
		return o
	}
	return j
}

// judge takes a sample of a peer. One without an endpoint is not judged.
func (m *Manager) judge(p *peer, have wgtypes.Peer, mark owned.Mark, now time.Time) judgement {
	if !p.endpoint.IsValid() {
		return judgement{health: Connecting}
	}
	p.track = p.track.observe(now, sample{
		handshake: have.LastHandshakeTime,
		rx:        uint64(have.ReceiveBytes), tx: uint64(have.TransmitBytes),
	}, have.PersistentKeepaliveInterval)
	j := judgement{handshake: p.track.handshakeAt}
	to := p.endpoint
	j.health, j.reason = p.track.judge(now, m.opts.AnswerTime, to.String())
	j.cause = p.track.cause(j.health)
	switch j.cause {
	case CauseHandshake:
		if m.pinger.answers(to.Addr().Unmap(), mark) {
			j.cause = CauseBlocked
		}
	case CauseBlocked:
		// Without keepalives of ours it may be that none was sent.
		if have.PersistentKeepaliveInterval == 0 && !m.pinger.answers(to.Addr().Unmap(), mark) {
			j.cause = CauseNoAnswer
		}
	}
	if j.cause == CauseBlocked {
		j.reason = p.track.blocked(now, to.String())
	}
	return j
}

// unresolved explains a peer that has no endpoint yet.
func (m *Manager) unresolved(p *peer, want Peer, j judgement) judgement {
	_, err := m.resolver.known(want.Endpoint.Host)
	switch {
	case p.endpoint.IsValid():
		return j
	case err != nil:
		return judgement{health: Down, cause: CauseUnresolved, reason: fmt.Sprintf("cannot resolve the endpoint %s: %v", want.Endpoint.Host, err)}
	}
	return judgement{health: Connecting, reason: fmt.Sprintf("resolving the endpoint %s", want.Endpoint.Host)}
}

// candidateTime holds one repetition of a handshake, which WireGuard sends every
// five seconds and a third.
const candidateTime = 6 * time.Second

// seek moves a peer's endpoint if that is called for, and says whether it did.
func (m *Manager) seek(t *tunnel, p *peer, want Peer, j judgement, now time.Time) bool {
	answers := j.health == Up
	if _, literal := want.Endpoint.Addr(); !literal && !answers {
		m.resolver.ask(want.Endpoint.Host)
	}
	to, ok := chooseEndpoint(endpointView{
		current: p.endpoint, candidates: m.candidates(want), fresh: t.fresh,
		answers: answers, tried: now.Sub(p.movedAt), patience: max(m.opts.AnswerTime, candidateTime),
	})
	if !ok {
		return false
	}
	if err := m.configure(t, moveEndpoint(want.PublicKey, to, want.Keepalive), now); err != nil {
		m.log.Warn("endpoint not moved", "tunnel", t.spec.Name, "endpoint", to, "error", err)
		return false
	}
	m.log.Info("endpoint moved", "tunnel", t.spec.Name, "from", p.endpoint, "endpoint", to)
	p.endpoint, p.movedAt = to, now
	t.settled = t.spec.Settings.MTU != 0 // the path's MTU may be another
	return true
}

// ask sends something through the tunnel that the peer must answer, when it has
// been silent for long and nothing else waits for its answer.
func (m *Manager) ask(t *tunnel, p *peer, addresses, allowed []netip.Prefix, now time.Time) {
	rekeyed := p.track.handshakeAt.IsZero() && p.nudgedAt.IsZero() && !p.track.last.handshake.IsZero()
	due := p.track.idle(now) >= m.opts.ProbeIdle && now.Sub(p.nudgedAt) >= m.opts.ProbeIdle
	if !rekeyed && !due {
		return
	}
	to := nudgeTarget(addresses, allowed)
	if !to.IsValid() {
		return
	}
	p.nudgedAt = now
	if err := nudge(t.spec.Device, to); err != nil {
		m.log.Debug("peer not asked", "tunnel", t.spec.Name, "error", err)
		return
	}
	p.track = p.track.asked(now)
}

// report fills in the state.
func (t *tunnel) report(best judgement, dev *wgtypes.Device, endpoints []netip.AddrPort) {
	s := &t.state
	s.Health, s.Reason, s.Cause = best.health, best.reason, best.cause
	t.condemn()
	s.LastHandshake = best.handshake
	s.Endpoints = endpoints
	s.RxBytes, s.TxBytes = 0, 0
	for _, p := range dev.Peers {
		s.RxBytes += uint64(p.ReceiveBytes)
		s.TxBytes += uint64(p.TransmitBytes)
	}
}

// condemn makes a tunnel Down that Watch takes for dead.
func (t *tunnel) condemn() {
	if t.dead != "" && t.state.Health == Up {
		t.state.Health, t.state.Reason, t.state.Cause = Down, t.dead, CauseNoAnswer
	}
}

// appendNew appends what is valid and not there yet.
func appendNew(list []netip.AddrPort, more ...netip.AddrPort) []netip.AddrPort {
	for _, e := range more {
		if e.IsValid() && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list
}

// stepInterface measures a device that somebody else owns.
func (m *Manager) stepInterface(t *tunnel, now time.Time) error {
	t.state.Backend = BackendInterface
	link, err := linkByName(t.spec.Device)
	if err != nil {
		return t.fail(err)
	}
	if link == nil {
		return t.fail(fmt.Errorf("device %s does not exist: check option device, or bring the interface up", t.spec.Device))
	}
	attrs := link.Attrs()
	if t.index != attrs.Index {
		t.renewed(attrs.Index)
	}
	if attrs.RawFlags&unix.IFF_UP == 0 || attrs.RawFlags&unix.IFF_RUNNING == 0 {
		return t.fail(fmt.Errorf("device %s is down: bring the interface up", t.spec.Device))
	}
	addresses, err := addressesOf(link)
	if err != nil {
		return t.fail(err)
	}
	s := &t.state
	s.Index, s.MTU, s.Addresses = attrs.Index, attrs.MTU, addresses
	s.Health, s.Reason, s.Cause, s.Endpoints, s.LastHandshake = Up, "", "", nil, time.Time{}
	s.IPv4, s.IPv6 = slices.ContainsFunc(addresses, isIPv4), slices.ContainsFunc(addresses, isIPv6)
	if st := attrs.Statistics; st != nil {
		s.RxBytes, s.TxBytes = st.RxBytes, st.TxBytes
	}
	t.lastErr = ""
	t.condemn()
	if dev, err := m.read(t, now); err == nil { // else it is not WireGuard's, or does not tell
		m.measureForeign(t, dev, now)
	}
	return nil
}

// measureForeign judges the peers of somebody else's WireGuard device. They are
// asked like our own: a device without keepalive shakes hands only when there is
// traffic, and gets none while it is not Up.
func (m *Manager) measureForeign(t *tunnel, dev *wgtypes.Device, now time.Time) {
	best := judgement{health: Down, cause: CauseDevice, reason: fmt.Sprintf("device %s has no peer with an endpoint", t.spec.Device)}
	var endpoints []netip.AddrPort
	for _, have := range dev.Peers {
		p := t.peer(have, now)
		if !p.endpoint.IsValid() {
			continue
		}
		best = best.better(m.judge(p, have, t.spec.Mark, now))
		m.ask(t, p, t.state.Addresses, prefixesOf(have.AllowedIPs), now)
		endpoints = appendNew(endpoints, p.endpoint)
	}
	t.state.IPv4, t.state.IPv6 = families(t.state.Addresses, dev.Peers)
	t.report(best, dev, endpoints)
}
