package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config/uci"
)

// errForeign is wrapped where settings of another program hold nothing that can
// be taken over.
var errForeign = errors.New("nothing can be taken over")

// Migration is what settings of another program become.
type Migration struct {
	Text  []byte   // sections of our settings, to be added to them
	Notes []string // what could not be taken over, and why
}

// migration collects sections.
type migration struct {
	out     strings.Builder
	notes   []string
	names   map[string]bool // of our sections
	devices map[string]string
	env     Env
}

// Migrate takes over the settings of "pbr" or "podkop" from the text of their UCI
// file. Only what means the same here is taken: names and addresses, the clients
// that they count for, and the interface. Everything else is a note.
func Migrate(program, name string, text []byte) (Migration, error) {
	f, err := uci.Parse(name, text)
	if err != nil {
		return Migration{}, err
	}
	env, err := DefaultEnv()
	if err != nil {
		return Migration{}, err
	}
	m := &migration{names: map[string]bool{}, devices: map[string]string{}, env: env}
	readers := map[string]func(*uci.Section){"pbr": m.pbr, "podkop": m.podkop}
	read, ok := readers[program]
	if !ok {
		return Migration{}, fmt.Errorf("settings of %q: pbr and podkop are known", program)
	}
	for _, s := range f.Sections() {
		read(s)
	}
	if m.out.Len() == 0 {
		return Migration{Notes: m.notes}, fmt.Errorf("%s: %w: it has no policy over names or addresses", name, errForeign)
	}
	return Migration{Text: []byte(m.out.String()), Notes: m.notes}, nil
}

// words are the values of an option or a list, each split at white space.
func words(s *uci.Section, names ...string) []string {
	var out []string
	for _, name := range names {
		if o, ok := s.Option(name); ok {
			for _, v := range o.Values {
				out = append(out, strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) })...)
			}
		}
	}
	return out
}

func first(s *uci.Section, names ...string) string {
	if w := words(s, names...); len(w) > 0 {
		return w[0]
	}
	return ""
}

func (m *migration) note(s *uci.Section, format string, a ...any) {
	m.notes = append(m.notes, s.Type+" "+s.Ref+": "+fmt.Sprintf(format, a...))
}

// pbr takes over `config policy`: names, addresses, clients and the interface.
func (m *migration) pbr(s *uci.Section) {
	if s.Type != "policy" {
		return
	}
	if first(s, "enabled") == "0" {
		m.note(s, "is disabled and left out")
		return
	}
	for _, name := range []string{"src_port", "dest_port", "chain"} {
		if v := words(s, name); len(v) > 0 {
			m.note(s, "option %s %q has no counterpart: the rule counts for every port", name, strings.Join(v, " "))
		}
	}
	label := ""
	if o, ok := s.Option("name"); ok {
		label = o.Values[0]
	}
	device := first(s, "interface")
	// Targets of pbr's own that are no interfaces.
	switch strings.ToLower(device) {
	case "tor", "xray":
		m.note(s, "interface %q has no counterpart, and the policy is left out", device)
		return
	case "ignore":
		device = "wan"
	}
	m.section(s, label, device, words(s, "dest_addr"), words(s, "src_addr"))
}

// podkop takes over sections that use an interface; its proxies have no
// counterpart.
func (m *migration) podkop(s *uci.Section) {
	if s.Type != "section" && s.Type != "main" && s.Type != "extra" {
		return
	}
	mode := first(s, "connection_type", "mode")
	if mode != "" && mode != "vpn" {
		m.note(s, "%s %q has no counterpart: set up a WireGuard tunnel and import that", "connection", mode)
		return
	}
	for _, list := range words(s, "community_lists", "domain_list") {
		m.note(s, "the list %q is podkop's own: pick services of the catalogue, or add a list of somebody's by `config list`", list)
	}
	if all := words(s, "fully_routed_ips", "all_traffic_ip"); len(all) > 0 {
		m.note(s, "%s: podkop routes all that these devices send, which has no counterpart: routerd steers by destination", strings.Join(all, " "))
	}
	m.section(s, s.Name, first(s, "interface"),
		words(s, "user_domains", "user_domains_text", "user_subnets", "user_subnets_text", "custom_domains", "custom_domains_text", "custom_subnets", "custom_subnets_text"), nil)
}

// section writes a destination, and before it the tunnel that it needs.
func (m *migration) section(s *uci.Section, label, device string, targets, clients []string) {
	rules := m.rules(s, targets)
	if len(rules) == 0 {
		m.note(s, "names no name and no address, and is left out: routerd steers by destination")
		return
	}
	kept := m.clients(s, clients)
	if len(clients) > 0 && len(kept) == 0 {
		m.note(s, "counts for no client that can be named here, and is left out")
		return
	}
	policy, tunnel := "direct", ""
	if device != "wan" && device != "" {
		policy, tunnel = "tunnel", m.tunnel(device)
	}
	name := m.free(label, s.Type)
	fmt.Fprintf(&m.out, "\nconfig destination %s\n\toption label %s\n\toption policy '%s'\n", uci.Quote(name), uci.Quote(labelOr(label, name)), policy)
	if tunnel != "" {
		fmt.Fprintf(&m.out, "\tlist tunnel '%s'\n", tunnel)
	}
	for _, r := range rules {
		fmt.Fprintf(&m.out, "\tlist %s %s\n", ruleList(r), uci.Quote(r.String()))
	}
	for _, c := range kept {
		fmt.Fprintf(&m.out, "\tlist client %s\n", uci.Quote(c))
	}
}

// rules are the targets that are rules here; the others are noted.
func (m *migration) rules(s *uci.Section, targets []string) []catalogue.Rule {
	var rules []catalogue.Rule
	for _, t := range targets {
		rule, err := m.env.ParseRule(strings.TrimPrefix(t, "@"))
		if err != nil {
			m.note(s, "%v", err)
			continue
		}
		rules = append(rules, rule)
	}
	return rules
}

func labelOr(label, name string) string {
	if label == "" {
		return name
	}
	return label
}

// clients are those that can be named here; the others are noted.
func (m *migration) clients(s *uci.Section, clients []string) []string {
	var kept []string
	for _, c := range clients {
		if _, err := parseClient(c); err != nil {
			m.note(s, "client %q: %v", c, err)
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// tunnel writes the tunnel of a device, once.
func (m *migration) tunnel(device string) string {
	if name, ok := m.devices[device]; ok {
		return name
	}
	const longest = 12
	name := slug(device)
	name = m.free(name[:min(len(name), longest-2)], "vpn")
	m.devices[device] = name
	fmt.Fprintf(&m.out, "\nconfig tunnel '%s'\n\toption type 'interface'\n\toption device %s\n", name, uci.Quote(device))
	return name
}

// free is a section's name that is not taken.
func (m *migration) free(label, other string) string {
	base := slug(label)
	if base == "" {
		base = other
	}
	name := base
	for i := 2; m.names[name] || slices.Contains([]string{"main", "direct", "block"}, name); i++ {
		name = fmt.Sprintf("%s%d", base, i)
	}
	m.names[name] = true
	return name
}

// slug makes a text fit for a section's name.
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r == ' ' || r == '-' || r == '.':
			return '_'
		}
		return -1
	}, strings.ToLower(s))
	const longest = 24
	return strings.Trim(s[:min(len(s), longest)], "_")
}
