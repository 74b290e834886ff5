package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/routerd/routerd/internal/config"
)

// haveModule asks the kernel as the manager does.
func haveModule(t *testing.T) bool {
	t.Helper()
	needIsolation(t)
	err := addKernelDevice("rd-probe")
	if errors.Is(err, errNoModule) {
		return false
	}
	must(t, err)
	link, err := linkByMade("rd-probe")
	must(t, err)
	must(t, removeLink(link))
	return true
}

func TestWithoutModuleKernelBackendNamesThePackage(t *testing.T) {
	if haveModule(t) {
		t.Skip("this kernel has WireGuard")
	}
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	spec.Backend = config.BackendKernel
	states, err := m.Ensure(t.Context(), []Spec{spec})
	if !errors.Is(err, errNoModule) || states[0].Health != Down || !strings.Contains(states[0].Reason, "kmod-wireguard") {
		t.Errorf("error is %v, state %s: %s", err, states[0].Health, states[0].Reason)
	}
	if link, _ := linkByName("rd-home"); link != nil {
		t.Error("a device was made")
	}
}

func TestAutoTakesWhatTheKernelHas(t *testing.T) {
	want := BackendUserspace
	if haveModule(t) {
		want = BackendKernel
	}
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	spec.Backend = config.BackendAuto
	states, err := m.Ensure(t.Context(), []Spec{spec})
	must(t, err)
	if states[0].Backend != want {
		t.Errorf("backend is %s, want %s", states[0].Backend, want)
	}
}

func TestKernelTunnelCarriesTrafficAndIsAdopted(t *testing.T) {
	if !haveModule(t) {
		t.Skip("this kernel has no WireGuard")
	}
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	p.echo("10.9.0.1:7")
	m := newTestManager(t, nil)
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	spec.Backend = config.BackendKernel
	_, err := m.Ensure(t.Context(), []Spec{spec})
	must(t, err)
	before := until(t, m, Up, 10*time.Second)
	if before.Backend != BackendKernel || before.MTU != 1420 {
		t.Errorf("state is %+v", before)
	}
	c, err := dialThrough("10.9.0.1:7")
	must(t, err)
	defer c.Close()
	must(t, exchange(c, "through the kernel"))
	m.Close()
	next := newTestManager(t, nil)
	states, err := next.Ensure(t.Context(), []Spec{spec})
	must(t, err)
	if s := states[0]; s.Health != Up || s.Index != before.Index {
		t.Errorf("adopted as %+v", s)
	}
	must(t, exchange(c, "with the next manager"))
	p.kill()
	until(t, next, Down, 10*time.Second)
}

func TestChangedBackendReplacesTheDevice(t *testing.T) {
	if !haveModule(t) {
		t.Skip("this kernel has no WireGuard")
	}
	newWorld(t)
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	spec := specOf(settingsTo(ours, theirPub, peerAddr4))
	for _, b := range []config.Backend{config.BackendKernel, config.BackendUserspace, config.BackendAuto, config.BackendKernel} {
		spec.Backend = b
		states, err := m.Ensure(t.Context(), []Spec{spec})
		must(t, err)
		if got := string(states[0].Backend); b != config.BackendAuto && got != string(b) || b == config.BackendAuto && got != "userspace" {
			t.Errorf("backend is %s, want %s", got, b)
		}
	}
}

func interfaceSpec(device string) Spec {
	return Spec{Name: "other", Type: config.TunnelInterface, Device: device}
}

func TestInterfaceIsUpWhenItsDeviceIs(t *testing.T) {
	newWorld(t)
	m := newTestManager(t, nil)
	states, err := m.Ensure(t.Context(), []Spec{interfaceSpec("awg0")})
	if err == nil {
		t.Error("no error for a device that is missing")
	}
	wantDown(t, states[0], "device awg0 does not exist: check option device, or bring the interface up")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "awg0"
	dev := &netlink.Veth{LinkAttrs: attrs, PeerName: "awg1"}
	must(t, netlink.LinkAdd(dev))
	defer func() { _ = netlink.LinkDel(dev) }()
	wantDown(t, m.Refresh(t.Context())[0], "device awg0 is down: bring the interface up")
	addAddresses(t, netlink.LinkByName, netlink.AddrAdd, "awg0", "10.7.0.2/24")
	far, err := netlink.LinkByName("awg1")
	must(t, err)
	must(t, netlink.LinkSetUp(far))
	must(t, netlink.LinkSetUp(dev))
	got := until(t, m, Up, 5*time.Second)
	want := State{
		Name: "other", Device: "awg0", Backend: BackendInterface, Health: Up, IPv4: true, MTU: 1500,
		Addresses: prefixes("10.7.0.2/24"), Index: got.Index, RxBytes: got.RxBytes, TxBytes: got.TxBytes,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("state is\n%+v, want\n%+v", got, want)
	}
	must(t, m.Cleanup(context.Background()))
	if link, err := linkByName("awg0"); err != nil || link == nil {
		t.Errorf("somebody else's device was removed (%v)", err)
	}
}

