package daemon

import (
	"io"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/tunnel"
)

// metrics answers GET /metrics. Every value of a label is a name of the settings,
// or one of a fixed set of words: their number does not grow with traffic, and no
// client, name or address is told.
func (d *daemon) metrics(w io.Writer) {
	dp, done := d.plane()
	defer done()
	v := d.seen()
	x := &control.Exposition{}
	d.processMetrics(x, &v)
	tunnelMetrics(x, v.tunnels, time.Now())
	used := use{}
	if dp != nil && v.settings != nil {
		var err error
		if used, err = measureUse(dp, &v); err == nil {
			used.health, err = dp.Health()
		}
		if err != nil {
			d.log.Warn("cannot read the data plane for metrics", "error", err)
			dp = nil
		}
	}
	planeMetrics(x, &v, used, dp != nil)
	d.resolverMetrics(x, &v)
	d.destinationMetrics(x, &v, used)
	checkMetrics(x, d.runner.Totals())
	_, _ = x.WriteTo(w) // the scraper is gone: nobody to tell
}

func (d *daemon) processMetrics(x *control.Exposition, v *view) {
	x.Metric("routerd_build_info", control.Gauge, "Version of routerd and of the Go that built it; always 1.").
		Add(1, "version", d.o.Version, "goversion", runtime.Version())
	x.Metric("routerd_uptime_seconds", control.Gauge, "Time since the daemon started.").Add(time.Since(d.started).Seconds())
	memory := x.Metric("process_resident_memory_bytes", control.Gauge, "Memory of the daemon that is in RAM.")
	if n, ok := residentMemory(); ok {
		memory.Add(n)
	}
	x.Metric("routerd_enabled", control.Gauge, "Whether option enabled is set.").
		AddBool(v.settings != nil && v.settings.cfg.Main.Enabled)
	x.Metric("routerd_settings_in_force", control.Gauge, "Whether the settings of the file are in force: neither refused nor failing to be applied.").
		AddBool(v.applied && len(v.refused) == 0 && v.failed == "")
	x.Metric("routerd_problems", control.Gauge, "What is wrong now, as `routerd status` lists it.").Add(float64(len(allProblems(v))))
	counts := map[control.EventKind]uint64{}
	for key, n := range d.events.Counts() {
		counts[key.Kind] += n
	}
	events := x.Metric("routerd_events_total", control.Counter, "Events, as `routerd events` lists them.")
	for _, kind := range control.EventKinds() {
		events.Add(float64(counts[kind]), "kind", string(kind))
	}
}

// residentMemory reads the second field of statm (proc(5)), in pages.
func residentMemory() (float64, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()), err == nil
}

func tunnelMetrics(x *control.Exposition, tunnels []tunnel.State, now time.Time) {
	each := func(name string, kind control.MetricType, help string, value func(tunnel.State) float64) {
		m := x.Metric(name, kind, help)
		for _, t := range tunnels {
			m.Add(value(t), "tunnel", t.Name)
		}
	}
	info := x.Metric("routerd_tunnel_info", control.Gauge, "Device and backend of a tunnel; always 1.")
	for _, t := range tunnels {
		info.Add(1, "tunnel", t.Name, "device", t.Device, "backend", string(t.Backend))
	}
	states := []string{string(tunnel.Up), string(tunnel.Connecting), string(tunnel.Down)}
	state := x.Metric("routerd_tunnel_state", control.Gauge, "1 for the state of a tunnel, 0 for the others.")
	for _, t := range tunnels {
		state.AddState("state", string(t.Health), states, "tunnel", t.Name)
	}
	up := x.Metric("routerd_tunnel_up", control.Gauge, "Whether a tunnel's peer answered lately.")
	for _, t := range tunnels {
		up.AddBool(t.Health == tunnel.Up, "tunnel", t.Name)
	}
	cause := x.Metric("routerd_tunnel_cause", control.Gauge, "1 with the cause in a word for a tunnel that is not up, such as standby or handshake_blocked.")
	for _, t := range tunnels {
		if t.Cause != "" {
			cause.Add(1, "tunnel", t.Name, "cause", string(t.Cause))
		}
	}
	age := x.Metric("routerd_tunnel_handshake_age_seconds", control.Gauge, "Time since the last handshake with a tunnel's peer; absent before the first.")
	for _, t := range tunnels {
		if !t.LastHandshake.IsZero() {
			age.Add(max(now.Sub(t.LastHandshake).Seconds(), 0), "tunnel", t.Name)
		}
	}
	each("routerd_tunnel_receive_bytes_total", control.Counter, "Bytes received from a tunnel's peers.",
		func(t tunnel.State) float64 { return float64(t.RxBytes) })
	each("routerd_tunnel_transmit_bytes_total", control.Counter, "Bytes sent to a tunnel's peers.",
		func(t tunnel.State) float64 { return float64(t.TxBytes) })
}

// planeMetrics are those of the data plane as a whole.
func planeMetrics(x *control.Exposition, v *view, u use, open bool) {
	one := func(name string, kind control.MetricType, value float64, help string) {
		if m := x.Metric(name, kind, help); open {
			m.Add(value)
		}
	}
	names := 0
	if v.settings != nil {
		names = len(v.settings.plan.Names)
	}
	one("routerd_addresses", control.Gauge, float64(u.addresses), "Addresses of listed names that are known.")
	one("routerd_addresses_limit", control.Gauge, float64(u.room), "Addresses that can be known: option max_addresses.")
	one("routerd_name_rules", control.Gauge, float64(names), "Rules over names in the kernel.")
	one("routerd_flows", control.Gauge, float64(u.flows), "Connections of listed destinations that are tracked.")
	for _, c := range statMetrics(&u.stats) {
		one(c.name, control.Counter, float64(c.value), c.help)
	}
}

