package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/owned"
)

// ManagerOptions are a Manager's surroundings. The zero value is right for the
// daemon.
type ManagerOptions struct {
	// StateDir takes the logs of userspace processes; "" is owned.StateDir.
	StateDir string
	// Executable is started with Args, "--device" and a name to carry a tunnel
	// in userspace: it must call RunUserspace. "" is the running executable.
	Executable string
	// Args precede --device; nil is the hidden command "wireguard".
	Args []string
	// Clock is time.Now if nil. Its times should carry a monotonic reading.
	Clock func() time.Time
	// Lookup resolves the names of endpoints; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// ResolveEvery is the shortest time between two lookups of one name; 0 is 15 s.
	ResolveEvery time.Duration
	// AnswerTime is how long a peer may take to answer; 0 is 15 s, which the
	// WireGuard protocol allows it.
	AnswerTime time.Duration
	// ProbeIdle is after how much silence a peer is asked whether it lives; 0
	// is 20 s.
	ProbeIdle time.Duration
	// StartTime is how long a userspace process may take to begin or end; 0 is 5 s.
	StartTime time.Duration
}

func (o ManagerOptions) withDefaults() ManagerOptions {
	o.StateDir = cmp.Or(o.StateDir, owned.StateDir)
	if o.Args == nil {
		o.Args = []string{"wireguard"}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	o.ResolveEvery = cmp.Or(o.ResolveEvery, 15*time.Second)
	o.AnswerTime = cmp.Or(o.AnswerTime, answerTime)
	o.ProbeIdle = cmp.Or(o.ProbeIdle, 20*time.Second)
	o.StartTime = cmp.Or(o.StartTime, 5*time.Second)
	return o
}

// Manager keeps tunnels as they shall be and knows how they are. It keeps no
// state on disk: what it needs it finds in the kernel, so that the next process
// adopts devices, processes and sessions. It is safe for concurrent use.
type Manager struct {
	log      *slog.Logger
	opts     ManagerOptions
	resolver *resolver
	pinger   *pinger

	mu      sync.Mutex
	tunnels []*tunnel // guarded by mu; in order of the last Ensure
	// children are processes that this manager or the program before this one
	// started and that have not been reaped; guarded by mu.
	children  []*child
	inherited bool     // the others have been looked for; guarded by mu
	counters  counters // guarded by mu

	statesMu sync.Mutex
	states   []State // guarded by statesMu; replaced whole, never changed
}

// NewManager makes a manager that touches nothing until Ensure. Close ends it.
func NewManager(log *slog.Logger, o ManagerOptions) *Manager {
	o = o.withDefaults()
	return &Manager{
		log: log, opts: o,
		resolver: newResolver(log, o.Lookup, o.ResolveEvery, o.Clock),
		pinger:   newPinger(o.Clock),
	}
}

// Close stops what runs inside this process: lookups and pings. Devices, userspace
// processes and sessions stay as they are, for the next manager.
func (m *Manager) Close() {
	m.resolver.close()
	m.pinger.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters.close()
}

// Ensure makes the tunnels those of specs and reports how they are, in the same
// order. It may be called at any time with the same or other specs: what is
// right already is not touched, devices of ours that are in no spec are removed.
// A tunnel that cannot be made is Down with the reason and does not keep the
// others from being made; the error joins all such reasons. Ensure waits for
// userspace processes to start, up to StartTime, never for names or peers.
func (m *Manager) Ensure(ctx context.Context, specs []Spec) ([]State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inherit()
	m.adoptSpecs(specs)
	errs := []error{m.removeUnwanted(ctx)}
	for _, t := range m.tunnels {
		err := m.ensure(ctx, t)
		if err != nil {
			errs = append(errs, fmt.Errorf("ensure tunnel '%s': %w", t.spec.Name, err))
		}
	}
	return m.publish(), errors.Join(errs...)
}

// Refresh looks at every tunnel again and sees to it: restarts a process that
// crashed, moves an endpoint whose name has a new address, asks a silent peer. It
// never waits for names or peers, and for a process that hangs two seconds once.
// Tend does so as often as it must be done.
func (m *Manager) Refresh(ctx context.Context) []State {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	for _, t := range m.tunnels {
		if ctx.Err() != nil {
			break
		}
		m.tend(ctx, t)
	}
	return m.publish()
}

// States is what the last Ensure or Refresh found. It never blocks.
func (m *Manager) States() []State {
	m.statesMu.Lock()
	defer m.statesMu.Unlock()
	return m.states
}

// publish makes the states of all tunnels visible. The caller holds mu.
func (m *Manager) publish() []State {
	states := make([]State, len(m.tunnels))
	for i, t := range m.tunnels {
		states[i] = t.state
		states[i].Watched = t.pulse.answers >= knownAnswers
	}
	m.statesMu.Lock()
	defer m.statesMu.Unlock()
	m.states = states
	return states
}

// Cleanup removes every device of ours with its process, socket and log, found
// by their names alone.
func (m *Manager) Cleanup(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tunnels = nil
	err := m.removeUnwanted(ctx)
	m.publish()
	return err
}

// adoptSpecs takes over the desired state, keeping what is known of tunnels
// that stay. The caller holds mu.
func (m *Manager) adoptSpecs(specs []Spec) {
	tunnels := make([]*tunnel, 0, len(specs))
	hosts := map[string]bool{}
	for _, spec := range specs {
		i := slices.IndexFunc(m.tunnels, func(t *tunnel) bool { return t.spec.Device == spec.Device && t.spec.Type == spec.Type })
		t := &tunnel{peers: map[wgtypes.Key]*peer{}}
		if i >= 0 {
			t = m.tunnels[i]
		}
		t.adopt(spec)
		for _, p := range spec.Settings.Peers {
			hosts[p.Endpoint.Host] = true
		}
		tunnels = append(tunnels, t)
	}
	for _, t := range m.tunnels {
		if !slices.Contains(tunnels, t) {
			t.unlearn()
		}
	}
	m.tunnels = tunnels
	m.resolver.keep(hosts)
}

// removeUnwanted removes devices of ours that are not in a spec, then processes
// and sockets that have no device.
func (m *Manager) removeUnwanted(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, t := range m.tunnels {
		if t.spec.Type != config.TunnelInterface {
			wanted[t.spec.Device] = true
		}
	}
	links, err := ownLinks()
	errs := []error{err}
	for _, link := range links {
		if name := link.Attrs().Name; !wanted[name] {
			m.log.Info("removing tunnel device", "device", name)
			errs = append(errs, m.removeDevice(ctx, name, link))
		}
	}
	for _, name := range ownSockets() {
		if !wanted[name] {
			errs = append(errs, m.removeDevice(ctx, name, nil))
		}
	}
	return errors.Join(append(errs, m.removeLogs(wanted))...)
}

// removeLogs removes the logs of processes of devices that are not wanted.
func (m *Manager) removeLogs(wanted map[string]bool) error {
	entries, err := os.ReadDir(m.opts.StateDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read state directory: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if name, ok := logDevice(e.Name()); ok && !wanted[name] {
			errs = append(errs, removeFile(m.processLog(name)))
		}
	}
	return errors.Join(errs...)
}

// ensure brings one tunnel up, waiting for its process.
func (m *Manager) ensure(ctx context.Context, t *tunnel) error {
	t.settled, t.retryAt = false, time.Time{}
	err := m.step(ctx, t)
	if !errors.Is(err, errStarting) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.StartTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for errors.Is(err, errStarting) {
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
			err = m.step(ctx, t)
		}
	}
	return err
}
