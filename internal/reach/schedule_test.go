package reach

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var epoch = time.Unix(1_900_000_000, 0)

func newSchedule() *Schedule {
	return NewSchedule(DefaultLimits(0), rand.New(rand.NewPCG(1, 1)), epoch)
}

func items(n int, interval time.Duration) []Item {
	out := make([]Item, n)
	for i := range out {
		out[i] = Item{Key: fmt.Sprintf("key%03d", i), Destination: fmt.Sprintf("d%03d", i), Interval: interval, Transfers: true}
	}
	return out
}

// simulation runs a schedule by an event queue: no real time passes.
type simulation struct {
	s       *Schedule
	now     time.Time
	paths   int
	takes   func(key string, deep bool) (time.Duration, Done)
	running []run
	begun   []run // all, in order
}

type run struct {
	key        string
	deep       bool
	begin, end time.Time
	done       Done
}

// until runs to a time.
func (m *simulation) until(end time.Time) {
	for m.now.Before(end) {
		for _, s := range m.s.Due(m.now) {
			took, done := m.takes(s.Key, s.Deep)
			r := run{s.Key, s.Deep, m.now, m.now.Add(took), done}
			m.running, m.begun = append(m.running, r), append(m.begun, r)
		}
		next, ok := m.s.Next(m.now)
		if !ok {
			next = end
		}
		next = earlier(next, end)
		slices.SortFunc(m.running, func(a, b run) int { return a.end.Compare(b.end) })
		if len(m.running) > 0 && !m.running[0].end.After(next) {
			r := m.running[0]
			m.running, m.now = m.running[1:], r.end
			m.s.Finished(m.now, r.key, r.done)
			continue
		}
		m.now = next
	}
}

// TestFiveHundredDestinationsStayWithinTheLimits is the bound that the
// documentation promises, with checks that take all they may.
func TestFiveHundredDestinationsStayWithinTheLimits(t *testing.T) {
	for name, took := range map[string]time.Duration{"fast": 300 * time.Millisecond, "slow": 25 * time.Second} {
		t.Run(name, func(t *testing.T) {
			m := &simulation{s: newSchedule(), now: epoch, paths: 3, takes: func(_ string, deep bool) (time.Duration, Done) {
				if deep {
					return took, Done{Bytes: 3 * MaxDeepBytes, Failing: true}
				}
				return took, Done{Bytes: 3 * MaxBytes, Failing: true}
			}}
			m.s.Set(epoch, items(500, 10*time.Second), 3)
			m.until(epoch.Add(30 * time.Minute))
			m.s.Early(m.now)
			m.until(m.now.Add(2 * time.Hour))
			m.within(t)
			seen := map[string]bool{}
			for _, r := range m.begun {
				seen[r.key] = true
			}
			if len(seen) != 500 {
				t.Errorf("%d of 500 targets were checked", len(seen))
			}
		})
	}
}

// within checks every minute that begins with a check.
func (m *simulation) within(t *testing.T) {
	t.Helper()
	const checks, bytes, parallel = 120, 6 << 20, 12
	for i, first := range m.begun {
		n, taken, running := 0, int64(0), 0
		for _, r := range m.begun[:i] {
			if r.end.After(first.begin) {
				taken += r.done.Bytes // all of it, at the worst, from here on
				running += m.paths
			}
		}
		if running+m.paths > parallel {
			t.Fatalf("%d checks at a time", running+m.paths)
		}
		for _, r := range m.begun[i:] {
			if !r.begin.Before(first.begin.Add(time.Minute)) {
				break
			}
			n += m.paths
			taken += r.done.Bytes
		}
		if n > checks || taken > bytes {
			t.Fatalf("from %s: %d checks, %d bytes in a minute", first.begin.Sub(epoch), n, taken)
		}
	}
}

// fine is a check that goes well and takes little.
func finely(string, bool) (time.Duration, Done) { return time.Second, Done{Bytes: 9000} }

