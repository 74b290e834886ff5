package reach

import "time"

const (
	// repeats is how often a finding must come, one after the other, to change a
	// verdict.
	repeats = 3
	// spacing is how far apart they must be at the least: one moment's trouble
	// counts once.
	spacing = 5 * time.Second
)

// Tracker turns findings into a verdict that does not change by chance. The zero
// value has seen nothing. It has no clock: the caller says when.
type Tracker struct {
	verdict   Finding
	since     time.Time
	candidate Finding
	count     int
	last      time.Time // when the candidate last counted
}

// Add takes the finding of a round and says whether the verdict changed by it.
// That it works at all, where nothing was known, is believed at once.
func (t *Tracker) Add(now time.Time, f Finding) (changed bool) {
	if f.Verdict == t.Verdict().Verdict {
		t.candidate, t.count = Finding{}, 0
		if t.since.IsZero() {
			t.since = now
		}
		t.verdict = f
		return false
	}
	switch {
	case t.count == 0 || t.candidate.key() != f.key():
		t.candidate, t.count, t.last = f, 1, now
	case now.Sub(t.last) >= spacing:
		t.candidate, t.last = f, now
		t.count++
	}
	if t.count < repeats && (f.Verdict != Reachable || t.Verdict().Verdict != Unknown) {
		return false
	}
	t.verdict, t.since, t.candidate, t.count = f, now, Finding{}, 0
	return true
}

// Verdict is what holds now: Unknown before anything does.
func (t *Tracker) Verdict() Finding {
	if t.verdict.Verdict == "" {
		return Finding{Verdict: Unknown, Sentence: "not checked yet"}
	}
	return t.verdict
}

// Since is when the verdict began to hold; zero: nothing was found yet.
func (t *Tracker) Since() time.Time { return t.since }

// Pending says whether a finding waits to be repeated.
func (t *Tracker) Pending() bool { return t.count > 0 }
