package cli

import (
	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/owned"
)

// files are the places that flags can move, so that several daemons can run
// side by side in network namespaces.
type files struct {
	config    string
	socket    string
	state     string
	bpf       string
	tunnelDir string
	listDir   string
}

// tunnelDir is where wg-quick files are kept.
const tunnelDir = "/etc/routerd"

func defaultFiles() files {
	return files{
		config:    owned.ConfigFile,
		socket:    owned.Socket,
		state:     owned.StateDir,
		bpf:       owned.BPFDir,
		tunnelDir: tunnelDir,
		listDir:   owned.ListDir,
	}
}

func (a *app) configFlag(cmd *command.Command) {
	cmd.String(&a.files.config, "config", "settings `FILE` (UCI)")
}

func (a *app) socketFlag(cmd *command.Command) {
	cmd.String(&a.files.socket, "socket", "control socket `PATH`")
}

func (a *app) stateFlags(cmd *command.Command) {
	cmd.String(&a.files.state, "state-dir", "`DIR` of run-time state")
	cmd.String(&a.files.bpf, "bpf-dir", "`DIR` of pinned maps and links, on a BPF file system")
}

func (a *app) tunnelDirFlag(cmd *command.Command) {
	cmd.String(&a.files.tunnelDir, "tunnel-dir", "`DIR` of wg-quick files")
}

// jsonFlag adds --json and gives the place of its value.
func jsonFlag(cmd *command.Command) *bool {
	asJSON := new(bool)
	cmd.Switch(asJSON, "json", "print JSON and nothing else")
	return asJSON
}
