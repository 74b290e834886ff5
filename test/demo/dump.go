package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/routerd/routerd/test/lab"
)

// part is one kind of state that routerd may change, and what prints it.
type part struct{ name, command string }

// parts are what `routerd cleanup` must leave as it was.
func parts() []part {
	const devices = `for d in $(ls /sys/class/net); do `
	return []part{
		{"rules", "ip rule; ip -6 rule"},
		{"routes", "ip route show table all; ip -6 route show table all"},
		{"nftables", "nft -s list ruleset"},
		{"links", "ip -o link; ip -o address"},
		{"qdiscs", "tc qdisc show; " + devices + `tc filter show dev "$d" ingress; tc filter show dev "$d" egress; done`},
		{"bpf", "bpftool net; find /sys/fs/bpf"},
		{"sysctls", `sysctl -e -a -r '^net\.(ipv4|ipv6)\.conf' 2>/dev/null`},
		{"processes", `for p in /proc/[0-9]*/exe; do readlink "$p"; done | grep -x "$1"; ls -d /var/run/routerd /var/run/routerd.sock 2>/dev/null; true`},
	}
}

// dump is the router's state by part: lines in order of the text, since the
// kernel lists some things in the order of their making.
type dump map[string][]string

func (r *router) dump(ctx context.Context) (dump, error) {
	out := dump{}
	for _, p := range parts() {
		text, err := r.lab.Run(ctx, lab.Router, "sh", "-c", p.command, "sh", r.program)
		if err != nil {
			return nil, fmt.Errorf("dump %s: %w", p.name, err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if lines[0] == "" {
			lines = nil
		}
		if p.name != "nftables" { // whose order has a meaning
			slices.Sort(lines)
		}
		out[p.name] = lines
	}
	return out, nil
}

// compare says for each part whether it is as before.
func compare(before, after dump) []Check {
	var out []Check
	for _, p := range parts() {
		c := Check{What: "cleanup, " + p.name, OK: true, Detail: fmt.Sprintf("as before (%d lines)", len(before[p.name]))}
		gone, added := missing(before[p.name], after[p.name]), missing(after[p.name], before[p.name])
		switch {
		case len(gone)+len(added) > 0:
			c.OK, c.Detail = false, differences(gone, added)
		case !slices.Equal(before[p.name], after[p.name]):
			c.OK, c.Detail = false, "the order has changed"
		}
		out = append(out, c)
	}
	return out
}

// missing lists the lines of a that b has less often.
func missing(a, b []string) []string {
	left := map[string]int{}
	for _, line := range b {
		left[line]++
	}
	var out []string
	for _, line := range a {
		if left[line]--; left[line] < 0 {
			out = append(out, line)
		}
	}
	return out
}

// differences names a few of the lines that differ.
func differences(gone, added []string) string {
	const few = 3
	var out []string
	for _, x := range []struct {
		what  string
		lines []string
	}{{"gone", gone}, {"left behind", added}} {
		if n := len(x.lines); n > 0 {
			out = append(out, fmt.Sprintf("%d lines %s, such as: %s", n, x.what, strings.Join(x.lines[:min(few, n)], " | ")))
		}
	}
	return strings.Join(out, "; ")
}
