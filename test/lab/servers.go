package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/test/lab/authority"
	"github.com/routerd/routerd/test/lab/interfere"
)

// EchoPort is where net answers UDP with what it gets, on every address.
const EchoPort = 7

// raiseServers starts everything that serves.
func (l *Lab) raiseServers(ctx context.Context) error {
	names, err := Names()
	if err != nil {
		return err
	}
	a, err := authority.New("routerd lab authority")
	if err != nil {
		return err
	}
	for _, host := range Hosts() {
		if err := l.trustAuthority(host, a.PEM()); err != nil {
			return err
		}
	}
	for _, raise := range []func() error{
		func() error { return l.raiseResolver(a, names) },
		func() error { return l.raiseProvider(names) },
		func() error { return l.raiseNet(a, names) },
		func() error { return l.raiseExits() },
		func() error { return l.raiseDNSMasq() },
	} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("raise servers: %w", err)
		}
		if err := raise(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) raiseResolver(a *authority.Authority, names []Name) error {
	certificate, err := a.IssuePEM([]string{ResolverName}, netip.MustParseAddr(Resolver4), netip.MustParseAddr(Resolver6))
	if err != nil {
		return err
	}
	key, err := a.KeyPEM()
	if err != nil {
		return err
	}
	err = l.writeFiles(Resolver, files{
		runDir + "/resolver.crt": certificate, runDir + "/key.pem": key,
		runDir + "/root.zone":    []byte(zoneFile(names)),
		runDir + "/unbound.conf": []byte(unboundConfig(publicListen())),
	})
	if err != nil {
		return err
	}
	return l.startTool(Resolver, "unbound", "-d", "-p", "-c", runDir+"/unbound.conf")
}

func (l *Lab) raiseNet(a *authority.Authority, names []Name) error {
	certificates, err := serverCertificates(a, names)
	if err != nil {
		return err
	}
	certificates[runDir+"/nginx.conf"] = []byte(nginxConfig(names))
	if err := l.writeFiles(Net, certificates); err != nil {
		return err
	}
	if err := l.makeDownloads(); err != nil {
		return err
	}
	if err := l.startTool(Net, "nginx", "-e", "stderr", "-c", runDir+"/nginx.conf"); err != nil {
		return err
	}
	serve := []string{l.state.Program, "serve", "--certificates", certDir, "--echo", net.JoinHostPort("", strconv.Itoa(EchoPort))}
	for _, address := range stratumListeners(names) {
		serve = append(serve, "--stratum", address)
	}
	serve = append(serve, "--statuses", statusDir)
	if err := l.hosts[Net].start("serve", serve...); err != nil {
		return err
	}
	return l.startInterference(Net)
}

// stratumListeners are the ports of every pool; ports that nginx has are taken
// on the pool's own addresses only.
func stratumListeners(names []Name) []string {
	var out []string
	for _, n := range names {
		for _, port := range n.Ports {
			p := strconv.Itoa(int(port))
			if port != 80 && port != 443 {
				out = append(out, net.JoinHostPort("", p))
				continue
			}
			for _, a := range slices.Concat(n.A, n.AAAA) {
				out = append(out, net.JoinHostPort(a.String(), p))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *Lab) raiseDNSMasq() error {
	const file = "/etc/dnsmasq.conf"
	if err := l.WriteFile(Router, file, []byte(l.state.Options.dnsmasqConfig()), 0o644); err != nil {
		return err
	}
	return l.startTool(Router, "dnsmasq", "--keep-in-foreground", "--conf-file="+file)
}

// startTool starts a program of Tools for the life of a host.
func (l *Lab) startTool(host, program string, args ...string) error {
	path, err := lookPath(program)
	if err != nil {
		return err
	}
	return l.hosts[host].start(program, append([]string{path}, args...)...)
}

// raiseFirewalls loads every host's rule sets: the router's firewall, and what
// counts and translates elsewhere.
func (l *Lab) raiseFirewalls(ctx context.Context) error {
	if err := l.raiseFirewall(ctx); err != nil {
		return err
	}
	for _, host := range Hosts() {
		rules, ok := countingRulesOf(host, counterSize)
		if !ok {
			continue
		}
		if err := l.load(ctx, host, "nft", []byte(rules), "-f"); err != nil {
			return err
		}
	}
	return nil
}

// checkTimeout bounds the wait for everything to answer.
const checkTimeout = 15 * time.Second

// check tries the lab from a client until it answers over both families, and
// waits for the exits' devices. It leaves the counters at nothing.
func (l *Lab) check(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, checkTimeout)
	defer stop()
	for _, args := range [][]string{
		{"fetch", "--family", "4", "https://" + SharedUnlisted + "/"},
		{"fetch", "--family", "6", "https://" + SharedUnlisted + "/"},
		{"udp-echo", net.JoinHostPort(SharedUnlisted, strconv.Itoa(EchoPort))},
		{"udp-echo", net.JoinHostPort(SharedUnlisted, strconv.Itoa(EchoPort)), "--dns", net.JoinHostPort(ISPResolver6, "53")},
	} {
		err := l.until(ctx, func() error {
			out, err := l.Run(ctx, Client, l.state.Program, append([]string{"client"}, args...)...)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, host := range []string{Exit, Exit2} {
		if err := l.until(ctx, func() error { return l.tunnelDeviceUp(host) }); err != nil {
			return err
		}
	}
	for _, host := range []string{ISP, Net} {
		if err := l.until(ctx, func() error {
			_, err := l.askInterference(ctx, host, interfere.Request{List: true})
			return err
		}); err != nil {
			return err
		}
	}
	return l.ResetCounts()
}

// tunnelDeviceUp is nil once an exit's WireGuard device is ready.
func (l *Lab) tunnelDeviceUp(host string) error {
	pid, err := l.pid(host)
	if err != nil {
		return err
	}
	return inNetwork(pid, func() error {
		device, err := netlink.LinkByName(TunnelDevice)
		if err != nil {
			return fmt.Errorf("find %s of %s: %w", TunnelDevice, host, err)
		}
		if device.Attrs().Flags&net.FlagUp == 0 {
			return fmt.Errorf("find %s of %s: it is down", TunnelDevice, host)
		}
		return nil
	})
}

// until tries again until there is no error; at the end of ctx it tells the
// last one, with what the hosts' programs wrote.
func (l *Lab) until(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("check lab: %w%s", err, l.logs())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// logs are the ends of what the hosts' programs wrote, for a lab that does not
// come up.
func (l *Lab) logs() string {
	const end = 2000
	var out string
	for _, f := range []struct{ host, name string }{
		{Router, "dnsmasq"},
		{Router, "holder"},
		{Resolver, "unbound"},
		{Resolver, "holder"},
		{ISP, "unbound"},
		{ISP, "interfere"},
		{ISP, "holder"},
		{Net, "interfere"},
		{Net, "nginx"},
		{Net, "serve"},
		{Net, "holder"},
		{Exit, "wireguard"},
		{Exit2, "wireguard"},
	} {
		raw, err := l.ReadFile(f.host, runDir+"/"+f.name+".log")
		if err != nil || len(raw) == 0 {
			continue
		}
		out += fmt.Sprintf("\n--- %s on %s ---\n%s", f.name, f.host, raw[max(0, len(raw)-end):])
	}
	return out
}
