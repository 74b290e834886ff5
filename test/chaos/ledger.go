package chaos

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/routerd/routerd/test/chaos/crowd"
	"github.com/routerd/routerd/test/lab"
)

// Violation is something that must not be.
type Violation struct {
	At     time.Duration `json:"at"`    // since the run began
	Event  string        `json:"event"` // the last that had begun; "" is none
	What   string        `json:"what"`
	Detail string        `json:"detail"`
}

// window is a time in which an event itself takes unlisted connections away.
type window struct {
	from, to time.Duration // to is 0 while it lasts
	families []int
	what     excused
}

// excused is what a window excuses.
type excused uint8

const (
	openings excused = 1 << iota // connections that are short
	cuts                         // those that last
)

// slack is how much later an attempt may begin that a window still excuses:
// neighbours are found anew.
const slack = 500 * time.Millisecond

// excuses says whether the window explains that an attempt failed.
func (w window) excuses(a crowd.Attempt) bool {
	what := openings
	if a.Kind == crowd.Lasting {
		what = cuts
	}
	if !slices.Contains(w.families, a.Family) || w.what&what == 0 {
		return false
	}
	return a.End >= w.from && (w.to == 0 || a.Begin <= w.to+slack)
}

// period is an event's time: from its first act until listed traffic works again.
type period struct {
	event    Event
	from, to time.Duration // to is 0 while it lasts
	gentle   bool          // no listed connection may end by it either
}

// Tally counts attempts of one kind.
type Tally struct {
	Made    int `json:"made"`
	Failed  int `json:"failed"`  // those that are no violation included
	Excused int `json:"excused"` // of the failed: by an event itself, or by a machine that others use
}

// streak is how many probes in a row tell that traffic works.
const streak = 3

// probed is whose probes stand in a row.
type probed struct {
	client string
	family int
}

// ledger judges what the crowd tells, by what happens at the time.
type ledger struct {
	begin time.Duration
	tell  func(Violation) // is told of each; must not call the ledger

	mu         sync.Mutex // guards all below
	periods    []period
	windows    []window
	probes     map[probed][]crowd.Attempt // since the last event began
	listed     map[crowd.Kind]*Tally
	unlisted   map[crowd.Kind]*Tally
	violations []Violation
	controls   []crowd.Attempt // no older than controlAge
}

func newLedger(clients []string, tell func(Violation)) *ledger {
	l := &ledger{
		begin: crowd.Now(), tell: tell, probes: map[probed][]crowd.Attempt{},
		listed: map[crowd.Kind]*Tally{}, unlisted: map[crowd.Kind]*Tally{},
	}
	for _, c := range clients {
		l.probes[probed{c, 4}], l.probes[probed{c, 6}] = nil, nil
	}
	return l
}

// violate notes a violation.
func (l *ledger) violate(what, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(crowd.Now(), what, fmt.Sprintf(format, args...))
}

// note is called with mu held.
func (l *ledger) note(at time.Duration, what, detail string) {
	v := Violation{At: at - l.begin, What: what, Detail: detail}
	for _, p := range l.periods {
		if p.from <= at {
			v.Event = p.event.String()
		}
	}
	l.violations = append(l.violations, v)
	l.tell(v)
}

// beginEvent opens the period of an event.
func (l *ledger) beginEvent(e Event, gentle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.periods = append(l.periods, period{event: e, from: crowd.Now(), gentle: gentle})
	for k := range l.probes {
		l.probes[k] = nil
	}
}

// endEvent closes the period of the last event.
func (l *ledger) endEvent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.periods[len(l.periods)-1].to = crowd.Now()
}

// excuse begins a window; call end when what it excuses is over.
func (l *ledger) excuse(what excused, families ...int) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := len(l.windows)
	l.windows = append(l.windows, window{from: crowd.Now(), families: families, what: what})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.windows[at].to = crowd.Now()
	}
}

