package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/config"
)

// tunnel is one tunnel with what is known of it. Everything is guarded by
// Manager.mu.
type tunnel struct {
	spec    Spec
	state   State
	peers   map[wgtypes.Key]*peer
	index   int  // of the device that is known
	settled bool // addresses, MTU and peers are as they shall be
	// fresh is set while the device may still have endpoints of other settings.
	fresh   bool
	lastErr string

	neededAt time.Time // standby: when it was needed last
	needed   bool      // it sleeps and has been needed since it was looked at

	tendedAt time.Time // when it was looked at last
	carried  packets   // what the device had carried by then, as Watch saw it

	pulse   pulse
	waiting []asked // questions whose answers would show that the peers answer
	dead    string  // why Watch takes the peer for dead; "": it does not

	child   *child    // the process this manager started and has not reaped
	crashes int       // starts in a row that did not last
	retryAt time.Time // no start before

	call       chan struct{} // closed when a call to the device returned; nil: none runs
	hangsSince time.Time     // since when that call has not returned
}

// peer is what is known of one peer.
type peer struct {
	track    track
	endpoint netip.AddrPort // as the device has it
	movedAt  time.Time      // when this manager set the endpoint last, or saw it first
	nudgedAt time.Time
}

var (
	// errStarting is returned while a userspace process is on its way up.
	errStarting = errors.New("the userspace WireGuard process is starting")
	errHangs    = errors.New("the WireGuard device does not answer")
)

const (
	// steady is how long a process must have run for its end not to count as
	// another crash in a row.
	steady      = time.Minute
	maxRestart  = 30 * time.Second
	callTime    = 2 * time.Second
	killHanging = 30 * time.Second
	// believed is how long a tunnel that works is taken to go on while its device
	// does not answer: a machine that is short of memory may take seconds. Whether
	// packets still pass is Watch's to see.
	believed = 15 * time.Second
)

// adopt takes a spec over.
func (t *tunnel) adopt(spec Spec) {
	if t.spec.Device == "" || !t.spec.Settings.Equal(spec.Settings) {
		t.fresh = true
	}
	t.spec = spec
	t.settled = false
	t.state.Name, t.state.Device = spec.Name, spec.Device
}

// renewed notes that another device is in the place of the one that was known.
func (t *tunnel) renewed(index int) {
	t.index, t.pulse, t.dead = index, pulse{}, ""
	t.unlearn()
	clear(t.peers)
}

// firstTime says whether an error is news.
func (t *tunnel) firstTime(err error) bool {
	news := err.Error() != t.lastErr
	t.lastErr = err.Error()
	return news && !errors.Is(err, errStarting)
}

// fail makes err the tunnel's state.
func (t *tunnel) fail(err error) error {
	t.state.Health, t.state.Reason, t.state.Cause = Down, err.Error(), CauseDevice
	if errors.Is(err, errStarting) {
		t.state.Health, t.state.Cause = Connecting, ""
	}
	t.state.Addresses, t.state.IPv4, t.state.IPv6 = nil, false, false
	t.state.Index = 0
	t.settled = false // settling fills all that in again
	return err
}

// step moves one tunnel towards its spec as far as that goes without waiting,
// and measures it. The error is the tunnel's Reason too.
func (m *Manager) step(ctx context.Context, t *tunnel) error {
	now := m.opts.Clock()
	if t.spec.Type == config.TunnelInterface {
		return m.stepInterface(t, now)
	}
	if asleep, err := m.asleep(ctx, t, now); asleep || err != nil {
		return err
	}
	link, err := m.device(ctx, t, now)
	if err != nil {
		return t.fail(err)
	}
	if t.index != link.Attrs().Index {
		t.renewed(link.Attrs().Index)
		t.settled, t.fresh = false, true
	}
	t.state.Backend = backendOf(link)
	dev, err := m.read(t, now)
	if err != nil {
		return m.unread(ctx, t, link, err, now)
	}
	if err := m.settle(t, link, dev, now); err != nil {
		return t.fail(err)
	}
	t.lastErr = ""
	m.measure(t, dev, now)
	return nil
}

