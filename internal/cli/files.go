package cli

import (
	"github.com/spf13/cobra"

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

func (a *app) configFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.files.config, "config", a.files.config, "settings `FILE` (UCI)")
}

func (a *app) socketFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.files.socket, "socket", a.files.socket, "control socket `PATH`")
}

func (a *app) stateFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.files.state, "state-dir", a.files.state, "`DIR` of run-time state")
	cmd.Flags().StringVar(&a.files.bpf, "bpf-dir", a.files.bpf, "`DIR` of pinned maps and links, on a BPF file system")
}

func (a *app) tunnelDirFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.files.tunnelDir, "tunnel-dir", a.files.tunnelDir, "`DIR` of wg-quick files")
}

// jsonFlag adds --json and gives the place of its value.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON and nothing else")
}