func wantDown(t *testing.T, s State, reason string) {
	t.Helper()
	if s.Health != Down || s.Reason != reason {
		t.Errorf("state is %s (%s), want down (%s)", s.Health, s.Reason, reason)
	}
}

func TestForeignWireGuardDeviceIsJudgedByItsPeers(t *testing.T) {
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	foreign := exec.Command("/proc/self/exe", "wireguard", "--device", "wg7")
	must(t, foreign.Start())
	t.Cleanup(func() { _ = foreign.Process.Signal(unix.SIGTERM); _ = foreign.Wait() })
	eventually(t, 10*time.Second, func() error { _, err := readDevice("wg7"); return err })
	client, err := wgctrl.New()
	must(t, err)
	defer client.Close()
	s := settingsTo(ours, theirPub, peerAddr4)
	c := differ(&wgtypes.Device{}, s, 0, map[wgtypes.Key]netip.AddrPort{theirPub: netip.MustParseAddrPort(peerAddr4)}).config
	c.Peers[0].PersistentKeepaliveInterval = nil // as netifd does by default: silent until there is traffic
	must(t, client.ConfigureDevice("wg7", c))
	link, err := netlink.LinkByName("wg7")
	must(t, err)
	must(t, setUpLink(link, s.Addresses, 1420))

	m := newTestManager(t, nil)
	_, err = m.Ensure(t.Context(), []Spec{interfaceSpec("wg7")})
	must(t, err)
	state := until(t, m, Up, 10*time.Second)
	if state.LastHandshake.IsZero() || state.Endpoints[0].String() != peerAddr4 || !state.IPv4 || !state.IPv6 {
		t.Errorf("state is %+v", state)
	}
	p.kill()
	until(t, m, Down, 10*time.Second)
}

func TestSocketOfAnotherNamespaceIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	var far *exec.Cmd
	w.inThere(func() {
		far = exec.Command("/proc/self/exe", "wireguard", "--device", "rd-home")
		must(t, far.Start())
	})
	t.Cleanup(func() { _ = far.Process.Signal(unix.SIGTERM); _ = far.Wait() })
	eventually(t, 10*time.Second, func() error {
		if _, err := socketOwner("rd-home"); !errors.Is(err, errForeignSocket) {
			return fmt.Errorf("owner: %w", err)
		}
		return nil
	})
	ours, _ := keys(t)
	_, theirPub := keys(t)
	m := newTestManager(t, nil)
	states, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	if !errors.Is(err, errForeignSocket) || !strings.Contains(states[0].Reason, "another network namespace") {
		t.Errorf("error is %v, reason %q", err, states[0].Reason)
	}
	must(t, m.Cleanup(t.Context()))
	if _, err := socketOwner("rd-home"); !errors.Is(err, errForeignSocket) {
		t.Errorf("after cleanup: %v", err)
	}
}

func TestProcessEndsWithItsDeviceAndLeavesNoSocket(t *testing.T) {
	needIsolation(t)
	process := exec.Command("/proc/self/exe", "wireguard", "--device", "rd-gone")
	must(t, process.Start())
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	eventually(t, 5*time.Second, func() error { _, err := readDevice("rd-gone"); return err })
	link, err := netlink.LinkByName("rd-gone")
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	must(t, netlink.LinkDel(link))
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(10 * time.Second):
		_ = process.Process.Kill()
		t.Fatal("the process goes on without its device")
	}
	if _, err := os.Stat(socketPath("rd-gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket: %v", err)
	}
}

func TestUserspaceRefusesNamesThatAreNoDevice(t *testing.T) {
	for _, name := range []string{"", "a/b", "a b", "sixteen-letters-"} {
		if err := RunUserspace(t.Context(), UserspaceOptions{Device: name}); err == nil || !strings.Contains(err.Error(), "not a device name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestUserspaceProcessStaysSmall(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's memory would be measured")
	}
	w := newWorld(t)
	ours, ourPub := keys(t)
	theirs, theirPub := keys(t)
	p := w.startPeer(theirs, ourPub)
	p.echo("10.9.0.1:7")
	m := newTestManager(t, nil)
	_, err := m.Ensure(t.Context(), []Spec{specOf(settingsTo(ours, theirPub, peerAddr4))})
	must(t, err)
	until(t, m, Up, 10*time.Second)
	pid, err := socketOwner("rd-home")
	must(t, err)
	idle := anonymous(t, pid)
	c, err := dialThrough("10.9.0.1:7")
	must(t, err)
	defer c.Close()
	for range 64 {
		must(t, exchange(c, strings.Repeat("0123456789abcdef", 1<<14)))
	}
	loaded := anonymous(t, pid)
	t.Logf("anonymous memory: idle %d KiB, after 16 MiB each way %d KiB", idle, loaded)
	// wireguard-go with its own bind and TUN takes 27 MiB idle, 150 under load.
	if idle > 6<<10 || loaded > 32<<10 {
		t.Errorf("the process grew from %d to %d KiB", idle, loaded)
	}
}

// anonymous is a process's anonymous memory in KiB.
func anonymous(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	_, err = fmt.Sscan(rest, &kib)
	must(t, err)
	return kib
}
