package chaos

import (
	"fmt"
	"strings"

	"github.com/routerd/routerd/test/lab"
)

// settings are the router's, as far as events change them. In every variant the
// names of exchanges and pools are closed to the WAN.
type settings struct {
	preferred    string // tunnel
	mask         string // mark_mask
	maxAddresses int
	dns          string
	level        string
	extra        bool // one more destination, of a name that nobody uses
	split        bool // pools are a destination of their own
}

// usual are those that a run begins with.
func usual() settings {
	return settings{
		preferred: "home", mask: "0x0f000000", maxAddresses: 3000, dns: "secure", level: "info", split: true,
	}
}

// change is what Reload does to the usual settings.
type change struct {
	words  string
	change func(*settings)
}

// changes are all that Reload does, each in its turn.
func changes() []change {
	return []change{
		{"the other tunnel is preferred", func(s *settings) { s.preferred = "other" }},
		{"one more destination", func(s *settings) { s.extra = true }},
		{"another mask of marks", func(s *settings) { s.mask = "0x00f00000" }},
		{"one destination for all", func(s *settings) { s.split = false }},
		{"lookups are observed only", func(s *settings) { s.dns = "observe" }},
		{"a larger map and all messages", func(s *settings) { s.level, s.maxAddresses = "debug", s.maxAddresses+1000 }},
	}
}

// tunnels lists the names of the lab's tunnels.
func tunnels() []string { return []string{"home", "other"} }

// String is the text of /etc/config/routerd.
func (s settings) String() string {
	out := fmt.Sprintf(`config routerd 'main'
	list lan 'br-lan'
	option dns '%s'
	list resolver 'https://%[2]s/dns-query'
	list resolver 'tls://%[2]s'
	option mark_mask '%[3]s'
	option max_addresses '%[4]d'
	option log_level '%[5]s'
`, s.dns, lab.Resolver4, s.mask, s.maxAddresses, s.level)
	for _, name := range tunnels() {
		priority := 20
		if name == s.preferred {
			priority = 10
		}
		out += fmt.Sprintf("\nconfig tunnel '%[1]s'\n\toption config '/etc/routerd/%[1]s.conf'\n\toption priority '%[2]d'\n", name, priority)
	}
	return out + s.destinations()
}

// destinations are checked over tunnels only: what the provider counts is then
// clients' traffic.
func (s settings) destinations() string {
	groups := [][]string{{"exchange", "pool"}}
	if s.split {
		groups = [][]string{{"exchange"}, {"pool"}}
	}
	out := ""
	for _, categories := range groups {
		out += fmt.Sprintf("\nconfig destination '%ss'\n\toption check_direct '0'\n", categories[0])
		for _, c := range categories {
			out += fmt.Sprintf("\tlist category '%s'\n", c)
		}
	}
	if s.extra {
		out += "\nconfig destination 'extra'\n\toption check_direct '0'\n\tlist domain 'nobody.example'\n"
	}
	return out
}

// corruptions are settings files that must be refused.
func corruptions() []string {
	good := usual().String()
	return []string{
		"\x00\xff\xfe garbage \x1b[0m '\n",
		good[:strings.LastIndex(good, "'")], // cut in the middle of a value
		good + "\toption policy 'tunel'\n",
	}
}
