package control

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// The documented shapes of CONTRACT.md, "JSON": every key that stands there.
const (
	documentedStatus = `version running uptime_s dataplane.hook dataplane.devices dataplane.addresses
		dataplane.flows dataplane.pinned dns.mode dns.queries dns.learned
		tunnels.name tunnels.device tunnels.backend tunnels.state tunnels.last_handshake_s tunnels.rx_bytes
		tunnels.tx_bytes tunnels.rtt_ms
		destinations.name destinations.label destinations.policy destinations.path destinations.state
		destinations.reason destinations.addresses destinations.flows destinations.rx_bytes destinations.tx_bytes
		destinations.verdict destinations.verdict_reason`
	documentedWhy = `query client destination rule policy path device mark table reason
		addresses.address addresses.learned_from addresses.names addresses.age_s addresses.expires_s
		addresses.shared_with last_check checks`
	documentedEvent = `time kind destination tunnel from to reason`
)

func TestAnswersHaveTheDocumentedKeysEvenWhenEmpty(t *testing.T) {
	h := Handlers{
		Status: func(context.Context) (Status, error) {
			return Status{Tunnels: make([]TunnelStatus, 1), Destinations: make([]DestinationStatus, 1)}, nil
		},
		Why: func(context.Context, string, string) (Why, error) {
			return Why{Addresses: make([]WhyAddress, 1)}, nil
		},
		Events: NewEventLog(fixedNow),
	}
	h.Events.Add(Event{})
	socket := server(t, h, defaultLimits())
	for target, documented := range map[string]string{
		"/v1/status":      documentedStatus,
		"/v1/why?query=a": documentedWhy,
		"/v1/events":      documentedEvent,
	} {
		_, body := raw(t, socket, "GET", target, nil)
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		have := keys("", v)
		for _, key := range strings.Fields(documented) {
			if !slices.Contains(have, key) {
				t.Errorf("%s has no %q; it has %v", target, key, have)
			}
		}
	}
}

// keys lists the paths of all keys; the items of a list share their paths.
func keys(prefix string, v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			out = append(out, prefix+k)
			out = append(out, keys(prefix+k+".", item)...)
		}
	case []any:
		for _, item := range v {
			out = append(out, keys(prefix, item)...)
		}
	}
	return out
}

func TestMissingListsAreEmptyNotNull(t *testing.T) {
	h := Handlers{
		Status:    func(context.Context) (Status, error) { return Status{}, nil },
		Why:       func(context.Context, string, string) (Why, error) { return Why{Addresses: make([]WhyAddress, 1)}, nil },
		Flows:     func(context.Context) ([]Flow, error) { return nil, nil },
		Doctor:    func(context.Context) ([]Finding, error) { return nil, nil },
		Catalogue: func(context.Context, []string) ([]Service, error) { return nil, nil },
		Reload:    func(context.Context) ([]Problem, error) { return nil, nil },
		Restart:   func(context.Context) error { return nil },
	}
	socket := server(t, h, defaultLimits())
	for target, method := range map[string]string{
		"/v1/status": "GET", "/v1/why?query=a": "GET", "/v1/flows": "GET",
		"/v1/doctor": "GET", "/v1/catalogue": "GET", "/v1/reload": "POST", "/v1/restart": "POST",
	} {
		_, body := raw(t, socket, method, target, nil)
		if strings.Contains(strings.ReplaceAll(body, `"last_check":null`, ""), "null") {
			t.Errorf("%s answers null for a list: %s", target, body)
		}
	}
}
