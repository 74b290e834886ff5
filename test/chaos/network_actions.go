package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// changeWAN takes the WAN down and brings it back with other addresses. Every
// third time the daemon is killed meanwhile.
func changeWAN(ctx context.Context, r *run, e Event) (string, error) {
	// Translated connections end with the address that they were translated to.
	over4 := r.ledger.excuse(openings|cuts, 4)
	over6 := r.ledger.excuse(openings, 6)
	if _, err := r.router(ctx, "ip link set wan down; ip address flush dev wan"); err != nil {
		return "", err
	}
	words := ""
	if e.Variant%3 == 2 {
		words = ", kill -9 meanwhile"
		if err := r.daemon.kill(); err != nil {
			return "", err
		}
	}
	if err := r.wait(ctx, e.Hold); err != nil {
		return "", err
	}
	r.addresses++
	four, six := fmt.Sprintf("22.100.0.%d", 100+r.addresses%100), fmt.Sprintf("2d00:100::%x", 0x100+r.addresses)
	if _, err := r.lab.Run(ctx, lab.ISP, "ip", "-6", "route", "replace", "2d00:1:1::/64", "via", six); err != nil {
		return "", err
	}
	_, err := r.router(ctx, fmt.Sprintf(`ip link set wan up
ip address add %s/24 dev wan
ip address add %s/64 dev wan nodad
ip route replace default via 22.100.0.1
ip -6 route replace default via 2d00:100::1
`, four, six))
	over4()
	over6()
	return fmt.Sprintf("WAN down for %.1f s, back as %s%s", e.Hold.Seconds(), four, words), err
}

// restartDNSMasq ends dnsmasq and starts another.
func restartDNSMasq(ctx context.Context, r *run, _ Event) (string, error) {
	over := r.ledger.excuse(openings, 4, 6)
	defer over()
	if _, err := r.router(ctx, "kill $(cat /run/dnsmasq.pid); rm -f /run/dnsmasq.pid"); err != nil {
		return "", err
	}
	err := r.until(ctx, readyTime, "dnsmasq runs again", func(ctx context.Context) bool {
		cmd := exec.Command("dnsmasq", "--conf-file=/etc/dnsmasq.conf")
		if r.lab.Start(lab.Router, cmd) != nil {
			return false
		}
		return cmd.Wait() == nil // it goes to the background once it listens
	})
	return "restart of dnsmasq", err
}

// loadFirewall is what fw4 does to its table, in one transaction.
const loadFirewall = "nft -f /run/lab/nft.rules"

// flushFirewall deletes all of nftables, as an administrator does by mistake, and
// loads the firewall a moment later.
func flushFirewall(ctx context.Context, r *run, e Event) (string, error) {
	// IPv4 is translated by nobody meanwhile, and its connections with it. Now and then the
	// kernel itself ends one over IPv6 as the rules go: without routerd it did so to 2 of 40,
	// and then to none, in 145 and 132 flushes.
	over4 := r.ledger.excuse(openings|cuts, 4)
	defer over4()
	over6 := r.ledger.excuse(cuts, 6)
	defer over6()
	if _, err := r.router(ctx, "nft flush ruleset"); err != nil {
		return "", err
	}
	long := e.Hold / 4
	if err := r.wait(ctx, long); err != nil {
		return "", err
	}
	_, err := r.router(ctx, loadFirewall)
	return fmt.Sprintf("nft flush ruleset, firewall loaded %.1f s later", long.Seconds()), err
}

// reloadFirewall reloads the firewall, up to three times in a row.
func reloadFirewall(ctx context.Context, r *run, e Event) (string, error) {
	times := 1 + e.Variant%3
	for range times {
		if _, err := r.router(ctx, loadFirewall); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("firewall reloaded, %d times", times), nil
}

// deleteRoutes deletes what routerd has in policy routing: rules, routes or both.
func deleteRoutes(ctx context.Context, r *run, e Event) (string, error) {
	const (
		rules  = "for f in -4 -6; do while ip $f rule del priority 700 2>/dev/null; do :; done; done\n"
		routes = "for f in -4 -6; do for t in $(seq 29184 29199); do ip $f route flush table $t 2>/dev/null || true; done; done\n"
	)
	x := []struct{ words, script string }{
		{"policy rules", rules},
		{"routes", routes},
		{"policy rules and routes", rules + routes},
	}[e.Variant%3]
	_, err := r.router(ctx, x.script)
	return x.words + " deleted", err
}

// remakeLAN deletes br-lan and makes it again, as netifd does for changed
// settings; every other time the daemon is killed just before.
func remakeLAN(ctx context.Context, r *run, e Event) (string, error) {
	over := r.ledger.excuse(openings, 4, 6)
	defer over()
	words := "br-lan made again"
	if e.Variant%2 == 1 {
		words += ", kill -9 just before"
		if err := r.daemon.kill(); err != nil {
			return "", err
		}
	}
	_, err := r.router(ctx, `ip link delete br-lan
ip link add br-lan type bridge
ip link set lan1 master br-lan
ip link set lan2 master br-lan
ip address add 192.168.1.1/24 dev br-lan
ip address add 2d00:1:1::1/64 dev br-lan nodad
ip link set br-lan up
`)
	return words, err
}

// interferences are what the provider does to listed names, which go through a
// tunnel and must not feel it.
func interferences() []lab.Interference {
	names := []string{"binance.com", "bybit.com", "kraken.com", "braiins.com", "f2pool.com"}
	return []lab.Interference{
		{Kind: interfere.DNSForge, Names: names},
		{Kind: interfere.TLSReset, Names: names},
		{Kind: interfere.Drop, Names: names},
		{Kind: interfere.DNSDrop, Names: names},
		{Kind: interfere.TCPReset, Names: names},
		{Kind: interfere.QUICDrop, Names: names},
	}
}

// interfereListed has the provider interfere, one thing after another.
func interfereListed(ctx context.Context, r *run, e Event) (words string, err error) {
	x := interferences()[e.Variant%len(interferences())]
	undo, err := r.lab.Interfere(ctx, x)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, undo()) }()
	if err := r.settle(ctx, fmt.Sprintf("%-18s provider begins %s", e, x.Kind), r.o.Converge); err != nil {
		return "", err
	}
	return fmt.Sprintf("provider ends %s", x.Kind), r.wait(ctx, e.Hold)
}
