package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab"
)

func namesCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "names [WORD…]", Short: "List the names of the lab's internet",
		Long: `Lists the names of the lab's internet that hold every WORD in their name, service
or CNAME chain. The 4,000 generated ones are left out unless --all is given.`,
		Example: "  scripts/lab names binance\n  scripts/lab names --plain --all fresh | head -1000\n  scripts/lab names --json pool",
	}
	all := c.Flags().Bool("all", false, "the generated names too (nNNNNN.fresh.…, nNNNNN.plain.example)")
	plain := c.Flags().Bool("plain", false, "names only, as `rdlab client burst` reads them")
	asJSON := c.Flags().Bool("json", false, "one JSON object a name")
	c.RunE = func(c *cobra.Command, words []string) error {
		names, err := lab.Names()
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(n lab.Name) bool { return !wanted(n, words, *all) })
		return printNames(c.OutOrStdout(), names, *plain, *asJSON)
	}
	return c
}

func wanted(n lab.Name, words []string, all bool) bool {
	if !all && n.Generated() {
		return false
	}
	text := strings.Join(append([]string{n.Name, n.Service}, n.CNAME...), " ")
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
}

func printNames(w io.Writer, names []lab.Name, plain, asJSON bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	out := json.NewEncoder(w)
	for _, n := range names {
		switch {
		case asJSON:
			if err := out.Encode(n); err != nil {
				return err
			}
		case plain:
			fmt.Fprintln(w, n.Name)
		default:
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.Service, some(n.A), some(n.AAAA), extras(n))
		}
	}
	return t.Flush()
}

// some is the first address and how many there are beside it.
func some(all []netip.Addr) string {
	if len(all) > 1 {
		return fmt.Sprintf("%s +%d", all[0], len(all)-1)
	}
	return all[0].String()
}

func extras(n lab.Name) string {
	var out []string
	if len(n.CNAME) > 0 {
		out = append(out, "CNAME "+strings.Join(n.CNAME, " → "))
	}
	if n.HTTPS != nil {
		out = append(out, "HTTPS "+n.HTTPS.String())
	}
	for _, p := range n.Ports {
		out = append(out, fmt.Sprintf("stratum :%d", p))
	}
	return strings.Join(out, ", ")
}

func countsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "counts [HOST]", Short: "Show packets counted by destination address",
		Long: `Shows how many packets each host outside the router counted, by destination
address and protocol: isp those that came out of the router's WAN, exit and
exit2 those that came out of their WireGuard tunnel.`,
		Example: "  scripts/lab counts\n  scripts/lab counts isp --reset\n  scripts/lab counts exit --json",
		Args:    cobra.MaximumNArgs(1),
	}
	name := nameFlag(c)
	reset := c.Flags().Bool("reset", false, "set all counters to nothing afterwards")
	asJSON := c.Flags().Bool("json", false, "one JSON object a line")
	c.RunE = func(c *cobra.Command, args []string) error {
		l, err := lab.Open(*name)
		if err != nil {
			return err
		}
		hosts := args
		if len(hosts) == 0 {
			hosts = []string{lab.ISP, lab.Exit, lab.Exit2}
		}
		for _, host := range hosts {
			if err := printCounts(c.OutOrStdout(), l, host, *asJSON); err != nil {
				return err
			}
		}
		if *reset {
			return l.ResetCounts()
		}
		return nil
	}
	return c
}

func printCounts(w io.Writer, l *lab.Lab, host string, asJSON bool) error {
	all, err := l.CountsByProtocol(host)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b lab.Count) int { return a.Address.Compare(b.Address) })
	known, err := namesByAddress()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	out := json.NewEncoder(w)
	for _, c := range all {
		if asJSON {
			if err := out.Encode(map[string]any{
				"host": host, "address": c.Address, "protocol": c.Protocol,
				"packets": c.Packets, "bytes": c.Bytes, "names": known[c.Address],
			}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d packets\t%d bytes\t%s\n", host, c.Address, c.Protocol, c.Packets, c.Bytes, strings.Join(known[c.Address], ", "))
	}
	return t.Flush()
}

func namesByAddress() (map[netip.Addr][]string, error) {
	names, err := lab.Names()
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr][]string{}
	for _, n := range names {
		for _, a := range slices.Concat(n.A, n.AAAA) {
			out[a] = append(out[a], n.Name)
		}
	}
	return out, nil
}