// statMetric is one counter of the data plane.
type statMetric struct {
	name  string
	value uint64
	help  string
}

func statMetrics(s *ebpf.Stats) []statMetric {
	return []statMetric{
		{"routerd_dns_answers_total", s.Answers, "DNS answers that were parsed on their way to clients."},
		{"routerd_dns_answers_matched_total", s.Matched, "DNS answers of listed names."},
		{"routerd_dns_answers_truncated_total", s.Truncated, "DNS answers that were cut short, to be asked for over TCP."},
		{"routerd_dns_answers_unparsed_total", s.Unparsed, "DNS answers of listed names that could not be read whole."},
		{"routerd_dns_answers_full_total", s.Full, "DNS answers whose addresses found no room."},
		{"routerd_dns_answers_withheld_total", s.Withheld, "DNS answers dropped because their addresses could not be learned."},
		{"routerd_addresses_learned_total", s.Learned, "Addresses of listed names put in or refreshed."},
		{"routerd_addresses_refused_total", s.Refused, "Addresses of listed names in ranges that are never learned."},
		{"routerd_addresses_shared_total", s.Shared, "Addresses found to be shared with unlisted names."},
		{"routerd_packets_steered_total", s.Steered, "Packets given the mark of a path."},
		{"routerd_packets_blocked_total", s.Blocked, "Packets to destinations that are blocked or whose path is shut."},
		{"routerd_packets_guarded_total", s.Guarded, "Packets to listed destinations stopped at the WAN."},
		{"routerd_connections_reset_total", s.Reset, "TCP resets sent to clients, so that they connect anew."},
		{"routerd_dns_queries_turned_total", s.Queries, "DNS queries of listed names turned to routerd's resolver."},
		{"routerd_dns_streams_turned_total", s.Streams, "DNS connections over TCP turned to routerd's resolver."},
		{"routerd_dns_queries_unanswered_total", s.Unanswered, "DNS queries of listed names that found no resolver running."},
		{"routerd_dns_queries_unturned_total", s.Unturned, "DNS queries of listed names dropped because they could not be turned."},
		{"routerd_dns_bypass_packets_total", s.Bypass, "Packets of DNS over TLS or QUIC that were refused."},
		{"routerd_dns_bypass_https_connections_total", s.DoH, "Connections to known resolvers over HTTPS."},
		{"routerd_tls_names_total", s.Hellos, "Server names read in TLS hellos."},
		{"routerd_tls_names_ended_total", s.TLS, "Connections ended because their TLS hello held a listed name at an unknown address."},
		{"routerd_events_lost_total", s.LostEvents, "Events of the kernel part for which there was no room."},
	}
}

// resolverMetrics are those of routerd's own resolver.
func (d *daemon) resolverMetrics(x *control.Exposition, v *view) {
	secure := v.resolver != nil && v.settings != nil && v.settings.secure()
	one := func(name string, kind control.MetricType, value float64, help string) {
		if m := x.Metric(name, kind, help); secure {
			m.Add(value)
		}
	}
	var s control.DNSStatus
	var st dns.Stats
	if secure {
		s, st = d.dnsStatus(v, ebpf.Stats{}), v.resolver.Stats()
	}
	one("routerd_resolver_cached_total", control.Counter, float64(st.Hits), "Lookups answered from the cache.")
	one("routerd_resolver_asked_total", control.Counter, float64(st.Misses), "Lookups for which an upstream was asked.")
	one("routerd_resolver_stale_total", control.Counter, float64(st.Stale), "Lookups answered beyond their time because upstreams fail.")
	one("routerd_resolver_failures_total", control.Counter, float64(st.Failures), "Lookups that failed.")
	one("routerd_resolver_prefetches_total", control.Counter, float64(st.Prefetches), "Lookups made again before their time was over.")
	one("routerd_resolver_cache_entries", control.Gauge, float64(st.Entries), "Answers in the cache.")
	one("routerd_resolver_cache_bytes", control.Gauge, float64(st.Bytes), "Size of the cache.")
	one("routerd_resolver_hosts", control.Gauge, float64(s.Hosts), "Listed names with fixed hosts, which are looked up unasked.")
	one("routerd_resolver_hosts_pending", control.Gauge, float64(s.Pending), "Hosts that have not been looked up with success yet.")
	one("routerd_resolver_bypass_clients", control.Gauge, float64(len(s.Bypass)), "Clients seen asking encrypted resolvers past the router.")
	up := x.Metric("routerd_resolver_upstream_up", control.Gauge, "Whether a server answered over a path when it was last asked.")
	for _, u := range upstreamsByServer(s.Upstreams) {
		up.AddBool(u.State == "ok", "server", u.URL, "path", u.Path)
	}
}

// upstreamsByServer takes from the URLs what may name a customer of the server:
// all but scheme and host. What is then the same is up where one of it is.
func upstreamsByServer(all []control.UpstreamStatus) []control.UpstreamStatus {
	var out []control.UpstreamStatus
	for _, u := range all {
		if parsed, err := url.Parse(u.URL); err == nil {
			u.URL = parsed.Scheme + "://" + parsed.Host
		}
		i := slices.IndexFunc(out, func(o control.UpstreamStatus) bool { return o.URL == u.URL && o.Path == u.Path })
		switch {
		case i < 0:
			out = append(out, u)
		case u.State == "ok":
			out[i] = u
		}
	}
	return out
}
