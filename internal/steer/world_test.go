package steer

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// lists is a Source of its own: a service's name, or a file's, to what it lists.
type lists struct {
	services   map[string][]catalogue.Rule
	categories map[catalogue.Category][]string
	files      map[string][]catalogue.Rule
	lists      map[string][]catalogue.Rule // by destination
}

func (l lists) Service(id string) (catalogue.Service, bool) {
	rules, ok := l.services[id]
	return catalogue.Service{ID: id, Rules: rules}, ok
}

func (l lists) InCategory(c catalogue.Category) []catalogue.Service {
	var out []catalogue.Service
	for _, id := range l.categories[c] {
		s, _ := l.Service(id)
		out = append(out, s)
	}
	return out
}

func (l lists) File(path string) []catalogue.Rule { return l.files[path] }

func (l lists) Lists(destination string) []catalogue.Rule { return l.lists[destination] }

// rules parses rules in the syntax of the settings, and a single word, which
// those refuse, as a suffix.
func rules(t testing.TB, texts ...string) []catalogue.Rule {
	t.Helper()
	out := make([]catalogue.Rule, len(texts))
	for i, text := range texts {
		if !strings.ContainsAny(text, ".:") {
			out[i] = catalogue.Rule{Kind: catalogue.RuleSuffix, Name: text}
			continue
		}
		r, err := catalogue.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = r
	}
	return out
}

// clients makes clients of addresses and networks; "m1" is a hardware address.
func clients(t testing.TB, texts ...string) []config.Client {
	t.Helper()
	var out []config.Client
	for _, text := range texts {
		if text[0] == 'm' {
			out = append(out, config.Client{MAC: mac(text[1])})
			continue
		}
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, config.Client{Prefix: p})
			continue
		}
		a := netip.MustParseAddr(text)
		out = append(out, config.Client{Prefix: netip.PrefixFrom(a, a.BitLen())})
	}
	return out
}

func mac(last byte) [6]byte { return [6]byte{2, 0, 0, 0, 0, last} }

// dest is a destination that lists rules.
func dest(t testing.TB, name string, texts ...string) config.Destination {
	t.Helper()
	return config.Destination{
		Name: name, Enabled: true, Policy: config.PolicyTunnel, Fallback: config.FallbackBlock, Rules: rules(t, texts...),
	}
}

// only restricts a destination to clients.
func only(t testing.TB, d config.Destination, texts ...string) config.Destination {
	t.Helper()
	d.Clients = clients(t, texts...)
	return d
}

// not keeps clients out of a destination.
func not(t testing.TB, d config.Destination, texts ...string) config.Destination {
	t.Helper()
	d.ExcludeClients = clients(t, texts...)
	return d
}

func compile(t testing.TB, src Source, dests ...config.Destination) *Plan {
	t.Helper()
	p, err := Compile(&config.Config{Tunnels: []config.Tunnel{{Name: "home", Enabled: true}}, Destinations: dests}, src)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// taken is the destination that a name or an address has for a client; "" none.
func taken(p *Plan, query, client string, hw [6]byte) string {
	var c Chain
	var ok bool
	if a, err := netip.ParseAddr(query); err == nil {
		c, _, ok = p.Rules.Address(a)
	} else {
		c, _, ok = p.Rules.Name(query)
	}
	if !ok {
		return ""
	}
	addr, _ := netip.ParseAddr(client)
	i, ok := p.Taker(c, addr, hw)
	if !ok {
		return ""
	}
	return p.Destinations[i].Name
}
