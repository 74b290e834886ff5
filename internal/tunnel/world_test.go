package tunnel

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// world is two network namespaces joined by a cable: ours is the router, the
// other is where the peer runs. 192.0.2.1 and 2001:db8::1 are ours, .2, .3 and
// ::2 the other's.
type world struct {
	t     *testing.T
	there netns.NsHandle
	net   *netlink.Handle // of the other namespace
}

const peerDevice = "wgpeer"

func newWorld(t *testing.T) *world {
	t.Helper()
	needIsolation(t)
	w := &world{t: t}
	w.inThere(func() {})
	t.Cleanup(func() { w.there.Close() })
	handle, err := netlink.NewHandleAt(w.there, unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(handle.Close)
	w.net = handle
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wan"
	wan := &netlink.Veth{LinkAttrs: attrs, PeerName: "net", PeerNamespace: netlink.NsFd(w.there)}
	must(t, netlink.LinkAdd(wan))
	t.Cleanup(func() { _ = netlink.LinkDel(wan) })
	addAddresses(t, netlink.LinkByName, netlink.AddrAdd, "wan", "192.0.2.1/24", "2001:db8::1/64")
	must(t, netlink.LinkSetUp(wan))
	addAddresses(t, handle.LinkByName, handle.AddrAdd, "net", "192.0.2.2/24", "192.0.2.3/24", "2001:db8::2/64")
	for _, name := range []string{"lo", "net"} {
		link, err := handle.LinkByName(name)
		must(t, err)
		must(t, handle.LinkSetUp(link))
	}
	// The peer forwards, as an exit does, and so answers a nudge at once.
	w.inThere(func() { must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)) })
	return w
}

func addAddresses(t *testing.T, find func(string) (netlink.Link, error), add func(netlink.Link, *netlink.Addr) error, name string, addresses ...string) {
	t.Helper()
	link, err := find(name)
	must(t, err)
	for _, a := range addresses {
		must(t, add(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a)), Flags: unix.IFA_F_NODAD}))
	}
}

// inThere runs f on a thread of the other namespace, which it makes first.
func (w *world) inThere(f func()) {
	w.t.Helper()
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		var err error
		if w.there == 0 {
			w.there, err = netns.New()
		} else {
			err = netns.Set(w.there)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	must(w.t, <-done)
}

// farPeer is the far end of a tunnel: a process in the other namespace.
type farPeer struct {
	world   *world
	private wgtypes.Key
	cmd     *exec.Cmd
}

// startPeer runs a peer that takes client's key, on port 51820.
func (w *world) startPeer(private, client wgtypes.Key) *farPeer {
	w.t.Helper()
	p := &farPeer{world: w, private: private}
	w.inThere(func() {
		p.cmd = exec.Command("/proc/self/exe", "wireguard", "--device", peerDevice)
		p.cmd.Stderr = os.Stderr
		must(w.t, p.cmd.Start())
	})
	w.t.Cleanup(p.kill)
	eventually(w.t, 10*time.Second, func() error { _, err := readDevice(peerDevice); return err })
	addAddresses(w.t, w.net.LinkByName, w.net.AddrAdd, peerDevice, "10.9.0.1/24", "fd00:9::1/64")
	link, err := w.net.LinkByName(peerDevice)
	must(w.t, err)
	must(w.t, w.net.LinkSetUp(link))
	port := 51820
	p.configure(wgtypes.Config{PrivateKey: &private, ListenPort: &port, ReplacePeers: true, Peers: []wgtypes.PeerConfig{{
		PublicKey:  client,
		AllowedIPs: ipNets([]netip.Prefix{netip.MustParsePrefix("10.9.0.2/32"), netip.MustParsePrefix("fd00:9::2/128")}),
	}}})
	return p
}

func (p *farPeer) configure(c wgtypes.Config) {
	p.world.t.Helper()
	client, err := wgctrl.New()
	must(p.world.t, err)
	defer client.Close()
	must(p.world.t, client.ConfigureDevice(peerDevice, c))
}

// kill ends the peer as a power cut would: no goodbye, its keys forgotten.
func (p *farPeer) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = os.Remove(socketPath(peerDevice))
}

// echo serves TCP on the peer's address inside the tunnel.
func (p *farPeer) echo(address string) {
	p.world.t.Helper()
	var l net.Listener
	var err error
	p.world.inThere(func() { l, err = net.Listen("tcp", address) })
	must(p.world.t, err)
	p.world.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
}

// exchange sends a line over a connection and wants it back.
func exchange(c net.Conn, line string) error {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != line {
		return fmt.Errorf("got %q back, sent %q", got, line)
	}
	return nil
}

func dialThrough(address string) (net.Conn, error) {
	return net.DialTimeout("tcp", address, 5*time.Second)
}

func readDevice(name string) (*wgtypes.Device, error) {
	client, err := wgctrl.New()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Device(name)
}

// keys makes a pair.
func keys(t *testing.T) (private, public wgtypes.Key) {
	t.Helper()
	private, public, err := GenerateKey()
	must(t, err)
	return private, public
}

// settingsTo is a client of a peer at an endpoint.
func settingsTo(private, peer wgtypes.Key, endpoint string) Settings {
	e, err := decodeEndpoint(endpoint)
	if err != nil {
		panic(err)
	}
	return Settings{
		PrivateKey: private,
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24"), netip.MustParsePrefix("fd00:9::2/64")},
		Peers: []Peer{{
			PublicKey:  peer,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
			Endpoint:   e, Keepalive: DefaultKeepalive,
		}},
	}
}

// newTestManager makes a manager with short times that cleans up.
func newTestManager(t *testing.T, change func(*ManagerOptions)) *Manager {
	t.Helper()
	o := ManagerOptions{
		StateDir: t.TempDir(), AnswerTime: 2 * time.Second, ProbeIdle: 500 * time.Millisecond,
		ResolveEvery: 100 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	m := NewManager(slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})), o)
	t.Cleanup(func() {
		m.Close()
		if err := m.Cleanup(context.Background()); err != nil {
			t.Errorf("cleanup: %v", err)
		}
	})
	return m
}

// testWriter sends logs to the test's output.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// slower is how much slower than a quiet machine one may be that others use.
const slower = 4

// eventually calls f until it succeeds, for as long as that takes on a quiet machine.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(slower * within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		<-tick.C
	}
}

// stop stops a process and waits until none of its threads runs any more: the
// signal has been sent long before.
func stop(t *testing.T, pid int) {
	t.Helper()
	must(t, unix.Kill(pid, unix.SIGSTOP))
	eventually(t, 10*time.Second, func() error {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		must(t, err)
		for _, file := range stats {
			b, err := os.ReadFile(file)
			must(t, err)
			// The state is the first field after the name in parentheses (proc(5)).
			if _, after, _ := bytes.Cut(b, []byte(") ")); !bytes.HasPrefix(after, []byte("T")) {
				return fmt.Errorf("%s says %s", file, after)
			}
		}
		return nil
	})
}

// until refreshes until the first tunnel has a health.
func until(t *testing.T, m *Manager, want Health, within time.Duration) State {
	t.Helper()
	var s State
	eventually(t, within, func() error {
		s = m.Refresh(context.Background())[0]
		if s.Health != want {
			return fmt.Errorf("tunnel is %s (%s), want %s", s.Health, s.Reason, want)
		}
		return nil
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
