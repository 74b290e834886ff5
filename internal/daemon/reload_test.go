package daemon

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
)

const pools = `
config destination 'pools'
	list domain 'pool.example'
	list address '6.6.6.0/24'
	option policy 'tunnel'
`

func TestReloadAddsAndRemovesDestinations(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	r.set("", exchanges+pools)
	if err := r.reload(); err != nil {
		t.Fatal(err)
	}
	if got := r.path("pools"); got != "other" {
		t.Errorf("pools go to %q", got)
	}
	r.set("", pools)
	if err := r.reload(); err != nil {
		t.Fatal(err)
	}
	why, err := r.client().Why(context.Background(), "5.5.5.7", "")
	if err != nil || why.Destination != "" || why.Path != "direct" {
		t.Errorf("an address of a destination that is gone: %+v, %v", why, err)
	}
}

func TestRefusedSettingsLeaveTheOldOnesInForce(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	rules := r.rules()
	r.set("\toption mark_mask '0x5'", exchanges)
	if err := r.reload(); err == nil || !strings.Contains(err.Error(), "mark_mask") {
		t.Errorf("reload: %v", err)
	}
	if !r.problem("mark_mask") || !r.problem("last good settings") || r.path("exchanges") != "other" || r.rules() != rules {
		t.Errorf("status: %+v\nrules:\n%s", r.status(), r.rules())
	}
	r.set("", exchanges)
	if err := r.reload(); err != nil || r.problem("refused") {
		t.Errorf("reload of mended settings: %v, %q", err, r.status().Problems)
	}
}

func TestStartOverRefusedSettings(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("\toption mark_mask '0x5'", exchanges)
	r.start()
	s := r.status()
	expect(t, !s.Running && len(s.Destinations) == 0 && r.problem("mark_mask"), "without earlier settings: %+v", s)
	_, err := r.client().Why(context.Background(), "5.5.5.7", "")
	expect(t, err != nil && strings.Contains(err.Error(), "routerd validate"), "why: %v", err)
	expect(t, r.rules() == "", "rules were made:\n%s", r.rules())
	r.set("", exchanges)
	need(t, r.reload())
	expect(t, r.path("exchanges") == "other", "mended: %+v", r.status())
}

func TestStartOverRefusedSettingsGoesOnWithTheLastGoodOnes(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	r.halt()
	r.set("\toption mark_mask '0x5'", exchanges)
	r.start()
	r.wait("the last good settings are in force", func() bool { return r.path("exchanges") == "other" })
	expect(t, r.problem("mark_mask"), "nobody is told: %q", r.status().Problems)
	// A copy that is cut off would be settings with fewer destinations.
	r.halt()
	kept, err := os.ReadFile(goodPath(r.o.StateDir))
	need(t, err)
	need(t, os.WriteFile(goodPath(r.o.StateDir), kept[:len(kept)/2], 0o600))
	rules := r.rules()
	r.start()
	expect(t, !r.status().Running && r.rules() == rules, "a copy that is cut off is used: %+v", r.status())
	r.halt()
	need(t, os.WriteFile(goodPath(r.o.StateDir), kept, 0o600))
	r.start()
	r.wait("the last good settings are in force again", func() bool { return r.path("exchanges") == "other" })
	// Switched off is a setting as good as others.
	r.set("\toption enabled '0'", exchanges)
	need(t, r.reload())
	r.halt()
	r.set("\toption mark_mask '0x5'", exchanges)
	r.start()
	r.wait("routerd is off", func() bool { return r.problem("disabled") && r.rules() == "" })
}

func TestStartWithoutSettingsFails(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	err := Run(context.Background(), r.o)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("run: %v", err)
	}
}

