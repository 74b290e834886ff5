package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab/client"
)

// errFailed tells that results, already printed, are bad.
var errFailed = errors.New("failed, see the result")

func clientCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "client", Short: "What a client does in tests: burst, steady, stratum, fetch, udp-echo",
		Long: "Makes ordinary clients' traffic. Run it inside a host:\n  scripts/lab exec client rdlab client …",
	}
	var o client.Options
	flags := c.PersistentFlags()
	flags.IntVar(&o.Family, "family", 4, "4 or 6")
	flags.StringVar(&o.Server, "dns", "", "DNS server, address:port (default: that of /etc/resolv.conf)")
	flags.BoolVar(&o.Insecure, "insecure", false, "do not check certificates")
	flags.StringVar(&o.CA, "ca", "", "file of authorities (default: the system's)")
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if o.Family != 4 && o.Family != 6 {
			return usageError{fmt.Errorf("--family %d: use 4 or 6", o.Family)}
		}
		return nil
	}
	c.AddCommand(burstCommand(&o), steadyCommand(), stratumCommand(&o), fetchCommand(&o), echoCommand(&o))
	return c
}

func burstCommand(o *client.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "burst", Short: "Look up and open many names at once", Args: cobra.NoArgs,
		Long:    "For each name: a fresh lookup, at once TCP, TLS and a small GET; one JSON object a line.",
		Example: "  scripts/lab names --plain --all fresh | scripts/lab exec client rdlab client burst --names - --concurrency 50",
	}
	file := c.Flags().String("names", "-", "file of one name a line; - is standard input")
	concurrency := c.Flags().Int("concurrency", 20, "how many at a time")
	c.Flags().Uint16Var(&o.Port, "port", 443, "80 is plain HTTP, every other TLS")
	c.RunE = func(c *cobra.Command, _ []string) error {
		names, err := client.ReadNames(*file, c.InOrStdin())
		if err != nil {
			return err
		}
		failed, err := client.Burst(c.Context(), *o, names, *concurrency, c.OutOrStdout())
		if err == nil && failed > 0 {
			err = fmt.Errorf("%d of %d names: %w", failed, len(names), errFailed)
		}
		return err
	}
	return c
}

func steadyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "steady SERVER/NAME[/tcp] …", Short: "Look up the same names again and again", Args: cobra.MinimumNArgs(1),
		Long: `Asks each question at every interval, over TCP at every fortieth, once and without
waiting for earlier answers, until standard input ends, and then tells what came of
them as JSON.`,
		Example: "  scripts/lab exec client rdlab client steady 192.168.1.1:53/www.okx.com 22.8.8.8:53/www.okx.com/tcp",
	}
	every := c.Flags().Duration("every", 10*time.Millisecond, "from one lookup to the next")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, stop := context.WithCancel(c.Context())
		defer stop()
		go func() { // ends with standard input
			defer stop()
			_, _ = io.Copy(io.Discard, c.InOrStdin())
		}()
		results, err := client.Steady(ctx, args, *every)
		if err != nil {
			return err
		}
		return json.NewEncoder(c.OutOrStdout()).Encode(results)
	}
	return c
}

func stratumCommand(o *client.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "stratum HOST:PORT", Short: "Mine for a while", Args: cobra.ExactArgs(1),
		Long:    "Subscribes, authorises and submits a share a job; prints one JSON object at the end.",
		Example: "  scripts/lab exec client rdlab client stratum stratum.braiins.com:3333 --for 10s",
	}
	lasting := c.Flags().Duration("for", 10*time.Second, "how long")
	secure := c.Flags().Bool("tls", false, "over TLS")
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := client.Stratum(c.Context(), *o, args[0], *secure, *lasting)
		return printResult(c.OutOrStdout(), r, r.Error, err)
	}
	return c
}

func fetchCommand(o *client.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "fetch URL", Short: "Download a URL", Args: cobra.ExactArgs(1),
		Long:    "Downloads a URL over one family; prints one JSON object at the end.",
		Example: "  scripts/lab exec client rdlab client fetch https://www.okx.com/bytes/67108864",
	}
	limit := c.Flags().Int64("bytes", 0, "stop after so many; 0: at the end")
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := client.Fetch(c.Context(), *o, args[0], *limit, io.Discard)
		return printResult(c.OutOrStdout(), r, r.Error, err)
	}
	return c
}

func echoCommand(o *client.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "udp-echo HOST:PORT", Short: "Send datagrams and count the answers", Args: cobra.ExactArgs(1),
		Long:    "Sends datagrams from one socket, as QUIC does; prints one JSON object at the end.",
		Example: "  scripts/lab exec client rdlab client udp-echo www.okx.com:7 --count 10",
	}
	count := c.Flags().Int("count", 1, "how many")
	size := c.Flags().Int("size", 64, "bytes each")
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := client.Echo(c.Context(), *o, args[0], *count, *size)
		failed := r.Error
		if err == nil && failed == "" && r.Received < r.Sent {
			failed = "lost"
		}
		return printResult(c.OutOrStdout(), r, failed, err)
	}
	return c
}

// printResult prints what came of a session; a bad one is exit status 1.
func printResult(w io.Writer, result any, failed string, err error) error {
	if err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(result); err != nil {
		return err
	}
	if failed != "" {
		return errFailed
	}
	return nil
}
