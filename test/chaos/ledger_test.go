package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/chaos/crowd"
	"github.com/routerd/routerd/test/lab"
)

// quiet is a ledger whose violations are told to nobody.
func quiet() *ledger { return newLedger([]string{lab.Client}, func(Violation) {}) }

// attempt is one of a client, changed by what follows.
func attempt(change ...func(*crowd.Attempt)) crowd.Attempt {
	a := crowd.Attempt{
		Client: lab.Client, Kind: crowd.HTTP, Name: "www.okx.com", Family: 4,
		Begin: crowd.Now(), End: crowd.Now(), OK: true, Seen: lab.RouterWAN4,
	}
	for _, c := range change {
		c(&a)
	}
	return a
}

func failed(a *crowd.Attempt) { a.OK, a.Seen, a.Error = false, "", "connect: timed out" }

func listed(a *crowd.Attempt) { a.Listed, a.Seen = true, lab.ExitSource4 }

func lasts(a *crowd.Attempt) { a.Kind = crowd.Lasting }

func six(a *crowd.Attempt) { a.Family = 6 }

// what lists the violations' sorts.
func (l *ledger) what() string {
	_, _, all := l.results()
	var out []string
	for _, v := range all {
		out = append(out, v.What)
	}
	return strings.Join(out, ", ")
}

func TestLedgerJudges(t *testing.T) {
	for _, c := range []struct {
		name    string
		event   string  // "" none, "gentle", "rough"
		excused excused // a window: 0 none; IPv4 only
		a       crowd.Attempt
		want    string
	}{
		{"unlisted by the WAN", "", 0, attempt(), ""},
		{"unlisted in a tunnel", "", 0, attempt(func(a *crowd.Attempt) { a.Seen = lab.Exit2Source6 }), "unlisted connection in a tunnel"},
		{"unlisted lost", "", 0, attempt(failed), "unlisted connection lost"},
		{"unlisted lost at an event", "rough", 0, attempt(failed), "unlisted connection lost"},
		{"unlisted lost with the line", "rough", openings, attempt(failed), ""},
		{"unlisted lost over the other family", "rough", openings, attempt(failed, six), "unlisted connection lost"},
		{"unlisted cut with the line", "rough", openings, attempt(failed, lasts), "unlisted connection lost"},
		{"unlisted cut with its address", "rough", openings | cuts, attempt(failed, lasts), ""},
		{"unlisted lost where only what lasts is cut", "rough", cuts, attempt(failed), "unlisted connection lost"},
		{"listed in a tunnel", "", 0, attempt(listed), ""},
		{"listed by the WAN", "rough", 0, attempt(func(a *crowd.Attempt) { a.Listed = true }), "listed connection by the WAN"},
		{"listed failed in quiet", "", 0, attempt(listed, failed), "listed connection failed in quiet times"},
		{"listed failed at an event", "gentle", 0, attempt(listed, failed), ""},
		{"listed cut at a gentle event", "gentle", 0, attempt(listed, failed, lasts), "listed connection cut"},
		{"listed cut at a rough event", "rough", 0, attempt(listed, failed, lasts), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := quiet()
			if c.event != "" {
				l.beginEvent(Event{Number: 1, Kind: Kill}, c.event == "gentle")
			}
			if c.excused != 0 {
				defer l.excuse(c.excused, 4)()
			}
			c.a.Begin, c.a.End = crowd.Now(), crowd.Now()
			l.take(c.a)
			if got := l.what(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWindowExcusesNothingAfterIt(t *testing.T) {
	l := quiet()
	l.excuse(openings|cuts, 4, 6)()
	later := attempt(failed, func(a *crowd.Attempt) { a.Begin, a.End = crowd.Now()+2*slack, crowd.Now()+3*slack })
	l.take(later)
	if got := l.what(); got != "unlisted connection lost" {
		t.Errorf("got %q", got)
	}
}

func TestConvergenceIsTheFirstOfSoManyGoodProbesOverBothFamilies(t *testing.T) {
	l := quiet()
	since := crowd.Now()
	probe := func(family int, at time.Duration, ok bool) {
		l.take(crowd.Attempt{
			Client: lab.Client, Kind: crowd.Probe, Listed: true, Family: family, OK: ok,
			Begin: since + at, End: since + at + time.Millisecond,
		})
	}
	l.beginEvent(Event{Number: 1, Kind: Kill}, false)
	for i := range streak {
		probe(4, time.Duration(i)*time.Second, true)
	}
	if _, ok := l.converged(since); ok {
		t.Error("converged without IPv6")
	}
	probe(6, -time.Second, true) // before
	probe(6, time.Second, true)
	probe(6, 2*time.Second, false)
	for i := range streak {
		if _, ok := l.converged(since); ok {
			t.Errorf("converged after %d good probes", i)
		}
		probe(6, time.Duration(3+i)*time.Second, true)
	}
	if after, ok := l.converged(since); !ok || after != 3*time.Second+time.Millisecond {
		t.Errorf("converged after %s, %t", after, ok)
	}
}

func TestViolationNamesTheEventBeforeIt(t *testing.T) {
	l := quiet()
	l.violate("first", "")
	l.beginEvent(Event{Number: 4, Kind: LAN, Variant: 2}, false)
	l.endEvent()
	l.violate("second", "")
	_, _, all := l.results()
	if all[0].Event != "" || all[1].Event != "4 lan/2" {
		t.Errorf("got %+v", all)
	}
}
