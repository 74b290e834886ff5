package lists

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/routerd/routerd/internal/config"
)

// piped is a web server that is reached without a network, so that no time
// passes for it.
type piped struct {
	conns  chan net.Conn
	hits   []time.Duration // since the start
	begun  time.Time
	broken atomic.Bool
}

func (p *piped) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *piped) Close() error   { return nil }
func (p *piped) Addr() net.Addr { return &net.TCPAddr{} }

func (p *piped) dial(string) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		p.hits = append(p.hits, time.Since(p.begun))
		if p.broken.Load() {
			return nil, errors.New("no route to host")
		}
		client, server := net.Pipe()
		p.conns <- server
		return client, nil
	}
}

// running runs a manager of lists in a bubble of its own time for a while.
func running(t *testing.T, broken bool, lists []config.List, during func(*Manager, *piped)) *piped {
	t.Helper()
	p := &piped{conns: make(chan net.Conn), begun: time.Now()}
	p.broken.Store(broken)
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(rw, "n%d.example\n", len(p.hits))
	})}
	go func() { _ = srv.Serve(p) }()
	dir := t.TempDir()
	m := New(Options{Dir: filepath.Join(dir, "l"), StateDir: filepath.Join(dir, "s"), Now: time.Now, Log: slog.New(slog.DiscardHandler), Dial: p.dial})
	m.spread = func() float64 { return 0.5 }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx) }()
	synctest.Wait()
	m.Set(lists)
	during(m, p)
	cancel()
	<-ended
	close(p.conns)
	_ = srv.Close()
	return p
}

// wantGrowing says that the pauses between tries double up to the largest.
func (p *piped) wantGrowing(t *testing.T) {
	t.Helper()
	for i, at := range p.hits[1:] {
		most := min(firstBackoff<<i, maxBackoff) * 3 / 2
		if wait := at - p.hits[i]; wait < most/3 || wait > most {
			t.Errorf("try %d came %v after the one before, want %v to %v", i+2, wait, most/3, most)
		}
	}
}

func every(name string, interval time.Duration) config.List {
	return config.List{Name: name, URL: "http://lists.example/" + name, Format: "plain", Interval: interval}
}

func TestRunFetchesAtOnceAndThenByTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := running(t, false, []config.List{every("a", time.Hour), every("b", 3*time.Hour)}, func(m *Manager, _ *piped) {
			time.Sleep(5*time.Hour + time.Minute)
			synctest.Wait()
			if s := m.Status(); s[0].Error != "" || time.Until(s[0].NextTry) != 59*time.Minute {
				t.Errorf("status %+v", s)
			}
		})
		if len(p.hits) != 8 { // 0 0 1 2 3 3 4 5
			t.Errorf("fetched after %v", p.hits)
		}
	})
}

func TestFailuresAreRetriedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running(t, true, []config.List{every("a", 24*time.Hour)}, func(m *Manager, p *piped) {
			time.Sleep(12 * time.Hour)
			synctest.Wait()
			n := len(p.hits)
			if n < 14 || n > 30 {
				t.Errorf("%d tries in 12 hours: %v", n, p.hits)
			}
			p.wantGrowing(t)
			if s := m.Status()[0]; s.Error != "no route to host" || s.Rules != 0 {
				t.Errorf("status %+v", s)
			}
			p.broken.Store(false)
			m.Wake() // the network is up
			synctest.Wait()
			if s := m.Status()[0]; s.Error != "" || s.Rules != 1 {
				t.Errorf("status after Wake %+v", s)
			}
			m.Wake() // nothing has failed: nothing to do
			synctest.Wait()
			if len(p.hits) != n+1 {
				t.Errorf("%d tries after Wake", len(p.hits)-n)
			}
		})
	})
}

func TestASlowListEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	asked := make(chan struct{})
	w.handle("/l/a", func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	w.start(list("a", "/l/a"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- w.m.Update(ctx, "a", nil) }()
	<-asked
	go func() { done <- w.m.Update(ctx, "a", nil) }() // waits for the first
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	if s := w.status("a"); s.Error != "" || s.Fetching {
		t.Errorf("a fetch that was given up is told as failed: %+v", s)
	}
}

func TestAFetchThatTakesTooLongIsEnded(t *testing.T) {
	w := newWorld(t)
	w.handle("/l/a", func(rw http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = rw.Write([]byte("# slowly\n"))
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-time.After(time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	w.start(list("a", "/l/a"))
	w.m.limits.whole = 100 * time.Millisecond
	contains(t, w.update("a"), "it took too long")
}

func TestEverythingAtOnce(t *testing.T) {
	w := newWorld(t)
	var n atomic.Int32
	w.handle("/l/a", func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(rw, "n%d.example\n", n.Add(1)) })
	w.start(list("a", "/l/a"), list("b", "/l/a"))
	w.mustUpdate("a")
	var all sync.WaitGroup
	for _, do := range []func(i int){
		func(int) { _ = w.m.Update(t.Context(), "a", func(Progress) {}) },
		func(int) { _ = w.m.Update(t.Context(), "b", nil) },
		func(i int) { w.m.Set([]config.List{list("a", "/l/a"), list("b", "/l/a")}[:1+i%2]) },
		func(int) { _ = w.m.Status() },
		func(int) { w.m.Wake() },
		func(int) {
			if rules, err := w.m.Rules("a"); err != nil || len(rules) != 1 {
				t.Errorf("rules %v, %v", rules, err)
			}
		},
	} {
		all.Go(func() {
			for i := range 20 {
				do(i)
			}
		})
	}
	all.Wait()
}
