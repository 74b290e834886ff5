package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/test/lab"
)

// userspaceTunnel are settings with one tunnel, in userspace.
const userspaceTunnel = `config routerd 'main'
	option dns 'observe'
	list lan 'br-lan'

config tunnel 'home'
	option config '/etc/routerd/home.conf'
	option backend 'userspace'
`

// The plain tunnel: wireguard-go as rdlab runs it.
const (
	plainDevice = "wg-plain"
	plainFile   = "/run/bench-wireguard.json"
)

// carrier is one tunnel that is measured, from the router to its exit.
type carrier struct {
	exit string     // host
	far  netip.Addr // of the exit, inside the tunnel
	pid  string     // of the process on the router
}

// measureWireGuard compares routerd's process of a tunnel with wireguard-go as it is.
// The other end, in the same machine, is wireguard-go as it is for both.
func measureWireGuard(ctx context.Context, r *run) (rows []Row, err error) {
	d, err := r.start(ctx, userspaceTunnel, tunnelUp)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stopDaemon(context.WithoutCancel(ctx), d)) }()
	if err := r.startPlain(ctx); err != nil {
		return nil, err
	}
	plain := carrier{exit: lab.Exit2, far: netip.MustParseAddr("10.51.0.1")}
	ours := carrier{exit: lab.Exit, far: netip.MustParseAddr("10.50.0.1")}
	for _, c := range []struct {
		*carrier
		device, process string
	}{{&plain, plainDevice, "wireguard " + plainFile}, {&ours, owned.Device("home"), "wireguard --device " + owned.Device("home")}} {
		if err := r.ready(ctx, c.carrier, c.device, c.process); err != nil {
			return nil, fmt.Errorf("tunnel %s: %w", c.device, err)
		}
		l, err := r.serveBulk(c.exit)
		if err != nil {
			return nil, err
		}
		defer l.Close()
	}
	return r.carry(ctx, plain, ours)
}

// startPlain starts wireguard-go on the router, to the second exit. It ends with the
// lab.
func (r *run) startPlain(ctx context.Context) error {
	quick, err := r.lab.WGQuick("other")
	if err != nil {
		return err
	}
	c, err := plainConfig(string(quick))
	if err != nil {
		return err
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	if err := r.lab.WriteFile(lab.Router, plainFile, raw, 0o600); err != nil {
		return err
	}
	if err := r.lab.Start(lab.Router, exec.Command(r.lab.Program(), "wireguard", plainFile)); err != nil {
		return err
	}
	return poll(ctx, func() bool {
		up := false
		err := r.lab.Inside(lab.Router, func() error {
			l, err := net.InterfaceByName(plainDevice)
			up = err == nil && l.Flags&net.FlagUp != 0
			return err
		})
		return err == nil && up
	})
}

// plainConfig reads a wg-quick file of the lab's.
func plainConfig(quick string) (lab.WireGuardConfig, error) {
	c := lab.WireGuardConfig{Device: plainDevice, MTU: plainMTU, Userspace: true}
	for line := range strings.Lines(quick) {
		key, value, found := strings.Cut(strings.TrimSpace(line), " = ")
		if !found {
			continue
		}
		switch key {
		case "PrivateKey":
			c.PrivateKey = value
		case "PublicKey":
			c.PeerKey = value
		case "PresharedKey":
			c.PresharedKey = value
		case "Endpoint":
			c.Endpoint = value
		}
		prefixes := map[string]*[]netip.Prefix{"Address": &c.Addresses, "AllowedIPs": &c.AllowedIPs}[key]
		if prefixes == nil {
			continue
		}
		for part := range strings.SplitSeq(value, ", ") {
			p, err := netip.ParsePrefix(part)
			if err != nil {
				return c, fmt.Errorf("read %s: %w", key, err)
			}
			*prefixes = append(*prefixes, p)
		}
	}
	return c, nil
}

// plainMTU is that of both tunnels.
const plainMTU = 1420

// ready routes a tunnel's far address into it and finds its process.
func (r *run) ready(ctx context.Context, c *carrier, device, process string) error {
	err := r.lab.Inside(lab.Router, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMTU(l, plainMTU); err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{
			LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: c.far.AsSlice(), Mask: net.CIDRMask(32, 32)},
		})
	})
	if err != nil {
		return err
	}
	out, err := r.lab.Run(ctx, lab.Router, "pgrep", "-f", process)
	if err != nil {
		return err
	}
	pids := strings.Fields(string(out))
	c.pid = pids[len(pids)-1]
	_, err = r.lab.Run(ctx, lab.Router, "ping", "-c", "1", "-W", "10", c.far.String())
	return err
}

// carry measures both tunnels. By processor time it is what the router's process
// alone costs; the other figures have the far end's in them too, which shares the
// machine.
func (r *run) carry(ctx context.Context, plain, ours carrier) ([]Row, error) {
	rows := []Row{
		{What: "download, TCP, 1 connection", Unit: "Gbit/s", More: true},
		{What: "download, TCP, 16 connections", Unit: "Gbit/s", More: true},
		{What: "download, by the process's processor time", Unit: "Gbit/s", More: true},
		{What: "memory of the process", Unit: "MB"},
	}
	for i := range rows {
		rows[i].Base, rows[i].Ours = "wireguard-go", "routerd"
	}
	one := func(c carrier, into func(*Row) *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			values, err := r.carryOnce(ctx, c)
			for i, v := range values {
				*into(&rows[i]) = append(*into(&rows[i]), v)
			}
			return err
		}
	}
	return rows, r.turns(ctx, "tunnels in userspace", [2]func(context.Context) error{
		one(plain, func(row *Row) *[]float64 { return &row.Theirs }),
		one(ours, func(row *Row) *[]float64 { return &row.Got }),
	})
}

// carryOnce gives one value for each row of carry.
func (r *run) carryOnce(ctx context.Context, c carrier) ([]float64, error) {
	half := r.Each / 2
	single, err := r.download(ctx, lab.Router, c.far, 1, half)
	if err != nil {
		return nil, err
	}
	before, err := r.spent(ctx, c.pid)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	many, err := r.download(ctx, lab.Router, c.far, 16, half)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	after, err := r.spent(ctx, c.pid)
	if err != nil {
		return nil, err
	}
	memory, err := r.resident(ctx, c.pid)
	perProcessor := many * took.Seconds() / max(after-before, 1.0/ticksPerSecond)
	return []float64{single / 1e9, many / 1e9, perProcessor / 1e9, memory}, err
}

// resident is the memory of a process of the router's, in megabytes.
func (r *run) resident(ctx context.Context, pid string) (float64, error) {
	out, err := r.lab.Run(ctx, lab.Router, "cat", "/proc/"+pid+"/status")
	if err != nil {
		return 0, err
	}
	return parseResident(string(out))
}

// parseResident reads VmRSS of proc_pid_status(5), which is in KiB.
func parseResident(status string) (float64, error) {
	for line := range strings.Lines(status) {
		value, found := strings.CutPrefix(line, "VmRSS:")
		if !found {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory of a process: %w", err)
		}
		return float64(kib) * 1024 / 1e6, nil
	}
	return 0, errors.New("read memory of a process: there is no VmRSS")
}
