package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestNoDaemonIsErrNotRunning(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	makeStale(t, stale)
	for name, path := range map[string]string{"absent": filepath.Join(dir, "absent"), "stale": stale} {
		c := NewClient(path)
		calls := map[string]func() error{
			"status":  func() error { _, err := c.Status(t.Context()); return err },
			"why":     func() error { _, err := c.Why(t.Context(), "a", ""); return err },
			"flows":   func() error { _, err := c.Flows(t.Context()); return err },
			"events":  func() error { _, err := c.Events(t.Context(), 0); return err },
			"doctor":  func() error { _, err := c.Doctor(t.Context()); return err },
			"reload":  func() error { _, err := c.Reload(t.Context()); return err },
			"restart": func() error { return c.Restart(t.Context()) },
			"follow": func() (last error) {
				for _, last = range c.FollowEvents(t.Context(), 0) {
				}
				return last
			},
		}
		for call, do := range calls {
			if err := do(); !errors.Is(err, ErrNotRunning) {
				t.Errorf("%s on a socket that is %s: %v, want ErrNotRunning", call, name, err)
			}
		}
	}
}

func TestClientAndServerAgree(t *testing.T) {
	rtt, hs := 12.5, int64(7)
	status := Status{
		Version: "1", Running: true, UptimeS: 3,
		DataPlane:    DataPlaneStatus{Hook: "tcx", Devices: []string{"br-lan"}},
		DNS:          DNSStatus{Upstreams: []UpstreamStatus{}, Bypass: []Bypass{}},
		Tunnels:      []TunnelStatus{{Name: "home", RTTMs: &rtt, LastHandshakeS: &hs}},
		Destinations: []DestinationStatus{{Name: "exchanges"}},
		Problems:     []string{},
	}
	flows := []Flow{{Destination: "exchanges", RTTMs: &rtt}}
	findings := []Finding{{Topic: "dns", Level: LevelWarning}}
	services := []Service{{ID: "binance", Domains: []string{"binance.com"}}}
	h := Handlers{
		Status: func(context.Context) (Status, error) { return status, nil },
		Why: func(_ context.Context, q, c string) (Why, error) {
			return Why{Query: q, Client: c, Path: "direct"}, nil
		},
		Flows:  func(context.Context) ([]Flow, error) { return flows, nil },
		Doctor: func(context.Context) ([]Finding, error) { return findings, nil },
		Catalogue: func(_ context.Context, words []string) ([]Service, error) {
			if !reflect.DeepEqual(words, []string{"bin", "x&y"}) {
				return nil, fmt.Errorf("words %q", words)
			}
			return services, nil
		},
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "routerd_up 1\n") },
		Events:  NewEventLog(fixedNow),
	}
	h.Events.Add(Event{Kind: EventFault, Reason: "a"})
	h.Events.Add(Event{Kind: EventPath, Reason: "b"})
	c := NewClient(server(t, h, defaultLimits()))
	ctx := t.Context()
	gotStatus, err := c.Status(ctx)
	same(t, "status", gotStatus, status, err)
	gotWhy, err := c.Why(ctx, "Example.ORG", "::ffff:192.168.1.2")
	same(t, "why", gotWhy, Why{Query: "example.org", Client: "192.168.1.2", Path: "direct", Addresses: []WhyAddress{}, Checks: []Check{}}, err)
	gotFlows, err := c.Flows(ctx)
	same(t, "flows", gotFlows, flows, err)
	gotFindings, err := c.Doctor(ctx)
	same(t, "doctor", gotFindings, findings, err)
	gotServices, err := get[[]Service](ctx, c, "/v1/catalogue", url.Values{"word": {"bin", "x&y"}})
	same(t, "catalogue", gotServices, services, err)
	gotEvents, err := c.Events(ctx, 1)
	same(t, "events", gotEvents, []Event{{Seq: 2, Time: fixedNow(), Kind: EventPath, Reason: "b"}}, err)
	text, err := c.do(ctx, http.MethodGet, "/metrics", nil)
	same(t, "metrics", string(text), "routerd_up 1\n", err)
}

func same(t *testing.T, what string, got, want any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %+v, %v; want %+v", what, got, err, want)
	}
}

func TestRefusedReloadGivesProblemsAndError(t *testing.T) {
	problems := []Problem{{Level: "error", Section: "exchanges", Option: "policy", Value: "tunel"}}
	var refuse error
	h := Handlers{Reload: func(context.Context) ([]Problem, error) { return problems, refuse }}
	c := NewClient(server(t, h, defaultLimits()))
	got, err := c.Reload(t.Context())
	same(t, "reload", got, problems, err)
	refuse = errors.New("the settings have 1 error; the old ones stay")
	got, err = c.Reload(t.Context())
	var apiErr *APIError
	if !errors.As(err, &apiErr) || apiErr.Status != http.StatusUnprocessableEntity || apiErr.Message != refuse.Error() {
		t.Errorf("a refused reload: %v, want the daemon's words with status 422", err)
	}
	same(t, "its problems", got, problems, nil)
	missing := NewClient(server(t, Handlers{}, defaultLimits()))
	if _, err := missing.Reload(t.Context()); !errors.As(err, &apiErr) || apiErr.Status != http.StatusNotImplemented {
		t.Errorf("a daemon without reload: %v, want status 501", err)
	}
}

func TestFollowersSeeEachChangeAtOnce(t *testing.T) {
	n := 0
	h := Handlers{
		Events: NewEventLog(fixedNow),
		Flows:  func(context.Context) ([]Flow, error) { n++; return make([]Flow, n), nil },
	}
	c := NewClient(server(t, h, defaultLimits()))
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	want := 1
	for flows, err := range c.FollowFlows(ctx, time.Second) {
		if err != nil || len(flows) != want {
			t.Fatalf("snapshot of %d flows, %v; want %d", len(flows), err, want)
		}
		if want++; want == 3 {
			break
		}
	}
	h.Events.Add(Event{Reason: "old"})
	for e, err := range c.FollowEvents(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Reason == "new" {
			break
		}
		h.Events.Add(Event{Reason: "new"})
	}
}

func TestFollowingEndsQuietlyWithItsContext(t *testing.T) {
	h := Handlers{Events: NewEventLog(fixedNow)}
	h.Events.Add(Event{})
	c := NewClient(server(t, h, defaultLimits()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.FollowEvents(ctx, 0) {
		if err != nil {
			t.Errorf("the end of the context is given as %v", err)
		}
		cancel()
	}
}
