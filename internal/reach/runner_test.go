package reach

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
)

var bothPaths = []Path{{Name: "direct", Index: pathDirect, Direct: true}, {Name: "home", Index: pathHome}}

// controlTargets are the controls of these tests.
func controlTargets(t *testing.T) []catalogue.Target {
	return []catalogue.Target{target(t, "http://198.51.100.1/"), target(t, "http://198.51.100.2/"), target(t, "http://198.51.100.3/")}
}

// both makes what both paths lead to.
func (n *internet) both(address string, serve func(net.Conn)) {
	n.set(pathDirect, address, serve, nil)
	n.set(pathHome, address, serve, nil)
}

func newRunner(t *testing.T, n *internet) *Runner {
	t.Helper()
	for _, c := range controlTargets(t) {
		n.both(c.Address(), says(okPage))
	}
	n.both(at, says(okPage))
	r := NewRunner(RunnerOptions{Prober: n.prober(DefaultTimes()), Random: rand.New(rand.NewPCG(3, 3))})
	r.SetControls(controlTargets(t))
	r.Set([]Spec{{Destination: "exchanges", Target: target(t, site)}}, bothPaths)
	return r
}

// running runs a runner inside a bubble; the end of the bubble proves that
// nothing it began goes on.
func running(t *testing.T, test func(t *testing.T, n *internet, r *Runner)) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		r := newRunner(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			r.Run(ctx)
			close(ended)
		}()
		test(t, n, r)
		cancel()
		<-ended
	})
}

func verdict(r *Runner) Verdict { return r.Verdicts()[0].Verdict.Verdict }

func TestVerdictsFollowWhatHappens(t *testing.T) {
	running(t, func(t *testing.T, n *internet, r *Runner) {
		expect := func(within time.Duration, want Verdict) {
			t.Helper()
			time.Sleep(within)
			if got := verdict(r); got != want {
				t.Fatalf("the verdict is %s, want %s: %+v", got, want, r.Verdicts()[0])
			}
		}
		expect(30*time.Second, Reachable)
		n.set(pathDirect, at, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, nil)
		r.Early("test", "exchanges")
		expect(5*time.Second, Reachable)
		expect(time.Minute, Interfered)
		n.set(pathDirect, at, says(okPage), nil)
		expect(3*time.Minute, Reachable)
		for _, c := range append(controlTargets(t), target(t, site)) {
			n.set(pathDirect, c.Address(), nil, nil)
		}
		expect(4*time.Minute, Offline)
		<-r.Changed()
		if got, want := told(t, r), []Verdict{Reachable, Interfered, Reachable, Offline}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		if len(r.Changes()) != 0 {
			t.Error("changes are told twice")
		}
		h := r.History("exchanges")
		if len(h) != 2 || h[0].Path != "direct" || h[0].Rate() > 0.9 || h[1].Rate() != 1 {
			t.Errorf("history %+v", h)
		}
	})
}

func TestVerdictsStayAsTheyAreWithoutNews(t *testing.T) {
	running(t, func(t *testing.T, n *internet, r *Runner) {
		time.Sleep(30 * time.Second)
		news, states, rounds := r.News(), r.Verdicts(), 0
		for range 180 {
			time.Sleep(time.Second)
			n.set(pathDirect, at, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, nil)
			if now := r.News(); now != news {
				news, states, rounds = now, r.Verdicts(), rounds+1
			} else if got := r.Verdicts(); !reflect.DeepEqual(got, states) {
				t.Fatalf("without news the verdicts changed from %+v to %+v", states, got)
			}
		}
		if rounds < 3 {
			t.Errorf("%d rounds were news in three minutes", rounds)
		}
		if r.Set(nil, bothPaths); r.News() == news {
			t.Error("another set is no news")
		}
	})
}

