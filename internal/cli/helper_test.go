package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/control"
)

// update rewrites the golden files: go test ./internal/cli -update.
var update = flag.Bool("update", false, "rewrite the golden files")

// deadline is how long a test waits for what should take milliseconds.
const deadline = 10 * time.Second

// fixedNow is the clock of the tests.
func fixedNow() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) }

// result is what a command left behind.
type result struct {
	status         int
	stdout, stderr string
}

// testApp is an app of one call with the clock of the tests.
func testApp(stdin string, stdout, stderr io.Writer) *app {
	a := newApp(strings.NewReader(stdin), stdout, stderr)
	a.now, a.zone = fixedNow, time.UTC
	return a
}

// call runs one command.
func call(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := testApp(stdin, &stdout, &stderr).main(t.Context(), args)
	return result{status, stdout.String(), stderr.String()}
}

// want checks a result; texts are parts of the outputs.
func (r result) want(t *testing.T, status int, stdout, stderr string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		t.Errorf("status %d, stdout %q, stderr %q; want %d, parts %q and %q", r.status, r.stdout, r.stderr, status, stdout, stderr)
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// daemonWith serves handlers on a socket, whose path it gives with what stops
// the server.
func daemonWith(t *testing.T, h control.Handlers) (socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	ln, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	return socket, serve(t, ln, h)
}

func serve(t *testing.T, ln net.Listener, h control.Handlers) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.ServeOn(ctx, ln, h, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the test's daemon ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// fixtures is a daemon whose answers never change.
func fixtures() control.Handlers {
	events := control.NewEventLog(fixedNow)
	for _, e := range fixtureEvents() {
		events.Add(e)
	}
	return control.Handlers{
		Status: func(context.Context) (control.Status, error) { return fixtureStatus(), nil },
		Why: func(_ context.Context, query, client string) (control.Why, error) {
			return fixtureWhy(query, client)
		},
		Flows:  func(context.Context) ([]control.Flow, error) { return fixtureFlows(), nil },
		Reload: func(context.Context) ([]control.Problem, error) { return fixtureProblems(), nil },
		Events: events,
	}
}

func ptr[T any](v T) *T { return &v }

func fixtureStatus() control.Status {
	return control.Status{
		Version: "0.1.0", Running: true, UptimeS: 11530, Started: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC),
		DataPlane: control.DataPlaneStatus{
			Hook: "tcx", Devices: []string{"br-lan", "wg-server"}, Addresses: 123, MaxAddresses: 16384,
			Names: 1830, Flows: 12, Pinned: true,
		},
		DNS: control.DNSStatus{
			Mode: "secure", Queries: 4211, Learned: 312, Turned: 907, Cached: 640, Asked: 267, Stale: 3, Hosts: 412, Pending: 2,
			Upstreams: []control.UpstreamStatus{
				{URL: "https://1.1.1.1/dns-query", Path: "home", State: "ok"},
				{URL: "https://1.1.1.1/dns-query", Path: "direct", State: "failing", Reason: "ask https://1.1.1.1/dns-query: tls: connection reset by peer", Failures: 4},
			},
			Bypass: []control.Bypass{
				{Client: "192.168.1.40 (02:00:00:00:00:40)", Resolver: "dns.google", Address: "8.8.8.8", Protocol: control.ProtocolDoH, Last: time.Date(2026, 11, 23, 14, 57, 0, 0, time.UTC)},
				{Client: "192.168.1.41 (02:00:00:00:00:41)", Address: "198.51.100.53", Protocol: control.ProtocolDoT, Refused: true, Last: time.Date(2026, 11, 23, 14, 50, 0, 0, time.UTC)},
			},
		},
		Tunnels: []control.TunnelStatus{
			{Name: "home", Device: "rd-home", Backend: "kernel", State: "up", LastHandshakeS: ptr[int64](12), RxBytes: 1288490188, TxBytes: 314572800, RTTMs: ptr(48.2), Endpoint: "198.51.100.1:51820"},
			{Name: "backup", Device: "rd-backup", Backend: "userspace", State: "down", Reason: "the peer 198.51.100.9:51820 has not answered for 4 minutes; see whether its endpoint and keys are right", LastHandshakeS: ptr[int64](245), TxBytes: 592},
			{Name: "other", Device: "awg0", Backend: "interface", State: "connecting", Reason: "no handshake yet"},
		},
		Destinations: []control.DestinationStatus{
			{Name: "exchanges", Label: "Exchanges", Policy: "tunnel", Path: "home", State: "ok", Addresses: 96, Flows: 10, RxBytes: 73400320, TxBytes: 2097152, Verdict: "interfered", VerdictReason: "https://www.okx.com/: TLS connection reset right after the name www.okx.com was sent; the same name works through home: interference by name"},
			{Name: "pools_of_the_farm_behind_the_house", Policy: "auto", Path: "direct", State: "degraded", Reason: "direct is interfered with and no tunnel of this destination works", Addresses: 27, Flows: 2, RxBytes: 900, TxBytes: 1023, Verdict: "service_refused", VerdictReason: "HTTP 451"},
			{Name: "forbidden", Policy: "block", Path: "block", State: "blocked"},
		},
		Problems: []string{"tunnel backup is down: the peer 198.51.100.9:51820 has not answered for 4 minutes", "the address map is 96 % full"},
	}
}

func fixtureWhy(query, client string) (control.Why, error) {
	switch query {
	case "unlisted.example":
		return control.Why{Query: query, Client: client, Path: "direct", Reason: "no destination lists it"}, nil
	case "broken.example":
		return control.Why{}, errors.New("read the address map: permission denied")
	}
	checked := fixedNow().Add(-3 * time.Minute)
	return control.Why{
		Query: query, Client: client, Destination: "exchanges", Rule: "binance.com", Policy: "tunnel",
		Path: "home", Device: "rd-home", Mark: "0x03000000", Table: 29187, LastCheck: &checked, Checks: fixtureChecks()[2:],
		Reason: "policy tunnel; home is the first of its tunnels that is up",
		Addresses: []control.WhyAddress{
			{Address: "203.0.113.7", LearnedFrom: "dns", Names: []string{"api.binance.com", "a-name-so-long-that-it-needs-to-be-cut.cdn.example.net"}, Clients: []string{"192.168.1.40"}, AgeS: 75, ExpiresS: 3525},
			{Address: "2001:db8:1234:5678:9abc:def0:1234:5678", LearnedFrom: "resolver", Trusted: true, Names: []string{"api.binance.com"}, AgeS: 7, ExpiresS: 290, SharedWith: []string{"shop.example", "static.example"}},
		},
	}, nil
}

func fixtureFlows() []control.Flow {
	return []control.Flow{
		{Destination: "exchanges", Path: "home", Protocol: "tcp", Source: "192.168.1.40:50112", Target: "203.0.113.7:443", Name: "stream.binance.com", State: "open", AgeS: 190, IdleS: 1, RxBytes: 5242880, TxBytes: 40960, RTTMs: ptr(51.5)},
		{Destination: "exchanges", Path: "home", Protocol: "udp", Source: "[2001:db8::40]:50113", Target: "[2001:db8:1234:5678:9abc:def0:1234:5678]:443", State: "open", AgeS: 3, RxBytes: 1200, TxBytes: 1300},
		{Destination: "pools", Path: "direct", Protocol: "tcp", Source: "192.168.1.50:40000", Target: "198.51.100.33:3333", Name: "btc.pool.example\x1b[31m", State: "new", AgeS: 0, TxBytes: 60},
	}
}

func fixtureEvents() []control.Event {
	at := fixedNow()
	return []control.Event{
		{Time: at.Add(-time.Hour), Kind: control.EventTunnel, Tunnel: "home", From: "connecting", To: "up"},
		{Time: at.Add(-time.Minute), Kind: control.EventPath, Destination: "exchanges", Tunnel: "home", From: "backup", To: "home", Reason: "home is up again and preferred"},
		{Time: at, Kind: control.EventFault, Reason: "the address map is full: 3 addresses of exchanges were not learned, their clients are refused; raise option max_addresses"},
	}
}

func fixtureProblems() []control.Problem {
	return []control.Problem{{Level: "note", Section: "main", Option: "metrics_listen", Value: "127.0.0.1:9100", Text: "not active yet"}}
}