func TestChecksAreSpreadAndNotInStep(t *testing.T) {
	m := &simulation{s: newSchedule(), now: epoch, paths: 2, takes: finely}
	m.s.Set(epoch, items(10, time.Minute), 2)
	m.until(epoch.Add(time.Hour))
	at := map[string][]time.Time{}
	for _, r := range m.begun {
		at[r.key] = append(at[r.key], r.begin)
	}
	first := map[time.Duration]bool{}
	for key, times := range at {
		first[times[0].Sub(epoch)] = true
		gaps := map[time.Duration]bool{}
		for i := range times[1:] {
			gap := times[i+1].Sub(times[i])
			gaps[gap] = true
			if gap < 54*time.Second || gap > 70*time.Second {
				t.Errorf("%s: %s between checks", key, gap)
			}
		}
		if len(gaps) < 20 {
			t.Errorf("%s: %d different intervals", key, len(gaps))
		}
	}
	if len(at) != 10 || len(first) != 10 {
		t.Errorf("%d targets, begun at %d different times", len(at), len(first))
	}
}

func TestWhatKeepsFailingIsCheckedLessOften(t *testing.T) {
	m := &simulation{s: newSchedule(), now: epoch, takes: func(string, bool) (time.Duration, Done) { return time.Second, Done{Failing: true} }}
	m.s.Set(epoch, items(1, time.Minute), 1)
	m.until(epoch.Add(2 * time.Hour))
	n := len(m.begun)
	if n < 12 || n > 22 {
		t.Errorf("%d checks in two hours", n)
	}
	last := m.begun[n-1].begin.Sub(m.begun[n-2].begin)
	if last < 9*time.Minute || last > 11*time.Minute+time.Second {
		t.Errorf("the last interval is %s", last)
	}
	m.takes = finely
	m.until(m.now.Add(40 * time.Minute))
	if got := len(m.begun) - n; got < 25 {
		t.Errorf("%d checks in 40 minutes since it works", got)
	}
}

func TestAFindingIsLookedAtAgainSoonAndFirst(t *testing.T) {
	n := 0
	m := &simulation{s: newSchedule(), now: epoch, paths: 3, takes: func(key string, _ bool) (time.Duration, Done) {
		n += btoi(key == "key007")
		return time.Second, Done{Bytes: 9000, Pending: key == "key007" && n%repeats != 0}
	}}
	m.s.Set(epoch, items(300, time.Minute), 3)
	m.until(epoch.Add(20 * time.Minute))
	var times []time.Time
	for _, r := range m.begun {
		if r.key == "key007" {
			times = append(times, r.begin)
		}
	}
	for i := range times[1:] {
		gap := times[i+1].Sub(times[i])
		if repeated := (i+1)%repeats != 0; gap < spacing || repeated && gap > 15*time.Second {
			t.Errorf("%s between repetitions", gap)
		}
	}
	if len(times) < 6 {
		t.Errorf("%d checks", len(times))
	}
}

func TestFindingsThatNeverRepeatStarveNobody(t *testing.T) {
	m := &simulation{s: newSchedule(), now: epoch, paths: 3, takes: func(string, bool) (time.Duration, Done) {
		return time.Second, Done{Bytes: 9000, Pending: true}
	}}
	m.s.Set(epoch, items(400, time.Minute), 3)
	m.until(epoch.Add(2 * time.Hour))
	count := map[string]int{}
	for _, r := range m.begun {
		count[r.key]++
	}
	for key, n := range count {
		if n < 4 {
			t.Errorf("%s was checked %d times", key, n)
		}
	}
	if len(count) != 400 {
		t.Errorf("%d targets were checked", len(count))
	}
}

