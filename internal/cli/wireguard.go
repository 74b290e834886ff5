package cli

import (
	"context"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/tunnel"
)

// wireguardCommand is what the daemon starts for a userspace tunnel.
func (a *app) wireguardCommand() *command.Command {
	cmd := &command.Command{
		Use:    "wireguard",
		Hidden: true,
		Short:  "Carry one WireGuard tunnel in userspace",
		Long: `Carries one WireGuard tunnel in userspace until its device is deleted. The
daemon starts it; it outlives the daemon, and ` + "`wg show`" + ` can read it.`,
		Example: `  routerd wireguard --device rd-home`,
		Args:    command.None,
	}
	var device string
	cmd.String(&device, "device", "`DEVICE` to create").Required = true
	cmd.Run = func(ctx context.Context, _ []string) error {
		return tunnel.RunUserspace(ctx, tunnel.UserspaceOptions{Device: device})
	}
	return cmd
}
