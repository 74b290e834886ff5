package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab"
)

func upCommand() *cobra.Command {
	var o lab.Options
	var firewall, dns string
	var asJSON, exit2IPv6, foreground bool
	c := &cobra.Command{
		Use: "up", Short: "Raise a lab and leave it running", Args: cobra.NoArgs,
		Long: `Raises a lab, checks it from a client over IPv4 and IPv6, and leaves it running
until "down". Interrupted at any moment, it leaves nothing behind.`,
		Example: `  scripts/lab up
  scripts/lab up --name two --firewall iptables
  scripts/lab up --dns isp
  scripts/lab up --exit2-ipv6=false --json
  scripts/lab up --foreground`,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Firewall, o.Exit2NoIPv6, o.Detach = lab.Firewall(firewall), !exit2IPv6, !foreground
			o.DNS = lab.DNS(dns)
			return raise(c, o, asJSON)
		},
	}
	c.Flags().StringVar(&o.Name, "name", "lab", "name of the lab; labs of different names run side by side")
	c.Flags().StringVar(&firewall, "firewall", string(lab.NFT), "of the router: nft (fw4), iptables (fw3), iptables-legacy")
	c.Flags().StringVar(&dns, "dns", string(lab.PublicDNS), "resolver that the router asks: public, or isp for the provider's own")
	c.Flags().BoolVar(&exit2IPv6, "exit2-ipv6", true, "the tunnel to exit2 carries IPv6")
	c.Flags().BoolVar(&foreground, "foreground", false, "stay; the lab ends with this command, however that ends")
	c.Flags().BoolVar(&asJSON, "json", false, "print the lab's state as JSON")
	return c
}

// raise raises a lab; one that is not detached is kept until a signal comes.
func raise(c *cobra.Command, o lab.Options, asJSON bool) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	o.Program, o.Progress = program, c.ErrOrStderr()
	l, err := lab.Up(c.Context(), o)
	if err != nil {
		return err
	}
	if err := printStatus(c.OutOrStdout(), l.Status(), asJSON); err != nil || o.Detach {
		return err
	}
	<-c.Context().Done()
	return l.Down()
}

func downCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "down", Short: "End a lab", Args: cobra.NoArgs,
		Long:    "Ends a lab with every process, device and file of it. Ending a lab that is not up is no error.",
		Example: "  scripts/lab down\n  scripts/lab down --name two\n  scripts/lab down --all",
	}
	name := nameFlag(c)
	all := c.Flags().Bool("all", false, "every lab on this machine")
	c.RunE = func(c *cobra.Command, _ []string) error {
		names := []string{*name}
		if *all {
			var err error
			if names, err = lab.List(); err != nil {
				return err
			}
		}
		for _, n := range names {
			if err := end(c.ErrOrStderr(), n); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func end(w io.Writer, name string) error {
	l, err := lab.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(w, "lab %s is not up\n", name)
		return nil
	}
	if err != nil {
		return err
	}
	return l.Down()
}

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Show the labs that are up", Args: cobra.NoArgs,
		Long:    "Shows each lab that is up with its hosts, their addresses and first process.",
		Example: "  scripts/lab status\n  scripts/lab status --name two --json",
	}
	name := c.Flags().String("name", "", "only this lab")
	asJSON := c.Flags().Bool("json", false, "one JSON object a lab")
	c.RunE = func(c *cobra.Command, _ []string) error {
		names := []string{*name}
		if *name == "" {
			var err error
			if names, err = lab.List(); err != nil {
				return err
			}
		}
		if len(names) == 0 {
			fmt.Fprintln(c.ErrOrStderr(), "no lab is up; raise one with: scripts/lab up")
		}
		for _, n := range names {
			l, err := lab.Open(n)
			if err != nil {
				return err
			}
			if err := printStatus(c.OutOrStdout(), l.Status(), *asJSON); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func printStatus(w io.Writer, s lab.Status, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	fmt.Fprintf(w, "lab %s, firewall %s\n", s.Name, s.Firewall)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, h := range s.Hosts {
		running := "runs"
		if !h.Running {
			running = "has ended"
		}
		fmt.Fprintf(t, "  %s\t%s\tpid %d\t%s\n", h.Name, running, h.PID, strings.Join(h.Addresses, "  "))
	}
	return t.Flush()
}
