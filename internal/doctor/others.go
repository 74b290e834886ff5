package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
)

// tool is another program that steers traffic, and what gives it away.
type tool struct {
	name      string
	chain     string // prefix of its nftables chains' or tables' names
	processes []string
	table     int // routing table that its rules look up
	// proxy says that it takes connections over before or instead of routing.
	proxy bool
}

// tools are those in use on OpenWrt.
func tools() []tool {
	return []tool{
		{name: "pbr", chain: "pbr_"},
		{name: "mwan3", chain: "mwan3_", processes: []string{"mwan3track", "mwan3rtmon"}},
		{name: "tailscale", chain: "ts-", processes: []string{"tailscaled"}, table: 52},
		{name: "podkop", chain: "podkop", processes: []string{"podkop"}, proxy: true},
		{name: "passwall", chain: "PSW", proxy: true},
		{name: "OpenClash", chain: "openclash", processes: []string{"clash", "mihomo"}, proxy: true},
		{name: "sing-box", chain: "sing-box", processes: []string{"sing-box"}, proxy: true},
		{name: "Xray or V2Ray", chain: "v2ray", processes: []string{"xray", "v2ray"}, proxy: true},
		{name: "dae", processes: []string{"dae"}, proxy: true},
		{name: "zapret", chain: "zapret", processes: []string{"nfqws", "tpws"}},
	}
}

// judgeOthers names the other tools that steer and every mark bit that two want.
func judgeOthers(f networkFacts, processes []process, mask owned.Mask) []control.Finding {
	var out []control.Finding
	for _, t := range tools() {
		sign := t.found(f, processes)
		switch {
		case sign == "":
		case t.proxy:
			out = append(out, warn(topicBypass, fmt.Sprintf("%s (%s) takes connections over too: what both list goes where it decides", t.name, sign), "take what routerd steers out of its lists, or stop it"))
		default:
			out = append(out, note(topicBypass, fmt.Sprintf("%s (%s) steers too; routerd's rules come before its own", t.name, sign), "nothing, unless both list the same services"))
		}
	}
	out = append(out, judgeRules(f, mask)...)
	if len(out) == 0 {
		out = append(out, fine(topicBypass, "no other steering tool was found"))
	}
	return out
}

// found gives the sign by which a tool was recognised, or "".
func (t tool) found(f networkFacts, processes []process) string {
	for _, p := range processes {
		if slices.Contains(t.processes, p.name) {
			return "process " + p.name
		}
	}
	for _, table := range f.tables {
		for _, name := range append([]string{table.name}, table.chains...) {
			if t.chain != "" && strings.HasPrefix(name, t.chain) {
				return "nftables " + name
			}
		}
	}
	for _, r := range f.rules {
		if t.table != 0 && r.Table == t.table {
			return fmt.Sprintf("ip rule %d", r.Priority)
		}
	}
	return ""
}

// judgeRules finds ip rules of others that look at routerd's mark bits or stand
// before its rules.
func judgeRules(f networkFacts, mask owned.Mask) []control.Finding {
	if f.rulesErr != nil {
		return []control.Finding{fault(topicBypass, fmt.Sprintf("ip rules cannot be read: %v", f.rulesErr), "use a firmware whose kernel has CONFIG_IP_MULTIPLE_TABLES")}
	}
	var out []control.Finding
	seen := map[string]bool{}
	for _, r := range f.rules {
		if int(r.Protocol) == owned.RouteProtocol {
			continue
		}
		finding, ok := judgeRule(r, mask)
		if ok && !seen[finding.Text] { // one for both families
			seen[finding.Text] = true
			out = append(out, finding)
		}
	}
	return out
}

func judgeRule(r netlink.Rule, mask owned.Mask) (control.Finding, bool) {
	bits := ruleMask(r)
	switch {
	case bits&uint32(mask) != 0 && bits != ^uint32(0):
		return fault(topicBypass, fmt.Sprintf("ip rule %d looks at mark bits %#x, which overlap option mark_mask %#x", r.Priority, bits, uint32(mask)),
			"set option mark_mask in section main to three or four other bits in a row, such as 0x00f00000, or change the other tool's"), true
	case r.Priority > 0 && r.Priority < owned.RulePriority && r.Table != unix.RT_TABLE_LOCAL:
		return warn(topicBypass, fmt.Sprintf("ip rule %d comes before routerd's (%d): what it takes is not steered", r.Priority, owned.RulePriority),
			"give that rule a priority above 1000 unless this is meant"), true
	}
	return control.Finding{}, false
}

// ruleMask gives the mark bits that a rule looks at; 0 for a rule without mark.
func ruleMask(r netlink.Rule) uint32 {
	switch {
	case r.Mask != nil:
		return *r.Mask
	case r.Mark != 0:
		return ^uint32(0)
	}
	return 0
}
