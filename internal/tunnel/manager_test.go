package tunnel

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const peerAddr4, peerAddr6 = "192.0.2.2:51820", "[2001:db8::2]:51820"

func TestUserspaceTunnelCarriesTraffic(t *testing.T) {
	for _, endpoint := range []string{peerAddr4, peerAddr6} {
		t.Run(endpoint, func(t *testing.T) {
			w := newWorld(t)
			ours, ourPub := keys(t)
			theirs, theirPub := keys(t)
			p := w.startPeer(theirs, ourPub)
			m := newTestManager(t, nil)
			spec := specOf(settingsTo(ours, theirPub, endpoint))
			_, err := m.Ensure(t.Context(), []Spec{spec})
			must(t, err)
			got := until(t, m, Up, 10*time.Second)
			want := State{
				Name: "home", Device: "rd-home", Backend: BackendUserspace, Health: Up, IPv4: true, IPv6: true, MTU: 1420,
				Addresses: spec.Settings.Addresses, Endpoints: addrPorts(endpoint),
				Index: got.Index, LastHandshake: got.LastHandshake, RxBytes: got.RxBytes, TxBytes: got.TxBytes,
			}
			if !reflect.DeepEqual(got, want) || got.Index == 0 || got.RxBytes == 0 || got.TxBytes == 0 {
				t.Errorf("state is\n%+v, want\n%+v", got, want)
			}
			if age := time.Since(got.LastHandshake); age < 0 || age > 10*time.Second {
				t.Errorf("handshake was %v ago", age)
			}
			for _, address := range []string{"10.9.0.1:7", "[fd00:9::1]:7"} {
				p.echo(address)
				c, err := dialThrough(address)
				must(t, err)
				must(t, exchange(c, strings.Repeat("through the tunnel ", 5000)))
				c.Close()
			}
		})
	}
}

func TestWgShowsUserspaceTunnel(t *testing.T) {
	w := newWorld(t)
	wg, err := exec.LookPath("wg")
	if err != nil {
		t.Fatalf("%v: `./scripts/test` installs it", err)
	}
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	m := newTestManager(t, nil)
	_, err = m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	out, err := exec.Command(wg, "show", "rd-home").CombinedOutput()
	must(t, err)
	for _, want := range []string{ourPub.String(), theirPub.String(), "endpoint: 192.0.2.2:51820", "latest handshake", "fwmark: 0x1000000"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("wg show lacks %q:\n%s", want, out)
		}
	}
}

func TestEnsureTwiceTouchesNothing(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	m := newTestManager(t, nil)
	specs := []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))}
	_, err := m.Ensure(t.Context(), specs)
	must(t, err)
	before := until(t, m, Up, 10*time.Second)
	pid, err := socketOwner("rd-home")
	must(t, err)
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	must(t, netlink.LinkSubscribe(updates, done))
	for range 3 {
		states, err := m.Ensure(t.Context(), specs)
		must(t, err)
		if s := states[0]; s.Health != Up || s.Index != before.Index || !s.LastHandshake.Equal(before.LastHandshake) {
			t.Errorf("another Ensure made\n%+v of\n%+v", s, before)
		}
	}
	if again, err := socketOwner("rd-home"); err != nil || again != pid {
		t.Errorf("process is %d (%v), was %d", again, err, pid)
	}
	if len(updates) > 0 {
		t.Errorf("the link was changed %d times", len(updates))
	}
}

