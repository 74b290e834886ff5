// Package daemon wires the packages together: lifecycle and the one reconcile
// loop.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/lists"
	"github.com/routerd/routerd/internal/reach"
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
	ListDir    string // keeps the lists' last good content; on flash
	Version    string
	Log        *slog.Logger
	LogLevel   *slog.LevelVar  // set from option log_level at every reload
	Reload     <-chan struct{} // asks for a reload (SIGHUP); nil: never
	// Sockets are those of the resolver that the process before this one had: they
	// are taken, or closed.
	Sockets []*os.File
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
// Settings that are refused do not: it goes on with a copy of the last ones that
// were not, or waits for better ones. A *Restart says that another process is to
// begin in place of this one.
func Run(ctx context.Context, o Options) error {
	// Holding the socket makes this the only daemon that is asked, the lock the
	// only one on its state, whatever its socket.
	ln, err := control.Listen(o.Socket)
	if err != nil {
		return err
	}
	defer ln.Close()
	lock, err := lockState(o.StateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	d, err := newDaemon(o)
	if err != nil {
		return err
	}
	defer d.close()
	ended := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { // ends with ctx
		defer close(served)
		served <- control.ServeOn(ctx, ln, d.handlers(), o.Log)
	}()
	err = d.start(ctx)
	d.closeInherited()
	if err == nil {
		fetched, kept, checked := d.runLists(ctx), d.runKeeper(ctx), d.runChecks(ctx)
		err = d.loop(ctx, served)
		stop()
		<-fetched
		<-kept
		<-checked
	}
	if errors.Is(err, errRestart) {
		err = &Restart{d.handOver()}
	}
	if ended.Err() != nil {
		err = nil // what was under way was cut short
	}
	stop()
	return errors.Join(err, <-served)
}

// daemon is the running daemon. The loop's goroutine owns what is not said to be
// guarded.
type daemon struct {
	o       Options
	log     *slog.Logger
	net     *netcfg.Net
	tunnels *tunnel.Manager
	lists   *lists.Manager
	events  *control.EventLog
	names   *names
	sharers *names // unlisted names that were seen with known addresses
	started time.Time

	bypasses   *bypasses
	neighbours *neighbours
	keeper     *keeper
	runner     *reach.Runner
	networks   networks
	packets    map[ebpf.Destination]uint64 // of each destination, as last counted
	failures   *failures
	resolver   *dns.Resolver // nil: routerd is disabled
	server     *nameServer   // nil: none runs
	health     *health
	fast       fast

	reloads  chan reloadRequest
	restarts chan struct{}
	learned  chan ebpf.Event
	changed  <-chan struct{} // of netcfg.Watch

	target   *settings     // what the daemon brings about; nil: the settings are refused
	inFile   *settings     // the last that were read from the file and not refused
	checked  *settings     // what the runner has its targets from
	unmet    bool          // target has not been brought about whole
	dirty    extent        // what is to be applied
	retry    time.Time     // nothing is applied before
	filled   *fill         // nil: the maps are to be filled anew
	before   *ruled        // what they were filled from last, until they are; else nil
	ensured  []tunnel.Spec // what the tunnels were last made from; nil: nothing
	begun    bool          // this process has begun to make the tunnels
	turned   []string      // tunnels whose change the kernel is to be told of
	surveyed []string      // problems that the last survey found
	warnings []string      // those of the network's state, as last applied
	down     map[string]bool
	limits   *limiter
	exporter exporter

	release                                                   time.Time // when the program's pages are let go of next
	lastTurn, lastRoom, lastCatchUp, lastExpire, lastEvidence time.Time
	news                                                      uint64        // of runner, when evidence was looked at last
	lost                                                      uint64        // events that were lost, of which catchUp knows
	dropped                                                   atomic.Uint64 // events that the reader could not pass on

	// planeMu is held by handlers while they use dp, and by the loop while it
	// closes it. The loop alone writes what it guards, and reads it without.
	planeMu sync.RWMutex
	dp      *ebpf.DataPlane
	reader  *reader
	claim   io.Closer    // of dp's pins
	opened  planeOptions // of dp

	mu   sync.RWMutex
	view view // guarded by mu: what the handlers see
}

func newDaemon(o Options) (*daemon, error) {
	n, err := netcfg.New(o.Log)
	if err != nil {
		return nil, fmt.Errorf("look for a firewall: %w", err)
	}
	d := &daemon{
		o: o, log: o.Log, net: n,
		tunnels: tunnel.NewManager(o.Log, tunnel.ManagerOptions{StateDir: o.StateDir}),
		events:  control.NewEventLog(time.Now), names: newNames(), sharers: newNames(), started: time.Now(),
		bypasses: newBypasses(), neighbours: newNeighbours(), keeper: newKeeper(), failures: newFailures(), health: newHealth(),
		reloads: make(chan reloadRequest), restarts: make(chan struct{}), learned: make(chan ebpf.Event, learnedMax),
		limits: newLimiter(time.Now), networks: networks{},
	}
	d.lists, d.runner = d.newLists(), d.newRunner()
	d.health.early = func(destination, reason string) { d.runner.Early(reason, destination) }
	return d, nil
}

// close lets go of everything; the kernel goes on.
func (d *daemon) close() {
	d.exporter.close()
	d.closeResolver()
	d.closeDataPlane()
	d.tunnels.Close()
}

// start applies the first settings. Rules, tables and the programs come before
// the ways into tunnels: a listed address is shut off until its tunnel is there,
// not let out by the WAN.
func (d *daemon) start(ctx context.Context) error {
	changed, err := d.net.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch the network: %w", err)
	}
	d.changed = changed
	s, problems, err := d.loadFirst(d.o.ConfigFile)
	if err == nil && s.unset() {
		if before, goodErr := d.loadGood(); goodErr == nil {
			err = s.cutOff(before)
		}
	}
	if err == nil {
		d.inFile = s
		return d.begin(ctx, s)
	}
	s, goodErr := d.loadGood()
	if errors.Is(err, fs.ErrNotExist) && goodErr != nil {
		return err // nothing to wait for: the wrong file was named
	}
	d.refuse(problems, err)
	if goodErr != nil {
		if !errors.Is(goodErr, fs.ErrNotExist) {
			d.log.Warn("the copy of the last good settings cannot be used", "error", goodErr)
		}
		d.log.Error("nothing is changed until the settings are mended: `routerd validate`, then `routerd reload`")
		return nil
	}
	d.log.Warn("going on with the last good settings, until these are mended and reloaded")
	return d.begin(ctx, s)
}