func TestEarlyChecksComeWithinSecondsAndRest(t *testing.T) {
	m := &simulation{s: newSchedule(), now: epoch, takes: finely}
	m.s.Set(epoch, items(2, time.Hour), 1)
	m.until(epoch.Add(2 * time.Minute))
	n := len(m.begun)
	m.s.Early(m.now, "d000")
	m.until(m.now.Add(3 * time.Second))
	if len(m.begun) != n+1 || m.begun[n].key != "key000" {
		t.Fatalf("%d early checks", len(m.begun)-n)
	}
	for range 60 {
		m.s.Early(m.now)
		m.until(m.now.Add(time.Second))
	}
	if got := len(m.begun) - n - 1; got < 8 || got > 14 {
		t.Errorf("%d checks of two targets in a minute of alarm", got)
	}
}

func TestUnusedDestinationsAreCheckedOnceAnHour(t *testing.T) {
	m := &simulation{s: newSchedule(), now: epoch, takes: finely}
	m.s.Set(epoch, items(2, time.Minute), 1)
	for m.now.Before(epoch.Add(48 * time.Hour)) {
		m.s.Used(m.now, "d001")
		m.until(m.now.Add(time.Hour))
	}
	count := map[string]int{}
	for _, r := range m.begun {
		if r.begin.After(epoch.Add(25 * time.Hour)) {
			count[r.key]++
		}
	}
	if count["key000"] < 20 || count["key000"] > 27 || count["key001"] < 1200 {
		t.Errorf("checks of the second day: %v", count)
	}
	n := len(m.begun)
	m.s.Used(m.now, "d000")
	m.until(m.now.Add(5 * time.Second))
	if !slices.ContainsFunc(m.begun[n:], func(r run) bool { return r.key == "key000" }) {
		t.Error("not checked early when used again")
	}
}

func TestTransfersAreRareUnlessOneStalls(t *testing.T) {
	stalled := false
	m := &simulation{s: newSchedule(), now: epoch, takes: func(string, bool) (time.Duration, Done) {
		return time.Second, Done{Bytes: 9000, Stalled: stalled}
	}}
	all := items(2, time.Minute)
	all[1].Transfers = false
	m.s.Set(epoch, all, 1)
	deep := func() (n, of int) {
		for _, r := range m.begun {
			if r.deep && r.key == "key001" {
				t.Fatal("a transfer of what has none")
			}
			n += btoi(r.deep)
			of += btoi(r.key == "key000")
		}
		m.begun = nil
		return n, of
	}
	m.until(epoch.Add(time.Hour))
	if n, of := deep(); n < 5 || n > 8 || of < 50 {
		t.Errorf("%d of %d checks have a transfer", n, of)
	}
	stalled = true
	m.until(m.now.Add(30 * time.Minute))
	if n, of := deep(); n < of-11 || n < 15 {
		t.Errorf("%d of %d checks have a transfer once one stalls", n, of)
	}
}

func TestChangedSettingsKeepWhatIsKnown(t *testing.T) {
	m := &simulation{s: newSchedule(), now: epoch, takes: finely}
	m.s.Set(epoch, items(3, time.Hour), 1)
	m.until(epoch.Add(time.Minute))
	if len(m.begun) != 3 {
		t.Fatalf("%d checks", len(m.begun))
	}
	m.s.Set(m.now, items(4, time.Hour), 2)
	m.until(m.now.Add(time.Minute))
	if len(m.begun) != 4 || m.begun[3].key != "key003" {
		t.Errorf("%d checks, want one more, of the new target", len(m.begun))
	}
	m.s.Set(m.now, items(4, time.Minute), 2)
	m.until(m.now.Add(90 * time.Second))
	if got := len(m.begun) - 4; got < 4 {
		t.Errorf("%d checks after the interval was shortened", got)
	}
	m.s.Set(m.now, nil, 2)
	if next, ok := m.s.Next(m.now); ok {
		t.Errorf("something is due at %s", next)
	}
}

