package e2e_test

import (
	"regexp"
	"strings"

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
part bpftool net
part find /sys/fs/bpf -mindepth 1
part find /run /etc/config /etc/routerd -mindepth 1 -not -path '/run/lab/*.log' -not -name routerd.sock.lock -not -path /run/wireguard
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
	return out
}

var (
	volatile = regexp.MustCompile(`nf_conntrack_count|nf_conntrack_buckets|^# (Generated|Completed)|^(sh -c|ps -e)|` +
		`/fib_sync_mem|settings.*routerd$|^\[?sh\]?$|/etc/config/routerd|bpf_jit_limit`)
	figures = regexp.MustCompile(`\[\d+:\d+\]|expires \d+sec|_lft \w+|_timer +[\d.]+`)
	spaces = regexp.MustCompile(`  +`)
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
	if diff := cmp.Diff(before, after); diff != "" {
		w.Errorf("the router is not as it was, %s (-before +after):\n%s", when, diff)
	}
}
