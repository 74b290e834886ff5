package e2e_test

import (
	"strings"
	"testing"

	"github.com/routerd/routerd/test/lab"
)

// neighbours are what SQM, pbr and mwan3 put on a router: a clsact qdisc with a
// filter that counts, rules by marks of their own with tables of their own, and
// chains that set those marks.
const neighbours = `
set -e
tc qdisc add dev br-lan clsact
ip rule add priority 1001 fwmark 0x100/0x3f00 lookup 1
ip rule add priority 29998 fwmark 0x20000/0xff0000 lookup 256
ip -6 rule add priority 29998 fwmark 0x20000/0xff0000 lookup 256
ip route add default via 22.100.0.1 dev wan table 1
ip route add default via 22.100.0.1 dev wan table 256
ip -6 route add default via 2d00:100::1 dev wan table 256
nft add table inet pbr
nft 'add chain inet pbr pbr_prerouting { type filter hook prerouting priority mangle; }'
nft add rule inet pbr pbr_prerouting ip saddr 192.168.1.20 udp dport 7 meta mark set mark and 0xff00ffff xor 0x20000 counter
nft add rule inet pbr pbr_prerouting ip6 saddr 2d00:1:1::20 meta mark set mark and 0xff00ffff xor 0x20000 counter
`

const noNeighbours = `
tc qdisc del dev br-lan clsact
ip rule del priority 1001; ip rule del priority 29998; ip -6 rule del priority 29998
ip route flush table 1; ip route flush table 256; ip -6 route flush table 256
nft delete table inet pbr
ip link set br-lan txqueuelen 0
true
`

func TestNeighboursStayIntactAndWork(t *testing.T) {
	for _, hook := range []string{"tcx", "clsact"} {
		t.Run(hook, func(t *testing.T) {
			l := sharedLab(t)
			if hook == "clsact" {
				occupyTCX(t, l)
			}
			setUp := &world{T: t, lab: l}
			setUp.onRouter("sh", "-c", neighbours)
			t.Cleanup(func() { setUp.onRouter("sh", "-c", noNeighbours) })
			seen := countingFilters(t, l)
			w := newWorld(t, l) // compares filters, rules and chains afterwards
			w.configure(usualSettings)
			w.start()
			w.ready()
			if s := w.status(); s.DataPlane.Hook != hook || len(s.Problems) > 0 {
				t.Errorf("hook %s, problems %q", s.DataPlane.Hook, s.Problems)
			}
			const name = "n01940.fresh.binance.com"
			w.goes(lab.Client, overHome, name)
			w.goes(lab.Client2, overHome, name) // its other mark bits are the neighbour's
			w.goes(lab.Client2, directly, "news.example")
			w.on(lab.Client2, w.lab.Program(), "client", "udp-echo", "news.example:7")
			w.noLeak(name)
			if n := seen(); n[0] < 20 || n[1] < 20 {
				t.Errorf("the neighbour's filters saw %d packets", n)
			}
			if out := w.onRouter("nft", "list", "table", "inet", "pbr"); strings.Contains(out, "packets 0 ") {
				t.Errorf("the neighbour's rules see nothing:\n%s", out)
			}
		})
	}
}

func TestCollisionWithAnothersMarksIsNamed(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	w.onRouter("ip", "rule", "add", "priority", "1002", "fwmark", "0x3000000/0xff000000", "lookup", "1")
	t.Cleanup(func() { w.onRouter("sh", "-c", "ip rule del priority 1002; true") })
	w.configure(usualSettings)
	w.start()
	w.ready()
	within(t, usual, "a problem names the rule", func() bool {
		p := strings.Join(w.status().Problems, "\n")
		return strings.Contains(p, "1002") && strings.Contains(p, "mark_mask")
	})
	w.onRouter("ip", "rule", "del", "priority", "1002")
	within(t, usual, "the problem is over", func() bool { return len(w.status().Problems) == 0 })
}
