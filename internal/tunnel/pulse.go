package tunnel

import (
	"fmt"
	"time"
)

// How fast a tunnel that has died is told from one that is quiet. WireGuard
// itself allows a peer 15 s, because nothing else obliges it to say anything at
// once. A router that forwards does say at once that a hop limit is over, so that
// is what a peer is asked for; most answer, and those that do not are known by it.
const (
	// quietTime is for how long nothing may come while something is asked for,
	// and pauseTime while nothing is that we know of: a download asks for nothing.
	quietTime = 200 * time.Millisecond
	pauseTime = 400 * time.Millisecond
	// questionEvery is the time between two questions; after manyQuestions it is
	// questionRarely.
	questionEvery  = 150 * time.Millisecond
	questionRarely = time.Second
	manyQuestions  = 12
	// calmTime is for how long a peer that has just answered is not asked again.
	// Linux answers six questions in a row and then one a second
	// (net.ipv4.icmp_ratelimit).
	calmTime = 1500 * time.Millisecond
	// goneQuestions and goneTime are what it takes to call a peer dead: more
	// than a line that loses a fifth of its packets loses in a row, and more
	// than that second.
	goneQuestions = 7
	goneTime      = 1100 * time.Millisecond
	slowestMost   = 1500 * time.Millisecond
	// knownAnswers is how many questions a peer must have answered for its
	// silence to mean something, and learnTries how often that is tried.
	knownAnswers = 2
	learnTries   = 6
	learnEvery   = time.Second
	// lineAlive is how many packets must have come by the WAN meanwhile to say
	// that it is not the line that is dead: more than a neighbourhood's
	// broadcasts.
	lineAlive = 20
)

// pulse is what is known of whether a tunnel's peer answers now. It is a value
// without a clock: its functions return the next one.
type pulse struct {
	at        time.Time // of the last look; zero: none yet
	rx, tx    uint64    // packets of the device
	out       uint64    // questions since then, which tx will show
	heardAt   time.Time // something came
	flowing   bool      // and it was more than answers to questions
	askedAt   time.Time // since when packets go out and none come in; zero: none go out
	questions int       // since heardAt
	first     time.Time // of them
	last      time.Time
	line      uint64 // the WAN's packets at first
	answers   int    // questions that were answered, ever
	tries     int    // to learn whether it answers, ever
	slowest   time.Duration
}

// observe takes a look at the device's counters into account.
func (p pulse) observe(now time.Time, rx, tx uint64) pulse {
	if p.at.IsZero() || rx < p.rx || tx < p.tx {
		return pulse{at: now, rx: rx, tx: tx, heardAt: now}
	}
	came, went := rx-p.rx, tx-p.tx
	switch {
	case came > 0:
		p = p.heard(now, came)
	case went > p.out && p.askedAt.IsZero():
		p.askedAt = now
	}
	p.at, p.rx, p.tx, p.out = now, rx, tx, 0
	return p
}

func (p pulse) heard(now time.Time, came uint64) pulse {
	p.flowing = came > uint64(p.questions)
	if p.questions > 0 {
		p.slowest = min(max(now.Sub(p.first), p.slowest*7/8), slowestMost)
	}
	p.heardAt, p.askedAt, p.questions = now, time.Time{}, 0
	return p
}

// due says whether the peer is to be asked something now.
func (p pulse) due(now time.Time) bool {
	switch {
	case p.at.IsZero():
		return false
	case p.questions > 0:
		every := questionEvery
		if p.questions >= manyQuestions {
			every = questionRarely
		}
		// One that never answers is not asked for ever.
		return now.Sub(p.last) >= every && (p.answers > 0 || p.questions < manyQuestions)
	case now.Sub(p.last) < calmTime:
		return false
	}
	return !p.askedAt.IsZero() && now.Sub(p.askedAt) >= quietTime || p.flowing && now.Sub(p.heardAt) >= pauseTime
}

// curious says whether the peer is to be asked to learn whether it answers.
func (p pulse) curious(now time.Time) bool {
	return !p.at.IsZero() && p.answers < knownAnswers && p.tries < learnTries && now.Sub(p.last) >= learnEvery
}

// tried notes a question that was asked to learn.
func (p pulse) tried(now time.Time) pulse {
	p.tries++
	p.out++
	p.last = now
	return p
}

// answered notes the answer to such a question.
func (p pulse) answered() pulse {
	p.answers++
	return p
}

// question notes that the peer was asked; line is what has come by the WAN.
func (p pulse) question(now time.Time, line uint64) pulse {
	if p.questions == 0 {
		p.first, p.line = now, line
	}
	p.questions++
	p.out++
	p.last = now
	return p
}

// gone says whether the peer has ceased to answer, as far as that can be seen
// from its silence alone.
func (p pulse) gone(now time.Time) bool {
	return p.questions >= goneQuestions && p.answers >= knownAnswers && now.Sub(p.first) >= max(goneTime, 2*p.slowest)
}

// doubted says whether the peer owes an answer.
func (p pulse) doubted() bool { return p.questions > 0 }

// heardSince says whether something has come since a moment.
func (p pulse) heardSince(t time.Time) bool { return !p.at.IsZero() && p.heardAt.After(t) }

// next is when to look again.
func (p pulse) next(now time.Time) time.Duration {
	switch {
	case p.questions >= manyQuestions:
		return questionRarely / 2
	case p.doubted() || !p.askedAt.IsZero():
		return questionEvery
	case now.Sub(p.heardAt) < 5*time.Second:
		return lookBusy
	}
	return lookIdle
}

// How often counters are looked at: an idle tunnel's first packet must be seen
// early enough for its silence to be told within two seconds.
const (
	lookBusy = 250 * time.Millisecond
	lookIdle = 500 * time.Millisecond
)

// silence tells people why a peer counts as dead.
func (p pulse) silence(now time.Time, to string) string {
	return fmt.Sprintf("no answer from %s for %.1f s, nor to %d questions, while others answer: the peer is down, or its packets are blocked on the way",
		to, now.Sub(p.heardAt).Seconds(), p.questions)
}
