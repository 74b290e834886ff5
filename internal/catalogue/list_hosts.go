package catalogue

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// hosts reads a line of hosts(5): an address, then names. Each name is a rule
// for that name only. The names that every such file has for the machine itself
// are passed over without a word.
func (c *collector) hosts(text string) error {
	text, _, _ = strings.Cut(text, "#")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil
	}
	if _, err := netip.ParseAddr(fields[0]); err != nil {
		c.fail(fmt.Errorf("%q is not an address; a line of a hosts file is an address and names, like 0.0.0.0 example.org", shorten(fields[0])))
		return nil
	}
	if len(fields) == 1 {
		c.fail(fmt.Errorf("no name follows the address %s", fields[0]))
	}
	for _, name := range fields[1:] {
		if isOwnName(name) {
			continue
		}
		if err := c.takeName(RuleFull, name); err != nil {
			return err
		}
	}
	return nil
}

// isOwnName says whether a name of a hosts file stands for the machine itself,
// its networks, or nothing.
func isOwnName(name string) bool {
	return slices.Contains([]string{
		"localhost", "localhost.localdomain", "localhost4", "localhost6", "local", "broadcasthost", "loopback", "0.0.0.0",
		"localhost4.localdomain4", "localhost6.localdomain6",
		"ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
	}, lowerASCII(name))
}
