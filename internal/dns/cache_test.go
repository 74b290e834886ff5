package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// clock is a clock that moves when it is told to.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// timed is a resolver with a clock and an upstream that can be stopped.
func timed(t *testing.T, answer func(*peer.Msg) *peer.Msg) (*Resolver, *clock, *peerServer) {
	t.Helper()
	c := &clock{}
	p := newPeer(t, "127.0.0.60:53", answer)
	return newResolver(t, nil, func(o *Options) { o.Now = c.now }, "tcp://127.0.0.60"), c, p
}

// times answers with TTLs of all kinds.
func times(t *testing.T) func(*peer.Msg) *peer.Msg {
	soa := records(t, "test. 600 IN SOA ns.test. root.test. 1 2 3 4 90")
	return func(q *peer.Msg) *peer.Msg {
		m := answerOf(t, q)
		switch name := q.Question[0].Name; name {
		case "a.test.":
			return answerOf(t, q, name+" 60 IN A 198.51.100.1")
		case "zero.test.":
			return answerOf(t, q, name+" 0 IN A 198.51.100.1")
		case "long.test.":
			return answerOf(t, q, name+" 1000000 IN A 198.51.100.1")
		case "none.test.":
			m.Rcode, m.Ns = 3, soa
		case "empty.test.":
			m.Ns = soa
		}
		return m
	}
}

func TestAnswersAreKeptForTheirTime(t *testing.T) {
	needIsolation(t)
	for _, c := range []struct {
		name        string
		kept, asked time.Duration // still from the cache, asked anew
		ttl         uint32        // shown just before
	}{
		{"a.test", 59 * time.Second, 61 * time.Second, 1},
		{"zero.test", 0, 2 * time.Second, 0},
		{"long.test", 24*time.Hour - time.Second, 24*time.Hour + time.Second, 1},
		{"none.test", 89 * time.Second, 91 * time.Second, 0},
		{"empty.test", 89 * time.Second, 91 * time.Second, 0},
		{"nosoa.test", 0, 2 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, clock, p := timed(t, times(t))
			ask := func(asked int) Answer {
				t.Helper()
				got, err := r.Lookup(context.Background(), 1, c.name, dnsmessage.TypeA)
				if err != nil || p.asked() != asked {
					t.Errorf("asked %d times: %v", p.asked(), err)
				}
				return got
			}
			ask(1)
			clock.advance(c.kept)
			if got := ask(1); c.ttl > 0 && (got.TTL == 0 || got.TTL > c.ttl) {
				t.Errorf("shown with TTL %d", got.TTL)
			}
			clock.advance(c.asked - c.kept)
			ask(2)
		})
	}
}

// moody answers, fails or is silent as it is told.
func moody(t *testing.T, mood *atomic.Value) func(*peer.Msg) *peer.Msg {
	return func(q *peer.Msg) *peer.Msg {
		switch mood.Load() {
		case "silent":
			return nil
		case "failing":
			m := answerOf(t, q)
			m.Rcode = peer.RcodeServerFailure
			return m
		}
		return found1(t, "198.51.100.1")(q)
	}
}

