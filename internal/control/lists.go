package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/web"
)

// List is one list of GET /v1/lists.
type List struct {
	Name        string `json:"name"`
	URL         string `json:"url"`
	Destination string `json:"destination"`
	Format      string `json:"format"` // as it was detected
	Rules       int    `json:"rules"`  // in force
	Duplicates  int    `json:"duplicates"`
	Skipped     int    `json:"skipped"` // entries that are wrong or refused
	// Unsupported counts entries that cannot be rules here, by kind.
	Unsupported map[string]int `json:"unsupported"`
	Problems    []string       `json:"problems"` // the first entries that are wrong or refused
	Updated     *time.Time     `json:"updated"`  // when the rules were last others; null: never
	Checked     *time.Time     `json:"checked"`  // when a fetch last succeeded; null: not since the start
	Error       string         `json:"error"`    // of the last fetch; "": none
	NextTry     *time.Time     `json:"next_try"`
	Fetching    bool           `json:"fetching"`
}

// The states of a ListProgress.
const (
	ListFetching = "fetching"
	ListDone     = "done"
	ListFailed   = "failed"
)

// ListProgress is one line of POST /v1/lists/update. The last line of each list
// is done or failed; the stream ends after the last list.
type ListProgress struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Path    string `json:"path"`    // that it is fetched over; "" for a local file
	Done    int64  `json:"done"`    // bytes received
	Total   int64  `json:"total"`   // bytes there are; 0: not known
	Rules   int    `json:"rules"`   // state done: in force
	Skipped int    `json:"skipped"` // state done
	Changed bool   `json:"changed"` // state done: the rules are others than before
	Error   string `json:"error"`   // state failed
}

// filled makes what is missing empty, without writing to the handler's own.
func (l List) filled() List {
	l.Problems, _ = list(l.Problems, nil)
	if l.Unsupported == nil {
		l.Unsupported = map[string]int{}
	}
	return l
}

func (a *api) lists(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) ([]List, error) {
		all, err := a.h.Lists(ctx)
		out := make([]List, len(all))
		for i, l := range all {
			out[i] = l.filled()
		}
		return out, err
	})
}

// updateList streams how far the update is, until it is over or the client
// leaves. An error that comes before anything was reported is the answer.
func (a *api) updateList(w *web.ResponseWriter, r *web.Request) error {
	name, err := parseListName(r.URL.RawQuery)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &lateStream{open: func() (*lineStream, func(), error) { return a.openStream(w) }}
	defer s.close()
	err = a.h.UpdateList(ctx, name, func(p ListProgress) {
		if s.send(p) != nil {
			cancel()
		}
	})
	switch {
	case s.refused != nil:
		return s.refused
	case s.lines == nil && err != nil:
		return err
	case s.lines == nil: // there was nothing to update
		return s.begin()
	case err != nil && ctx.Err() == nil:
		_ = s.send(ListProgress{Name: name, State: ListFailed, Error: err.Error()})
	}
	return nil
}

// lateStream is a stream that begins with its first line.
type lateStream struct {
	open    func() (*lineStream, func(), error)
	lines   *lineStream // nil: not begun
	done    func()
	refused error // why it could not begin
}

func (s *lateStream) begin() error {
	s.lines, s.done, s.refused = s.open()
	return s.refused
}

func (s *lateStream) send(v any) error {
	if s.refused != nil {
		return s.refused
	}
	if s.lines == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	return s.lines.send(v)
}

// close gives the stream's place back.
func (s *lateStream) close() {
	if s.done != nil {
		s.done()
	}
}

// parseListName decodes name= of /v1/lists/update; "" is every list.
func parseListName(raw string) (string, error) {
	values, err := parseValues(raw, "name")
	if err != nil {
		return "", err
	}
	return ParseListName(values.Get("name"))
}

// ParseListName allows what can be the name of a section of the settings, and
// "" for all of them.
func ParseListName(s string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if len(s) > maxWord || strings.Trim(s, letters) != "" {
		return "", invalidf("%q cannot be the name of a list or destination: at most %d letters, digits, _ and -", s, maxWord)
	}
	return s, nil
}

// Lists asks for the lists of the settings.
func (c *Client) Lists(ctx context.Context) ([]List, error) {
	return get[[]List](ctx, c, "/v1/lists", nil)
}

// UpdateList makes the daemon fetch a list now, or with "" every list, and
// yields how far it is. It ends with the last list; a pair with an error is the
// last one.
func (c *Client) UpdateList(ctx context.Context, name string) iter.Seq2[ListProgress, error] {
	q := url.Values{}
	if name != "" {
		q.Set("name", name)
	}
	return func(yield func(ListProgress, error) bool) {
		last := ListProgress{State: ListDone}
		for p, err := range streamBy[ListProgress](ctx, c, web.MethodPost, "/v1/lists/update", q) {
			if errors.Is(err, errStreamEnd) && last.State != ListFetching {
				return // the end that was awaited
			}
			if err != nil {
				err = fmt.Errorf("update lists: %w", err)
			}
			if !yield(p, err) || err != nil {
				return
			}
			last = p
		}
	}
}
