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
	// calmTime is for how long a peer that was asked because of its silence is not
	// asked for that again, and usedEvery for how long one that packets go to is not
	// asked at all: nearEvery where answers come soon, lossyEvery where the last ones
	// all took long. Linux answers six questions in a row and then one a second
	// (net.ipv4.icmp_ratelimit).
	calmTime   = 1500 * time.Millisecond
	nearEvery  = 1500 * time.Millisecond
	usedEvery  = 3 * time.Second
	lossyEvery = 15 * time.Second
	// answerSoon is for how long an answer may be on its way while other packets
	// come.
	answerSoon = 500 * time.Millisecond
	// goneQuestions and goneTime are what it takes to call a peer dead: more
	// than a line that loses a fifth of its packets loses in a row, and more
	// than that second.
	goneQuestions = 7
	goneTime      = 1100 * time.Millisecond
	slowestMost   = 1500 * time.Millisecond
	// deafQuestions and deafTime are what it takes while other packets of the
	// peer come: what is lost on the way to it is told by its answers only. A peer
	// that is spent says so once in a second.
	deafQuestions = manyQuestions
	deafTime      = 1800 * time.Millisecond
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
	missedAt  time.Time // the last one because of silence
	line      uint64    // the WAN's packets at first
	answers   int       // questions that were answered, ever
	tries     int       // to learn whether it answers, ever
	silences  lately    // what the last ones took that questions ended, each since the first
	since     time.Time // packets are counted from here, in periods of restTime
	base      uint64    // rx+tx then
	resting   bool      // next to nothing passes

	busy       bool          // packets went out since the last question
	owed       int           // questions since the last answer to one
	owedAt     time.Time     // the first of them
	answeredAt time.Time     // the last answer
	took       lately        // what the last answers took, each since the first question it was owed to
	answering  time.Duration // the shortest of them
	usedEvery  time.Duration
}

// lately is what the last three took, in milliseconds: an outage or a loss makes one
// long, a long way all. None is longer than slowestMost.
type lately [3]uint16

// with has one more.
func (l lately) with(took time.Duration) lately {
	ms := uint16(min(took, slowestMost).Milliseconds())
	if l == (lately{}) {
		return lately{ms, ms, ms}
	}
	return lately{ms, l[0], l[1]}
}

func (l lately) shortest() time.Duration {
	return time.Duration(min(l[0], l[1], l[2])) * time.Millisecond
}

// observe takes a look at the device's counters into account.
func (p pulse) observe(now time.Time, rx, tx uint64) pulse {
	if p.at.IsZero() || rx < p.rx || tx < p.tx {
		return pulse{at: now, rx: rx, tx: tx, heardAt: now, since: now, base: rx + tx}
	}
	came, went := rx-p.rx, tx-p.tx
	switch {
	case came > 0:
		p = p.heard(now, came)
	case went > p.out && p.askedAt.IsZero():
		p.askedAt = now
		if p.resting {
			p.askedAt = now.Add(-quietTime) // the look before is long ago
		}
	}
	p = p.tally(now, rx+tx)
	p.busy = p.busy || went > p.out+1 // one may be a keepalive
	p.at, p.rx, p.tx, p.out = now, rx, tx, 0
	return p
}

// tally finds out whether the tunnel rests, by the packets that passed it so far.
func (p pulse) tally(now time.Time, sum uint64) pulse {
	busy := sum-p.base > restPackets
	if busy || now.Sub(p.since) >= restTime {
		p.resting, p.since, p.base = !busy, now, sum
	}
	return p
}

func (p pulse) heard(now time.Time, came uint64) pulse {
	p.flowing = came > uint64(p.questions)
	if p.questions > 0 {
		p.silences = p.silences.with(now.Sub(p.first))
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
	}
	return p.answers >= knownAnswers && p.dueAnyway(now) ||
		p.missed(now) && now.Sub(p.missedAt) >= calmTime
}

// dueAnyway is due for a peer that answers questions and says other things.
func (p pulse) dueAnyway(now time.Time) bool {
	if p.owed > 0 {
		return now.Sub(p.last) >= p.patience()
	}
	return p.busy && now.Sub(p.last) >= p.usedEvery
}

// missed says whether the peer is silent though it should not be.
func (p pulse) missed(now time.Time) bool {
	return !p.askedAt.IsZero() && now.Sub(p.askedAt) >= quietTime || p.flowing && now.Sub(p.heardAt) >= pauseTime
}