func TestStaleAnswersServeWhileUpstreamsFail(t *testing.T) {
	needIsolation(t)
	var mood atomic.Value
	mood.Store("well")
	r, clock, p := timed(t, moody(t, &mood))
	_, _, err := lookup(t, r, "www.test")
	must(t, err)
	clock.advance(2 * time.Hour)
	stale := func(most time.Duration) {
		t.Helper()
		begun := time.Now()
		a, err := r.Lookup(context.Background(), 1, "www.test", dnsmessage.TypeA)
		must(t, err)
		if took := time.Since(begun); !a.Stale || a.TTL != staleTTL || len(a.Addrs) != 1 || took > most {
			t.Errorf("%s: got %+v after %v", mood.Load(), a, took)
		}
	}
	for _, failure := range []string{"failing", "silent", "stopped"} {
		mood.Store(failure)
		if failure == "stopped" {
			p.stop()
		}
		stale(staleAfter + 500*time.Millisecond)
		stale(100 * time.Millisecond)
		clock.advance(staleRest + time.Second)
	}
	clock.advance(25 * time.Hour)
	if a, err := r.Lookup(context.Background(), 1, "www.test", dnsmessage.TypeA); err == nil {
		t.Errorf("older than a day: %+v", a)
	}
	if s := r.Stats(); s.Stale != 6 || s.Failures == 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestOneQuestionIsAskedOnceForAllWhoWait(t *testing.T) {
	needIsolation(t)
	release := make(chan struct{})
	r, _, p := timed(t, func(q *peer.Msg) *peer.Msg {
		<-release
		return found1(t, "198.51.100.1")(q)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got, _, err := lookup(t, r, "www.test"); err != nil || got != "198.51.100.1" {
				t.Errorf("got %q: %v", got, err)
			}
		})
	}
	poll(t, "all wait", func() bool { return r.Stats().Misses == 50 })
	close(release)
	all.Wait()
	if p.asked() != 1 {
		t.Errorf("asked %d times", p.asked())
	}
}

func TestPopularAnswersAreRenewedBeforeTheyEnd(t *testing.T) {
	r, clock, p := timed(t, found1(t, "198.51.100.1"))
	for range prefetchHits + 2 {
		_, _, err := lookup(t, r, "popular.test")
		must(t, err)
	}
	_, _, err := lookup(t, r, "rare.test")
	must(t, err)
	clock.advance(55 * time.Second)
	for _, name := range []string{"popular.test", "popular.test", "rare.test"} {
		_, _, err := lookup(t, r, name)
		must(t, err)
	}
	poll(t, "the popular one is asked for again", func() bool { return p.asked() == 3 })
	poll(t, "it is new", func() bool {
		a, err := r.Lookup(context.Background(), 1, "popular.test", dnsmessage.TypeA)
		return err == nil && a.TTL > 50
	})
	if s := r.Stats(); s.Prefetches != 1 || p.asked() != 3 {
		t.Errorf("counted %+v, asked %d times", s, p.asked())
	}
}

func TestFailuresAreRememberedForASecond(t *testing.T) {
	r, clock, p := timed(t, func(q *peer.Msg) *peer.Msg {
		m := answerOf(t, q)
		m.Rcode = peer.RcodeServerFailure
		return m
	})
	for range 5 {
		if a, err := r.Lookup(context.Background(), 1, "www.test", dnsmessage.TypeA); err != nil || a.Rcode != rcodeFailure {
			t.Errorf("got %+v %v", a, err)
		}
	}
	if p.asked() != 1 {
		t.Errorf("asked %d times", p.asked())
	}
	clock.advance(2 * time.Second)
	_, _, _ = lookup(t, r, "www.test")
	if p.asked() != 2 {
		t.Errorf("asked %d times", p.asked())
	}
}

func TestCacheTellsQuestionsApart(t *testing.T) {
	p := newPeer(t, "127.0.0.60:53", found1(t, "198.51.100.1"))
	serve(t, newResolver(t, nil, nil, "tcp://127.0.0.60"), nil)
	ask := func(change func(q *peer.Msg)) {
		q := question("www.test.", peer.TypeA)
		change(q)
		exchange(t, "udp", q)
		exchange(t, "udp", q)
	}
	for i, change := range []func(q *peer.Msg){
		func(*peer.Msg) {},
		func(q *peer.Msg) { q.Question[0].Qtype = peer.TypeTXT },
		func(q *peer.Msg) { q.Question[0].Qclass = peer.ClassCHAOS },
		func(q *peer.Msg) { q.SetEdns0(1232, true) },
		func(q *peer.Msg) { q.CheckingDisabled = true },
	} {
		ask(change)
		if p.asked() != i+1 {
			t.Errorf("question %d: asked %d times", i, p.asked())
		}
	}
	for _, change := range []func(q *peer.Msg){
		func(q *peer.Msg) { q.Question[0].Name = "WWW.tesT." },
		func(q *peer.Msg) { q.SetEdns0(600, false) },
		func(q *peer.Msg) { q.AuthenticatedData = true },
		func(q *peer.Msg) { q.RecursionDesired = false },
	} {
		ask(change)
	}
	if p.asked() != 5 {
		t.Errorf("what makes no difference was asked for: %d", p.asked())
	}
}

