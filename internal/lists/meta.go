package lists

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/routerd/routerd/internal/config"
)

// readerVersion changes when lists are read otherwise than before: content that
// has not changed must then be fetched anew, not asked for by condition.
const readerVersion = 1

// meta is what is known of a list beside its rules. All of it is kept in the
// state directory; what describes the content, in the head of the copy too.
type meta struct {
	Reader      int            `json:"reader"`
	URL         string         `json:"url"`
	Format      string         `json:"format"` // of the settings
	Detected    string         `json:"detected"`
	ETag        string         `json:"etag"`
	Modified    string         `json:"modified"` // Last-Modified, as the server wrote it
	Updated     time.Time      `json:"updated"`
	Checked     time.Time      `json:"checked"`
	Rules       int            `json:"rules"`
	Duplicates  int            `json:"duplicates"`
	Skipped     int            `json:"skipped"`
	Unsupported map[string]int `json:"unsupported"`
	Problems    []string       `json:"problems"`
	Sum         string         `json:"sum"` // SHA-256 of the rules, one a line
	Error       string         `json:"error"`
}

// of says whether the content is that of a list of the settings.
func (m *meta) of(l config.List) bool { return m.URL == oneLine(l.URL) && m.Format == l.Format }

// File names are the list's name with one of these.
const (
	copySuffix  = ".list"
	stateSuffix = ".json"
)

// statePath is a file of a list in the state directory.
func (m *Manager) statePath(name, suffix string) string {
	return filepath.Join(m.opts.StateDir, "lists", name+suffix)
}

// flashPath is the place of a list's copy.
func (m *Manager) flashPath(name string) string { return filepath.Join(m.opts.Dir, name+copySuffix) }

// safeName says whether a list's name can be a file's: what uci allows.
func safeName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return name != "" && len(name) <= 64 && strings.Trim(name, letters) == ""
}

// load makes the entry of a list with what earlier processes left. mu is held.
func (m *Manager) load(l config.List) *entry {
	e := &entry{list: l, backoff: newBackoff(l), next: m.opts.Now()}
	if !safeName(l.Name) {
		return e
	}
	// A copy in the state directory was written while flash could not be: it is
	// the newer one.
	for _, path := range []string{m.statePath(l.Name, copySuffix), m.flashPath(l.Name)} {
		head, err := checkCopy(path)
		if err == nil {
			e.copyPath, e.meta = path, head
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			m.opts.Log.Warn("copy of a list cannot be used", "list", l.Name, "error", err)
		}
	}
	if kept, ok := readState(m.statePath(l.Name, stateSuffix)); ok && kept.Sum == e.meta.Sum {
		e.meta = kept
	}
	e.next = m.afterCheck(e)
	if e.meta.Error != "" {
		e.next = m.opts.Now()
	}
	return e
}

// readState reads what save wrote. What cannot be read is as if not there.
func readState(path string) (meta, bool) {
	var kept meta
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &kept) != nil {
		return meta{}, false
	}
	return kept, true
}

// save writes what is known of a list to the state directory. mu is held.
func (m *Manager) save(e *entry) {
	text, err := json.Marshal(e.meta)
	if err == nil {
		err = writeFile(m.statePath(e.list.Name, stateSuffix), text)
	}
	if err != nil {
		m.opts.Log.Warn("state of a list cannot be kept", "list", e.list.Name, "error", err)
	}
}

// forget removes everything that is kept of a list. mu is held.
func (m *Manager) forget(name string) {
	if !safeName(name) {
		return
	}
	for _, path := range []string{m.flashPath(name), m.statePath(name, copySuffix), m.statePath(name, stateSuffix)} {
		removeQuietly(path)
	}
}

// wall is the time that is noted: never before the floor.
func (m *Manager) wall() time.Time {
	now := m.opts.Now()
	if now.Before(m.opts.Floor) {
		now = m.opts.Floor
	}
	return now.Round(0).UTC().Truncate(time.Second)
}

// oneLine makes of a foreign text one line of bounded length.
func oneLine(s string) string {
	const longest = 512
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