func TestListThatComesLateIsFound(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	list := filepath.Join(t.TempDir(), "list")
	r.set("", exchanges+"\tlist file '"+list+"'\n")
	d := r.inside()
	if d.target != nil || d.view.refused == nil {
		t.Fatalf("settings whose list is missing are in force: %+v", d.view)
	}
	d.loadAgain(t.Context())
	if d.target != nil {
		t.Fatal("they still are missing")
	}
	if err := os.WriteFile(list, []byte("late.example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.loadAgain(t.Context())
	if d.target == nil || d.view.refused != nil || len(d.view.settings.plan.Names) != 2 {
		t.Errorf("the list is not found: %+v", d.view)
	}
}

// inside makes a daemon that has started and whose loop is the test.
func (r *router) inside() *daemon {
	r.Helper()
	d, err := newDaemon(r.o)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(d.close)
	if err := d.start(r.Context()); err != nil {
		r.Fatal(err)
	}
	return d
}

// kernel is what a router's kernel shows of ours.
func (r *router) kernel() string {
	r.Helper()
	return r.run("nft list ruleset\nip -4 rule\nip -6 rule\nip -4 route show table all\ntc qdisc show")
}

func TestDisabledAndBack(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	before := r.kernel()
	r.set("", exchanges)
	r.start()
	for range 2 {
		r.set("\toption enabled '0'", exchanges)
		need(t, r.reload())
		expect(t, r.kernel() == before, "disabled, the kernel is not as before:\n%s\n%s", before, r.kernel())
		_, err := os.Stat(r.o.BPFDir)
		expect(t, errors.Is(err, os.ErrNotExist), "pins are left: %v", err)
		s := r.status()
		expect(t, !s.Running && r.problem("disabled"), "status: %+v", s)
		_, err = r.client().Flows(context.Background())
		expect(t, err != nil, "flows are answered")
		r.set("", exchanges)
		need(t, r.reload())
		expect(t, r.path("exchanges") == "other", "enabled again: %+v", r.status())
	}
}

func TestDevicesThatAppearLater(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run("ip link del br-lan\nip link del tun0\nip route del default")
	r.set("", exchanges)
	r.start()
	for _, words := range []string{"option lan: br-lan", "no default route", "tun0 does not exist", "destination exchanges is down"} {
		if !r.problem(words) {
			t.Errorf("%q is no problem of %q", words, r.status().Problems)
		}
	}
	r.run("ip link add br-lan type veth peer name far-br-lan\nip link set br-lan up\nip link set far-br-lan up\n" +
		"ip link add tun0 type veth peer name far-tun0\nip link set far-tun0 up\nip addr add 10.99.0.2/24 dev tun0\nip link set tun0 up\n" +
		"ip route add default via 9.9.1.1 dev wan")
	r.wait("everything is there", func() bool {
		s := r.status()
		return len(s.Problems) == 0 && slices.Equal(s.DataPlane.Devices, []string{"br-lan"})
	})
}

func TestFailureHalfWayGoesBackToTheOldSettings(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	rules := r.rules()
	release := r.seize()
	r.set("\toption mark_mask '0x00f00000'\n\toption max_addresses '2048'", pools)
	err := r.reload()
	expect(t, err != nil, "reload succeeds although the firewall cannot be changed")
	s := r.status()
	expect(t, len(s.Destinations) == 1 && s.Destinations[0].Name == "exchanges" && s.DataPlane.MaxAddresses == 16384,
		"status is not that of the old settings: %+v", s)
	expect(t, r.problem("cannot be applied"), "nobody is told: %q", s.Problems)
	release()
	r.wait("the old settings are in force whole", func() bool {
		return !r.problem("cannot be applied") && r.rules() == rules && r.path("exchanges") == "other" && strings.Contains(r.run("nft list ruleset"), "0x0f000000")
	})
	expect(t, r.problem("settings not applied"), "nobody is told that the file says otherwise: %q", r.status().Problems)
	need(t, r.reload())
	expect(t, !r.problem("not applied"), "problems: %q", r.status().Problems)
	expect(t, strings.Contains(r.rules(), "0xf00000") && r.path("pools") == "other", "the new settings:\n%s\n%+v", r.rules(), r.status())
}

func TestStartGoesOnWhereTheFirewallFails(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.run("nft add table inet routerd")
	release := r.seize()
	r.set("", exchanges)
	r.start()
	expect(t, r.problem("cannot be applied"), "nobody is told: %+v", r.status())
	_, err := r.client().Flows(context.Background())
	expect(t, err != nil, "flows are answered")
	release()
	r.wait("the settings are in force", func() bool { return r.path("exchanges") == "other" && !r.problem("cannot be applied") })
}

// seize makes routerd's nftables table somebody else's, until it is released.
func (r *router) seize() (release func()) {
	r.Helper()
	cmd := exec.Command("nft", "-i")
	in, err := cmd.StdinPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	if _, err := in.Write([]byte("delete table inet routerd; add table inet routerd { flags owner; }\n")); err != nil {
		r.Fatal(err)
	}
	r.wait("the table is theirs", func() bool { return strings.Contains(r.run("nft list ruleset"), "flags owner") })
	return func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
}

func TestHandlersBesideReloads(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			c := r.client()
			for ctx.Err() == nil {
				switch i % 3 {
				case 0:
					_, _ = c.Status(ctx)
				case 1:
					_, _ = c.Why(ctx, "5.5.5.7", lanClient)
				default:
					_, _ = c.Flows(ctx)
				}
			}
		})
	}
	for i := range 4 {
		r.set([]string{"\toption enabled '0'", "\toption max_addresses '2048'", "", "\toption mark_mask '0x00f00000'"}[i], exchanges+pools)
		if err := r.reload(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestRunEndsWhileItIsBusy(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	for i := range 6 {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- Run(ctx, r.o) }()
		go func() { _, _ = r.client().Reload(ctx) }()
		timer := time.AfterFunc(time.Duration(i)*40*time.Millisecond, stop)
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("after %d ms: %v", 40*i, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it does not end")
		}
		timer.Stop()
		stop()
	}
}

// The socket is not all that two daemons could share.
func TestASecondDaemonOnOneStateIsRefusedWhateverItsSocket(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	second := r.o
	second.Socket = filepath.Join(t.TempDir(), "other.sock")
	err := Run(context.Background(), second)
	expect(t, errors.Is(err, control.ErrRunning) && strings.Contains(err.Error(), "--state-dir"), "on one state directory: %v", err)
	second.StateDir = filepath.Join(t.TempDir(), "state")
	err = Run(context.Background(), second)
	expect(t, errors.Is(err, ebpf.ErrClaimed) && strings.Contains(err.Error(), r.o.BPFDir), "on one directory of pins: %v", err)
	expect(t, r.path("exchanges") == "other", "the first daemon: %+v", r.status())
	r.halt()
	r.start()
	expect(t, r.path("exchanges") == "other", "the next one: %+v", r.status())
}

func TestRunEndsWhenItsSocketFails(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	d := r.inside()
	served := make(chan error, 1)
	served <- errors.New("the socket is gone")
	if err := d.loop(t.Context(), served); err == nil {
		t.Error("the loop goes on without a control socket")
	}
}

func TestCleanupLeavesNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	before := r.kernel()
	r.set("", exchanges)
	r.start()
	err := Cleanup(context.Background(), r.o)
	expect(t, err != nil && strings.Contains(err.Error(), "stop it first"), "beside a daemon: %v", err)
	r.halt()
	for range 2 {
		need(t, Cleanup(context.Background(), r.o))
		expect(t, r.kernel() == before, "before:\n%s\nafter:\n%s", before, r.kernel())
		_, err := os.Stat(r.o.StateDir)
		expect(t, errors.Is(err, os.ErrNotExist), "state is left: %v", err)
	}
}

