package e2e_test

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
)

// kernelScript prints everything that routerd may change on a router, without
// what changes by itself: counters, ages, its own processes.
const kernelScript = `
part() { echo "== $*"; "$@" 2>&1; }
part ip -4 rule
part ip -6 rule
part ip -4 route show table all
part ip -6 route show table all
part nft -s list ruleset
for p in iptables ip6tables; do part $p-save; done
part ip -d link
part ip address
part tc qdisc show
for d in $(ls /sys/class/net); do
	part tc filter show dev $d ingress
	part tc filter show dev $d egress
done
part find /sys/fs/bpf -mindepth 1
part find /run /etc/config /etc/routerd -mindepth 1 -not -path '/run/lab/*.log' -not -name routerd.sock.lock -not -name routerd.lock -not -path /run/wireguard
part grep -rs . /proc/sys/net
part ss -Hxl
part ss -Htuln
part ps -e -o args=
`

// kernel is the router's state, a list of lines a part.
func (w *world) kernel() map[string][]string {
	w.Helper()
	out := map[string][]string{}
	part := ""
	for line := range strings.Lines(w.on(lab.Router, "sh", "-c", kernelScript)) {
		line = strings.TrimRight(line, " \n")
		if title, ok := strings.CutPrefix(line, "== "); ok {
			part = title
			continue
		}
		if line = steady(line); line != "" {
			out[part] = append(out[part], line)
		}
	}
	for _, part := range []string{"iptables-save", "ip6tables-save"} {
		out[part] = withoutEmptyTables(out[part])
	}
	out["nft -s list ruleset"] = sortedTables(out["nft -s list ruleset"])
	// The two above show what iptables over nftables holds.
	if w.lab.Options().Firewall == lab.IPTables {
		out["nft -s list ruleset"] = slices.DeleteFunc(out["nft -s list ruleset"], func(s string) bool {
			return !strings.Contains(strings.ToLower(s), "routerd")
		})
	}
	out["tcx"] = w.tcx()
	return out
}

// sortedTables puts nftables' tables in order: theirs is that of their making.
func sortedTables(lines []string) []string {
	tables := strings.Split(strings.Join(lines, "\n"), "\ntable ")
	tables[0] = strings.TrimPrefix(tables[0], "table ")
	slices.Sort(tables)
	return strings.Split(strings.Join(tables, "\n"), "\n")
}

// withoutEmptyTables drops tables that hold nothing: looking at one makes it,
// with iptables-legacy, and nothing unmakes it.
func withoutEmptyTables(lines []string) []string {
	var out, table []string
	empty := true
	for _, line := range lines {
		table = append(table, line)
		switch {
		case strings.HasPrefix(line, "*"), strings.HasPrefix(line, ":") && strings.HasSuffix(line, " ACCEPT"):
		case line != "COMMIT":
			empty = false
		default:
			if !empty {
				out = append(out, table...)
			}
			table, empty = nil, true
		}
	}
	return out
}

// tcx tells how many programs hang on each device by tcx.
func (w *world) tcx() []string {
	w.Helper()
	var out []string
	inRouter(w.T, w.lab, func() error {
		devices, err := net.Interfaces()
		for _, d := range devices {
			for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				if found, err := link.QueryPrograms(link.QueryOptions{Target: d.Index, Attach: at}); err == nil && len(found.Programs) > 0 {
					out = append(out, fmt.Sprintf("%s %s %d", d.Name, at, len(found.Programs)))
				}
			}
		}
		return err
	})
	return out
}

var (
	volatile = regexp.MustCompile(`nf_conntrack_count|<defunct>|^# (Generated|Completed)|^(sh -c|ps -e)|/etc/config/routerd`)
	figures  = regexp.MustCompile(`\[\d+:\d+\]|expires \d+sec|_lft \w+|_timer +[\d.]+`)
	spaces   = regexp.MustCompile(`  +`)
)

// steady is a line without what changes by itself; "" is none.
func steady(line string) string {
	if volatile.MatchString(line) {
		return ""
	}
	line = figures.ReplaceAllString(line, "")
	return strings.TrimSpace(spaces.ReplaceAllString(line, " "))
}

// sameKernel fails the test where two states differ.
func (w *world) sameKernel(when string, before, after map[string][]string) {
	w.Helper()
	parts := maps.Clone(before)
	maps.Copy(parts, after)
	for part := range parts {
		if diff := cmp.Diff(before[part], after[part]); diff != "" {
			w.Errorf("the router is not as it was, %s: %s (-before +after):\n%s", when, part, diff)
		}
	}
}
