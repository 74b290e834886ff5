package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
	"github.com/routerd/routerd/test/promtext"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// measured is a daemon without a kernel part.
func measured(t *testing.T) *daemon {
	d := deciding(parsed(t, checkedSettings))
	d.log, d.started = slog.New(slog.DiscardHandler), time.Now()
	d.o.Version = "1.2.3"
	d.events = control.NewEventLog(time.Now)
	d.runner = reach.NewRunner(reach.RunnerOptions{})
	d.view.applied = true
	d.view.numbers = map[string]ebpf.Destination{"own": 1, "pools": 2, "plain": 3, "shut": 4}
	d.view.choices = map[string]steer.Choice{
		"own": {Path: "other", State: steer.StateOK}, "pools": {Path: "home", State: steer.StateDegraded},
		"plain": {Path: steer.PathDirect, State: steer.StateOK}, "shut": {Path: steer.PathBlock, State: steer.StateBlocked},
	}
	d.view.tunnels = []tunnel.State{
		{Name: "home", Device: "rd-home", Backend: tunnel.BackendKernel, Health: tunnel.Up, RxBytes: 1 << 40, TxBytes: 7},
		{Name: "other", Device: "tun1", Backend: tunnel.BackendInterface, Health: tunnel.Down, Cause: tunnel.CauseBlocked},
	}
	return d
}

// scraped is what a daemon gives, read strictly.
func scraped(t *testing.T, text string) map[string]promtext.Metric {
	t.Helper()
	all, err := promtext.Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for _, fault := range promtext.Lint(all) {
		t.Error(fault)
	}
	return all
}