// The socket is not where a daemon's state is.
func TestCleanupIsRefusedBesideADaemonOfAnotherSocket(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	rules := r.rules()
	other := r.o
	other.Socket = filepath.Join(t.TempDir(), "other.sock")
	err := Cleanup(context.Background(), other)
	expect(t, errors.Is(err, control.ErrRunning) && strings.Contains(err.Error(), "stop it first"), "cleanup: %v", err)
	expect(t, r.rules() == rules && r.path("exchanges") == "other", "what is left:\n%s\n%+v", r.rules(), r.status())
}

// What a power cut leaves of a file must not switch protection off: nothing, or
// what stood first in it.
func TestSettingsThatAreCutOffLeaveTheOldOnesInForce(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	r.set("", exchanges)
	r.start()
	rules := r.rules()
	const mainOnly = "config routerd 'main'\n\tlist lan 'br-lan'\n"
	for text, words := range map[string]string{
		"":                      "no section at all",
		"# settings\n\n":        "no section at all",
		"\x00\x00\x00\x00":      "settings refused",
		mainOnly:                "neither a tunnel nor a destination",
		mainOnly + "config tun": "settings refused",
	} {
		need(t, os.WriteFile(r.o.ConfigFile, []byte(text), 0o600))
		err := r.reload()
		expect(t, err != nil && r.problem(words), "reload of %q: %v, %q", text, err, r.status().Problems)
		expect(t, r.path("exchanges") == "other" && r.rules() == rules, "reload of %q: %+v\nrules:\n%s", text, r.status(), r.rules())
		r.halt()
		r.start()
		r.wait("the last good settings are in force", func() bool { return r.path("exchanges") == "other" })
		expect(t, r.problem(words), "nobody is told that %q is not used: %q", text, r.status().Problems)
	}
	// Who means it says so.
	need(t, os.WriteFile(r.o.ConfigFile, []byte(mainOnly+"\toption enabled '0'\n"), 0o600))
	need(t, r.reload())
	r.wait("routerd is off", func() bool { return r.rules() == "" })
	// And a router on which nothing has been set up starts with what it has.
	need(t, os.WriteFile(r.o.ConfigFile, []byte(mainOnly), 0o600))
	need(t, r.reload())
	expect(t, r.status().Running, "status: %+v", r.status())
}