// begin brings the first settings about. Without a data plane nothing can be
// done: a kernel that lacks something is told at once. What else fails may work
// in a moment, as when the firewall is just being loaded, and the loop tries.
func (d *daemon) begin(ctx context.Context, s *settings) error {
	err := d.pursue(ctx, s)
	switch {
	case err == nil:
		d.inForce(ctx, s)
	case d.dp == nil && s.cfg.Main.Enabled:
		return err
	case ctx.Err() == nil:
		d.log.Error("cannot apply, will try again", "error", err, "after", retryTime)
		d.fault("apply settings", err.Error())
	}
	return nil
}

// loop does one thing at a time until ctx ends.
func (d *daemon) loop(ctx context.Context, served <-chan error) error {
	d.lastExpire = time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return err
		case <-d.o.Reload:
			_, err := d.reload(ctx)
			d.warn("reload", err)
		case r := <-d.reloads:
			problems, err := d.reload(ctx)
			r.answer <- reloadAnswer{problems, err}
		case <-d.restarts:
			return errRestart
		case ev := <-d.learned:
			d.learn(ctx, d.waiting(ev))
		case <-d.changed:
			d.networkChanged()
		case err := <-d.serverEnded():
			d.restartResolver(err)
		case <-d.runner.Changed():
			d.tellVerdicts()
			d.lastEvidence = time.Time{}
			d.useChecks()
		case <-d.lists.Changed():
			d.warn("use changed lists", d.listsChanged(ctx))
		case <-d.health.timer.C:
			d.look(ctx)
		}
		d.applyIfDirty(ctx)
	}
}

