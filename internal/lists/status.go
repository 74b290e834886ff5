package lists

import (
	"maps"
	"slices"
	"time"
)

// Status is what is known of a list.
type Status struct {
	Name        string
	URL         string
	Destination string
	Format      string // as it was detected; that of the settings before the first fetch
	Rules       int    // in force
	Duplicates  int
	Skipped     int            // entries that are wrong or refused
	Unsupported map[string]int // by kind
	Problems    []string       // the first entries that are wrong or refused
	Updated     time.Time      // when the content was last another; zero: never
	Checked     time.Time      // when a fetch last succeeded; zero: not since the router's start
	Error       string         // of the last fetch; "": it succeeded, or there was none yet
	NextTry     time.Time
	Sum         string // SHA-256 of the rules in force, in hexadecimal
	Fetching    bool
}

// Status gives all lists in the order of the settings.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opts.Now()
	out := []Status{}
	for _, e := range m.entries {
		s := Status{
			Name: e.list.Name, URL: e.list.URL, Destination: e.list.Destination, Format: orOld(e.meta.Detected, e.list.Format),
			Error: e.meta.Error, Checked: e.meta.Checked, Fetching: e.fetching,
			// By the monotonic clock: the wall clock may have been set since.
			NextTry: now.Add(max(e.next.Sub(now), 0)),
		}
		if e.copyPath != "" {
			s.Rules, s.Duplicates, s.Skipped, s.Updated = e.meta.Rules, e.meta.Duplicates, e.meta.Skipped, e.meta.Updated
			s.Unsupported, s.Problems, s.Sum = maps.Clone(e.meta.Unsupported), slices.Clone(e.meta.Problems), e.meta.Sum
		}
		if e.copyPath != "" && !e.meta.of(e.list) && s.Error == "" {
			s.Error = "the rules in force are still those of the source that stood in the settings before"
		}
		out = append(out, s)
	}
	return out
}
