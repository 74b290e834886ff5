package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestListsGoOverTheSocketUnchanged(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	want := []List{
		{
			Name: "community", URL: "https://lists.example/x", Destination: "exchanges", Format: "v2fly", Rules: 3, Duplicates: 1, Skipped: 1,
			Unsupported: map[string]int{"keyword": 2}, Problems: []string{"line 3: x"}, Updated: &at, Checked: &at, NextTry: &at, Fetching: true,
		},
		{Name: "none", Unsupported: map[string]int{}, Problems: []string{}, Error: "the server answers \"404 Not Found\""},
	}
	h := Handlers{Lists: func(context.Context) ([]List, error) {
		bare := want[1]
		bare.Unsupported, bare.Problems = nil, nil
		return []List{want[0], bare}, nil
	}}
	socket := server(t, h, defaultLimits())
	got, err := NewClient(socket).Lists(t.Context())
	same(t, "lists", got, want, err)
	if _, body := raw(t, socket, "GET", "/v1/lists", nil); strings.Contains(body, `:null,"problems"`) || !strings.Contains(body, `"updated":null`) {
		t.Errorf("body %s", body)
	}
	socket = server(t, Handlers{Lists: func(context.Context) ([]List, error) { return nil, nil }}, defaultLimits())
	if _, body := raw(t, socket, "GET", "/v1/lists", nil); body != "[]\n" {
		t.Errorf("no lists are %q, want []", body)
	}
}

// collect reads an update to its end.
func collect(ctx context.Context, socket, name string) (lines []ListProgress, err error) {
	for p, e := range NewClient(socket).UpdateList(ctx, name) {
		if e != nil {
			return lines, e
		}
		lines = append(lines, p)
	}
	return lines, nil
}

func TestUpdateListStreamsProgressToItsEnd(t *testing.T) {
	steps := []ListProgress{
		{Name: "a", State: ListFetching, Path: "direct", Done: 10, Total: 20},
		{Name: "a", State: ListDone, Rules: 7, Skipped: 1, Changed: true},
		{Name: "b", State: ListFailed, Error: "x"},
	}
	asked := ""
	h := Handlers{UpdateList: func(_ context.Context, name string, progress func(ListProgress)) error {
		asked = name
		for _, s := range steps {
			progress(s)
		}
		return nil
	}}
	socket := server(t, h, defaultLimits())
	for _, name := range []string{"", "community_1"} {
		got, err := collect(t.Context(), socket, name)
		same(t, "progress", got, steps, err)
		if asked != name {
			t.Errorf("the daemon was asked for %q, want %q", asked, name)
		}
	}
	_, body := raw(t, socket, "POST", "/v1/lists/update", nil)
	for line := range strings.Lines(body) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %q", line)
		}
	}
	steps = nil
	got, err := collect(t.Context(), socket, "")
	same(t, "no lists", got, []ListProgress(nil), err)
}

func TestUpdateListTellsFailures(t *testing.T) {
	h := Handlers{UpdateList: func(_ context.Context, name string, progress func(ListProgress)) error {
		if name == "later" {
			progress(ListProgress{Name: name, State: ListFetching})
			return errors.New("broken later")
		}
		return map[string]error{"unknown": fmt.Errorf("%w: no such list", ErrInvalid), "broken": errors.New("broken at once")}[name]
	}}
	lim := defaultLimits()
	lim.streams = 1
	socket := server(t, h, lim)
	for target, want := range map[string]struct {
		status int
		text   string
	}{
		"/v1/lists/update?name=unknown": {400, "no such list"},
		"/v1/lists/update?name=broken":  {500, "broken at once"},
		"/v1/lists/update?name=a%2Fb":   {400, "cannot be the name of a list"},
		"/v1/lists/update?nam=x":        {400, "allowed: name"},
	} {
		if status, body := raw(t, socket, "POST", target, nil); status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s, want %+v", target, status, body, want)
		}
	}
	got, err := collect(t.Context(), socket, "later")
	want := []ListProgress{{Name: "later", State: ListFetching}, {Name: "later", State: ListFailed, Error: "broken later"}}
	same(t, "a failure on the way", got, want, err)
	if _, err := collect(t.Context(), socket, "unknown"); err == nil || !strings.Contains(err.Error(), "no such list") {
		t.Errorf("the client gives %v", err)
	}
	if status, _ := raw(t, server(t, Handlers{}, lim), "POST", "/v1/lists/update", nil); status != 501 {
		t.Errorf("without a handler: status %d, want 501", status)
	}
}

func TestUpdateListEndsWithItsCaller(t *testing.T) {
	ended := make(chan error, 1)
	h := Handlers{UpdateList: func(ctx context.Context, _ string, progress func(ListProgress)) error {
		progress(ListProgress{State: ListFetching})
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}
	socket := server(t, h, defaultLimits())
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for _, err := range NewClient(socket).UpdateList(ctx, "") {
		if err != nil {
			t.Error(err)
		}
		leave()
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v", err)
	}
}

func TestAnUpdateThatTheDaemonLeavesIsAFailure(t *testing.T) {
	path := t.TempDir() + "/s"
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	h := Handlers{UpdateList: func(ctx context.Context, _ string, progress func(ListProgress)) error {
		progress(ListProgress{State: ListFetching})
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := serveOn(t, ln, h, defaultLimits())
	var last error
	for _, err := range NewClient(path).UpdateList(t.Context(), "") {
		if last = err; err == nil {
			go stop()
		}
	}
	if !errors.Is(last, ErrNotRunning) {
		t.Errorf("error %v, want ErrNotRunning", last)
	}
}

func TestUpdatesAreStreamsOfABoundedNumber(t *testing.T) {
	h := Handlers{Events: NewEventLog(fixedNow), UpdateList: func(ctx context.Context, _ string, progress func(ListProgress)) error {
		progress(ListProgress{State: ListFetching})
		return ctx.Err()
	}}
	lim := defaultLimits()
	lim.streams = 1
	socket := server(t, h, lim)
	resp, err := NewClient(socket).send(t.Context(), "GET", "/v1/events", map[string][]string{"follow": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	if status, body := raw(t, socket, "POST", "/v1/lists/update", nil); status != 503 {
		t.Errorf("with no stream left: %d %s", status, body)
	}
}

func TestParseListNameAllowsSections(t *testing.T) {
	for name, ok := range map[string]bool{
		"": true, "community": true, "A_1-b": true, "a b": false, "a.b": false, "../x": false, "ä": false, strings.Repeat("x", 65): false,
	} {
		got, err := ParseListName(name)
		if ok != (err == nil) || ok && got != name || !ok && !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseListName(%q) = %q, %v", name, got, err)
		}
	}
}
