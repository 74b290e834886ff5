package tunnel

import (
	"fmt"
	"time"
)

const (
	// sessionLife is REJECT_AFTER_TIME of the WireGuard protocol: no packet
	// passes with a handshake older than this.
	sessionLife = 180 * time.Second
	// answerTime is KEEPALIVE_TIMEOUT + REKEY_TIMEOUT: a peer that got data
	// says something within this, if only an empty keepalive.
	answerTime = 15 * time.Second
	// keepaliveSize is the length of a message without data. It asks for no
	// answer, everything longer does.
	keepaliveSize = 32
)

// sample is one look at a peer's counters.
type sample struct {
	handshake time.Time // wall clock, zero: never
	rx, tx    uint64    // bytes
}

// track is what has been seen of a peer so far. It is a value: observe and
// asked return the next one. All its times are of the observer's clock, because
// the wall clock, in which WireGuard dates handshakes, jumps by decades when a
// router without a battery learns the time.
type track struct {
	began       time.Time // of the first sample; zero: none yet
	at          time.Time // of the last sample
	last        sample
	handshakeAt time.Time // zero: never
	rxAt        time.Time // rx last advanced
	txAt        time.Time // tx last advanced
	askedAt     time.Time // first message since rxAt that wants an answer; zero: none
}

// observe takes a sample into account. A counter that went back means that the
// peer was made anew.
func (t track) observe(now time.Time, s sample, keepalive time.Duration) track {
	if t.began.IsZero() || s.rx < t.last.rx || s.tx < t.last.tx {
		return newTrack(now, s)
	}
	sent := s.tx - t.last.tx
	if sent > 0 {
		t.txAt = now
	}
	shook := !s.handshake.IsZero() && !s.handshake.Equal(t.last.handshake)
	if shook || s.rx > t.last.rx {
		t = t.heard(now, shook, s)
	} else if sent > silent(now.Sub(t.at), keepalive) {
		t = t.asked(now)
	}
	t.at, t.last = now, s
	return t
}

// heard notes that something came from the peer, perhaps a handshake.
func (t track) heard(now time.Time, shook bool, s sample) track {
	t.rxAt, t.askedAt = now, time.Time{}
	// A session that works though its handshake is long ago was dated by a
	// clock that has been set since.
	if shook || t.handshakeAt.IsZero() && !s.handshake.IsZero() {
		t.handshakeAt = now
	}
	return t
}

// newTrack begins with a peer that may have been talking for hours.
func newTrack(now time.Time, s sample) track {
	t := track{began: now, at: now, last: s}
	if s.tx > 0 {
		t.txAt = now
	}
	if age := now.Sub(s.handshake); !s.handshake.IsZero() && age >= 0 && age < sessionLife {
		t.handshakeAt = now.Add(-age)
		return t
	}
	if s.tx > 0 {
		t.askedAt = now
	}
	return t
}

// asked notes that something was sent to which the peer must answer.
func (t track) asked(now time.Time) track {
	if t.askedAt.IsZero() {
		t.askedAt = now
	}
	return t
}

// forget begins anew with the keys changed: what the old ones reached says
// nothing about the new ones.
func (t track) forget(now time.Time) track {
	return track{began: now, at: now, last: t.last}
}

// silent is how many bytes of pure keepalives may have gone out in a time.
func silent(elapsed, keepalive time.Duration) uint64 {
	n := uint64(1)
	if keepalive > 0 && elapsed > 0 {
		n += uint64(elapsed / keepalive)
	}
	return n * keepaliveSize
}

// idle is how long nothing has come from the peer.
func (t track) idle(now time.Time) time.Duration {
	last := t.began
	for _, at := range []time.Time{t.rxAt, t.handshakeAt} {
		if at.After(last) {
			last = at
		}
	}
	return now.Sub(last)
}

// judge says how a peer is doing and, when it is not Up, why. limit is how long
// an answer may take; to names the peer's endpoint.
func (t track) judge(now time.Time, limit time.Duration, to string) (Health, string) {
	if t.handshakeAt.IsZero() {
		return t.judgeNew(now, limit, to)
	}
	waited := now.Sub(t.askedAt)
	age := now.Sub(t.handshakeAt)
	switch {
	case t.askedAt.IsZero():
		return Up, "" // heard of last, or idle
	case waited >= limit && t.txAt.Before(t.askedAt):
		return Down, unsendable(to, waited)
	case waited >= limit:
		return Down, fmt.Sprintf("no answer from %s for %s, last handshake %s ago: the peer is down, or its packets are blocked on the way",
			to, seconds(waited), seconds(age))
	case age >= sessionLife:
		return Connecting, fmt.Sprintf("asking %s for a new handshake, the last was %s ago", to, seconds(age))
	}
	return Up, ""
}

// judgeNew judges a peer that there has been no handshake with.
func (t track) judgeNew(now time.Time, limit time.Duration, to string) (Health, string) {
	since := t.began
	if !t.askedAt.IsZero() {
		since = t.askedAt
	}
	waited := now.Sub(since)
	switch {
	case waited < limit:
		return Connecting, fmt.Sprintf("waiting for the first handshake answer from %s", to)
	case t.txAt.IsZero():
		return Down, unsendable(to, waited)
	}
	return Down, fmt.Sprintf("no handshake answer from %s for %s: the peer is down, the key is wrong, or the handshake is blocked on the way",
		to, seconds(waited))
}

func unsendable(to string, waited time.Duration) string {
	return fmt.Sprintf("nothing could be sent to %s for %s: there is no route to it", to, seconds(waited))
}

// seconds prints a duration as people say it.
func seconds(d time.Duration) string {
	if d >= 2*time.Minute {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}
