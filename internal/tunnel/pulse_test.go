package tunnel

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// line is a simulated tunnel: packets that go in come back after a round trip,
// while it lives.
type line struct {
	rtt      time.Duration
	loss     float64 // of packets, in each direction
	mute     bool    // the peer answers no questions
	dead     bool
	deaf     bool // what is sent to the peer is lost
	rnd      *rand.Rand
	now      time.Time
	rx, tx   uint64
	coming   []packet
	tokens   float64 // for answers to questions: six in a row, then one a second
	p        pulse
	goneAt   time.Time // when it was taken for dead
	backAt   time.Time // and for alive again
	asked    int
	lastLook time.Time
}

// packet comes at a moment.
type packet struct {
	at     time.Time
	answer bool // to a question
}

func newLine(rtt time.Duration) *line {
	return &line{rtt: rtt, tokens: 6, rnd: rand.New(rand.NewPCG(1, 2)), now: time.Unix(1000, 0)}
}

// send puts a packet in that is answered.
func (l *line) send(answered bool) {
	l.tx++
	if answered && l.arrives() && l.arrives() {
		l.coming = append(l.coming, packet{at: l.now.Add(l.rtt)})
	}
}

// arrives says whether a packet is not lost.
func (l *line) arrives() bool { return !l.dead && !l.deaf && l.rnd.Float64() >= l.loss }

// ask puts a question in.
func (l *line) ask() {
	l.asked++
	l.tx++
	if l.mute || !l.arrives() || l.tokens < 1 {
		return
	}
	l.tokens--
	if l.arrives() {
		l.coming = append(l.coming, packet{at: l.now.Add(l.rtt), answer: true})
	}
}

// run lets time pass in steps of 10 ms; traffic is called at each.
func (l *line) run(lasting time.Duration, traffic func(since time.Duration)) {
	const step = 10 * time.Millisecond
	answers := 0 // that were not looked for yet
	for since := time.Duration(0); since < lasting; since += step {
		l.now = l.now.Add(step)
		l.tokens = min(6, l.tokens+step.Seconds())
		traffic(since)
		for len(l.coming) > 0 && !l.coming[0].at.After(l.now) {
			if !l.dead {
				l.rx++
				if l.coming[0].answer {
					answers++
				}
			}
			l.coming = l.coming[1:]
		}
		if l.now.Sub(l.lastLook) < l.p.next(l.now) {
			continue
		}
		l.lastLook = l.now
		l.look(answers > 0)
		answers = 0
	}
}

// look does what Manager.look does.
func (l *line) look(answered bool) {
	l.p = l.p.observe(l.now, l.rx, l.tx)
	if answered {
		l.p = l.p.answered(l.now)
	}
	if l.p.curious(l.now) {
		l.ask()
		l.p = l.p.tried(l.now)
	}
	if l.p.due(l.now) {
		l.ask()
		l.p = l.p.question(l.now, 1, 0)
	}
	switch {
	case l.goneAt.IsZero() && (l.p.gone(l.now) || l.p.deaf(l.now)):
		l.goneAt = l.now
	case !l.goneAt.IsZero() && l.backAt.IsZero() && !l.p.doubted():
		l.backAt = l.now
	}
}

func nothing(time.Duration) {}

// every calls f at intervals.
func every(d time.Duration, f func()) func(time.Duration) {
	return func(since time.Duration) {
		if since%d == 0 {
			f()
		}
	}
}

func TestDeadTunnelIsToldWithinTwoSeconds(t *testing.T) {
	for _, rtt := range []time.Duration{5 * time.Millisecond, 80 * time.Millisecond, 300 * time.Millisecond} {
		for _, tt := range []struct {
			name            string
			before, traffic func(*line) func(time.Duration)
		}{
			{"idle before", func(*line) func(time.Duration) { return nothing }, requests},
			{"requests", requests, requests},
			{"a download, which sends nothing by itself", download, func(*line) func(time.Duration) { return nothing }},
		} {
			for phase := range 50 { // when it dies, within a look
				l := newLine(rtt)
				l.run(20*time.Second, tt.before(l))
				l.run(time.Duration(phase)*10*time.Millisecond, tt.before(l))
				if !l.goneAt.IsZero() {
					t.Fatalf("%s, %s: taken for dead while it lives", tt.name, rtt)
				}
				died := l.now
				l.dead = true
				l.run(5*time.Second, tt.traffic(l))
				if took := l.goneAt.Sub(died); l.goneAt.IsZero() || took > 2*time.Second {
					t.Fatalf("%s, %s, phase %d: told after %s", tt.name, rtt, phase, took)
				}
			}
		}
	}
}

