package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

func ispCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "isp KIND|list|clear", Short: "Have the provider interfere, or a service refuse",
		Long: `Begins, lists and ends interference with the customer's traffic, and services that
refuse or are down. Several go on at a time; each ends with "clear" or the lab,
and leaves nothing behind. A name stands for itself and every name below it. The
words after the kind may be names and addresses (or prefixes); without any, all
traffic of the kind is meant.`,
		Example: `  scripts/lab isp dns-forge okx.com                      # A and AAAA lead to the block page
  scripts/lab isp dns-forge okx.com --answer nxdomain
  scripts/lab isp tls-reset binance.com --family 4
  scripts/lab isp freeze kraken.com --bytes 16384
  scripts/lab isp loss 20 --direction in
  scripts/lab isp wg-handshake 22.50.0.1
  scripts/lab isp service-status bybit.com 451
  scripts/lab isp --name two list
  scripts/lab isp clear i3
  scripts/lab isp clear`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				x := lab.Interference{Kind: interfere.Kind(args[0])}
				return usageError{x.Complete()}
			}
			return c.Help() //nolint:wrapcheck // of our own output
		},
	}
	name := c.PersistentFlags().String("name", "lab", "which lab")
	c.AddCommand(ispListCommand(name), ispClearCommand(name))
	for _, info := range interfere.Kinds() {
		c.AddCommand(kindCommand(info, name))
	}
	return c
}

// kindCommand is the command of one kind, with the options that it takes.
func kindCommand(info interfere.Info, name *string) *cobra.Command {
	c := &cobra.Command{
		Use: string(info.Kind) + words(info), Short: info.Short, Long: info.Long,
		Example: "  scripts/lab isp " + info.Example,
	}
	x := lab.Interference{Kind: info.Kind}
	addFlags(c, &x, info)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := positional(&x, info, args); err != nil {
			return usageError{err}
		}
		if err := x.Complete(); err != nil {
			return usageError{err}
		}
		l, err := lab.Open(*name)
		if err != nil {
			return err
		}
		id, err := l.BeginInterference(c.Context(), x)
		if err == nil {
			fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", id, x)
		}
		return err
	}
	return c
}

// words are the arguments in a command's usage line.
func words(info interfere.Info) string {
	var out string
	for _, f := range []interfere.Field{interfere.Percent, interfere.Delay} {
		if slices.Contains(info.Takes, f) {
			out += " " + string(f)
		}
	}
	names, addresses := slices.Contains(info.Takes, interfere.Names), slices.Contains(info.Takes, interfere.Addresses)
	switch {
	case names && addresses:
		out += " [NAME|ADDRESS…]"
	case names:
		out += " [NAME…]"
	case addresses:
		out += " [ADDRESS…]"
	}
	if slices.Contains(info.Takes, interfere.Status) {
		out += " " + string(interfere.Status)
	}
	return out
}

// addFlags adds the options that a kind takes.
func addFlags(c *cobra.Command, x *lab.Interference, info interfere.Info) {
	all := optionsOf(x, info)
	for _, field := range info.Takes {
		if add, ok := all[field]; ok {
			add(c, strings.TrimPrefix(string(field), "--"))
		}
	}
}

// optionsOf says how each field that is an option becomes one.
func optionsOf(x *lab.Interference, info interfere.Info) map[interfere.Field]func(*cobra.Command, string) {
	type add = func(*cobra.Command, string)
	return map[interfere.Field]add{
		interfere.Family: func(c *cobra.Command, name string) { c.Flags().IntVar(&x.Family, name, 0, "4 or 6 only") },
		interfere.Directions: func(c *cobra.Command, name string) {
			c.Flags().Var(&plainWord{(*string)(&x.Direction)}, name, "out (from the customer) or in only")
		},
		interfere.Protocol: func(c *cobra.Command, name string) {
			c.Flags().StringVar(&x.Protocol, name, "", "tcp or udp only")
		},
		interfere.Ports: func(c *cobra.Command, name string) {
			c.Flags().Var(&numbers{&x.Ports}, name, "ports of the far side only, with commas between")
		},
		interfere.Servers: func(c *cobra.Command, name string) {
			c.Flags().Var(&servers{&x.Servers}, name, "lookups sent to this DNS server only; isp is the provider's")
		},
		interfere.Answer: func(c *cobra.Command, name string) { c.Flags().StringVar(&x.Answer, name, "", answerHelp(info)) },
		interfere.Bytes: func(c *cobra.Command, name string) {
			c.Flags().Uint64Var(&x.Bytes, name, 0, fmt.Sprintf("after so many (default %d)", info.Default.Bytes))
		},
		interfere.Kbit: func(c *cobra.Command, name string) {
			c.Flags().Uint64Var(&x.Kbit, name, 0, fmt.Sprintf("kbit/s (default %d)", info.Default.Kbit))
		},
		interfere.On: func(c *cobra.Command, name string) {
			c.Flags().StringVar(&x.On, name, "", "syn or data (default syn)")
		},
		interfere.Messages: func(c *cobra.Command, name string) {
			c.Flags().StringSliceVar(&x.Messages, name, nil, "initiation or response only")
		},
		interfere.Silent: func(c *cobra.Command, name string) {
			c.Flags().BoolVar(&x.Silent, name, false, "do not answer, instead of refusing")
		},
	}
}

