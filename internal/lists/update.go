package lists

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/sorting"
)

// Progress is how far a fetch is.
type Progress struct {
	List  string
	Path  string // that it is fetched over; "" for a local file
	Done  int64  // bytes received
	Total int64  // bytes there are; 0: the server does not say
}

// maxTold is how many problems of a list are kept.
const maxTold = 5

// result is what one fetch gave.
type result struct {
	same           bool // the server says that nothing has changed
	parsed         catalogue.Parsed
	etag, modified string
}

// Update fetches a list now, whenever it is due, and waits for the end. The
// last good content stays where that fails. progress may be nil; it is called
// by the goroutine of the caller.
func (m *Manager) Update(ctx context.Context, name string, progress func(Progress)) error {
	select {
	case m.fetcher <- struct{}{}:
		defer func() { <-m.fetcher }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e, list, known := m.begin(name)
	if e == nil {
		return fmt.Errorf("list %q: %w", name, ErrUnknown)
	}
	defer m.end(e)
	res, err := m.get(ctx, list, known, progress)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		err = m.take(e, list, res)
	}
	if err != nil {
		m.failed(e, list, err)
		return fmt.Errorf("list %s: %w", name, err)
	}
	return nil
}

// begin marks a list as being fetched. known is what can be asked for by
// condition, empty where the content must come whole.
func (m *Manager) begin(name string) (e *entry, list config.List, known meta) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e = m.find(name); e == nil {
		return nil, list, known
	}
	e.fetching = true
	if e.copyPath != "" && e.meta.of(e.list) && e.meta.Reader == readerVersion {
		known = e.meta
	}
	return e, e.list, known
}

// end marks a list as no longer being fetched.
func (m *Manager) end(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.fetching = false
}

// get reads a list from its source, over the first path that gives it.
func (m *Manager) get(ctx context.Context, l config.List, known meta, progress func(Progress)) (result, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	if isLocal(l.URL) {
		return m.readLocal(l, func(done, total int64) { progress(Progress{List: l.Name, Done: done, Total: total}) })
	}
	paths := m.opts.Paths(l)
	failed := errors.New("no path can be used to fetch it")
	for i, path := range paths {
		res, err := m.fetch(ctx, l, path, known, func(done, total int64) {
			progress(Progress{List: l.Name, Path: path, Done: done, Total: total})
		})
		if err == nil || ctx.Err() != nil {
			return res, err
		}
		switch {
		case len(paths) == 1:
			failed = err
		case i == 0:
			failed = fmt.Errorf("over %s: %w", path, err)
		default:
			failed = fmt.Errorf("%w; over %s: %w", failed, path, err)
		}
	}
	return result{}, failed
}

// take makes what was fetched the list's content. It is not, where the settings
// have changed meanwhile.
func (m *Manager) take(e *entry, l config.List, res result) error {
	if res.same {
		m.succeeded(e, l, func(next *meta) {
			next.ETag, next.Modified = orOld(res.etag, next.ETag), orOld(res.modified, next.Modified)
		})
		return nil
	}
	next := m.describe(l, res)
	same, kept := m.compare(e, &next)
	if !kept {
		temporary, err := m.write(l.Name, next, res.parsed.Rules)
		if err != nil {
			return err
		}
		defer temporary.discard()
		if wanted, err := m.replace(e, l, temporary); err != nil || !wanted {
			return err
		}
	}
	m.succeeded(e, l, func(old *meta) { *old = next })
	if !same {
		m.opts.Log.Info("list has changed", "list", l.Name, "rules", next.Rules, "skipped", next.Skipped)
		notify(m.changed)
	}
	return nil
}

// compare says whether the rules are those that are in force, and whether their
// copy can stay as it is: flash is not written for nothing.
func (m *Manager) compare(e *entry, next *meta) (same, kept bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	same = e.copyPath != "" && e.meta.Sum == next.Sum
	if same {
		next.Updated = e.meta.Updated
	}
	source := e.meta.URL == next.URL && e.meta.Format == next.Format
	return same, same && source && e.copyPath == m.flashPath(e.list.Name)
}

// replace puts a copy into its place, unless the list is not wanted any more.
func (m *Manager) replace(e *entry, l config.List, t *pending) (wanted bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.current(e, l) {
		return false, nil
	}
	if err := t.commit(); err != nil {
		return true, err
	}
	if t.path == m.flashPath(l.Name) {
		removeQuietly(m.statePath(l.Name, copySuffix))
	}
	e.copyPath = t.path
	return true, nil
}

// describe says of what was fetched all that is kept beside the rules, and
// sorts them.
func (m *Manager) describe(l config.List, res result) meta {
	p := res.parsed
	sorting.By(p.Rules, compareRules)
	next := meta{
		Reader: readerVersion, URL: oneLine(l.URL), Format: l.Format, Detected: string(p.Format), ETag: res.etag, Modified: res.modified,
		Updated: m.wall(), Rules: len(p.Rules), Duplicates: p.Duplicates, Skipped: p.Skipped, Unsupported: p.Unsupported,
		Sum: sumOf(p.Rules),
	}
	for _, problem := range p.Problems[:min(len(p.Problems), maxTold)] {
		next.Problems = append(next.Problems, oneLine(problem.String()))
	}
	return next
}

// succeeded notes a fetch in order and plans the next.
func (m *Manager) succeeded(e *entry, l config.List, change func(*meta)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.current(e, l) {
		return
	}
	change(&e.meta)
	e.meta.Checked, e.meta.Error = m.wall(), ""
	e.backoff.Reset()
	e.next = m.afterSuccess(l)
	m.save(e)
}

// failed notes a fetch that gave nothing and plans the next try.
func (m *Manager) failed(e *entry, l config.List, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.current(e, l) {
		return
	}
	if text := oneLine(err.Error()); e.meta.Error != text {
		e.meta.Error = text
		m.opts.Log.Warn("list cannot be updated", "list", l.Name, "error", err)
	}
	wait := e.backoff.NextBackOff()
	e.next = m.opts.Now().Add(min(wait, l.Interval))
	m.save(e)
}

// current says whether an entry still belongs to the settings, with the same
// source. mu is held.
func (m *Manager) current(e *entry, l config.List) bool {
	return slices.Contains(m.entries, e) && e.list.URL == l.URL && e.list.Format == l.Format
}

func orOld(s, old string) string {
	if s == "" {
		return old
	}
	return s
}
