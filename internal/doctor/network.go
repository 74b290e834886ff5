package doctor

import (
	"os/exec"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/control"
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

func judgeOffload(f networkFacts) []control.Finding {
	for _, t := range f.tables {
		if len(t.flowtables) > 0 {
			return []control.Finding{fine(topicOffload, "flow offload is on (flowtable "+t.flowtables[0]+" of table "+t.name+"), which is fine: a connection keeps its path for its life")}
		}
	}
	return []control.Finding{fine(topicOffload, "flow offload is off")}
}
