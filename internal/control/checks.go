package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"time"

	"github.com/routerd/routerd/internal/web"
)

// Check is one target of a destination, of GET /v1/checks and at the end of
// POST /v1/check.
type Check struct {
	Destination string `json:"destination"`
	Target      string `json:"target"`
	// Verdict is one of reachable, interfered, service_refused, service_down,
	// offline and unknown.
	Verdict string      `json:"verdict"`
	Reason  string      `json:"reason"` // the verdict in a sentence
	Path    string      `json:"path"`   // in use for the destination now
	Since   *time.Time  `json:"since"`  // when the verdict began to hold; null: not checked yet
	Checked *time.Time  `json:"checked"`
	Paths   []CheckPath `json:"paths"`
}

// CheckPath is what came of a target over one path.
type CheckPath struct {
	Path    string   `json:"path"`
	Outcome string   `json:"outcome"`
	Layer   string   `json:"layer"` // dns, tcp, tls, http, stratum, transfer; "": none
	RTTMs   *float64 `json:"rtt_ms"`
	Detail  string   `json:"detail"`
	Reached bool     `json:"reached"` // the service itself answered: it serves, or says no
}

// Reachable says whether the service was reached over the path in use; so is one
// that no measured path says otherwise of.
func (c Check) Reachable() bool {
	inUse := c.Path
	if inUse == "" {
		inUse = "direct" // nothing lists the target
	}
	for _, p := range c.Paths {
		if p.Path == inUse {
			return p.Reached
		}
	}
	return inUse != "block"
}

// CheckProgress is one line of POST /v1/check: a path's result, or with Check the
// end of a target. The last line has Done equal to Total.
type CheckProgress struct {
	Destination string     `json:"destination"`
	Target      string     `json:"target"`
	Done        int        `json:"done"` // targets
	Total       int        `json:"total"`
	Result      *CheckPath `json:"result"`
	Check       *Check     `json:"check"`
	Error       string     `json:"error"` // the checks ended early
}

// History is the last 24 hours of a destination over one path.
type History struct {
	Destination string        `json:"destination"`
	Path        string        `json:"path"`
	SlotS       int           `json:"slot_s"`  // length of a slot in seconds
	OKRate      *float64      `json:"ok_rate"` // share of checks that worked; null: none was made
	RTTMs       *float64      `json:"rtt_ms"`  // mean
	Slots       []HistorySlot `json:"slots"`   // the oldest first, one beside the other
}

// HistorySlot is a stretch of time in which some checks were made, or none.
type HistorySlot struct {
	Begin   time.Time `json:"begin"`
	Checks  int       `json:"checks"`
	OK      int       `json:"ok"`
	Outcome string    `json:"outcome"` // the worst; "": none was made
	RTTMs   *float64  `json:"rtt_ms"`
}

func (c Check) filled() Check {
	c.Paths, _ = list(c.Paths, nil)
	return c
}

func (a *api) checks(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) ([]Check, error) {
		all, err := a.h.Checks(ctx)
		out := make([]Check, len(all))
		for i, c := range all {
			out[i] = c.filled()
		}
		return out, err
	})
}

// check streams how far the checks are, until they are over or the client leaves.
func (a *api) check(w *web.ResponseWriter, r *web.Request) error {
	what, err := parseCheck(r.URL.RawQuery)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &lateStream{open: func() (*lineStream, func(), error) { return a.openStream(w) }}
	defer s.close()
	err = a.h.Check(ctx, what, func(p CheckProgress) {
		if p.Check != nil {
			c := p.Check.filled()
			p.Check = &c
		}
		if s.send(p) != nil {
			cancel()
		}
	})
	switch {
	case s.refused != nil:
		return s.refused
	case s.lines == nil && err != nil:
		return err
	case s.lines == nil: // there was nothing to check
		return s.begin()
	case err != nil && ctx.Err() == nil:
		_ = s.send(CheckProgress{Error: err.Error()})
	}
	return nil
}

// parseCheck decodes what= of /v1/check: destinations, names or URLs; none: all.
func parseCheck(raw string) ([]string, error) {
	values, err := parseValues(raw, "what")
	if err != nil {
		return nil, err
	}
	what := slices.DeleteFunc(values["what"], func(s string) bool { return s == "" })
	if len(what) > maxChecks {
		return nil, invalidf("%d things to check at once, at most %d are allowed", len(what), maxChecks)
	}
	for _, s := range what {
		if _, err := ParseCheck(s); err != nil {
			return nil, err
		}
	}
	return what, nil
}

const (
	maxChecks = 64
	// maxTarget is the length of a target's URL.
	maxTarget = 512
)

// ParseCheck allows what may be checked: a destination, a name, or a URL.
func ParseCheck(s string) (string, error) {
	if s == "" || len(s) > maxTarget {
		return "", invalidf("%.40q cannot be checked: give a destination, a name or a URL of at most %d letters", s, maxTarget)
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f {
			return "", invalidf("%q cannot be checked: it holds a space or a control character", s)
		}
	}
	return s, nil
}

func (a *api) history(w *web.ResponseWriter, r *web.Request) error {
	values, err := parseValues(r.URL.RawQuery, "destination")
	if err != nil {
		return err
	}
	name, err := ParseListName(values.Get("destination"))
	if err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) ([]History, error) {
		all, err := a.h.History(ctx, name)
		out := make([]History, len(all))
		for i, h := range all {
			h.Slots, _ = list(h.Slots, nil)
			out[i] = h
		}
		return out, err
	})
}

// Checks asks what is known of every target.
func (c *Client) Checks(ctx context.Context) ([]Check, error) {
	return get[[]Check](ctx, c, "/v1/checks", nil)
}

// History asks for the last 24 hours of a destination, or with "" of each, by
// path.
func (c *Client) History(ctx context.Context, destination string) ([]History, error) {
	q := url.Values{}
	if destination != "" {
		q.Set("destination", destination)
	}
	return get[[]History](ctx, c, "/v1/history", q)
}

// Check makes the daemon check targets now over every path: those of
// destinations, names or URLs, or with none all. It yields how far it is, and
// ends with the last target; a pair with an error is the last one.
func (c *Client) Check(ctx context.Context, what ...string) iter.Seq2[CheckProgress, error] {
	return func(yield func(CheckProgress, error) bool) {
		var last CheckProgress
		for p, err := range streamBy[CheckProgress](ctx, c, web.MethodPost, "/v1/check", url.Values{"what": what}) {
			if errors.Is(err, errStreamEnd) && last.Done == last.Total {
				return // the end that was awaited
			}
			if err == nil && p.Error != "" {
				err = errors.New(p.Error)
			}
			if err != nil {
				err = fmt.Errorf("check: %w", err)
			}
			if !yield(p, err) || err != nil {
				return
			}
			last = p
		}
	}
}