// patience is how long to wait before the next question to a peer that owes an
// answer and says other things: the first may be on its way.
func (p pulse) patience() time.Duration {
	switch {
	case p.owed == 1:
		return max(answerSoon, p.answering)
	case p.owed >= manyQuestions:
		return questionRarely
	}
	return questionEvery
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

// answered notes the answer to a question.
func (p pulse) answered(now time.Time) pulse {
	if p.owed > 0 {
		p.took = p.took.with(now.Sub(p.owedAt))
		p.answering = p.took.shortest()
	}
	switch {
	case p.answering > answerSoon:
		p.usedEvery = lossyEvery
	case p.answering > 2*questionEvery:
		p.usedEvery = usedEvery
	default:
		p.usedEvery = nearEvery
	}
	p.answers++
	p.owed, p.answeredAt = 0, now
	return p
}

// relearn forgets that the peer answers questions: it works, and does not.
func (p pulse) relearn() pulse {
	p.answers, p.tries, p.owed = 0, 0, 0
	return p
}

// question notes that the peer was asked by so many packets; line is what has come
// by the WAN.
func (p pulse) question(now time.Time, packets int, line uint64) pulse {
	if p.questions == 0 {
		p.first, p.line = now, line
	}
	if p.owed == 0 {
		p.owedAt = now
	}
	p.questions++
	p.owed++
	p.out += uint64(packets)
	if p.missed(now) {
		p.missedAt = now
	}
	p.last, p.busy = now, false
	return p
}

// suffered says whether the peer has been silent, or has owed answers, for so long
// that its line may have been dead.
func (p pulse) suffered() bool { return p.questions >= goneQuestions || p.owed >= goneQuestions }

// again counts anew how long a peer is silent or owes an answer.
func (p pulse) again(now time.Time) pulse {
	if p.questions > 0 {
		p.questions, p.first = 1, now
	}
	if p.owed > 0 {
		p.owed, p.owedAt = 1, now
	}
	return p
}

// gone says whether the peer has ceased to answer, as far as that can be seen
// from its silence alone.
func (p pulse) gone(now time.Time) bool {
	return p.questions >= goneQuestions && p.answers >= knownAnswers && now.Sub(p.first) >= max(goneTime, 2*p.silences.shortest())
}

// deaf says whether nothing that is sent reaches the peer any more, though it may
// well send.
func (p pulse) deaf(now time.Time) bool {
	return p.owed >= deafQuestions && p.answers >= knownAnswers && now.Sub(p.owedAt) >= deafTime+3*p.answering
}

// doubted says whether the peer owes a sign of life, or so many answers that
// other signs say little.
func (p pulse) doubted() bool {
	return p.questions > 0 || p.owed >= deafQuestions && p.answers >= knownAnswers
}

// answeredSince says whether a question has been answered since a moment.
func (p pulse) answeredSince(t time.Time) bool { return p.answeredAt.After(t) }

// heardSince says whether something has come since a moment.
func (p pulse) heardSince(t time.Time) bool { return !p.at.IsZero() && p.heardAt.After(t) }

// next is when to look again.
func (p pulse) next(now time.Time) time.Duration {
	switch {
	case p.questions >= manyQuestions || p.owed >= manyQuestions:
		return questionRarely / 2
	case p.doubted() || !p.askedAt.IsZero() || p.owed > 0 && p.answers >= knownAnswers:
		return questionEvery
	case p.resting:
		return lookRest
	case now.Sub(p.heardAt) < 5*time.Second:
		return lookBusy
	}
	return lookIdle
}

// How often counters are looked at: an idle tunnel's first packet must be seen
// early enough for its silence to be told within two seconds, one that has rested,
// within two and a half.
const (
	lookBusy = 250 * time.Millisecond
	lookIdle = 500 * time.Millisecond
	lookRest = time.Second
	// restPackets is what passes in restTime where nobody uses a tunnel: keepalives
	// of both sides, a handshake and what ProbeIdle asks for. A miner's shares are
	// more.
	restPackets = 16
	restTime    = time.Minute
)

// silence tells people why a peer counts as dead.
func (p pulse) silence(now time.Time, to string) string {
	return fmt.Sprintf("no answer from %s for %.1f s, nor to %d questions, while others answer: the peer is down, or its packets are blocked on the way",
		to, now.Sub(p.heardAt).Seconds(), p.questions)
}

// deafness tells people why a peer counts as dead that still sends.
func (p pulse) deafness(now time.Time, to string) string {
	return fmt.Sprintf("no answer from %s to %d questions in %.1f s, though packets of it may come, while others answer: what is sent to it is lost on the way",
		to, p.owed, now.Sub(p.owedAt).Seconds())
}
