package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/config"
)

// maxForeign is the size of the largest file of another program's settings.
const maxForeign = 1 << 20

func (a *app) importCommand() *command.Command {
	cmd := &command.Command{
		Use:   "import pbr|podkop FILE",
		Short: "Turn settings of pbr or podkop into ours, for you to look at",
		Long: `Reads the settings of pbr or podkop and prints sections that mean the same here:
names and addresses, the clients that they count for, and the interface. What has
no counterpart is told on standard error. Nothing is changed: look at the result,
add it to the settings, and switch the other program off.`,
		Example: `  routerd import pbr /etc/config/pbr
  routerd import podkop /etc/config/podkop >>/etc/config/routerd && routerd validate`,
		Args: command.Exactly(2),
	}
	cmd.Run = func(_ context.Context, args []string) error {
		f, err := os.Open(args[1])
		if err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		defer func() { _ = f.Close() }()
		text, err := io.ReadAll(io.LimitReader(f, maxForeign))
		if err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		m, err := config.Migrate(args[0], args[1], text)
		for _, n := range m.Notes {
			a.complain("note: %s", clean(n))
		}
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(m.Text)
		return err
	}
	return cmd
}
