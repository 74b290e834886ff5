package e2e_test

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
)

func TestTunnelIsUpOnlyWhenRoutesLeadIntoIt(t *testing.T) {
	for _, firewall := range lab.Firewalls() {
		t.Run(string(firewall), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ownLab(t, lab.Options{Firewall: firewall}))
			w.configure(usualSettings)
			w.start()
			w.firstUp("home")
			for _, family := range families() {
				if routes := w.routesInto("rd-home", family); !strings.Contains(routes, "default") {
					t.Errorf("the tunnel is up, and no IPv%d route leads into it: %q", family, routes)
				}
			}
			w.goes(lab.Client, overHome, lab.FreshNames()[1830:1850]...)
		})
	}
}

// firstUp waits until the status says of a tunnel that it is up, and looks often.
func (w *world) firstUp(name string) control.Status {
	w.Helper()
	var s control.Status
	within(w.T, usual, "tunnel "+name+" is up", func() bool {
		s, _ = w.tryStatus()
		return tunnel(s, name).State == "up"
	})
	return s
}

// routesInto are the routes of all tables that lead to a device.
func (w *world) routesInto(device string, family int) string {
	w.Helper()
	return w.onRouter("ip", map[int]string{4: "-4", 6: "-6"}[family], "route", "show", "table", "all", "dev", device)
}

// A destination of addresses: nothing has to be looked up to be sent there.
const listedNetworks = `
config destination 'networks'
	option check_direct '0'
	list address '22.10.0.0/15'
	list address '2d00:10::/32'
`

// The provider sees a listed destination's packets until the programs are there,
// and none from then on, whatever is done to rules, routes and firewall on the way
// into the tunnel.
func TestNothingLeavesWhileTheWayIntoTheTunnelIsMade(t *testing.T) {
	for _, firewall := range lab.Firewalls() {
		t.Run(string(firewall), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ownLab(t, lab.Options{Firewall: firewall}))
			name := lab.FreshNames()[1851]
			to := addresses(t, name)
			stop := w.floods(lab.Client, name)
			within(t, usual, "packets leave without routerd", func() bool { return w.packets(lab.ISP, to...) > 0 })
			w.configure(observing + homeTunnel + listedNetworks)
			w.start()
			// It answers first when the programs are there and no route leads on yet.
			within(t, usual, "status answers", func() bool { s, ok := w.tryStatus(); return ok && len(s.DataPlane.Devices) > 0 })
			before := w.packets(lab.ISP, to...)
			for _, a := range to {
				within(t, usual, "packets go through the tunnel", func() bool { return w.packets(lab.Exit, a) > 10 })
			}
			w.must("reload")
			stop()
			if n := w.packets(lab.ISP, to...) - before; n > 0 {
				t.Errorf("%d packets left by the WAN after the programs were there", n)
			}
		})
	}
}

// floods sends a name's addresses a datagram and a SYN some hundred times a second,
// each from a new port, until stop.
func (w *world) floods(host, name string) (stop func()) {
	w.Helper()
	// Reading what nobody writes is bash's way to pause.
	const script = "exec 9<> <(:); while :; do for kind in udp tcp; do (exec 8<>/dev/$kind/$0/80; echo x >&8) & done; read -rt 0.02 -u 9; done 2>/dev/null"
	ctx, cancel := context.WithCancel(context.Background())
	var running []*exec.Cmd
	for _, a := range addresses(w.T, name) {
		cmd := w.lab.Command(ctx, host, "bash", "-c", script, a.String())
		if err := cmd.Start(); err != nil {
			w.Fatal(err)
		}
		running = append(running, cmd)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		for _, cmd := range running {
			_ = cmd.Wait()
		}
	})
	w.Cleanup(stop)
	return stop
}
