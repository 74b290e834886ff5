package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// kill kills the daemon; procd starts it again.
func kill(_ context.Context, r *run, _ Event) (string, error) {
	return "kill -9 of the daemon", r.daemon.kill()
}

// restart has the daemon begin anew: as /etc/init.d/routerd restart does, or, every
// other time, as if somebody had ended it and started another.
func restart(ctx context.Context, r *run, e Event) (string, error) {
	if e.Variant%2 == 0 {
		return "restart in place", r.restartInPlace(ctx)
	}
	if err := r.daemon.stop(ctx); err != nil {
		return "", err
	}
	return "stop and start of the daemon", r.daemon.start()
}

// upgrade has another build take the daemon's place, by either way.
func upgrade(ctx context.Context, r *run, e Event) (string, error) {
	r.upgrades++
	if err := r.daemon.use(r.o.Programs[r.upgrades%len(r.o.Programs)]); err != nil {
		return "", err
	}
	words, err := restart(ctx, r, e)
	return "upgrade, " + words, err
}

// restartInPlace does what the init script's restart does: a daemon that does not
// answer is ended and another started.
func (r *run) restartInPlace(ctx context.Context) error {
	before := r.daemon.pid()
	status, _, err := r.routerd(ctx, "restart")
	if err != nil {
		return err
	}
	if status == 0 {
		if after := r.daemon.pid(); after != before {
			r.ledger.violate("a restart in place is another process", "process %d was %d", after, before)
		}
		return nil
	}
	return errors.Join(r.daemon.stop(ctx), r.daemon.start())
}

// apply writes settings and has the daemon take them.
func (r *run) apply(ctx context.Context, s settings) error {
	if err := r.configure(s.String()); err != nil {
		return err
	}
	if err := r.reload(ctx); err != nil {
		return err
	}
	r.settings = s
	return nil
}

// reload asks for a reload until the daemon takes part: a moment ago it may have
// been killed.
func (r *run) reload(ctx context.Context) error {
	var said string
	err := r.until(ctx, readyTime, "routerd reload is done", func(ctx context.Context) bool {
		status, out, err := r.routerd(ctx, "reload")
		said = fmt.Sprint(status, " ", out, " ", err)
		return err == nil && status == 0
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// reload puts other settings in force, or the usual ones if others are.
func reload(ctx context.Context, r *run, e Event) (string, error) {
	all := changes()
	x := all[e.Variant%len(all)]
	next, words := usual(), "reload of the usual settings"
	next.maxAddresses = r.settings.maxAddresses
	if r.settings == next {
		x.change(&next)
		words = "reload, " + x.words
	}
	return words, r.apply(ctx, next)
}

// corrupt breaks the settings file, which must be refused; every other time the
// daemon is killed over it too.
func corrupt(ctx context.Context, r *run, e Event) (string, error) {
	all := corruptions()
	if err := r.configure(all[e.Variant%len(all)]); err != nil {
		return "", err
	}
	words := "settings broken and mended"
	status, said, err := r.routerd(ctx, "reload")
	if err != nil {
		return "", err
	}
	if status != 1 {
		r.ledger.violate("broken settings are not refused", "exit status %d: %s", status, said)
	}
	if e.Variant%2 == 1 {
		words = "settings broken, kill -9 over them, mended"
		if err := r.daemon.kill(); err != nil {
			return "", err
		}
		if err := r.settle(ctx, fmt.Sprintf("%-18s settings broken, kill -9 over them", e), r.o.Converge); err != nil {
			return "", err
		}
	}
	return words, r.apply(ctx, r.settings)
}

// spareRoom is how many addresses the clients' names may still bring, and
// excessNames how many names more than fit are looked up.
const (
	spareRoom   = 1400
	excessNames = 50
)

// fillMap asks for a map that is too small for what is known, has a client look up
// names until no other finds room, and gives room again after a while.
func fillMap(ctx context.Context, r *run, e Event) (string, error) {
	before := r.settings
	small := before
	small.maxAddresses = []int{16, 64, 400}[e.Variant%3]
	if err := r.apply(ctx, small); err != nil {
		return "", err
	}
	s, err := r.status(ctx)
	if err != nil {
		return "", err
	}
	// Each name has an address of each family.
	names := r.spare[:min(len(r.spare), max(0, s.DataPlane.MaxAddresses-s.DataPlane.Addresses)/2+excessNames)]
	r.spare = r.spare[len(names):]
	if err := r.flood(ctx, names); err != nil {
		return "", err
	}
	if err := r.wait(ctx, e.Hold); err != nil {
		return "", err
	}
	if s, err = r.status(ctx); err != nil {
		return "", err
	}
	before.maxAddresses = max(before.maxAddresses, s.DataPlane.MaxAddresses+spareRoom)
	return fmt.Sprintf("%d addresses in a map of %d, asked for %d, %d names more",
		s.DataPlane.Addresses, s.DataPlane.MaxAddresses, small.maxAddresses, len(names)), r.apply(ctx, before)
}

// flood has a client open many names at once; those that find no room fail.
func (r *run) flood(ctx context.Context, names []string) error {
	for _, family := range []string{"4", "6"} {
		cmd := exec.CommandContext(ctx, r.lab.Program(), "client", "burst", "--names", "-", "--port", "80",
			"--family", family, "--concurrency", "100")
		cmd.Stdin = strings.NewReader(strings.Join(names, "\n"))
		if err := r.lab.Start(lab.Client2, cmd); err != nil {
			return err
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("flood: %w", err)
		}
	}
	return nil
}

// whenWatched waits until both tunnels' peers are known to answer questions: until
// then a dead one is told by WireGuard's own timers only.
func whenWatched(ctx context.Context, r *run, _ Event) error {
	return r.until(ctx, readyTime, "both tunnels are up and watched", r.ready)
}

// deleteDevice deletes the device of one tunnel, or of both.
func deleteDevice(ctx context.Context, r *run, e Event) (string, error) {
	which := [][]string{{"home"}, {"other"}, tunnels()}[e.Variant%3]
	var script []string
	for _, name := range which {
		// It may be missing just now.
		script = append(script, "ip link delete rd-"+name+" 2>/dev/null || true")
	}
	_, err := r.router(ctx, strings.Join(script, "\n"))
	return "device of " + strings.Join(which, " and ") + " deleted", err
}

// silencePeer has exits drop what the router's tunnels send. While one of them
// works, listed names must.
func silencePeer(ctx context.Context, r *run, e Event) (string, error) {
	which := [][]string{{"exit"}, {"exit2"}, {"exit", "exit2"}}[e.Variant%3]
	const silence = "table inet silence { chain lost { type filter hook prerouting priority -400; udp dport 51820 drop; }; }"
	for _, host := range which {
		if _, err := r.lab.Run(ctx, host, "nft", silence); err != nil {
			return "", err
		}
	}
	words := "peer on " + strings.Join(which, " and ")
	wait := func() error { return r.wait(ctx, 2*e.Hold) }
	if len(which) == 1 {
		wait = func() error { return r.settle(ctx, fmt.Sprintf("%-18s %s falls silent", e, words), r.o.Converge) }
	}
	begun := time.Now()
	if err := wait(); err != nil {
		return "", err
	}
	for _, host := range slices.Backward(which) {
		if _, err := r.lab.Run(ctx, host, "nft", "delete table inet silence"); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s is back after %.1f s", words, time.Since(begun).Seconds()), nil
}