func TestPeerThatHearsNothingIsToldThoughItGoesOnSending(t *testing.T) {
	// Servers behind it send again what is not acknowledged.
	retransmissions := func(l *line) func(time.Duration) {
		return every(70*time.Millisecond, func() {
			l.send(false)
			l.rx++
		})
	}
	for rtt, most := range map[time.Duration]time.Duration{
		5 * time.Millisecond: 4500 * time.Millisecond, 80 * time.Millisecond: 4500 * time.Millisecond,
		300 * time.Millisecond: 7 * time.Second,
	} {
		for phase := range 50 {
			l := newLine(rtt)
			l.run(20*time.Second, requests(l))
			l.run(time.Duration(phase)*30*time.Millisecond, requests(l))
			if !l.goneAt.IsZero() {
				t.Fatalf("%s: taken for dead while it lives", rtt)
			}
			died := l.now
			l.deaf = true
			l.run(10*time.Second, retransmissions(l))
			if took := l.goneAt.Sub(died); l.goneAt.IsZero() || took > most {
				t.Fatalf("%s, phase %d: told after %s", rtt, phase, took)
			}
			if !l.backAt.IsZero() {
				t.Fatalf("%s, phase %d: taken for alive while it hears nothing", rtt, phase)
			}
			l.deaf, died = false, l.now
			l.run(5*time.Second, requests(l))
			if took := l.backAt.Sub(died); l.backAt.IsZero() || took > 2*time.Second {
				t.Fatalf("%s, phase %d: taken for alive after %s", rtt, phase, took)
			}
		}
	}
}

func TestAnOutageDoesNotMakeTheNextOneBeToldLater(t *testing.T) {
	retransmissions := func(l *line) func(time.Duration) {
		return every(70*time.Millisecond, func() { l.send(false); l.rx++ })
	}
	for _, first := range []time.Duration{500 * time.Millisecond, 1200 * time.Millisecond, 3 * time.Second, 8 * time.Second} {
		for _, deaf := range []bool{false, true} {
			for phase := range 50 {
				l := newLine(20 * time.Millisecond)
				l.run(20*time.Second, requests(l))
				for range 2 { // not long after each other
					l.dead, l.deaf = !deaf, deaf
					l.run(first, retransmissions(l))
					l.dead, l.deaf = false, false
					l.run(2500*time.Millisecond+time.Duration(phase)*30*time.Millisecond, requests(l))
				}
				l.run(5*time.Second, requests(l))

				l.goneAt, l.backAt = time.Time{}, time.Time{}
				died := l.now
				l.deaf = true
				l.run(10*time.Second, retransmissions(l))
				if took := l.goneAt.Sub(died); l.goneAt.IsZero() || took > 4500*time.Millisecond {
					t.Fatalf("%s away (deaf: %t), phase %d: the next time told after %s", first, deaf, phase, took)
				}
			}
		}
	}
}

func TestAnOutageDoesNotMakeSilenceBeToldLater(t *testing.T) {
	for _, first := range []time.Duration{500 * time.Millisecond, 1200 * time.Millisecond, 3 * time.Second} {
		for phase := range 50 {
			l := newLine(20 * time.Millisecond)
			l.run(20*time.Second, requests(l))
			for range 2 { // not long after each other
				l.dead = true
				l.run(first, requests(l))
				l.dead = false
				l.run(2500*time.Millisecond+time.Duration(phase)*30*time.Millisecond, requests(l))
			}
			l.goneAt, l.backAt = time.Time{}, time.Time{}
			died := l.now
			l.dead = true
			l.run(10*time.Second, requests(l))
			if took := l.goneAt.Sub(died); l.goneAt.IsZero() || took > 2200*time.Millisecond {
				t.Fatalf("%s away, phase %d: the next time told after %s", first, phase, took)
			}
		}
	}
}

func TestDeadTunnelThatRestedIsToldWithinTwoAndAHalfSeconds(t *testing.T) {
	for phase := range 100 { // when it is used again, within a look
		l := newLine(80 * time.Millisecond)
		l.run(3*time.Minute, every(20*time.Second, func() { l.send(true) }))
		l.run(time.Duration(phase)*10*time.Millisecond, nothing)
		if got := l.p.next(l.now); got != lookRest {
			t.Fatalf("it is looked at again after %s, want %s", got, lookRest)
		}
		died := l.now
		l.dead = true
		l.run(5*time.Second, requests(l))
		if took := l.goneAt.Sub(died); l.goneAt.IsZero() || took > 2500*time.Millisecond {
			t.Fatalf("phase %d: told after %s", phase, took)
		}
	}
}