func answerHelp(info interfere.Info) string {
	if info.Kind == interfere.HTTPBlockPage {
		return "redirect or page (default redirect)"
	}
	return "block-page, nxdomain, empty or addresses with commas between (default block-page)"
}

// positional reads the words after the kind.
func positional(x *lab.Interference, info interfere.Info, args []string) error {
	var err error
	takes := func(f interfere.Field) bool { return slices.Contains(info.Takes, f) && len(args) > 0 }
	switch {
	case takes(interfere.Percent):
		if x.Percent, err = strconv.ParseFloat(strings.TrimSuffix(args[0], "%"), 64); err != nil {
			return fmt.Errorf("%s: percentage %q: use a number such as 20", info.Kind, args[0])
		}
		args = args[1:]
	case takes(interfere.Delay):
		if x.Delay, err = time.ParseDuration(args[0]); err != nil {
			return fmt.Errorf("%s: duration %q: use one such as 150ms", info.Kind, args[0])
		}
		args = args[1:]
	case takes(interfere.Status):
		last := args[len(args)-1]
		if x.Status, err = strconv.Atoi(last); err != nil {
			return fmt.Errorf("%s: status %q: put one of %v last", info.Kind, last, interfere.Statuses())
		}
		args = args[:len(args)-1]
	}
	sortWords(x, args)
	return nil
}

// sortWords tells names from addresses.
func sortWords(x *lab.Interference, args []string) {
	for _, word := range args {
		if a, err := netip.ParseAddr(word); err == nil {
			x.Addresses = append(x.Addresses, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(word); err == nil {
			x.Addresses = append(x.Addresses, p)
		} else {
			x.Names = append(x.Names, word)
		}
	}
}

// plainWord is a string of a type of its own.
type plainWord struct{ to *string }

func (w *plainWord) String() string     { return "" }
func (w *plainWord) Set(s string) error { *w.to = s; return nil }
func (w *plainWord) Type() string       { return "string" }

// numbers are ports.
type numbers struct{ to *[]uint16 }

func (n *numbers) String() string { return "" }
func (n *numbers) Type() string   { return "ports" }

func (n *numbers) Set(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("port %q: use 1 to 65535", word)
		}
		*n.to = append(*n.to, uint16(port))
	}
	return nil
}

// servers are addresses of DNS servers.
type servers struct{ to *[]netip.Addr }

func (n *servers) String() string { return "" }
func (n *servers) Type() string   { return "addresses" }

func (n *servers) Set(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		if word == "isp" {
			*n.to = append(*n.to, netip.MustParseAddr(lab.ISPResolver4), netip.MustParseAddr(lab.ISPResolver6))
			continue
		}
		a, err := netip.ParseAddr(word)
		if err != nil {
			return errors.New("use an address, or isp for the provider's resolver")
		}
		*n.to = append(*n.to, a)
	}
	return nil
}

func ispListCommand(name *string) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List what goes on, with what it has touched", Args: cobra.NoArgs,
		Example: "  scripts/lab isp list\n  scripts/lab isp list --json",
	}
	asJSON := c.Flags().Bool("json", false, "one JSON object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := lab.Open(*name)
		if err != nil {
			return err
		}
		all, err := l.Interferences(c.Context())
		if err != nil {
			return err
		}
		return printInterferences(c.OutOrStdout(), all, *asJSON)
	}
	return c
}

func printInterferences(w io.Writer, all []lab.Interference, asJSON bool) error {
	t, out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), json.NewEncoder(w)
	for _, x := range all {
		if !asJSON {
			fmt.Fprintf(t, "%s\t%d hits\t%s\n", x.ID, x.Hits, x)
		} else if err := out.Encode(x); err != nil {
			return err
		}
	}
	return t.Flush()
}

func ispClearCommand(name *string) *cobra.Command {
	c := &cobra.Command{
		Use: "clear [ID|KIND…]", Short: "End interference: all of it, or by ID or kind",
		Example: "  scripts/lab isp clear\n  scripts/lab isp clear i2 tls-reset",
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		l, err := lab.Open(*name)
		if err != nil {
			return err
		}
		return l.ClearInterference(c.Context(), args...)
	}
	return c
}
