package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/internal/tunnel"
)

// wireguardCommand is what the daemon starts for a userspace tunnel.
func (a *app) wireguardCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "wireguard",
		Hidden: true,
		Short:  "Carry one WireGuard tunnel in userspace",
		Long: `Carries one WireGuard tunnel in userspace until its device is deleted. The
daemon starts it; it outlives the daemon, and ` + "`wg show`" + ` can read it.`,
		Example: `  routerd wireguard --device rd-home`,
		Args:    cobra.NoArgs,
	}
	device := cmd.Flags().String("device", "", "`DEVICE` to create")
	_ = cmd.MarkFlagRequired("device") // fails for a flag that does not exist only
	cmd.RunE = a.action(func(ctx context.Context, _ []string) error {
		return tunnel.RunUserspace(ctx, tunnel.UserspaceOptions{Device: *device})
	})
	return cmd
}