// take judges an attempt.
func (l *ledger) take(a crowd.Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.Kind == crowd.Control {
		l.takeControl(a)
		return
	}
	if a.Kind == crowd.Probe {
		key := probed{a.Client, a.Family}
		l.probes[key] = append(l.probes[key], a)
	}
	if a.Listed {
		l.takeListed(a)
	} else {
		l.takeUnlisted(a)
	}
}

func count(in map[crowd.Kind]*Tally, a crowd.Attempt) *Tally {
	t := in[a.Kind]
	if t == nil {
		t = &Tally{}
		in[a.Kind] = t
	}
	t.Made++
	if !a.OK {
		t.Failed++
	}
	return t
}

// takeUnlisted is called with mu held.
func (l *ledger) takeUnlisted(a crowd.Attempt) {
	t := count(l.unlisted, a)
	if throughExit(a.Seen) {
		l.note(a.End, "unlisted connection in a tunnel", a.String())
	}
	if a.OK {
		return
	}
	if slices.ContainsFunc(l.windows, func(w window) bool { return w.excuses(a) }) || l.starves(a) {
		t.Excused++
		return
	}
	l.note(a.End, "unlisted connection lost", a.String())
}

// takeListed is called with mu held. Listed connections may fail while an event
// lasts; those that last may end by one that is not gentle.
func (l *ledger) takeListed(a crowd.Attempt) {
	t := count(l.listed, a)
	if a.Seen != "" && !throughExit(a.Seen) {
		l.note(a.End, "listed connection by the WAN", a.String())
	}
	if a.OK {
		return
	}
	excused := slices.ContainsFunc(l.periods, func(p period) bool {
		return a.End >= p.from && (p.to == 0 || a.Begin <= p.to+slack) && !(p.gentle && a.Kind == crowd.Lasting)
	})
	switch {
	case excused, l.starves(a):
		t.Excused++
	case a.Kind == crowd.Lasting:
		l.note(a.End, "listed connection cut", a.String())
	default:
		l.note(a.End, "listed connection failed in quiet times", a.String())
	}
}

// throughExit says whether an address is that of an exit.
func throughExit(seen string) bool {
	a, err := netip.ParseAddr(seen)
	return err == nil && slices.Contains([]string{lab.ExitSource4, lab.ExitSource6, lab.Exit2Source4, lab.Exit2Source6}, a.String())
}

// converged says how long after a time the listed names work again from every
// client over both families: since the first of the probes that then all succeed.
func (l *ledger) converged(since time.Duration) (after time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.probes {
		at, ok := works(all, since)
		if !ok {
			return 0, false
		}
		after = max(after, at-since)
	}
	return after, true
}

// works finds the end of the first of so many good probes in a row.
func works(all []crowd.Attempt, since time.Duration) (at time.Duration, ok bool) {
	row := 0
	for _, a := range all {
		switch {
		case a.Begin < since:
		case !a.OK:
			row = 0
		default:
			if row++; row == 1 {
				at = a.End
			}
			if row == streak {
				return at, true
			}
		}
	}
	return 0, false
}

// lastFailure is what the newest failed probe says; "" if none has failed.
func (l *ledger) lastFailure() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var last crowd.Attempt
	for _, all := range l.probes {
		for _, a := range all {
			if !a.OK && a.End > last.End {
				last = a
			}
		}
	}
	if last.Kind == "" {
		return ""
	}
	return last.String()
}

// results are what has been counted, for the report.
func (l *ledger) results() (listed, unlisted map[crowd.Kind]Tally, violations []Violation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := func(in map[crowd.Kind]*Tally) map[crowd.Kind]Tally {
		out := map[crowd.Kind]Tally{}
		for k, t := range in {
			out[k] = *t
		}
		return out
	}
	return values(l.listed), values(l.unlisted), slices.Clone(l.violations)
}

// kind is that of the last event that has begun; "" is none.
func (l *ledger) kind() Kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.periods) == 0 {
		return ""
	}
	return l.periods[len(l.periods)-1].event.Kind
}