// told are the verdicts that changed.
func told(t *testing.T, r *Runner) (out []Verdict) {
	t.Helper()
	for _, c := range r.Changes() {
		if c.From.Verdict == c.To.Verdict || c.To.Sentence == "" || c.Spec.Destination != "exchanges" {
			t.Errorf("%+v", c)
		}
		out = append(out, c.To.Verdict)
	}
	return out
}

func TestControlsAreAskedOnceForManyFailures(t *testing.T) {
	running(t, func(t *testing.T, n *internet, r *Runner) {
		var specs []Spec
		for _, host := range []string{"192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14"} {
			x := target(t, "tcp://"+host+":80")
			n.set(pathHome, x.Address(), silent, nil)
			specs = append(specs, Spec{Destination: "d", Target: x})
		}
		r.Set(specs, bothPaths)
		time.Sleep(28 * time.Second)
		asked := n.count("198.51.100.1:80")
		if asked == 0 || asked > 4 {
			t.Errorf("a control was asked %d times in 28 s", asked)
		}
		time.Sleep(time.Minute)
		for _, s := range r.Verdicts() {
			if s.Verdict.Verdict != Interfered {
				t.Errorf("%s: %+v", s.Spec.Target, s.Verdict)
			}
		}
	})
}

func TestCheckNowChecksAnythingWithProgress(t *testing.T) {
	running(t, func(t *testing.T, n *internet, r *Runner) {
		n.both("192.0.2.7:443", func(net.Conn) {})
		specs := []Spec{{Destination: "exchanges", Target: target(t, site)}, {Target: target(t, "tls://192.0.2.7")}, {Target: target(t, "tcp://192.0.2.7:443")}}
		var results, found int
		states, err := r.CheckNow(t.Context(), specs, bothPaths, func(p Progress) {
			if (p.Result == nil) == (p.State == nil) || p.Total != 3 {
				t.Errorf("progress %+v", p)
			}
			results += btoi(p.Result != nil)
			if found += btoi(p.State != nil); p.Done < found {
				t.Errorf("%d of %d are done", p.Done, found)
			}
		})
		if err != nil || results != 6 || found != 3 {
			t.Fatalf("%v, %d results, %d findings, %+v", err, results, found, states)
		}
		var got []Verdict
		for _, s := range append(states, r.Verdicts()...) {
			got = append(got, s.Verdict.Verdict)
		}
		// The last one is the target of the settings: what was only tried is not kept.
		if want := []Verdict{Reachable, ServiceDown, Reachable, Reachable}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestCheckNowEndsWithItsContext(t *testing.T) {
	running(t, func(t *testing.T, _ *internet, r *Runner) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var specs []Spec
		for range 20 {
			specs = append(specs, Spec{Target: target(t, "tcp://192.0.2.99:80")})
		}
		states, err := r.CheckNow(ctx, specs, bothPaths, nil)
		if !errors.Is(err, context.DeadlineExceeded) || len(states) != 0 {
			t.Errorf("%v, %d states", err, len(states))
		}
	})
}

func TestSettingsMayChangeWhileChecksRun(t *testing.T) {
	running(t, func(t *testing.T, n *internet, r *Runner) {
		other := Spec{Destination: "pools", Target: target(t, "tcp://192.0.2.50:3333"), Interval: 10 * time.Second}
		n.both("192.0.2.50:3333", silent)
		for range 20 {
			r.Set([]Spec{other, {Destination: "exchanges", Target: target(t, site)}, other}, bothPaths)
			time.Sleep(3 * time.Second)
			r.Set([]Spec{other}, bothPaths[:1])
			time.Sleep(3 * time.Second)
		}
		all := r.Verdicts()
		if len(all) != 1 || all[0].Spec.Destination != "pools" || all[0].Verdict.Verdict != Reachable || len(r.History("exchanges")) != 0 {
			t.Errorf("%+v", all)
		}
		r.Set(nil, nil)
		time.Sleep(time.Hour)
	})
}

func TestChecksStopWhenNobodyUsesADestination(t *testing.T) {
	running(t, func(t *testing.T, n *internet, r *Runner) {
		time.Sleep(25 * time.Hour)
		before := n.count(at)
		time.Sleep(6 * time.Hour)
		if got := n.count(at) - before; got < 8 || got > 16 {
			t.Errorf("%d connections in 6 hours, over two paths", got)
		}
		r.Used("exchanges")
		before = n.count(at)
		time.Sleep(10 * time.Minute)
		if got := n.count(at) - before; got < 16 {
			t.Errorf("%d connections in 10 minutes", got)
		}
	})
}

// lossy makes every step of every connection hang with some chance, on all paths:
// what a line that loses packets looks like once the kernel has given up.
func (n *internet) lossy(random func() bool) dns.Dialer {
	return func(ctx context.Context, path dns.Path, network, address string) (net.Conn, error) {
		if random() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		conn, err := n.dial(ctx, path, network, address)
		if err == nil && random() {
			here, there := net.Pipe()
			go silent(there) // ends with the pipe
			_ = conn.Close()
			conn = here
		}
		return conn, err
	}
}

// TestLossIsNeverInterference: a simulated line on which a tenth of all
// connections and a tenth of all answers time out is judged for a week.
func TestLossIsNeverInterference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		for _, c := range append(controlTargets(t), target(t, site)) {
			n.both(c.Address(), says(okPage))
		}
		random := rand.New(rand.NewPCG(5, 5))
		var mu sync.Mutex // guards random
		dial := n.lossy(func() bool {
			mu.Lock()
			defer mu.Unlock()
			return random.IntN(10) == 0
		})
		r := NewRunner(RunnerOptions{Prober: NewProber(ProberOptions{Dial: dial}), Random: rand.New(rand.NewPCG(4, 4))})
		r.SetControls(controlTargets(t))
		r.Set([]Spec{{Destination: "exchanges", Target: target(t, site)}}, bothPaths)
		ctx, cancel := context.WithTimeout(t.Context(), 7*24*time.Hour)
		defer cancel()
		go func() { // keeps the destination in use; ends with ctx
			for ctx.Err() == nil {
				r.Used("exchanges")
				select {
				case <-ctx.Done():
				case <-time.After(time.Hour):
				}
			}
		}()
		r.Run(ctx)
		for _, c := range r.Changes() {
			if c.To.Verdict == Interfered {
				t.Errorf("at %s: %+v", c.Time, c.To)
			}
		}
		if got := n.count(at); got < 10_000 {
			t.Errorf("only %d connections", got)
		}
	})
}

