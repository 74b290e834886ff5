// Package daemon wires the packages together: lifecycle and the one reconcile
// loop.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/tunnel"
	"github.com/routerd/routerd/netcfg"
)

// Options say where the daemon finds its files; every path has its default in
// package owned.
type Options struct {
	ConfigFile string
	Socket     string
	StateDir   string
	BPFDir     string
	Version    string
	Log        *slog.Logger
	LogLevel   *slog.LevelVar  // set from option log_level at every reload
	Reload     <-chan struct{} // asks for a reload (SIGHUP); nil: never
}

// The loop's times.
const (
	tickTime   = time.Second
	expireTime = 30 * time.Second
	// retryTime is how long a failed Apply waits when nothing else happens.
	retryTime = 5 * time.Second
)

// Run is the daemon. It returns when ctx ends, leaving the kernel state in
// place for the next process, or with the error that stops it from working.
func Run(ctx context.Context, o Options) error {
	// Holding the socket makes this the only daemon on its state.
	ln, err := control.Listen(o.Socket)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	d, err := newDaemon(o)
	if err != nil {
		return err
	}
	defer d.close()
	s, problems, err := loadSettings(o.ConfigFile)
	if err != nil {
		return settingsError(problems, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- control.ServeOn(ctx, ln, d.handlers(), o.Log) }() // ends with ctx
	if err := d.start(ctx, s); err != nil {
		return err
	}
	err = d.loop(ctx, served)
	stop()
	return errors.Join(err, <-served)
}

// settingsError tells every problem, since there is nobody else to ask yet.
func settingsError(problems []config.Problem, err error) error {
	errs := []error{err}
	for _, p := range problems {
		errs = append(errs, errors.New(p.String()))
	}
	return errors.Join(errs...)
}

// daemon is the running daemon. The loop's goroutine owns what is not said to be
// guarded.
type daemon struct {
	o       Options
	log     *slog.Logger
	net     *netcfg.Net
	tunnels *tunnel.Manager
	events  *control.EventLog
	names   *names
	started time.Time

	reloads chan reloadRequest
	learned chan ebpf.Event
	changed <-chan struct{} // of netcfg.Watch

	dp       *ebpf.DataPlane
	reader   *reader
	dirty    bool      // something is to be applied
	retry    time.Time // when to apply again after a failure
	lastFull time.Time // when a full map was last told

	mu   sync.RWMutex
	view view // guarded by mu: what the handlers see
}

func newDaemon(o Options) (*daemon, error) {
	n, err := netcfg.New(o.Log)
	if err != nil {
		return nil, fmt.Errorf("look for a firewall: %w", err)
	}
	return &daemon{
		o: o, log: o.Log, net: n,
		tunnels: tunnel.NewManager(o.Log, tunnel.ManagerOptions{StateDir: o.StateDir}),
		events:  control.NewEventLog(time.Now), names: newNames(), started: time.Now(),
		reloads: make(chan reloadRequest), learned: make(chan ebpf.Event, 256),
	}, nil
}

// close lets go of everything; the kernel goes on.
func (d *daemon) close() {
	d.closeDataPlane()
	d.tunnels.Close()
}

// start applies the first settings. Rules, tables and the programs come before
// the tunnels: a listed address is shut off until its tunnel is there, not let
// out by the WAN.
func (d *daemon) start(ctx context.Context, s *settings) error {
	changed, err := d.net.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch the network: %w", err)
	}
	d.changed = changed
	if err := d.use(ctx, s); err != nil {
		return err
	}
	d.log.Info("steering", "destinations", len(s.plan.Destinations), "names", len(s.plan.Names),
		"networks", len(s.plan.Networks), "tunnels", len(s.specs))
	return nil
}

// loop does one thing at a time until ctx ends.
func (d *daemon) loop(ctx context.Context, served <-chan error) error {
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	lastExpire := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return err
		case <-d.o.Reload:
			if problems, err := d.reload(ctx); err != nil {
				d.log.Error("settings refused, the old ones stay", "error", err, "problems", len(problems))
			}
		case r := <-d.reloads:
			problems, err := d.reload(ctx)
			r.answer <- reloadAnswer{problems, err}
		case ev := <-d.learned:
			d.learn(ctx, ev)
		case <-d.changed:
			d.dirty = true
		case <-tick.C:
			d.refreshTunnels(ctx)
			if time.Since(lastExpire) > expireTime {
				lastExpire = time.Now()
				d.expire(ctx)
			}
		}
		d.applyIfDirty(ctx)
	}
}

// applyIfDirty brings the kernel in line, and tries again later where it cannot.
func (d *daemon) applyIfDirty(ctx context.Context) {
	if !d.dirty || time.Now().Before(d.retry) || d.view.settings == nil {
		return
	}
	if err := d.apply(ctx); err != nil {
		d.log.Error("cannot apply, will try again", "error", err, "after", retryTime)
		d.retry = time.Now().Add(retryTime)
		d.fault("apply settings", err.Error())
		return
	}
	d.dirty = false
}

// fault tells people of something that is wrong.
func (d *daemon) fault(what, reason string) {
	d.events.Add(control.Event{Kind: control.EventFault, To: what, Reason: reason})
}

// Cleanup removes everything of routerd from the kernel, with no daemon and no
// stored state.
func Cleanup(ctx context.Context, o Options) error {
	ln, err := control.Listen(o.Socket)
	if errors.Is(err, control.ErrRunning) {
		return fmt.Errorf("%w: stop it first, with `/etc/init.d/routerd stop`", err)
	}
	if err == nil {
		defer ln.Close()
	}
	return cleanup(ctx, o, nil)
}

func cleanup(ctx context.Context, o Options, n *netcfg.Net) error {
	var errs []error
	// The programs first: what they mark finds its path until they are gone.
	errs = append(errs, ebpf.Remove(o.BPFDir))
	if n == nil {
		var err error
		if n, err = netcfg.New(o.Log); err != nil {
			errs = append(errs, err)
		}
	}
	if n != nil {
		errs = append(errs, n.Cleanup(ctx))
	}
	m := tunnel.NewManager(o.Log, tunnel.ManagerOptions{StateDir: o.StateDir})
	defer m.Close()
	errs = append(errs, m.Cleanup(ctx))
	if o.StateDir != "" && o.StateDir != "/" {
		errs = append(errs, removeState(o.StateDir))
	}
	return errors.Join(errs...)
}

func removeState(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	return nil
}

// pathLimit is the first path index that a mask cannot hold.
func pathLimit(m owned.Mask) owned.PathIndex {
	return owned.PathTunnel0 + owned.PathIndex(m.Tunnels())
}
