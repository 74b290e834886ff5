package doctor

import (
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
)

// networkFacts are what the network's settings are.
type networkFacts struct {
	forward4, forward6 string // the sysctls; "" where they do not exist
	nft                error
	tables             []nftTable
	iptables           bool
	rules              []netlink.Rule
	rulesErr           error
}

// nftTable is one table with the names that tell whose it is.
type nftTable struct {
	name       string
	chains     []string
	flowtables []string
}

func gatherNetwork(root string) networkFacts {
	f := networkFacts{
		forward4: readWord(root, "proc/sys/net/ipv4/ip_forward"),
		forward6: readWord(root, "proc/sys/net/ipv6/conf/all/forwarding"),
	}
	_, err := exec.LookPath("iptables")
	f.iptables = err == nil
	f.tables, f.nft = gatherTables()
	f.rules, f.rulesErr = netlink.RuleList(netlink.FAMILY_ALL)
	return f
}

func judgeFirewall(f networkFacts) []control.Finding {
	var out []control.Finding
	switch {
	case f.nft == nil:
		out = append(out, fine(topicFirewall, "nftables answers"))
	case f.iptables:
		out = append(out, fine(topicFirewall, "no nftables here; iptables is used"))
	default:
		out = append(out, fault(topicFirewall, "neither nftables nor iptables: "+f.nft.Error(), "install `kmod-nft-core` and `kmod-nft-nat`, or `iptables`"))
	}
	if f.forward4 != "1" {
		out = append(out, fault(topicFirewall, "IPv4 is not forwarded: clients reach nothing", "`sysctl -w net.ipv4.ip_forward=1`; OpenWrt's firewall sets it: `/etc/init.d/firewall restart`"))
	}
	if f.forward6 == "0" {
		out = append(out, note(topicFirewall, "IPv6 is not forwarded: clients use IPv4 only", "`sysctl -w net.ipv6.conf.all.forwarding=1` if the line has IPv6"))
	}
	return out
}

// judgeOffload looks at flowtables; slow is why the daemon has none, "" where it
// has one or cannot be asked.
func judgeOffload(f networkFacts, slow string) []control.Finding {
	ours := false
	for _, t := range f.tables {
		switch {
		case len(t.flowtables) == 0:
		case t.name == owned.NFTable:
			ours = true
		default:
			return []control.Finding{fine(topicOffload, "flow offload is on (flowtable "+t.flowtables[0]+" of table "+t.name+"), which is fine: a connection keeps its path for its life; routerd adds none of its own")}
		}
	}
	switch {
	case ours:
		return []control.Finding{fine(topicOffload, "routerd lets established connections pass routing and rules by (option flow_offload)")}
	case strings.Contains(slow, "kmod-nft-offload"):
		return []control.Finding{note(topicOffload, "every packet passes routing and rules, which costs some throughput: "+slow, "install `kmod-nft-offload`")}
	case slow != "":
		return []control.Finding{note(topicOffload, "every packet passes routing and rules, which costs some throughput: "+slow, "nothing, unless throughput is short: docs/troubleshooting.md, \"Throughput\"")}
	}
	return []control.Finding{fine(topicOffload, "flow offload is off")}
}