func TestMetricsAreTheSameForTheSameState(t *testing.T) {
	d := measured(t)
	d.events.Add(control.Event{Kind: control.EventPath, Destination: "pools"})
	d.events.Add(control.Event{Kind: control.EventVerdict, Destination: "own"})
	var out bytes.Buffer
	d.metrics(&out)
	scraped(t, out.String())
	for _, x := range []struct{ form, by string }{
		{`(?m)^(routerd_uptime_seconds|process_resident_memory_bytes) .*$`, "$1 N"}, {`goversion="[^"]*"`, `goversion="go"`},
	} {
		out = *bytes.NewBuffer(regexp.MustCompile(x.form).ReplaceAll(out.Bytes(), []byte(x.by)))
	}
	path := filepath.Join("testdata", "metrics.txt")
	if *update {
		need(t, os.WriteFile(path, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	need(t, err)
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMetricsOfDaemonsWithLittleToTell(t *testing.T) {
	for name, change := range map[string]func(*daemon){
		"starting": func(d *daemon) { d.view = view{} },
		"refused":  func(d *daemon) { d.view = view{refused: []string{"no"}} },
		"disabled": func(d *daemon) {
			d.view.settings = parsed(t, "config routerd 'main'\n\toption enabled '0'\n")
			d.view.choices = nil
		},
		"without a tunnel":  func(d *daemon) { d.view.tunnels = nil },
		"handshake in time": func(d *daemon) { d.view.tunnels[0].LastHandshake = time.Now().Add(time.Hour) }, // the clock was set
	} {
		d := measured(t)
		change(d)
		var out bytes.Buffer
		d.metrics(&out)
		all := scraped(t, out.String())
		if len(all) < 50 {
			t.Errorf("%s: only %d metrics", name, len(all))
		}
		if name == "handshake in time" && all["routerd_tunnel_handshake_age_seconds"].Samples[`tunnel="home"`] != 0 {
			t.Errorf("%s: %v", name, all["routerd_tunnel_handshake_age_seconds"])
		}
		if in := all["routerd_settings_in_force"].Samples[""]; (name == "starting" || name == "refused") != (in == 0) {
			t.Errorf("%s: settings in force: %v", name, in)
		}
	}
}

func TestTrafficIsCountedByDestinationPathAndDirection(t *testing.T) {
	d := measured(t)
	x, out := &control.Exposition{}, bytes.Buffer{}
	trafficMetrics(x, &d.view, use{counts: map[ebpf.CountKey]ebpf.Count{
		{Destination: 2, Path: 3, ToClient: true}: {Packets: 2, Bytes: 3000},
		{Destination: 2, Path: 3}:                 {Packets: 1, Bytes: 60},
		{Destination: 2, Path: owned.PathDirect}:  {Packets: 5, Bytes: 400},
		{Destination: 9, Path: owned.PathDirect}:  {Packets: 9, Bytes: 900}, // of earlier settings
		{Destination: 2, Path: 77}:                {Packets: 9, Bytes: 900},
	}})
	_, _ = x.WriteTo(&out)
	want := map[string]float64{
		`destination="pools",path="home",direction="receive"`: 3000, `destination="pools",path="home",direction="transmit"`: 60,
		`destination="pools",path="direct",direction="transmit"`: 400,
	}
	if diff := cmp.Diff(want, scraped(t, out.String())["routerd_destination_bytes_total"].Samples); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConnectionsAreCountedByHowFarTheyCame(t *testing.T) {
	d := measured(t)
	x, out := &control.Exposition{}, bytes.Buffer{}
	connectionMetrics(x, &d.view, use{health: map[ebpf.HealthKey]ebpf.Health{
		{Destination: 2, Path: 3}: {Begun: 5, Again: 7, Established: 4, Answered: 3, Reset: 1, Refused: 2, RTT: 3 * time.Second},
		{Destination: 9, Path: 3}: {Begun: 5}, // of earlier settings
	}})
	_, _ = x.WriteTo(&out)
	all := scraped(t, out.String())
	const pools = `destination="pools",path="home"`
	want := map[string]map[string]float64{
		"routerd_connections_total": {
			pools + `,stage="begun"`: 5, pools + `,stage="established"`: 4, pools + `,stage="answered"`: 3, pools + `,stage="reset"`: 1, pools + `,stage="refused"`: 2,
		},
		"routerd_connection_repeats_total":      {pools: 7},
		"routerd_connection_round_trip_seconds": {"_sum" + pools: 3, "_count" + pools: 4},
	}
	for name, samples := range want {
		if diff := cmp.Diff(samples, all[name].Samples); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestChecksAreCounted(t *testing.T) {
	x, out := &control.Exposition{}, bytes.Buffer{}
	checkMetrics(x, []reach.Total{
		{Destination: "own", Path: "direct", Outcomes: map[reach.Outcome]uint64{reach.TLSReset: 4}},
		{Destination: "own", Path: "home", Outcomes: map[reach.Outcome]uint64{reach.OutcomeOK: 3}, RTT: 1500 * time.Millisecond, RTTs: 3},
	})
	_, _ = x.WriteTo(&out)
	all := scraped(t, out.String())
	want := map[string]float64{
		`destination="own",path="direct",outcome="ok"`: 0, `destination="own",path="direct",outcome="tls_reset"`: 4,
		`destination="own",path="home",outcome="ok"`: 3,
	}
	if diff := cmp.Diff(want, all["routerd_checks_total"].Samples); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if sum := all["routerd_check_round_trip_seconds"].Samples[`_sumdestination="own",path="home"`]; sum != 1.5 {
		t.Errorf("round trips: %v", all["routerd_check_round_trip_seconds"].Samples)
	}
}

func TestUpstreamsAreToldWithoutWhatNamesACustomer(t *testing.T) {
	got := upstreamsByServer([]control.UpstreamStatus{
		{URL: "https://dns.example/abc123", Path: "home", State: "failing"},
		{URL: "https://dns.example/other", Path: "home", State: "ok"},
		{URL: "https://dns.example/abc123", Path: "direct", State: "failing"},
		{URL: "tls://9.9.9.9", Path: "home", State: "ok"},
	})
	want := []control.UpstreamStatus{
		{URL: "https://dns.example", Path: "home", State: "ok"},
		{URL: "https://dns.example", Path: "direct", State: "failing"},
		{URL: "tls://9.9.9.9", Path: "home", State: "ok"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

const monitoringDir = "../../docs/monitoring"

// alert is a rule of docs/monitoring/alerts.yml.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func (a alert) lacks() []string {
	var out []string
	for what, holds := range map[string]bool{
		"a name that begins with Routerd": strings.HasPrefix(a.Alert, "Routerd"), "severity": a.Labels["severity"] != "",
		"summary": a.Annotations["summary"] != "", "description": a.Annotations["description"] != "",
	} {
		if !holds {
			out = append(out, what)
		}
	}
	if _, err := time.ParseDuration(a.For); a.For != "" && err != nil {
		out = append(out, "a time: "+err.Error())
	}
	return out
}

func TestAlertsAskForMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(monitoringDir, "alerts.yml"))
	need(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	need(t, decoder.Decode(&file))
	all, n := known(t), 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			n++
			if missing := promtext.Missing(r.Expr, all); len(missing) > 0 {
				t.Errorf("%s asks for %q", r.Alert, missing)
			}
			if lacks := r.lacks(); len(lacks) > 0 {
				t.Errorf("%s lacks %q", r.Alert, lacks)
			}
		}
	}
	expect(t, n >= 10, "only %d rules were read", n)
}

// panel is a panel of docs/monitoring/dashboard.json.
type panel struct {
	ID                       int
	Type, Title, Description string
	Targets                  []struct{ Expr string }
}

func TestTheDashboardAsksForMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(monitoringDir, "dashboard.json"))
	need(t, err)
	var board struct {
		Title, UID string
		Panels     []panel
	}
	need(t, json.Unmarshal(text, &board))
	all, ids := known(t), map[int]bool{}
	asked := 0
	for _, p := range board.Panels {
		expect(t, p.Title != "" && !ids[p.ID], "panel %d %q has no title, or its id is there twice", p.ID, p.Title)
		expect(t, p.Type == "row" || p.Description != "" && len(p.Targets) > 0, "panel %q asks for nothing, or says not what it shows", p.Title)
		ids[p.ID] = true
		for _, target := range p.Targets {
			asked++
			missing := promtext.Missing(target.Expr, all)
			expect(t, len(missing) == 0, "panel %q asks for %q", p.Title, missing)
		}
	}
	expect(t, board.Title != "" && board.UID != "" && asked >= 20, "dashboard %q %q asks %d times", board.Title, board.UID, asked)
}

func TestTheDocumentationNamesMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(monitoringDir, "README.md"))
	need(t, err)
	all := known(t)
	names := regexp.MustCompile("`(routerd_[a-z_]+|process_[a-z_]+)`").FindAllStringSubmatch(string(text), -1)
	for _, n := range names {
		if _, ok := all[n[1]]; !ok {
			t.Errorf("there is no %s", n[1])
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d names were found", len(names))
	}
}

// known are all metrics that a daemon gives.
func known(t *testing.T) map[string]promtext.Metric {
	t.Helper()
	var out bytes.Buffer
	measured(t).metrics(&out)
	return scraped(t, out.String())
}

// scrape asks for metrics over TCP.
func scrape(at string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + at + "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func TestMetricsAreServedWhereTheSettingsSay(t *testing.T) {
	if !isolated(t) {
		return
	}
	listen := func(at string) string { return "\toption metrics_listen '" + at + "'" }
	r := newRouter(t)
	r.set(listen("127.0.0.1:9640"), exchanges)
	r.start()
	text, err := scrape("127.0.0.1:9640")
	need(t, err)
	all := scraped(t, text)
	expect(t, all["routerd_destination_path"].Samples[`destination="exchanges",path="other"`] == 1 && all["routerd_name_rules"].Samples[""] > 0,
		"metrics:\n%s", text)
	socket := r.get("/metrics")
	expect(t, len(scraped(t, socket)) == len(all), "the socket gives others:\n%s", socket)

	// A reload changes where, and names what cannot be; the rest is in force.
	taken, err := net.Listen("tcp", "127.0.0.1:9641")
	need(t, err)
	r.set(listen("127.0.0.1:9641"), strings.Replace(exchanges, "'exchanges'", "'others'", 1))
	problems, err := r.client().Reload(context.Background())
	need(t, err)
	expect(t, slices.ContainsFunc(problems, func(p control.Problem) bool {
		return p.Option == "metrics_listen" && strings.Contains(p.Text, "address already in use")
	}), "problems: %+v", problems)
	s := r.status()
	expect(t, len(s.Destinations) == 1 && s.Destinations[0].Name == "others" && strings.Contains(strings.Join(s.Problems, " "), "metrics_listen '127.0.0.1:9641'"), "status: %+v", s)
	_, err = scrape("127.0.0.1:9640")
	expect(t, err != nil, "the old port still answers")
	need(t, taken.Close())
	_, err = r.client().Reload(context.Background())
	need(t, err)
	_, err = scrape("127.0.0.1:9641")
	need(t, err)
	expect(t, !strings.Contains(strings.Join(r.status().Problems, " "), "metrics_listen"), "problems stay: %v", r.status().Problems)

	r.set("", exchanges)
	_, err = r.client().Reload(context.Background())
	need(t, err)
	_, err = scrape("127.0.0.1:9641")
	expect(t, err != nil, "it listens without the option")
}
