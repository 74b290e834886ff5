package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
)

// The download during which the daemon is killed: so many bytes, at a speed at
// which it takes some seconds.
const (
	downloadName  = "www.okx.com"
	downloadBytes = 16 << 20
	downloadSpeed = "5M" // a second
	killedAt      = 2 << 20
)

// Names that are used after the daemon was killed.
const (
	knownName    = "www.binance.com" // looked up while it ran
	unlistedName = "www.news.example"
)

// freshName is a listed name that nobody has looked up before.
func freshName() string { return lab.FreshNames()[0] }

// add notes a check.
func (s *show) add(what string, ok bool, format string, args ...any) {
	s.report.Checks = append(s.report.Checks, Check{What: what, OK: ok, Detail: fmt.Sprintf(format, args...)})
}

// open drives a case that is no row of the table, and says in a few words how
// it went.
func (s *show) open(ctx context.Context, name, path string) (ok bool, words string, err error) {
	c := Case{Client: lab.Client, Method: HTTPS, Name: name, Family: 4, Path: path}
	before, err := s.everything()
	if err != nil {
		return false, "", err
	}
	o, err := s.driver.drive(ctx, c)
	if err != nil {
		return false, "", err
	}
	counted, err := s.witness.since(ctx, o.address, before[o.address])
	if err != nil {
		return false, "", err
	}
	// routerd may be dead: the packets alone tell the path.
	row := judge(c, observed{outcome: o, path: path, isp: counted.isp, exit: counted.exit}, s.source(c))
	if row.OK {
		return true, name + " " + way(path), nil
	}
	return false, name + " WRONG (" + strings.Join(row.Wrong, ", ") + ")", nil
}

// way is a path in words.
func way(path string) string {
	if path == pathDirect {
		return "by the WAN"
	}
	return "through the tunnel"
}

// lost is the exit's rule that drops what the router's tunnel sends.
func lost() string {
	return fmt.Sprintf("table inet demo { chain lost { type filter hook prerouting priority -400; udp dport %d drop; }; }",
		lab.WireGuardPort)
}

// showFailClosed has the tunnel's peer fall silent: nothing may leave by the WAN
// instead.
func (s *show) showFailClosed(ctx context.Context) error {
	s.say("the tunnel's peer falls silent: nothing may leave by the WAN instead")
	if _, err := s.lab.Run(ctx, lab.Exit, "nft", lost()); err != nil {
		return err
	}
	c := Case{Client: lab.Client, Method: HTTPS, Name: knownName, Family: 4}
	before, err := s.everything()
	if err != nil {
		return err
	}
	o, err := s.driver.curl(ctx, c, "https://"+c.Name+"/", "--max-time", "2")
	if err != nil {
		return err
	}
	a := s.driver.knownAddress(c)
	counted, err := s.witness.since(ctx, a, before[a])
	if err != nil {
		return err
	}
	s.add("fail closed, tunnel's peer silent", !o.answered && counted.isp == 0,
		"%s has no answer, %d packets by the WAN", c.Name, counted.isp)
	if _, err := s.lab.Run(ctx, lab.Exit, "nft", "delete table inet demo"); err != nil {
		return err
	}
	return s.router.explain("wait for the tunnel to work again", poll(ctx, tunnelTime, func() (bool, error) {
		ok, words, err := s.open(ctx, knownName, pathTunnel)
		if err != nil {
			return false, err
		}
		return ok, fmt.Errorf("still: %s", words)
	}))
}

// transfer is what came of the download.
type transfer struct {
	bytes  string
	failed string // what curl says; "" is nothing
	err    error
}

// whole says whether every byte came.
func (t transfer) whole() bool { return t.failed == "" && t.bytes == strconv.Itoa(downloadBytes) }

func (t transfer) String() string {
	out := fmt.Sprintf("curl got %s of %d bytes", t.bytes, downloadBytes)
	if t.failed != "" {
		out += " and says " + t.failed
	}
	return out
}

// download starts the transfer; the channel gets what came of it.
func (s *show) download(ctx context.Context) <-chan transfer {
	done := make(chan transfer, 1)
	go func() { // ends with the download, at the latest with ctx
		out, failed, err := s.driver.try(ctx, lab.Client, "curl", "-sS4", "--max-time", "60", "--limit-rate", downloadSpeed,
			"--output", "/dev/null", "--write-out", "%{size_download}",
			fmt.Sprintf("https://%s/bytes/%d", downloadName, downloadBytes))
		done <- transfer{string(out), failed, err}
	}()
	return done
}

