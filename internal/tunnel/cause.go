package tunnel

import (
	"fmt"
	"time"
)

// Cause says in a word why a tunnel is not Up, for programs; Reason says it to
// people.
type Cause string

// The values of Cause; "" where Health is Up, or says all.
const (
	CauseStandby    Cause = "standby"      // not needed now: there is no device
	CauseDevice     Cause = "device"       // the device cannot be made or read, or is not there
	CauseUnresolved Cause = "unresolved"   // the endpoint's name is not known
	CauseNoRoute    Cause = "no_route"     // nothing can be sent to the endpoint
	CauseNoAnswer   Cause = "no_answer"    // the peer has stopped answering
	CauseHandshake  Cause = "no_handshake" // no handshake was ever answered
	// CauseBlocked: handshakes are not answered, though the peer's host answers
	// pings, or data passed to the session's very end.
	CauseBlocked Cause = "handshake_blocked"
)

// pastRekey is how old a session must be for its going on to say that handshakes
// are not let through: WireGuard begins a new one after 120 s and tries every 5 s
// (REKEY_AFTER_TIME, REKEY_TIMEOUT).
const pastRekey = 135 * time.Second

// cause is why a peer of that health is not Up.
func (t track) cause(h Health) Cause {
	switch {
	case h != Down:
		return ""
	case t.txAt.IsZero() || !t.askedAt.IsZero() && t.txAt.Before(t.askedAt):
		return CauseNoRoute
	case t.handshakeAt.IsZero():
		return CauseHandshake
	case t.rxAt.Sub(t.handshakeAt) >= pastRekey:
		return CauseBlocked
	}
	return CauseNoAnswer
}

// blocked is what to say of a peer whose handshakes are blocked.
func (t track) blocked(now time.Time, to string) string {
	if t.handshakeAt.IsZero() {
		return fmt.Sprintf("no handshake answer from %s, though its host answers pings: the WireGuard handshake is blocked on the way, or the key is wrong", to)
	}
	return fmt.Sprintf("no new handshake with %s since %s, though data passed until the session ended: the WireGuard handshake is blocked on the way",
		to, seconds(now.Sub(t.handshakeAt)))
}