func TestSummaryOfADestination(t *testing.T) {
	state := func(v Verdict, results ...Result) State {
		return State{Spec: Spec{Target: target(t, site)}, Verdict: Finding{Verdict: v, Sentence: "because"}, Results: results}
	}
	for _, c := range []struct {
		states []State
		want   Verdict
		reason string
	}{
		{nil, Unknown, "not checked yet"},
		{[]State{state(Reachable)}, Reachable, "because"},
		{[]State{state(Reachable), state(Interfered), state(Offline)}, Interfered, site + ": because"},
		{[]State{state(VerdictRefused), state(Reachable)}, Reachable, site + ": because"},
		{[]State{state(ServiceDown), state(VerdictRefused)}, VerdictRefused, site + ": because"},
	} {
		if got := Summarize(c.states); got.Verdict != c.want || got.Reason != c.reason {
			t.Errorf("got %+v, want %s", got, c.want)
		}
	}
	got := Summarize([]State{state(Interfered, over("direct", TLSReset, ""), over("home", OutcomeOK, "")), state(Reachable, over("direct", ServiceRefused, ""), over("home", PathDown, ""))})
	if got.Paths["direct"] != (PathSummary{Failing: 1, Refused: 1}) || got.Paths["home"] != (PathSummary{Working: 1, Down: 1}) {
		t.Errorf("%+v", got.Paths)
	}
}