// showKill kills the daemon during a transfer through the tunnel.
func (s *show) showKill(ctx context.Context) error {
	s.say("kill -9 of routerd during a download of %d MiB through the tunnel", downloadBytes>>20)
	a := s.driver.knownAddress(Case{Name: downloadName, Family: 4})
	before, err := s.witness.to(a)
	if err != nil {
		return err
	}
	done := s.download(ctx)
	at, err := s.waitForBytes(ctx, a)
	if err != nil {
		return err
	}
	if err := s.router.kill(ctx, "KILL"); err != nil {
		return err
	}
	status, err := s.router.exitStatus(ctx, "status")
	if err != nil {
		return err
	}
	t := <-done
	if t.err != nil {
		return t.err
	}
	counted, err := s.witness.since(ctx, a, before)
	if err != nil {
		return err
	}
	s.add("kill -9 during a download", t.whole() && counted.isp == 0 && counted.exit > 0 && status == notRunning,
		"killed after %.1f MiB, %s, %d packets by the WAN", float64(at)/(1<<20), t, counted.isp)
	return nil
}

// waitForBytes waits until the download is well under way and says how far.
func (s *show) waitForBytes(ctx context.Context, from netip.Addr) (uint64, error) {
	var at uint64
	err := poll(ctx, startTime, func() (bool, error) {
		var flows []control.Flow
		if err := s.router.ask(ctx, &flows, "flows"); err != nil {
			return false, err
		}
		f, _ := newestFlow(flows, s.addresses[lab.Client], from)
		at = f.RxBytes
		return at > killedAt, fmt.Errorf("routerd counts %d bytes from %s", at, from)
	})
	return at, s.router.explain("wait for the download", err)
}

// showNoDaemon uses names while there is no daemon: nothing leaks, and nobody
// else notices.
func (s *show) showNoDaemon(ctx context.Context) error {
	s.say("no daemon runs: a name known before, one never looked up, and one that is not listed")
	known := Case{Client: lab.Client, Method: HTTPS, Name: knownName, Family: 4}
	o, err := s.driver.curlTo(ctx, known, s.driver.knownAddress(known))
	if err != nil {
		return err
	}
	fresh := Case{Client: lab.Client, Method: HTTPS, Name: freshName(), Family: 4}
	lookup, err := s.driver.drive(ctx, fresh)
	if err != nil {
		return err
	}
	leaked, err := s.witness.to(s.driver.knownAddress(fresh))
	if err != nil {
		return err
	}
	plain, words, err := s.open(ctx, unlistedName, pathDirect)
	if err != nil {
		return err
	}
	through := o.answered && o.seenAs.String() == lab.ExitSource4
	ok := through && plain && !lookup.answered && lookup.took < refusedWithin && leaked.isp == 0
	s.add("with no daemon", ok, "%s at its address through the tunnel: %t; a new listed name is not found, at once: %t; %s",
		knownName, through, !lookup.answered, words)
	return nil
}

// showNextDaemon starts a new daemon, which takes over what it finds.
func (s *show) showNextDaemon(ctx context.Context) error {
	s.say("a new routerd takes over what it finds in the kernel")
	if err := s.router.start(ctx); err != nil {
		return err
	}
	var status control.Status
	err := poll(ctx, tunnelTime, func() (bool, error) {
		var err error
		if status, err = s.router.status(ctx); err != nil {
			return false, err
		}
		return slices.ContainsFunc(status.Tunnels, func(t control.TunnelStatus) bool { return t.State == "up" }),
			fmt.Errorf("no tunnel is up: %+v", status.Tunnels)
	})
	if err := s.router.explain("wait for the new routerd", err); err != nil {
		return err
	}
	ok, words, err := s.open(ctx, knownName, pathTunnel)
	if err != nil {
		return err
	}
	s.add("the next daemon takes over", ok && status.DataPlane.Addresses > 0, "%d learned addresses, %d flows; %s",
		status.DataPlane.Addresses, status.DataPlane.Flows, words)
	return nil
}

// showCleanup removes routerd from the router and compares. It is not done where
// the daemon is to stay.
func (s *show) showCleanup(ctx context.Context) error {
	if err := s.unforge(); err != nil || s.o.Keep {
		return err
	}
	s.say("routerd ends; routerd cleanup, twice")
	if err := s.router.kill(ctx, "TERM"); err != nil {
		return err
	}
	for range 2 {
		if _, err := s.router.command(ctx, "cleanup"); err != nil {
			return err
		}
	}
	after, err := s.router.dump(ctx)
	if err != nil {
		return err
	}
	s.report.Checks = append(s.report.Checks, compare(s.before, after)...)
	ok, words, err := s.open(ctx, knownName, pathDirect)
	if err != nil {
		return err
	}
	s.add("cleanup, clients", ok, "%s, as without routerd", words)
	return nil
}