func TestTunnelOutlivesKilledDaemonAndIsAdopted(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	p.echo("10.9.0.1:7")
	settings := settingsTo(ours, theirPub, peerAddr4)
	dir := t.TempDir()
	file := filepath.Join(dir, "home.conf")
	must(t, os.WriteFile(file, formatQuick(settings), 0o600))

	daemon := exec.Command("/proc/self/exe", "manage", file, dir)
	out, err := daemon.StdoutPipe()
	must(t, err)
	stdin, err := daemon.StdinPipe()
	must(t, err)
	defer stdin.Close()
	must(t, daemon.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("daemon says %q (%v)", line, err)
	}
	c, err := dialThrough("10.9.0.1:7")
	must(t, err)
	defer c.Close()
	must(t, exchange(c, "before"))
	pid, err := socketOwner("rd-home")
	must(t, err)
	dev, err := readDevice("rd-home")
	must(t, err)

	must(t, daemon.Process.Kill())
	_ = daemon.Wait()
	must(t, exchange(c, "with no daemon"))

	m := newTestManager(t, func(o *ManagerOptions) { o.StateDir = dir })
	states, err := m.Ensure(t.Context(), []Spec{specOf(settings)})
	must(t, err)
	if states[0].Health != Up {
		t.Errorf("adopted tunnel is %s: %s", states[0].Health, states[0].Reason)
	}
	must(t, exchange(c, "with the next daemon"))
	if again, err := socketOwner("rd-home"); err != nil || again != pid {
		t.Errorf("process is %d (%v), was %d", again, err, pid)
	}
	now, err := readDevice("rd-home")
	must(t, err)
	if !now.Peers[0].LastHandshakeTime.Equal(dev.Peers[0].LastHandshakeTime) {
		t.Error("adopting made a new handshake")
	}
}

func TestDeadPeerIsDownAndComesBack(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	p.kill()
	s := until(t, m, Down, 10*time.Second)
	if !strings.HasPrefix(s.Reason, "no answer from 192.0.2.2:51820 for ") {
		t.Errorf("reason is %q", s.Reason)
	}
	w.startPeer(theirs, ourPub)
	// The protocol begins a new handshake 15 s after data was not answered.
	until(t, m, Up, 30*time.Second)
}

func TestPeerThatNeverAnswersIsConnectingThenDown(t *testing.T) {
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	if states[0].Health != Connecting {
		t.Errorf("at first it is %s: %s", states[0].Health, states[0].Reason)
	}
	s := until(t, m, Down, 10*time.Second)
	want := "no handshake answer from 192.0.2.2:51820 for 2 s: the peer is down, the key is wrong, or the handshake is blocked on the way"
	if s.Reason != want {
		t.Errorf("reason is\n%q, want\n%q", s.Reason, want)
	}
}

func TestEndpointWithoutRouteIsDownWithThatReason(t *testing.T) {
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, "198.51.100.1:51820"))})
	must(t, err)
	s := until(t, m, Down, 10*time.Second)
	if s.Reason != "nothing could be sent to 198.51.100.1:51820 for 2 s: there is no route to it" {
		t.Errorf("reason is %q", s.Reason)
	}
}

func TestChangedKeyReconfiguresInPlace(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	before := until(t, m, Up, 10*time.Second)

	other, otherPub := keys(t)
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(other, theirPub, peerAddr4))})
	must(t, err)
	if states[0].Health != Connecting {
		t.Errorf("with a new key it is %s", states[0].Health)
	}
	until(t, m, Down, 10*time.Second) // the peer does not know the key
	w.t = t
	p.kill()
	w.startPeer(theirs, otherPub)
	after := until(t, m, Up, 30*time.Second)
	if after.Index != before.Index {
		t.Error("the device was made anew")
	}
}

func TestCrashedProcessIsRestarted(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	w.startPeer(theirs, ourPub)
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	before := until(t, m, Up, 10*time.Second)
	pid, err := socketOwner("rd-home")
	must(t, err)
	must(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, 5*time.Second, func() error {
		if link, err := linkByName("rd-home"); err != nil || link != nil {
			return errors.New("the device is still there")
		}
		return nil
	})
	if s := m.Refresh(t.Context())[0]; s.Health == Up {
		t.Error("a tunnel without a process is up")
	}
	after := until(t, m, Up, 20*time.Second)
	if after.Index == before.Index {
		t.Error("the index does not tell that the device is another")
	}
}

func TestHangingProcessIsReportedAndReplaced(t *testing.T) {
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	clock := time.Now()
	m := newTestManager(t, func(o *ManagerOptions) { o.Clock = func() time.Time { return clock } })
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	pid, err := socketOwner("rd-home")
	must(t, err)
	stop(t, pid)
	before := m.States()[0]
	m.Refresh(t.Context()) // waits for it in vain
	clock = clock.Add(believed - time.Second)
	if s := m.Refresh(t.Context())[0]; s.Health != before.Health || s.Index != before.Index {
		t.Errorf("a device that does not answer yet is %s at %d, was %s at %d", s.Health, s.Index, before.Health, before.Index)
	}
	clock = clock.Add(time.Second)
	if s := until(t, m, Down, 5*time.Second); s.Reason != errHangs.Error() {
		t.Errorf("reason is %q", s.Reason)
	}
	clock = clock.Add(killHanging)
	eventually(t, 20*time.Second, func() error {
		clock = clock.Add(time.Second)
		m.Refresh(t.Context())
		again, err := socketOwner("rd-home")
		if err == nil && again == pid {
			err = errors.New("it is the same process")
		}
		return err
	})
}

