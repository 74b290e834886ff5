package reach

import (
	"context"
	"sync"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
)

// DefaultControls are neutral services of four companies, which their own
// systems ask all day whether there is an internet: two over TLS, two over plain
// HTTP. Their answers hold next to nothing.
func DefaultControls() []catalogue.Target {
	return []catalogue.Target{
		{Scheme: catalogue.SchemeHTTPS, Host: "www.gstatic.com", Port: 443, Path: "/generate_204"},
		{Scheme: catalogue.SchemeHTTPS, Host: "captive.apple.com", Port: 443, Path: "/hotspot-detect.html"},
		{Scheme: catalogue.SchemeHTTP, Host: "detectportal.firefox.com", Port: 80, Path: "/success.txt"},
		{Scheme: catalogue.SchemeHTTP, Host: "www.msftconnecttest.com", Port: 80, Path: "/connecttest.txt"},
	}
}

// controlAge is how old the controls' word on a path may be when a check fails.
// It is little more than what a timeout takes, so that they are asked while the
// failure lasts; and it bounds how often they are asked.
const controlAge = 10 * time.Second

// slowControl is what asking a control takes at the most on a line and a machine
// that are in order: five round trips of half a second. What takes longer than
// that has no reason in what is asked.
const slowControl = 3 * time.Second

// controls asks neutral services over paths, for all checks that fail at about
// the same time once.
type controls struct {
	prober *Prober
	now    func() time.Time
	spent  func(checks int, bytes int64)

	mu      sync.Mutex // guards what follows
	targets []catalogue.Target
	lines   map[string]*lineCheck // by path
}

// lineCheck is one asking; whoever needs it waits for done.
type lineCheck struct {
	began time.Time
	done  chan struct{}
	line  Line
	cut   bool // its context ended
}

func (c *controls) set(targets []catalogue.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets, c.lines = targets, map[string]*lineCheck{}
}

// line says how a path is now.
func (c *controls) line(ctx context.Context, path Path, paths []Path) Line {
	for {
		x, mine, targets := c.join(path)
		if mine {
			x.line = c.ask(ctx, path, paths, targets)
			x.cut = ctx.Err() != nil
			close(x.done)
			return x.line
		}
		select {
		case <-x.done:
		case <-ctx.Done():
			return Line{}
		}
		if !x.cut {
			return x.line
		}
		c.drop(path, x)
	}
}

// join gives the present asking of a path; mine says that it is the caller's to
// make.
func (c *controls) join(path Path) (x *lineCheck, mine bool, targets []catalogue.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x = c.lines[path.Name]; x != nil && c.now().Sub(x.began) < controlAge {
		return x, false, nil
	}
	x = &lineCheck{began: c.now(), done: make(chan struct{})}
	c.lines[path.Name] = x
	return x, true, c.targets
}

// drop forgets an asking that was cut short, so that the next caller makes one.
func (c *controls) drop(path Path, x *lineCheck) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines[path.Name] == x {
		delete(c.lines, path.Name)
	}
}

func (c *controls) ask(ctx context.Context, path Path, paths []Path, targets []catalogue.Target) Line {
	results := make([]Result, len(targets))
	var bytes int64
	var mu sync.Mutex // guards bytes
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() {
			o := c.prober.Observe(ctx, path, t, c.prober.Truth(ctx, paths, t.Host), Depth{AsControl: true})
			results[i] = Judge(o, nil)
			results[i].Late = o.Late || o.Took > slowControl
			mu.Lock()
			defer mu.Unlock()
			bytes += o.Bytes
		})
	}
	all.Wait()
	c.spent(len(targets), bytes)
	return LineOf(results)
}

// LineOf says what the controls' results over one path mean.
func LineOf(results []Result) Line {
	l := Line{Asked: len(results)}
	for _, r := range results {
		l.Resent += r.Resent
		l.Late = l.Late || r.Late
		if r.Outcome.byService() {
			l.Working++
		}
		switch r.Outcome {
		case DNSTimeout, TCPTimeout, TCPUnreachable, PathDown:
		default:
			l.Answered++
		}
	}
	return l
}
