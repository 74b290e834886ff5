package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// checkHandlers answer by the first word, which asked gets.
func checkHandlers(result CheckPath, done Check, asked *string) Handlers {
	return Handlers{
		Check: func(_ context.Context, what []string, progress func(CheckProgress)) error {
			*asked = what[0]
			switch what[0] {
			case "nobody":
				return fmt.Errorf("%w: no destination %q", ErrInvalid, what[0])
			case "nothing":
				return nil
			}
			progress(CheckProgress{Destination: "exchanges", Target: done.Target, Total: 1, Result: &result})
			if what[0] == "breaks" {
				return errors.New("the daemon stops")
			}
			progress(CheckProgress{Destination: "exchanges", Target: done.Target, Done: 1, Total: 1, Check: &done})
			return nil
		},
		Checks:  func(context.Context) ([]Check, error) { return []Check{{Destination: "exchanges"}}, nil },
		History: func(_ context.Context, name string) ([]History, error) { return []History{{Destination: name}}, nil },
	}
}

func TestChecksAreStreamedToTheirEnd(t *testing.T) {
	rtt := 3.5
	result := CheckPath{Path: "direct", Outcome: "tls_reset", Layer: "tls", RTTMs: &rtt, Detail: "reset after the hello"}
	done := Check{Destination: "exchanges", Target: "https://api.example.org/", Verdict: "interfered", Path: "home", Paths: []CheckPath{result}}
	var asked string
	c := NewClient(server(t, checkHandlers(result, done, &asked), defaultLimits()))
	for _, tt := range []struct {
		what  string
		lines int
		err   string // "" for none
	}{
		{"exchanges", 2, ""},
		{"nothing", 0, ""},
		{"nobody", 0, "no destination"},
		{"breaks", 1, "the daemon stops"},
		{"a b", 0, "space"},
		{strings.Repeat("x", maxTarget+1), 0, "at most"},
	} {
		lines, last, failed := readChecks(t.Context(), c, tt.what)
		if said := fmt.Sprint(failed); lines != tt.lines || (failed == nil) != (tt.err == "") || !strings.Contains(said, tt.err) {
			t.Errorf("%.20s: %d lines and %s, want %d and %q", tt.what, lines, said, tt.lines, tt.err)
		}
		if last != nil && !reflect.DeepEqual(*last, done) {
			t.Errorf("%s: %+v", tt.what, *last)
		}
	}
	if asked != "breaks" {
		t.Errorf("what cannot be checked came through: %q", asked)
	}
	checks, err := c.Checks(t.Context())
	same(t, "checks", checks, []Check{{Destination: "exchanges", Paths: []CheckPath{}}}, err)
	history, err := c.History(t.Context(), "pools")
	same(t, "history", history, []History{{Destination: "pools", Slots: []HistorySlot{}}}, err)
	if _, err := c.History(t.Context(), "x y"); err == nil {
		t.Error("history of what is no name")
	}
}

// readChecks reads a stream to its end: the lines that are no errors, and the last
// target that was done.
func readChecks(ctx context.Context, c *Client, what string) (lines int, last *Check, failed error) {
	for p, err := range c.Check(ctx, what) {
		if err != nil {
			return lines, last, err
		}
		lines++
		if p.Check != nil {
			last = p.Check
		}
	}
	return lines, last, nil
}