func TestProcessThatCannotStartIsExplained(t *testing.T) {
	needIsolation(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	spec.Device = "rd-broken"
	states, err := m.Ensure(t.Context(), []Spec{spec})
	if err == nil || states[0].Health != Down {
		t.Fatalf("state is %s, error %v", states[0].Health, err)
	}
	want := "the userspace WireGuard process ended with status 1: error: something is broken"
	if states[0].Reason != want {
		t.Errorf("reason is %q, want %q", states[0].Reason, want)
	}
}

func TestMissingTUNNamesPackage(t *testing.T) {
	needIsolation(t)
	// A mount over the node is gone with the mount namespace.
	must(t, unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""))
	defer func() { must(t, unix.Unmount("/dev/net", 0)) }()
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	if !errors.Is(err, errNoTUN) || !strings.Contains(states[0].Reason, "kmod-tun") {
		t.Errorf("error is %v, reason %q", err, states[0].Reason)
	}
	if _, err := openTUN("rd-home", newGate(1), newGate(1)); !errors.Is(err, errNoTUN) {
		t.Errorf("the process itself says %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	needIsolation(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socketPath("rd-home")}))
	must(t, unix.Close(fd))
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	if states[0].Index == 0 {
		t.Errorf("state is %+v", states[0])
	}
}

func TestUnwantedDevicesAreRemovedAndCleanupLeavesNothing(t *testing.T) {
	needIsolation(t)
	before := snapshot(t)
	m := newTestManager(t, nil)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	one, two := specOf(settingsTo(ours, theirPub, peerAddr4)), specOf(settingsTo(ours, theirPub, peerAddr4))
	two.Name, two.Device = "two", "rd-two"
	two.Settings.Addresses = []netip.Prefix{netip.MustParsePrefix("10.8.0.2/32")}
	_, err := m.Ensure(t.Context(), []Spec{one, two})
	must(t, err)
	_, err = m.Ensure(t.Context(), []Spec{two})
	must(t, err)
	if got := snapshot(t); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "rd-home") }) {
		t.Errorf("what was taken out of the specs is still there: %v", got)
	}
	// Another process, with nothing but the names, cleans up.
	other := newTestManager(t, func(o *ManagerOptions) { o.StateDir = m.opts.StateDir })
	must(t, other.Cleanup(context.Background()))
	if got := snapshot(t); !slices.Equal(got, before) {
		t.Errorf("left behind: %v, before: %v", got, before)
	}
	if logs, _ := filepath.Glob(filepath.Join(m.opts.StateDir, "*")); len(logs) > 0 {
		t.Errorf("left in the state directory: %v", logs)
	}
	must(t, other.Cleanup(context.Background()))
}

// snapshot lists devices, sockets and userspace processes.
func snapshot(t *testing.T) (out []string) {
	t.Helper()
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		out = append(out, "device "+l.Attrs().Name)
	}
	socks, _ := filepath.Glob(socketDir + "/*")
	out = append(out, socks...)
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		cmd, _ := os.ReadFile(p)
		if args := strings.ReplaceAll(string(cmd), "\x00", " "); strings.Contains(args, "--device") {
			out = append(out, "process "+args)
		}
	}
	slices.Sort(out)
	return out
}

func TestDeviceOfAnotherTypeIsNotTouched(t *testing.T) {
	needIsolation(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "rd-home"
	other := &netlink.Veth{LinkAttrs: attrs, PeerName: "other"}
	must(t, netlink.LinkAdd(other))
	defer func() { _ = netlink.LinkDel(other) }()
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	if err == nil || !strings.Contains(err.Error(), "exists and is a veth device") {
		t.Errorf("error is %v", err)
	}
	must(t, m.Cleanup(t.Context()))
	if link, err := linkByName("rd-home"); err != nil || link == nil {
		t.Errorf("the device was removed (%v)", err)
	}
}
