package main

import (
	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab"
)

// usageError marks errors of the command line.
type usageError struct{ error }

// rootCommand holds every command.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "A small internet in network namespaces: clients, a router, a provider, servers, WireGuard exits",
		Long: `A small internet in network namespaces: two LAN clients behind an OpenWrt-like
router, a provider, servers, a public resolver and two WireGuard exits. Nothing
of it touches the machine's own network. docs/lab.md has a drawing.`,
		Example: `  scripts/lab up
  scripts/lab exec client curl https://www.binance.com/
  scripts/lab shell router
  scripts/lab counts isp
  scripts/lab down`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(upCommand(), downCommand(), execCommand(), shellCommand(), statusCommand(),
		namesCommand(), countsCommand(), clientCommand(), holdCommand(), wireguardCommand(), serveCommand(), ispCommand(), interfereCommand())
	return root
}

// nameFlag adds --name.
func nameFlag(c *cobra.Command) *string { return c.Flags().String("name", "lab", "which lab") }

func holdCommand() *cobra.Command {
	var o lab.HoldOptions
	c := &cobra.Command{
		Use: "hold", Hidden: true, Short: "be PID 1 of a host", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return lab.Hold(o, c.InOrStdin(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&o.Lab, "lab", "", "name of the lab")
	c.Flags().StringVar(&o.Host, "host", "", "name of the host")
	c.Flags().StringVar(&o.ID, "id", "", "this raising of the lab")
	c.Flags().StringVar(&o.StateDir, "state-dir", "", "where the state files are")
	return c
}
