package lab

import (
	"context"
	_ "embed" // the rule sets
	"fmt"
	"os"
	"strings"
)

//go:embed firewall/fw4.nft
var fw4Rules string

//go:embed firewall/fw3.rules
var fw3Rules string

// family is what differs between fw3's rules of IPv4 and IPv6.
type family struct {
	program string // iptables or ip6tables
	fill    *strings.Replacer
	nat     bool
}

func families() []family {
	return []family{
		{"iptables", strings.NewReplacer(
			"REJECT_TYPE", "icmp-port-unreachable",
			"ICMP_RULES", `-A zone_wan_input -p icmp -m icmp --icmp-type 8 -m comment --comment "!fw3: Allow-Ping" -j ACCEPT`,
		), true},
		{"ip6tables", strings.NewReplacer(
			"REJECT_TYPE", "icmp6-port-unreachable",
			"ICMP_RULES", `-A zone_wan_input -p ipv6-icmp -m limit --limit 1000/sec -m comment --comment "!fw3: Allow-ICMPv6-Input" -j ACCEPT
-A zone_wan_forward -p ipv6-icmp -m limit --limit 1000/sec -m comment --comment "!fw3: Allow-ICMPv6-Forward" -j ACCEPT`,
		), false},
	}
}

// fw3Ruleset is the input of iptables-restore for one family; fw3 has no nat
// table over IPv6.
func fw3Ruleset(f family) string {
	rules := fw3Rules
	if !f.nat {
		begin, end := strings.Index(rules, "*nat\n"), strings.Index(rules, "*mangle\n")
		rules = rules[:begin] + rules[end:]
	}
	return f.fill.Replace(rules)
}

// raiseFirewall loads the router's rule set.
func (l *Lab) raiseFirewall(ctx context.Context) error {
	if l.state.Options.Firewall == NFT {
		return l.load(ctx, Router, "nft", []byte(fw4Rules), "-f")
	}
	variant := "nft"
	if l.state.Options.Firewall == IPTablesLegacy {
		variant = "legacy"
	}
	for _, f := range families() {
		if err := l.chooseIPTables(f.program, variant); err != nil {
			return err
		}
		if err := l.load(ctx, Router, f.program+"-restore", []byte(fw3Ruleset(f))); err != nil {
			return err
		}
	}
	return nil
}

// load writes a rule set into a host and runs the program that reads it.
func (l *Lab) load(ctx context.Context, host, program string, rules []byte, options ...string) error {
	path := runDir + "/" + program + ".rules"
	if err := l.WriteFile(host, path, rules, 0o600); err != nil {
		return err
	}
	file, err := lookPath(program)
	if err != nil {
		return err
	}
	_, err = l.Run(ctx, host, file, append(options, path)...)
	return err
}

// chooseIPTables makes the router's iptables commands those of one backend, as
// Debian's alternatives do, in the router's private /etc.
func (l *Lab) chooseIPTables(program, variant string) error {
	pid, err := l.pid(Router)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		for _, suffix := range []string{"", "-save", "-restore"} {
			link := "/etc/alternatives/" + program + suffix
			target := "/usr/sbin/" + program + "-" + variant + suffix
			if _, err := os.Stat(target); err != nil {
				return fmt.Errorf("choose iptables backend: %w", err)
			}
			if err := os.Remove(link); err != nil {
				return fmt.Errorf("choose iptables backend: %w", err)
			}
			if err := os.Symlink(target, link); err != nil {
				return fmt.Errorf("choose iptables backend: %w", err)
			}
		}
		return nil
	})
}