// device finds or makes the device.
func (m *Manager) device(ctx context.Context, t *tunnel, now time.Time) (netlink.Link, error) {
	link, err := linkByName(t.spec.Device)
	if err != nil {
		return nil, err
	}
	switch {
	case link == nil:
		return m.create(t, now)
	case backendOf(link) == "":
		return nil, fmt.Errorf("device %s exists and is a %s device, not routerd's: rename or remove it", t.spec.Device, link.Type())
	case suits(link, t.spec.Backend):
		return link, nil
	}
	m.log.Info("replacing tunnel device", "tunnel", t.spec.Name, "device", t.spec.Device, "backend", t.spec.Backend)
	if err := m.discard(ctx, t, link); err != nil {
		return nil, err
	}
	return m.create(t, now)
}

// create makes the device, or begins to.
func (m *Manager) create(t *tunnel, now time.Time) (netlink.Link, error) {
	if t.child == nil && t.spec.Backend != config.BackendUserspace {
		err := addKernelDevice(t.spec.Device)
		if err == nil {
			return linkByMade(t.spec.Device)
		}
		if !errors.Is(err, errNoModule) || t.spec.Backend == config.BackendKernel {
			return nil, err
		}
	}
	return nil, m.start(t, now)
}

// linkByMade finds a device that was made just now.
func linkByMade(name string) (netlink.Link, error) {
	link, err := linkByName(name)
	if err == nil && link == nil {
		err = fmt.Errorf("device %s vanished", name)
	}
	return link, err
}

// suits says whether an existing device is of the wanted backend.
func suits(link netlink.Link, want config.Backend) bool {
	switch backendOf(link) {
	case BackendKernel:
		return want != config.BackendUserspace
	case BackendUserspace:
		return want != config.BackendKernel
	}
	return false
}

// discard removes a device and its process, to make room for another.
func (m *Manager) discard(ctx context.Context, t *tunnel, link netlink.Link) error {
	t.child = nil
	return m.removeDevice(ctx, t.spec.Device, link)
}

// start starts the userspace process, unless it is on its way or crashed too
// recently. It returns errStarting while that goes well.
func (m *Manager) start(t *tunnel, now time.Time) error {
	if t.child != nil {
		why, ended := t.child.ended()
		if !ended {
			return errStarting
		}
		err := fmt.Errorf("the userspace WireGuard process %s", why)
		if now.Sub(t.child.started) >= steady {
			t.crashes = 0
		}
		t.child = nil
		t.retryAt = now
		if t.crashes > 0 {
			t.retryAt = now.Add(backoff(time.Second, maxRestart, t.crashes-1))
		}
		t.crashes++
		m.log.Warn("userspace WireGuard process ended", "tunnel", t.spec.Name, "reason", why)
		return err
	}
	if now.Before(t.retryAt) {
		return errors.New(t.state.Reason)
	}
	c, err := m.startProcess(t.spec.Device, now)
	if err != nil {
		t.retryAt = now.Add(backoff(time.Second, maxRestart, t.crashes))
		t.crashes++
		return err
	}
	m.log.Info("userspace WireGuard process started", "tunnel", t.spec.Name, "device", t.spec.Device, "pid", c.pid)
	t.child = c
	return errStarting
}

// unread makes of a device that cannot be read what it means for the tunnel.
func (m *Manager) unread(ctx context.Context, t *tunnel, link netlink.Link, err error, now time.Time) error {
	if errors.Is(err, errHangs) && t.settled && now.Sub(t.hangsSince) < believed {
		return nil
	}
	return t.fail(m.unreadable(ctx, t, link, err, now))
}

// unreadable says what it means that a device exists and cannot be read, and
// makes room for a new one where that helps.
func (m *Manager) unreadable(ctx context.Context, t *tunnel, link netlink.Link, err error, now time.Time) error {
	hangs := errors.Is(err, errHangs)
	deaf := errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
	switch {
	case backendOf(link) != BackendUserspace || !hangs && !deaf:
		return fmt.Errorf("read WireGuard device %s: %w", t.spec.Device, err)
	case hangs && now.Sub(t.hangsSince) < killHanging:
		return err
	case deaf && t.child != nil && now.Sub(t.child.started) < m.opts.StartTime:
		return errStarting // the device is there before the socket
	}
	m.log.Warn("userspace WireGuard process is replaced", "tunnel", t.spec.Name, "error", err)
	return errors.Join(err, m.discard(ctx, t, link))
}