func TestTunnelThatIsUsedALittleDoesNotRest(t *testing.T) {
	l := newLine(80 * time.Millisecond)
	shares := every(10*time.Second, func() { l.send(true); l.send(true); l.send(true) })
	l.run(10*time.Minute, shares)
	if l.p.resting {
		t.Error("a tunnel with a share every ten seconds rests")
	}
	l.run(2*time.Minute, nothing)
	if !l.p.resting {
		t.Error("a tunnel that nobody uses does not rest")
	}
	l.run(time.Second+lookBusy, every(20*time.Millisecond, func() { l.send(true) }))
	if got := l.p.next(l.now); l.p.resting || got > lookBusy {
		t.Errorf("a second after it is used again it is looked at after %s", got)
	}
}

// requests are sent again and again, each is answered.
func requests(l *line) func(time.Duration) {
	return every(200*time.Millisecond, func() { l.send(true) })
}

// download brings packets without ours in between.
func download(l *line) func(time.Duration) {
	return every(20*time.Millisecond, func() {
		if !l.dead {
			l.rx++
		}
	})
}

// aFifth is what a line loses in each direction that loses a fifth of all questions
// or their answers.
const aFifth = 0.106

func TestLiveTunnelIsNeverTakenForDead(t *testing.T) {
	bursts := func(l *line) func(time.Duration) {
		return func(since time.Duration) {
			if since%(3*time.Second) < time.Second && since%(50*time.Millisecond) == 0 {
				l.send(true)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		rtt     time.Duration
		loss    float64
		traffic func(*line) func(time.Duration)
	}{
		{"idle", 50 * time.Millisecond, 0, func(*line) func(time.Duration) { return nothing }},
		{"requests", 50 * time.Millisecond, 0, requests},
		{"bursts", 50 * time.Millisecond, 0, bursts},
		{"bursts, and a long way", 700 * time.Millisecond, 0, bursts},
		{"a fifth is lost", 50 * time.Millisecond, aFifth, requests},
		{"a fifth is lost of bursts", 300 * time.Millisecond, aFifth, bursts},
		{"one dead server", 50 * time.Millisecond, 0, func(l *line) func(time.Duration) {
			return every(200*time.Millisecond, func() { l.send(false) })
		}},
		{"one-way datagrams over a bad line", 50 * time.Millisecond, aFifth, func(l *line) func(time.Duration) {
			return every(20*time.Millisecond, func() { l.send(false) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(tt.rtt)
			l.loss = tt.loss
			const lasting = 10 * time.Minute
			l.run(lasting, tt.traffic(l))
			if !l.goneAt.IsZero() {
				t.Errorf("taken for dead after %s", l.goneAt.Sub(time.Unix(1000, 0)))
			}
			t.Logf("%d questions in %s", l.asked, lasting)
			if most := int(lasting/questionEvery) / 2; l.asked > most {
				t.Errorf("%d questions in %s, want at most %d", l.asked, lasting, most)
			}
		})
	}
}

func TestIdleTunnelIsNotAskedOnceItIsKnown(t *testing.T) {
	l := newLine(50 * time.Millisecond)
	l.run(time.Minute, nothing)
	before := l.asked
	l.run(time.Hour, nothing)
	if l.asked != before || before > learnTries {
		t.Errorf("%d questions in the first minute, then %d", before, l.asked-before)
	}
}

func TestPeerThatAnswersNoQuestionsIsNotJudgedByThem(t *testing.T) {
	l := newLine(50 * time.Millisecond)
	l.mute = true
	l.run(time.Minute, requests(l))
	l.dead = true
	l.run(time.Minute, requests(l))
	if !l.goneAt.IsZero() {
		t.Error("taken for dead by questions that it never answers")
	}
	if l.asked > 200 {
		t.Errorf("%d questions to one that never answers", l.asked)
	}
}

func TestDevicesMadeAnewBeginAnew(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pulse{}.observe(now, 100, 100).question(now, 1, 0).observe(now.Add(time.Second), 3, 200)
	if p.doubted() || p.rx != 3 || !p.heardAt.Equal(now.Add(time.Second)) {
		t.Errorf("%+v", p)
	}
}

func TestSilenceIsExplained(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pulse{}.observe(now, 1, 1)
	for range 8 {
		p = p.question(now, 1, 0)
	}
	if got := p.silence(now.Add(1400*time.Millisecond), "192.0.2.2:51820"); !strings.HasPrefix(got, "no answer from 192.0.2.2:51820 for 1.4 s, nor to 8 questions") {
		t.Error(got)
	}
}
