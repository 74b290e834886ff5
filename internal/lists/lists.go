// Package lists keeps the lists of the settings (`config list`) current: it
// fetches them over HTTP or from files, screens what they hold, and keeps the
// last good content of each on flash, one rule a line and sorted.
//
// Publishers are not trusted. Size, number of rules, time and redirects are
// bounded; no redirect leaves https or reaches a private address; no rule of a
// list may be a public suffix, a local name, a private range, or a network so
// wide that it is a good part of the internet.
//
// Rules are not held in memory: what asks for them reads the kept copy.
package lists

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// ErrUnknown is wrapped by the error for a list that the settings do not have.
var ErrUnknown = errors.New("no such list")

// ErrNoCopy is wrapped by the error for a list that was never fetched.
var ErrNoCopy = errors.New("the list has not been fetched yet")

// DialFunc opens a connection, like net.Dialer.DialContext. It resolves names
// itself and binds the socket to a path.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Options are what a Manager works with.
type Options struct {
	// Dir keeps the copies, NAME.list; on flash. It is made when needed, 0700.
	Dir string
	// StateDir keeps what is known of each list beside its rules, in tmpfs; and
	// copies, while Dir cannot be written to.
	StateDir string
	// Paths are the paths to fetch a list over, tried in order until one gives
	// it. nil: the direct path only, called "direct".
	Paths func(config.List) []string
	// Dial gives what opens connections over a path. nil: a plain net.Dialer.
	Dial func(path string) DialFunc
	// Roots are the authorities of TLS; nil: the system's.
	Roots *x509.CertPool
	// Floor is a time that has passed for certain, the build's. A clock that
	// shows an earlier one is not set yet: certificates are then checked as of
	// the floor, or of their issue when that is later.
	Floor time.Time
	// Now is the clock; it must carry a monotonic reading, as time.Now does.
	Now func() time.Time
	Log *slog.Logger
}

// Manager keeps lists current. All methods are safe for use by many goroutines;
// one list is fetched at a time, so that memory is needed for one only.
type Manager struct {
	opts    Options
	limits  limits
	spread  func() float64 // in [0,1)
	fetcher chan struct{}  // holds a token while a list is being fetched
	poke    chan struct{}  // wakes Run: what is due has changed
	changed chan struct{}  // see Changed

	mu      sync.Mutex
	entries []*entry // guarded by mu, as are their fields; in order of the settings
}

// entry is one list of the settings.
type entry struct {
	list     config.List
	meta     meta
	copyPath string // of the last good content; "": none
	next     time.Time
	backoff  *backoff.ExponentialBackOff
	fetching bool
}

// limits bound a fetch; tests shorten them.
type limits struct {
	connect time.Duration // for a connection, and again for TLS
	header  time.Duration // for the answer to begin
	stall   time.Duration // with nothing received
	whole   time.Duration // for everything over one path
	size    int           // bytes, compressed as well as not
	rules   int
}

func defaultLimits() limits {
	return limits{
		connect: 15 * time.Second, header: 30 * time.Second, stall: 30 * time.Second, whole: 5 * time.Minute,
		size: 16 << 20, rules: catalogue.MaxListRules,
	}
}

// New makes a manager of no lists.
func New(opts Options) *Manager {
	if opts.Paths == nil {
		opts.Paths = func(config.List) []string { return []string{"direct"} }
	}
	if opts.Dial == nil {
		opts.Dial = func(string) DialFunc { return new(net.Dialer).DialContext }
	}
	return &Manager{
		opts: opts, limits: defaultLimits(), spread: rand.Float64,
		fetcher: make(chan struct{}, 1), poke: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

// Set takes over the lists of the settings. Copies that are kept can be used at
// once; a list that is new or whose source is another is due at once, local
// files always are. The copy of a list that is no longer there is removed.
func (m *Manager) Set(lists []config.List) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := map[string]*entry{}
	for _, e := range m.entries {
		old[e.list.Name] = e
	}
	m.entries = nil
	for _, l := range lists {
		e := old[l.Name]
		delete(old, l.Name)
		if e == nil {
			e = m.load(l)
		}
		m.retarget(e, l)
		m.entries = append(m.entries, e)
	}
	for _, e := range old {
		m.forget(e.list.Name)
	}
	m.wakeRun()
}

// retarget gives an entry its settings and says when it is due. mu is held.
func (m *Manager) retarget(e *entry, l config.List) {
	before := e.list
	e.list = l
	e.backoff.MaxInterval = min(l.Interval, maxBackoff)
	switch {
	case e.copyPath == "", !e.meta.of(l), isLocal(l.URL), before.URL != l.URL, before.Format != l.Format:
		e.next = m.opts.Now()
		e.backoff.Reset()
	case before.Interval != l.Interval:
		e.next = m.afterCheck(e)
	}
}

// Rules reads the last good rules of a list from its kept copy: sorted, each
// once, screened. Where there is none yet the error wraps ErrNoCopy, where the
// settings do not have the list, ErrUnknown. Any other error says that a copy
// that was there is damaged: the list is then due at once, and the caller
// should keep the rules that it has.
func (m *Manager) Rules(name string) ([]catalogue.Rule, error) {
	m.mu.Lock()
	e := m.find(name)
	path := ""
	if e != nil {
		path = e.copyPath
	}
	m.mu.Unlock()
	switch {
	case e == nil:
		return nil, fmt.Errorf("list %q: %w", name, ErrUnknown)
	case path == "":
		return nil, fmt.Errorf("list %s: %w", name, ErrNoCopy)
	}
	rules, err := readRules(path)
	if err == nil {
		return rules, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.copyPath == path {
		e.copyPath, e.next = "", m.opts.Now()
		e.meta.Error = fmt.Sprintf("the kept copy cannot be used: %v", err)
		m.wakeRun()
	}
	return nil, fmt.Errorf("list %s: %w", name, err)
}

// Changed is sent to when the rules of a list have become others; what was sent
// before and not received counts for both.
func (m *Manager) Changed() <-chan struct{} { return m.changed }

// Wake says that a path has come up: lists whose last fetch failed are tried
// again at once.
func (m *Manager) Wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.meta.Error != "" {
			e.next = m.opts.Now()
			e.backoff.Reset()
		}
	}
	m.wakeRun()
}

// find gives the entry of a list, or nil. mu is held.
func (m *Manager) find(name string) *entry {
	for _, e := range m.entries {
		if e.list.Name == name {
			return e
		}
	}
	return nil
}

// wakeRun makes Run look again at what is due.
func (m *Manager) wakeRun() { notify(m.poke) }

// notify sends without waiting; one that waits already is enough.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
