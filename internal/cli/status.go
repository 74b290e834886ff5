package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

func (a *app) statusCommand() *command.Command {
	cmd := &command.Command{
		Use:   "status",
		Short: "Show tunnels, destinations and the data plane at a glance",
		Example: `  routerd status
  routerd status --json`,
		Args: command.None,
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		s, err := a.client().Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(s)
		}
		return a.printStatus(s)
	}
	return cmd
}

func (a *app) printStatus(s control.Status) error {
	width, _ := a.term.size()
	out := []string{fmt.Sprintf("routerd %s, running for %s", clean(s.Version), ageText(s.UptimeS))}
	out = append(out, fieldLines("Data plane", dataPlaneText(s.DataPlane), width)...)
	out = append(out, fieldLines("DNS", dnsText(s.DNS), width)...)
	for _, u := range s.DNS.Upstreams {
		if u.State != "ok" {
			out = append(out, fieldLines("", fmt.Sprintf("resolver %s by %s: %s", u.URL, u.Path, u.Reason), width)...)
		}
	}
	if n := len(s.DNS.Bypass); n > 0 {
		out = append(out, fieldLines("Bypass", bypassText(s.DNS.Bypass), width)...)
	}
	out = append(out, "")
	out = append(out, a.tunnelLines(s.Tunnels, width)...)
	out = append(out, "")
	out = append(out, a.destinationLines(s.Destinations, width)...)
	if len(s.Problems) > 0 {
		out = append(out, "", a.term.paint("Problems", bad))
	}
	for _, p := range s.Problems {
		lines := wrap(clean(p), "    ", width)
		if len(lines) > 0 {
			lines[0] = "  - " + strings.TrimPrefix(lines[0], "    ")
		}
		out = append(out, lines...)
	}
	return a.print(out...)
}

// fieldWidth is where the values of named fields begin.
const fieldWidth = 13

// fieldLines writes "name   value", the value wrapped below itself.
func fieldLines(name, value string, width int) []string {
	lines := wrap(clean(value), strings.Repeat(" ", fieldWidth), width)
	if len(lines) == 0 {
		lines = []string{strings.Repeat(" ", fieldWidth) + "-"}
	}
	lines[0] = fmt.Sprintf("%-*s", fieldWidth, name) + lines[0][fieldWidth:]
	return lines
}

func dataPlaneText(d control.DataPlaneStatus) string {
	if d.Hook == "" {
		return "not attached"
	}
	devices := "no device"
	if len(d.Devices) > 0 {
		devices = strings.Join(d.Devices, ", ")
	}
	return fmt.Sprintf("%s on %s; %d of %d addresses, %s, %s; pinned", d.Hook, devices, d.Addresses,
		d.MaxAddresses, count(d.Names, "name", "names"), count(d.Flows, "flow", "flows"))
}

func dnsText(d control.DNSStatus) string {
	out := fmt.Sprintf("%s; %d answers seen, %d addresses learned", orDash(d.Mode), d.Queries, d.Learned)
	if d.Mode != "secure" {
		return out
	}
	out += fmt.Sprintf("; %d lookups turned to routerd's resolver, %d answers from its cache", d.Turned, d.Cached)
	if d.Stale > 0 {
		out += fmt.Sprintf(" (%d beyond their time)", d.Stale)
	}
	if d.Pending > 0 {
		out += fmt.Sprintf("; %d of %s not looked up yet", d.Pending, count(d.Hosts, "known host", "known hosts"))
	}
	return out
}

// bypassText names the clients that ask resolvers past the router's, a few of
// them.
func bypassText(list []control.Bypass) string {
	const most = 3
	var parts []string
	for _, b := range list[:min(len(list), most)] {
		to := b.Resolver
		if to == "" {
			to = b.Address
		}
		did := "uses DNS over HTTPS of"
		if b.Refused {
			did = "was refused DNS over TLS with"
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", b.Client, did, to))
	}
	if more := len(list) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, "; ") + " (routerd doctor)"
}

func (a *app) tunnelLines(tunnels []control.TunnelStatus, width int) []string {
	if len(tunnels) == 0 {
		return wrap("No tunnel is set up: add one with `routerd tunnel import NAME FILE`.", "", width)
	}
	t := &table{columns: []column{
		{title: "TUNNEL"},
		{title: "DEVICE", least: 6},
		{title: "BACKEND", least: 7},
		{title: "STATE"},
		{title: "HANDSHAKE", right: true, least: 9},
		{title: "RTT", right: true},
		{title: "RECEIVED", right: true},
		{title: "SENT", right: true},
	}}
	for _, u := range tunnels {
		t.add(u.Reason, text(u.Name), text(u.Device), text(u.Backend), state(u.State),
			text(agoText(u.LastHandshakeS)), text(rttText(u.RTTMs)), text(bytesText(u.RxBytes)), text(bytesText(u.TxBytes)))
	}
	return t.lines(a.term, width)
}

func (a *app) destinationLines(destinations []control.DestinationStatus, width int) []string {
	if len(destinations) == 0 {
		return wrap("No destination is set up: all traffic is direct.", "", width)
	}
	t := &table{columns: []column{
		{title: "DESTINATION", least: 8},
		{title: "POLICY"},
		{title: "PATH", least: 6},
		{title: "STATE"},
		{title: "VERDICT", least: 10},
		{title: "ADDRS", right: true},
		{title: "FLOWS", right: true},
		{title: "RECV", right: true},
		{title: "SENT", right: true},
	}}
	for _, d := range destinations {
		t.add(destinationNote(d), text(d.Name), text(d.Policy), text(d.Path), state(d.State), state(orDash(d.Verdict)),
			text(strconv.Itoa(d.Addresses)), text(strconv.Itoa(d.Flows)), text(bytesText(d.RxBytes)), text(bytesText(d.TxBytes)))
	}
	return t.lines(a.term, width)
}

// destinationNote says why a destination has its path, and its verdict where that
// is not simply that it works.
func destinationNote(d control.DestinationStatus) string {
	switch {
	case d.VerdictReason == "" || d.Verdict == "reachable" || d.Verdict == "unknown":
		return d.Reason
	case d.Reason == "":
		return d.Verdict + ": " + d.VerdictReason
	}
	return d.Reason + "; " + d.Verdict + ": " + d.VerdictReason
}
