package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/tunnel"
)

// tunnelFacts is what may be shown of a tunnel's settings: no secret.
type tunnelFacts struct {
	Name       string   `json:"name"`
	Enabled    bool     `json:"enabled"`
	Type       string   `json:"type"`
	Device     string   `json:"device"`
	Priority   int      `json:"priority"`
	File       string   `json:"file"`
	PublicKey  string   `json:"public_key"` // this router's
	Addresses  []string `json:"addresses"`
	Endpoints  []string `json:"endpoints"`
	AllowedIPs []string `json:"allowed_ips"`
	Notes      []string `json:"notes"`
	Problem    string   `json:"problem"` // why its settings cannot be used; "": they can
}

// tunnelFacts reads the tunnels of the settings, with what their files say.
func (a *app) tunnelFacts() ([]tunnelFacts, error) {
	c, _, err := config.Load(a.files.config)
	if err != nil {
		return nil, fmt.Errorf("%w (see `routerd validate`)", err)
	}
	out := []tunnelFacts{}
	for _, t := range c.Tunnels {
		f := tunnelFacts{
			Name: t.Name, Enabled: t.Enabled, Type: string(t.Type), Device: deviceOf(t), Priority: t.Priority, File: t.File,
			Addresses: []string{}, Endpoints: []string{}, AllowedIPs: []string{}, Notes: []string{},
		}
		settings, err := tunnel.FromConfig(t)
		if err != nil {
			f.Problem = err.Error()
		} else if t.Type == config.TunnelWireGuard {
			f.add(settings)
		}
		out = append(out, f)
	}
	return out, nil
}

func (f *tunnelFacts) add(s tunnel.Settings) {
	f.PublicKey = s.PrivateKey.PublicKey().String()
	for _, p := range s.Addresses {
		f.Addresses = append(f.Addresses, p.String())
	}
	for _, peer := range s.Peers {
		f.Endpoints = append(f.Endpoints, peer.Endpoint.String())
		for _, p := range peer.AllowedIPs {
			f.AllowedIPs = append(f.AllowedIPs, p.String())
		}
	}
	for _, n := range s.Notes {
		f.Notes = append(f.Notes, noteText(n))
	}
}

func (a *app) tunnelRemoveCommand() *command.Command {
	cmd := &command.Command{
		Use:   "remove NAME",
		Short: "Remove a tunnel, its keys too, and apply that",
		Long: `Removes a tunnel from the settings, from the destinations that name it, and its
file with the keys if that is in routerd's own directory, and makes the daemon
apply it.`,
		Example: `  routerd tunnel remove home`,
		Args:    command.Exactly(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.tunnelDirFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		if err := checkTunnelName(args[0]); err != nil {
			return err
		}
		file, err := a.removeTunnel(args[0])
		if err != nil {
			return err
		}
		text := "tunnel " + args[0] + " removed"
		if file != "" {
			text += " (and " + file + ")"
		}
		if err := a.print(text); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}

// removeTunnel removes a tunnel and then its file, which it names; a file that
// lies elsewhere is somebody else's.
func (a *app) removeTunnel(name string) (file string, err error) {
	used, err := config.RemoveTunnel(a.files.config, name)
	if err != nil {
		return "", err
	}
	own, err := filepath.Abs(a.files.tunnelDir)
	if err != nil || used == "" || filepath.Dir(used) != own {
		return "", nil
	}
	if err := os.Remove(used); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return "", fmt.Errorf("the tunnel is removed, its file is not: %w", err)
	}
	return used, nil
}

func (a *app) tunnelTestCommand() *command.Command {
	cmd := &command.Command{
		Use:   "test NAME",
		Short: "Wait until a tunnel is up, or say why it is not",
		Long: `Waits until the other end of a tunnel answers, and says how; or says after
--timeout what keeps it from being up. The exit status is 1 then.`,
		Example: `  routerd tunnel test home
  routerd tunnel test home --timeout 5s`,
		Args: command.Exactly(1),
	}
	a.socketFlag(cmd)
	limit := 20 * time.Second
	cmd.Duration(&limit, "timeout", "`TIME` to wait")
	cmd.Run = func(ctx context.Context, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		t, err := a.awaitTunnel(ctx, args[0])
		if err != nil {
			return err
		}
		if t.State != stateUp {
			return fmt.Errorf("tunnel %s is %s: %s", t.Name, clean(t.State), clean(orDash(t.Reason)))
		}
		return a.print(fmt.Sprintf("tunnel %s is up on %s, handshake %s, round trip %s",
			t.Name, t.Device, agoText(t.LastHandshakeS), rttText(t.RTTMs)))
	}
	return cmd
}

// stateUp is the state of a tunnel that works.
const stateUp = "up"

// awaitTunnel looks at a tunnel every half second until it is up or ctx ends,
// and gives what it saw last.
func (a *app) awaitTunnel(ctx context.Context, name string) (control.TunnelStatus, error) {
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	var last control.TunnelStatus
	for {
		// The last look is not cut short by the end of the wait.
		s, err := a.client().Status(context.WithoutCancel(ctx))
		if err != nil {
			return last, err
		}
		found := false
		for _, t := range s.Tunnels {
			if t.Name == name {
				last, found = t, true
			}
		}
		if !found {
			return last, fmt.Errorf("the daemon has no tunnel %q: see `routerd tunnel list`", name)
		}
		if last.State == stateUp {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, nil
		case <-tick.C:
		}
	}
}
