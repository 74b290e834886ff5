package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/tunnel"
)

// maxQuick is one byte more than what tunnel.ParseQuick takes: it tells a file
// that is too long.
const maxQuick = 64<<10 + 1

func (a *app) tunnelCommand() *command.Command {
	cmd := &command.Command{
		Use:   "tunnel",
		Short: "Import, make, list, test, rank and remove tunnels",
		Example: `  routerd tunnel import home ./home.conf
  routerd tunnel list`,
	}
	cmd.Add(
		a.tunnelImportCommand(), a.tunnelCreateCommand(), a.tunnelListCommand(), a.tunnelTestCommand(),
		a.tunnelAttachCommand(), a.tunnelChangeCommand("enable", "Switch a tunnel on, and apply that"),
		a.tunnelChangeCommand("disable", "Switch a tunnel off, and apply that"),
		a.tunnelChangeCommand("prefer", "Rank a tunnel before all others, and apply that"), a.tunnelRemoveCommand(),
	)
	return cmd
}

func (a *app) tunnelImportCommand() *command.Command {
	cmd := &command.Command{
		Use:   "import NAME FILE",
		Short: "Take a wg-quick file into the settings, and apply that",
		Long: `Checks a wg-quick file, keeps a copy that only root can read, adds a tunnel of
that name to the settings and makes the daemon apply it. "-" reads standard
input. The device is named rd-NAME. With --replace a tunnel that exists uses the
new file instead of what it used before. No key is ever printed.`,
		Example: `  routerd tunnel import home ./home.conf
  ssh vpn.example.net cat client.conf | routerd tunnel import home -
  routerd tunnel import home ./new-keys.conf --replace`,
		Args: command.Exactly(2),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.tunnelDirFlag(cmd)
	var replace bool
	cmd.Switch(&replace, "replace", "use the file for a tunnel that exists already")
	cmd.Run = func(ctx context.Context, args []string) error {
		if err := checkTunnelName(args[0]); err != nil {
			return err
		}
		quick, err := a.readQuick(args[1])
		if err != nil {
			return err
		}
		if err := a.importTunnel(args[0], quick, replace); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}

// checkTunnelName is config.CheckTunnelName of what was typed.
func checkTunnelName(name string) error {
	if err := config.CheckTunnelName(name); err != nil {
		return usageError{err}
	}
	return nil
}

// readQuick reads and checks a wg-quick file, and tells its notes.
func (a *app) readQuick(file string) ([]byte, error) {
	quick, err := a.readInput(file)
	if err != nil {
		return nil, err
	}
	settings, err := tunnel.ParseQuick(bytes.NewReader(quick))
	if err != nil {
		return nil, fmt.Errorf("%s is not imported:\n%w", inputName(file), err)
	}
	for _, n := range settings.Notes {
		a.complain("note: %s", clean(noteText(n)))
	}
	return quick, nil
}

func inputName(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func noteText(n tunnel.Note) string {
	text := n.Text
	if n.Option != "" {
		text = n.Option + ": " + text
	}
	if n.Line > 0 {
		text = fmt.Sprintf("line %d: %s", n.Line, text)
	}
	return text
}

func (a *app) readInput(file string) ([]byte, error) {
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the wg-quick file: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	quick, err := io.ReadAll(io.LimitReader(in, maxQuick))
	if err != nil {
		return nil, fmt.Errorf("read the wg-quick file: %w", err)
	}
	return quick, nil
}

// importTunnel is storeTunnel, told.
func (a *app) importTunnel(name string, quick []byte, replace bool) error {
	path, existed, err := a.storeTunnel(name, quick, replace)
	switch {
	case err != nil:
		return err
	case existed:
		return a.print(fmt.Sprintf("tunnel %s uses the new %s", name, path))
	}
	return a.print(fmt.Sprintf("tunnel %s added (%s)", name, path))
}

// storeTunnel writes the file and then the section: a section never names a
// file that is not there.
func (a *app) storeTunnel(name string, quick []byte, replace bool) (path string, existed bool, err error) {
	path, err = filepath.Abs(filepath.Join(a.files.tunnelDir, name+".conf"))
	if err != nil {
		return "", false, fmt.Errorf("name the wg-quick file: %w", err)
	}
	existed, err = a.tunnelExists(name)
	switch {
	case err != nil:
		return "", false, err
	case existed && !replace:
		return "", false, fmt.Errorf("%w (%s); take another one, or --replace to use this file for it", config.ErrTunnelExists, name)
	}
	if err := writeSecret(path, quick, replace); err != nil {
		return "", false, err
	}
	if err := config.AddTunnel(a.files.config, name, path, replace); err != nil {
		if !existed {
			_ = os.Remove(path)
		}
		return "", false, err
	}
	return path, existed, nil
}

// tunnelExists looks for a tunnel in the settings.
func (a *app) tunnelExists(name string) (bool, error) {
	c, _, err := config.Load(a.files.config)
	if err != nil {
		return false, fmt.Errorf("%w (see `routerd validate`)", err)
	}
	return slices.ContainsFunc(c.Tunnels, func(t config.Tunnel) bool { return t.Name == name }), nil
}

// writeSecret writes a file that only its owner can read, whole or not at all.
// Without replace it refuses a file that is there.
func writeSecret(path string, text []byte, replace bool) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of wg-quick files: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".import-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the wg-quick file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone after a rename
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the wg-quick file: %w", err)
	}
	put := os.Rename
	if !replace {
		put = os.Link // refuses, in one step, to take another file's place
	}
	err = put(tmp.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already, though no tunnel uses it; move it away or give another name", path)
	}
	if err != nil {
		return fmt.Errorf("write the wg-quick file: %w", err)
	}
	return nil
}

func (a *app) tunnelListCommand() *command.Command {
	cmd := &command.Command{
		Use:     "list",
		Short:   "List the tunnels of the settings, and how they are",
		Example: `  routerd tunnel list`,
		Args:    command.None,
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	cmd.Run = func(ctx context.Context, _ []string) error {
		c, _, err := config.Load(a.files.config)
		if err != nil {
			return fmt.Errorf("%w (see `routerd validate`)", err)
		}
		status, err := a.client().Status(ctx)
		if err != nil && !errors.Is(err, control.ErrNotRunning) {
			return err
		}
		if len(c.Tunnels) == 0 {
			return a.print("No tunnel is set up: add one with `routerd tunnel import NAME FILE`.")
		}
		return a.printTable(tunnelTable(c.Tunnels, status))
	}
	return cmd
}

// tunnelTable joins settings and states; without a daemon nothing is known.
func tunnelTable(tunnels []config.Tunnel, status control.Status) *table {
	live := map[string]control.TunnelStatus{}
	for _, s := range status.Tunnels {
		live[s.Name] = s
	}
	t := &table{columns: []column{
		{title: "TUNNEL"},
		{title: "TYPE"},
		{title: "DEVICE"},
		{title: "PRIORITY", right: true},
		{title: "STATE"},
		{title: "SETTINGS", least: 12},
	}}
	for _, u := range tunnels {
		settings := u.File
		if settings == "" && u.Type == config.TunnelWireGuard {
			settings = "inline"
		}
		t.add("", text(u.Name), text(string(u.Type)), text(deviceOf(u)), text(strconv.Itoa(u.Priority)),
			state(stateOf(u, status.Running, live)), text(orDash(settings)))
	}
	return t
}

// deviceOf is the device of a tunnel as the settings name it.
func deviceOf(t config.Tunnel) string {
	if t.Type == config.TunnelInterface {
		return t.Device
	}
	return owned.Device(t.Name)
}

func stateOf(t config.Tunnel, running bool, live map[string]control.TunnelStatus) string {
	s, known := live[t.Name]
	switch {
	case !t.Enabled:
		return "disabled"
	case !running:
		return "not running"
	case !known:
		return "not loaded"
	}
	return s.State
}
