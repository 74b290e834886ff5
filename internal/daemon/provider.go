package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// resolvFiles are where the provider's resolvers stand, by what wrote them:
// netifd since OpenWrt 21.02, netifd before, anything else. Paths are below the
// root.
var resolvFiles = [...]string{"tmp/resolv.conf.d/resolv.conf.auto", "tmp/resolv.conf.auto", "etc/resolv.conf"}

// providerResolvers are the resolvers that the line came with, in order: the
// nameservers of the first file that has some which are not the router itself.
func providerResolvers(root string) []netip.Addr {
	for _, name := range resolvFiles {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		if servers := nameservers(string(raw)); len(servers) > 0 {
			return servers
		}
	}
	return nil
}

// nameservers reads the lines "nameserver ADDRESS" of resolv.conf(5).
func nameservers(text string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		if err == nil && !a.IsLoopback() && !a.IsUnspecified() && a.Zone() == "" && !slices.Contains(out, a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out
}