// read asks the device how it is.
func (m *Manager) read(t *tunnel, now time.Time) (dev *wgtypes.Device, err error) {
	result := make(chan *wgtypes.Device, 1)
	err = t.with(now, func(c *wgctrl.Client) error {
		d, err := c.Device(t.spec.Device)
		result <- d
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-result, nil
}

// configure tells the device something.
func (m *Manager) configure(t *tunnel, c wgtypes.Config, now time.Time) error {
	err := t.with(now, func(client *wgctrl.Client) error { return client.ConfigureDevice(t.spec.Device, c) })
	if err != nil {
		return fmt.Errorf("configure WireGuard device %s: %w", t.spec.Device, err)
	}
	return nil
}

// with calls f in a goroutine of its own, for a userspace process that hangs
// would keep its caller for ever. While one call has not returned there is no
// other; it returns at the latest when the process is killed. The client is a
// new one each time, because it looks for the kernel module only once.
func (t *tunnel) with(now time.Time, f func(*wgctrl.Client) error) error {
	if t.call != nil {
		select {
		case <-t.call:
			t.call = nil
		default:
			return errHangs
		}
	}
	done, returned := make(chan error, 1), make(chan struct{})
	// Waited for by the select below, or by the next call; f ends it.
	go func() {
		defer close(returned)
		client, err := wgctrl.New()
		if err != nil {
			done <- fmt.Errorf("open WireGuard control: %w", err)
			return
		}
		defer client.Close()
		done <- f(client)
	}()
	timer := time.NewTimer(callTime)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.call, t.hangsSince = returned, now
		return errHangs
	}
}

// settle makes the device's settings those of the spec. What it changed is in
// dev afterwards.
func (m *Manager) settle(t *tunnel, link netlink.Link, dev *wgtypes.Device, now time.Time) error {
	if err := m.settlePeers(t, dev, now); err != nil {
		return err
	}
	if t.settled && link.Attrs().RawFlags&unix.IFF_UP != 0 {
		return nil
	}
	var endpoints []netip.AddrPort
	for _, p := range dev.Peers {
		endpoints = appendNew(endpoints, endpointAddr(p))
	}
	mtu := mtuFor(t.spec.Settings, t.spec.Mark, endpoints)
	if err := setUpLink(link, t.spec.Settings.Addresses, mtu); err != nil {
		return err
	}
	t.state.Index, t.state.MTU = link.Attrs().Index, mtu
	t.state.Addresses = t.spec.Settings.Addresses
	t.state.IPv4, t.state.IPv6 = families(t.spec.Settings.Addresses, dev.Peers)
	t.settled = true
	return nil
}

// settlePeers makes keys, mark and peers those of the spec.
func (m *Manager) settlePeers(t *tunnel, dev *wgtypes.Device, now time.Time) error {
	start := map[wgtypes.Key]netip.AddrPort{}
	for _, p := range t.spec.Settings.Peers {
		if cands := m.candidates(p); len(cands) > 0 {
			start[p.PublicKey] = cands[0]
		}
	}
	c := differ(dev, t.spec.Settings, t.spec.Mark, start)
	if !c.any {
		return nil
	}
	if err := m.configure(t, c.config, now); err != nil {
		return err
	}
	for key := range c.rekeys {
		if p := t.peers[key]; p != nil {
			p.track, p.nudgedAt = p.track.forget(now), time.Time{}
		}
	}
	again, err := m.read(t, now)
	if err != nil {
		return fmt.Errorf("read WireGuard device %s: %w", t.spec.Device, err)
	}
	*dev = *again
	return nil
}

// families says which families a device can carry: it has an address of it and
// some peer takes networks of it.
func families(addresses []netip.Prefix, peers []wgtypes.Peer) (v4, v6 bool) {
	for _, p := range peers {
		allowed := prefixesOf(p.AllowedIPs)
		v4 = v4 || slices.ContainsFunc(allowed, isIPv4)
		v6 = v6 || slices.ContainsFunc(allowed, isIPv6)
	}
	return v4 && slices.ContainsFunc(addresses, isIPv4), v6 && slices.ContainsFunc(addresses, isIPv6)
}
