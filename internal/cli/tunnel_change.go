package cli

import (
	"context"
	"fmt"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/config"
)

// changeTunnel does one of the changes that take nothing but a name.
func (a *app) changeTunnel(name, action string) error {
	if err := checkTunnelName(name); err != nil {
		return err
	}
	switch action {
	case "enable":
		return config.EnableTunnel(a.files.config, name, true)
	case "disable":
		return config.EnableTunnel(a.files.config, name, false)
	case "prefer":
		return config.PreferTunnel(a.files.config, name)
	}
	return usageError{fmt.Errorf("action %q: enable, disable or prefer is allowed", action)}
}

func (a *app) tunnelChangeCommand(action, short string) *command.Command {
	cmd := &command.Command{
		Use:     action + " NAME",
		Short:   short,
		Example: "  routerd tunnel " + action + " home",
		Args:    command.Exactly(1),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		if err := a.changeTunnel(args[0], action); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}

func (a *app) tunnelAttachCommand() *command.Command {
	cmd := &command.Command{
		Use:   "attach NAME DEVICE",
		Short: "Use an interface of somebody else's as a tunnel",
		Long: `Adds a tunnel that is a device, or a network of netifd, which somebody else sets
up: WireGuard, AmneziaWG, OpenVPN and others. routerd sends packets into it and
leaves it alone otherwise.`,
		Example: `  routerd tunnel attach other awg0`,
		Args:    command.Exactly(2),
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		if err := checkTunnelName(args[0]); err != nil {
			return err
		}
		if err := config.AttachTunnel(a.files.config, args[0], args[1]); err != nil {
			return err
		}
		if err := a.print(fmt.Sprintf("tunnel %s added (device %s)", args[0], clean(args[1]))); err != nil {
			return err
		}
		return a.apply(ctx)
	}
	return cmd
}
