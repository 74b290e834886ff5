package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config/uci"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/upstream"
)

// Bounds of option max_addresses. The largest costs the kernel some 200 MB.
const (
	minAddresses = 16
	maxAddresses = 1 << 20
)

// defaultAddresses is option max_addresses where it is not set: with little
// memory half as many, so that all maps of the kernel stay below 4 MiB.
func defaultAddresses(memory uint64) int {
	const little = 200 << 20
	if memory > 0 && memory < little {
		return 8192
	}
	return 16384
}

// defaultResolver is used when there is no list resolver.
const defaultResolver = "https://1.1.1.1/dns-query"

// defaultMain is section main without any option, on a machine of so many octets
// of memory; 0 is unknown.
func defaultMain(memory uint64) Main {
	return Main{
		Enabled: true, LAN: []string{"lan"}, OwnTraffic: true, DNS: DNSSecure,
		Resolvers: []string{defaultResolver}, LocalDNS: true, IPv6: true, FlowOffload: true,
		MarkMask: owned.DefaultMask, MaxAddresses: defaultAddresses(memory), LogLevel: slog.LevelInfo,
	}
}

// main reads section main.
func (r *reader) main(s *uci.Section) Main {
	m := defaultMain(r.env.Memory)
	m.LAN, m.Resolvers = nil, nil
	got := r.decode(s, []field{
		boolField("enabled", &m.Enabled),
		checkedList("lan", &m.LAN, checkNetwork),
		checkedField("wan", &m.WAN, checkNetwork),
		boolField("own_traffic", &m.OwnTraffic),
		choiceField("dns", &m.DNS, DNSSecure, DNSObserve),
		checkedList("resolver", &m.Resolvers, checkUpstream),
		boolField("local_dns", &m.LocalDNS),
		boolField("ipv6", &m.IPv6),
		boolField("flow_offload", &m.FlowOffload),
		maskField("mark_mask", &m.MarkMask),
		intField("max_addresses", &m.MaxAddresses, minAddresses, maxAddresses),
		levelField("log_level", &m.LogLevel),
		targetField("control", &m.Controls),
		checkedField("metrics_listen", &m.MetricsListen, checkHostPort("127.0.0.1:9640 or [::1]:9640")),
	})
	if len(m.LAN) == 0 {
		m.LAN = defaultMain(0).LAN
	}
	if len(m.Resolvers) == 0 {
		m.Resolvers = defaultMain(0).Resolvers
	}
	mainNotes(&m, got)
	if v, ok := got["wan"]; ok && slices.Contains(m.LAN, m.WAN) {
		v.fail("is also in list lan: the clients' side and the provider's side must differ", "")
	}
	return m
}

// checkUpstream has the parser that the resolver itself uses judge a server.
func checkUpstream(s string) error {
	_, err := upstream.Parse(s)
	return err
}

// mainNotes notes what has no effect, or more than is wanted.
func mainNotes(m *Main, got given) {
	if v, ok := got["resolver"]; ok && m.DNS == DNSObserve {
		v.note("has no effect with dns 'observe'", "set option dns 'secure'")
	}
	if v, ok := got["metrics_listen"]; ok && everywhere(m.MetricsListen) {
		v.note("listens on every address, that of the WAN too as far as the firewall lets in", "give an address of the LAN")
	}
}

// everywhere says whether a host:port is that of every address.
func everywhere(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

// targetField takes the URLs of checks.
func targetField(name string, dst *[]catalogue.Target) field {
	return field{name: name, list: true, set: func(v value) {
		t, err := catalogue.ParseTarget(v.text)
		if err != nil {
			v.fail(err.Error(), "")
			return
		}
		*dst = append(*dst, t)
	}}
}

// maskField takes a mark mask.
func maskField(name string, dst *owned.Mask) field {
	return field{name: name, set: func(v value) {
		n, err := strconv.ParseUint(v.text, 0, 32)
		if err != nil {
			v.fail("is not a number of 32 bits", fmt.Sprintf("write it like the default, 0x%08x", uint32(owned.DefaultMask)))
			return
		}
		if err := owned.Mask(n).Validate(); err != nil {
			v.fail("cannot be used: "+err.Error(), fmt.Sprintf("the default is 0x%08x", uint32(owned.DefaultMask)))
			return
		}
		*dst = owned.Mask(n)
	}}
}

// levelField takes a log level.
func levelField(name string, dst *slog.Level) field {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	var word string
	choice := choiceField(name, &word, "debug", "info", "warn", "error")
	return field{name: name, set: func(v value) {
		if choice.set(v); word != "" {
			*dst = levels[word]
		}
	}}
}