func TestLeastRecentlyUsedAnswersLeaveAFullCache(t *testing.T) {
	r := New(Options{Dial: localDial, CacheBytes: 20 << 10})
	defer r.Close()
	name, err := nameWire("host2.example.test")
	must(t, err)
	used := []byte(newKey(name, dnsmessage.TypeA, 1))
	fill(t, r, 3, time.Hour)
	for first := 3; first < 300; first += 10 {
		if _, ok := r.cached(used); !ok {
			t.Fatalf("what is used left before entry %d", first)
		}
		fillFrom(t, r, first, first+10, time.Hour)
	}
	entries, bytes := r.cache.usage()
	if entries != len(r.cache.entries) || bytes/1024 < 15 || bytes/1024 > 20 {
		t.Errorf("%d entries, %d octets", entries, bytes)
	}
	for e := r.cache.newest; e != nil; e = e.older {
		bytes -= e.size()
		entries--
	}
	if bytes != 0 || entries != 0 {
		t.Errorf("the list holds %d octets and %d entries less", bytes, entries)
	}
	forget(r)
	if s := r.Stats(); s.Entries+s.Bytes != 0 {
		t.Errorf("when all has left: %+v", s)
	}
}

// forget has everything leave the cache.
func forget(r *Resolver) {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	for _, e := range r.cache.entries {
		r.cache.remove(e)
	}
}

func TestSettingTheWallClockMovesNothing(t *testing.T) {
	// The monotonic reading counts, which Round(0) would strip.
	now := time.Now()
	r := New(Options{Dial: localDial, Now: func() time.Time { return now }})
	defer r.Close()
	fill(t, r, 1, time.Hour)
	name, err := nameWire("host0.example.test")
	must(t, err)
	now = now.Add(59 * time.Second)
	if f, ok := r.cached([]byte(newKey(name, dnsmessage.TypeA, 1))); !ok || f.age.seconds != 59 {
		t.Errorf("got %v %+v", ok, f.age)
	}
}

func TestUpstreamsCanBeReplacedWhileQuestionsAreOpen(t *testing.T) {
	needIsolation(t)
	newPeer(t, "127.0.0.61:53", silent)
	newPeer(t, "127.0.0.60:53", found1(t, "198.51.100.1"))
	r := newResolver(t, nil, nil, "tcp://127.0.0.61")
	got := make(chan string, 1)
	go func() {
		text, _, _ := lookup(t, r, "www.test")
		got <- text
	}()
	poll(t, "it waits", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.links[1]) == 1 && len(r.flights) == 1
	})
	r.SetUpstreams(upstreams(t, "tcp://127.0.0.60"))
	if text := <-got; text != "198.51.100.1" && text != "" {
		t.Errorf("got %q", text)
	}
	r.PathChanged(1)
	if len(r.Upstreams()) != 0 {
		t.Error("the path's health is still known")
	}
	if text, _, err := lookup(t, r, "other.test"); err != nil || text != "198.51.100.1" {
		t.Errorf("got %q: %v", text, err)
	}
}

