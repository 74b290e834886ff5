package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab/interfere"
	"github.com/routerd/routerd/test/lab/serve"
)

func wireguardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wireguard FILE", Hidden: true, Short: "be an exit's WireGuard peer", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return serve.WireGuard(c.Context(), args[0]) },
	}
}

func interfereCommand() *cobra.Command {
	return &cobra.Command{
		Use: "interfere CONFIG", Hidden: true, Short: "be a host's controller of interference", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var config interfere.Config
			if err := json.Unmarshal([]byte(args[0]), &config); err != nil {
				return fmt.Errorf("read settings: %w", err)
			}
			return interfere.Serve(c.Context(), config)
		},
	}
}

func serveCommand() *cobra.Command {
	var o serve.StratumOptions
	var echo string
	c := &cobra.Command{
		Use: "serve", Hidden: true, Short: "be net's Stratum and echo server", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// Neither ends by itself but with an error.
			ended := make(chan error, 2)
			go func() { ended <- serve.Stratum(c.Context(), o) }()
			go func() { ended <- serve.Echo(c.Context(), echo) }()
			return <-ended
		},
	}
	c.Flags().StringArrayVar(&o.Listen, "stratum", nil, "address:port")
	c.Flags().StringVar(&o.Certificates, "certificates", "", "directory")
	c.Flags().StringVar(&o.Statuses, "statuses", "", "directory")
	c.Flags().StringVar(&echo, "echo", ":7", "address:port")
	return c
}
