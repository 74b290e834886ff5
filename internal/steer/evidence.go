package steer

// Tunnel is what the choice knows of a tunnel.
type Tunnel struct {
	Up    bool // the peer answers
	Maybe bool // not known yet: connecting
	// Asleep: a standby tunnel whose device is not there. It is woken by being
	// chosen, so it counts as one of which nothing is known yet.
	Asleep bool
	Reason string // why it is not up
}

// Sign says how a destination fares over one path.
type Sign uint8

// The values of Sign.
const (
	// SignUnknown: nothing is known, or what is known blames no path: the
	// service is down, fails alike over all of them, or the line is lossy. With a
	// Reason it fails there again and again.
	SignUnknown Sign = iota
	SignWorks
	// SignFails: it fails in a way that a network does. A tunnel whose peer
	// answers and over which a destination fails has a broken exit.
	SignFails
	// SignRefused: the service itself answers and says no. No path is chosen or
	// left for that.
	SignRefused
)

// Finding is a sign with its reason.
type Finding struct {
	Sign   Sign
	Reason string // a sentence for people, without the path's name; "" where Sign says enough
}

// Evidence is what is known of one destination. The zero value knows nothing.
type Evidence struct {
	// Checks are what repeated checks found, by path.
	Checks map[string]Finding
	// Traffic is what the clients' own connections show now, by path.
	Traffic map[string]Finding
	// Offline: nothing at all answers on the direct path, so that what fails says
	// nothing about paths.
	Offline bool
}

// fails says whether, and why, a destination does not work over a path.
func (e *Evidence) fails(path string) (reason string, fails bool) {
	if e.Offline {
		return "", false
	}
	// What real connections run into is news, a check may be a minute old.
	for _, f := range []Finding{e.Traffic[path], e.Checks[path]} {
		if f.Sign == SignFails {
			return reasonOr(f.Reason, "connections fail over it"), true
		}
	}
	return "", false
}

func reasonOr(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}