// Who may begin, but stands behind a check that may not, is no reason to look again:
// a turn costs a slow processor milliseconds.
func TestTheScheduleIsNotAskedOverAndOverWhileAllWaitForOne(t *testing.T) {
	s := newSchedule()
	all := items(2, time.Minute)
	all[0].Transfers = false
	s.Set(epoch, all[:1], 1)
	now := epoch.Add(time.Minute)
	s.Set(now, all, 1)
	now = now.Add(time.Minute)
	s.Spent(now, 0, 2*DefaultLimits(0).Bytes)
	turns := 0
	for ; len(s.Due(now)) == 0; turns++ {
		next, ok := s.Next(now)
		if !ok {
			t.Fatal("nothing comes next")
		}
		now = next
	}
	const most = 5
	if turns > most {
		t.Errorf("it was looked %d times before a check began", turns)
	}
}

func TestWhatIsTakenOffWhileItRunsIsForgotten(t *testing.T) {
	s := newSchedule()
	s.Set(epoch, items(1, time.Minute), 4)
	now := epoch.Add(time.Minute)
	if got := s.Due(now); len(got) != 1 {
		t.Fatalf("%d are due", len(got))
	}
	s.Set(now, nil, 4)
	s.Finished(now, "key000", Done{})
	if s.running != 0 {
		t.Errorf("%d checks run", s.running)
	}
}

// checksOf is how many checks of a target, or of all, have begun since a time.
func (m *simulation) checksOf(key string, since time.Time) (n int) {
	for _, r := range m.begun {
		if !r.begin.Before(since) && (key == "" || r.key == key) {
			n++
		}
	}
	return n
}

// TestASlowProcessorIsAskedForFewRoutineChecks: what nothing asks for waits, and
// keeps nobody else waiting.
func TestASlowProcessorIsAskedForFewRoutineChecks(t *testing.T) {
	const targets, paths, bad = 40, 2, "key000"
	limits := DefaultLimits(100 * time.Millisecond)
	if limits.Routine != leastRoutine {
		t.Fatalf("%d routine checks a minute on a slow processor, want %d", limits.Routine, leastRoutine)
	}
	failing, all := false, false
	m := &simulation{
		s: NewSchedule(limits, rand.New(rand.NewPCG(1, 1)), epoch), now: epoch, paths: paths,
		takes: func(key string, _ bool) (time.Duration, Done) {
			return time.Second, Done{Failing: all || failing && key == bad}
		},
	}
	m.s.Set(epoch, items(targets, time.Minute), paths)
	for _, c := range []struct {
		what     string
		before   func()
		lasts    time.Duration
		key      string
		from, to int
	}{
		{"at the start", func() {}, 90 * time.Second, "", targets, 2 * targets},
		{"while all works", func() { m.until(m.now.Add(10 * time.Minute)) }, time.Hour, "", 59 * leastRoutine / paths, 61 * leastRoutine / paths},
		{"after a sign that something is wrong", func() { m.s.Early(m.now) }, 90 * time.Second, "", targets, 2 * targets},
		{"once a target fails", func() { failing = true; m.until(m.now.Add(time.Hour)) }, time.Hour, bad, 5, 8},
		{"and the others", func() {}, time.Hour, "", 59*leastRoutine/paths + 5, 61*leastRoutine/paths + 8},
		{"when all fail for long", func() { all = true; m.until(m.now.Add(4 * time.Hour)) }, time.Hour, "", 59 * leastRoutine / paths, 61 * leastRoutine / paths},
	} {
		c.before()
		began := m.now
		m.until(began.Add(c.lasts))
		if n := m.checksOf(c.key, began); n < c.from || n > c.to {
			t.Errorf("%s: %d checks within %s, want %d to %d", c.what, n, c.lasts, c.from, c.to)
		}
	}
}

func TestAFastProcessorHasNoLimitOfItsOwn(t *testing.T) {
	if l := DefaultLimits(time.Millisecond); l.Routine != l.Checks {
		t.Errorf("%d routine checks a minute on a fast processor, want %d", l.Routine, l.Checks)
	}
	if cost := checkCost(); cost <= 0 || cost > time.Minute {
		t.Errorf("a check takes %s of this processor", cost)
	}
}