func TestClosedResolverAnswersNothingMore(t *testing.T) {
	needIsolation(t)
	newPeer(t, "127.0.0.61:53", silent)
	r := New(Options{Dial: localDial, Upstreams: upstreams(t, "udp://127.0.0.61")})
	ended := make(chan error, 1)
	go func() {
		_, _, err := lookup(t, r, "www.test")
		ended <- err
	}()
	poll(t, "it waits", func() bool { return r.Stats().Misses == 1 })
	r.Close()
	if err := <-ended; err == nil {
		t.Error("an open question was answered")
	}
	if _, _, err := lookup(t, r, "other.test"); !errors.Is(err, errResolverClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAskGoesPastTheCache(t *testing.T) {
	needIsolation(t)
	newPeer(t, "127.0.0.60:53", found1(t, "198.51.100.1"))
	newPeer(t, "127.0.0.61:53", found1(t, "10.10.34.35"))
	r := newResolver(t, nil, nil, "udp://127.0.0.60")
	trusted, err := r.Lookup(context.Background(), 1, "www.test", dnsmessage.TypeA)
	must(t, err)
	said, err := r.Ask(context.Background(), upstreams(t, "udp://127.0.0.61")[0], 1, "www.test", dnsmessage.TypeA)
	must(t, err)
	if got := Compare(said, trusted); got.Reason != ReasonBogon || !got.Sure {
		t.Errorf("got %+v of %+v and %+v", got, said, trusted)
	}
	_, err = r.Ask(context.Background(), upstreams(t, "tcp://127.0.0.62")[0], 1, "www.test", dnsmessage.TypeA)
	if failed := (*UpstreamError)(nil); !errors.As(err, &failed) || failed.Layer != LayerConnect {
		t.Errorf("got %v", err)
	}
}

func TestRaceStartsTheNextTryWhenOneFailsOrTakesLong(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name  string
		tries []time.Duration // how long each takes; negative: to fail
		want  int             // the winner; -1: none
		took  time.Duration
	}{
		{"the first is quick", []time.Duration{10, 10}, 0, 10},
		{"the first fails at once", []time.Duration{-1, 10}, 1, 11},
		{"the first takes long", []time.Duration{1000, 10}, 1, 110},
		{"the first takes long and wins", []time.Duration{150, 100}, 0, 150},
		{"all fail", []time.Duration{-10, -10, -10}, -1, 30},
		{"two hang", []time.Duration{5000, 5000, 10}, 2, 210},
		{"the last fails after the first has won", []time.Duration{120, -500}, 0, 120},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				got, err := race(t.Context(), len(c.tries), 100*time.Millisecond, func(ctx context.Context, i int) (int, error) {
					select {
					case <-time.After(max(c.tries[i], -c.tries[i]) * time.Millisecond):
					case <-ctx.Done():
						return 0, context.Cause(ctx)
					}
					if c.tries[i] < 0 {
						return 0, fmt.Errorf("try %d: %w", i, failed)
					}
					return i, nil
				}, func(int) {})
				if c.want < 0 {
					if !errors.Is(err, failed) {
						t.Errorf("got %v", err)
					}
				} else if err != nil || got != c.want {
					t.Errorf("got %d, %v", got, err)
				}
				if took := time.Since(begun); took != c.took*time.Millisecond {
					t.Errorf("took %v, want %v", took, c.took*time.Millisecond)
				}
				synctest.Wait()
			})
		})
	}
}

func TestRaceDropsWhatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan int, 2)
		got, err := race(t.Context(), 2, time.Millisecond, func(_ context.Context, i int) (int, error) {
			time.Sleep(time.Duration(10-8*i) * time.Millisecond) // deaf to its context
			return i, nil
		}, func(late int) { closed <- late })
		if err != nil || got != 1 || <-closed != 0 {
			t.Errorf("got %d %v", got, err)
		}
	})
}

func TestBackOffDoublesAndEndsWithAnAnswer(t *testing.T) {
	c := &clock{}
	l := newLink(upstreams(t, "udp://192.0.2.1")[0], 1, &Options{Now: c.now, Dial: localDial})
	fail := func() time.Duration {
		l.failed(net.ErrClosed, time.Now())
		return time.Until(l.until).Round(time.Second)
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := fail(); got != want*time.Second {
			t.Errorf("failure %d: %v, want %v s", i+1, got, want)
		}
	}
	if s := l.state(); !s.Resting || s.Failures != 8 || s.Err == nil {
		t.Errorf("state %+v", s)
	}
	c.advance(61 * time.Second)
	if l.state().Resting {
		t.Error("it rests after its time")
	}
	l.answered()
	if s := l.state(); s.Failures != 0 || s.Err != nil {
		t.Errorf("state %+v", s)
	}
}