// look does what is to be done several times a second, and turn once in one.
func (d *daemon) look(ctx context.Context) {
	if time.Since(d.lastTurn) >= tickTime {
		d.lastTurn = time.Now()
		d.turn(ctx)
	}
	d.watchPaths(ctx)
	d.tendTunnels(ctx)
}

// turn does what is to be done every second, and the rest of it more rarely.
func (d *daemon) turn(ctx context.Context) {
	d.catchUp(ctx)
	d.useChecks()
	if time.Since(d.lastExpire) > expireTime {
		d.lastExpire = time.Now()
		d.expire(ctx)
		d.loadAgain(ctx)
		d.serveMetricsAgain(ctx)
		d.releaseProgram(d.lastExpire)
	}
}

// networkChanged has everything applied; what failed before may work now.
func (d *daemon) networkChanged() {
	d.soil(everything)
	d.tunnels.Doubt()
	if soon := time.Now().Add(tickTime); d.retry.After(soon) {
		d.retry = soon
	}
}

// loadAgain looks whether settings that were refused at the start are good now:
// a file that they name may have come with a device that was mounted late.
func (d *daemon) loadAgain(ctx context.Context) {
	if d.target != nil {
		return
	}
	s, _, err := d.loadFirst(d.o.ConfigFile)
	if err != nil {
		return // it has been told
	}
	d.warn("apply settings", d.adopt(ctx, s))
}

// applyIfDirty brings the kernel in line, and tries again later where it cannot.
func (d *daemon) applyIfDirty(ctx context.Context) {
	if d.target == nil || d.dirty == clean && !d.unmet || time.Now().Before(d.retry) {
		return
	}
	err := d.applyRest(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	if held, ok := d.limits.allow("apply: " + err.Error()); ok {
		d.log.Error("cannot apply, will try again", "error", err, "after", retryTime, "more", held)
		d.fault("apply settings", err.Error())
	}
}

// applyRest applies what is left to do.
func (d *daemon) applyRest(ctx context.Context) error {
	if d.unmet {
		if err := d.pursue(ctx, d.target); err != nil {
			return err
		}
		d.inForce(ctx, d.target)
		return nil
	}
	err := d.apply(ctx, d.dirty)
	d.tellFailure(err)
	if err != nil {
		return err
	}
	d.tellProblems(d.dirty)
	d.dirty = clean
	return nil
}

func (d *daemon) retryIn(wait time.Duration) { d.retry = time.Now().Add(wait) }

// fault tells people of something that is wrong.
func (d *daemon) fault(what, reason string) {
	d.events.Add(control.Event{Kind: control.EventFault, To: what, Reason: reason})
}

// Cleanup removes everything of routerd from the kernel, with no daemon and no
// stored state.
func Cleanup(ctx context.Context, o Options) error {
	ln, err := control.Listen(o.Socket)
	if err == nil {
		defer ln.Close()
	}
	lock, lockErr := lockState(o.StateDir)
	if lockErr == nil {
		defer lock.Close()
	}
	if errors.Is(lockErr, control.ErrRunning) {
		err = lockErr
	}
	if errors.Is(err, control.ErrRunning) {
		return fmt.Errorf("%w: stop it first, with `/etc/init.d/routerd stop`", err)
	}
	return cleanup(ctx, o, nil, nil)
}

// cleanup removes everything; a daemon that runs on gives what it has open.
func cleanup(ctx context.Context, o Options, n *netcfg.Net, m *tunnel.Manager) error {
	var errs []error
	// The programs first: what they mark finds its path until they are gone.
	errs = append(errs, ebpf.Remove(o.BPFDir))
	if n == nil {
		var err error
		if n, err = netcfg.New(o.Log); err != nil { // rules and routes are there all the same
			n, err = netcfg.New(o.Log, netcfg.WithFirewall(netcfg.NFTables))
		}
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	errs = append(errs, n.Cleanup(ctx))
	if m == nil {
		m = tunnel.NewManager(o.Log, tunnel.ManagerOptions{StateDir: o.StateDir})
		defer m.Close()
	}
	return errors.Join(append(errs, m.Cleanup(ctx), removeState(o.StateDir))...)
}
