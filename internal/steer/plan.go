// Package steer decides: from settings, catalogue and lists who goes where, and
// from the tunnels' state which path each destination takes now. It is pure: no
// kernel, no clock, no file.
package steer

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// ChainMax is how many destinations can share one rule: the data plane's limit.
const ChainMax = 4

// MaxRestricted is how many destinations can name clients.
const MaxRestricted = 64

// Plan is who goes where. It is never changed after Compile.
type Plan struct {
	Destinations []Destination // the enabled ones, in order of the settings
	Names        []NameRule
	Networks     []NetworkRule
	Clients      []ClientRule
	// Own is what the router's own connections reach by the networks of rules:
	// by index of the destination, no two of which overlap.
	Own map[int][]netip.Prefix
	// Rules finds what a name or an address is listed for.
	Rules *catalogue.Matcher[Chain]
}

// Destination is one enabled destination.
type Destination struct {
	Name     string
	Label    string
	Policy   config.Policy
	Fallback config.Fallback
	Tunnels  []string // enabled ones, in order of preference
	Rules    int      // names and networks it lists
	// Restricted destinations name clients: Bit is theirs in ClientRule.
	Restricted bool
	Bit        uint8
	// Unset: the settings have no tunnel at all. Until there is one nothing is
	// steered, so that a fresh installation cuts nobody off.
	Unset bool
}

// Closed says whether the destination must never use the WAN.
func (d *Destination) Closed() bool {
	if d.Policy == config.PolicyTunnel {
		return d.Fallback == config.FallbackBlock && !d.Unset
	}
	return d.Policy == config.PolicyBlock
}

// MayGoDirect says whether the destination's path can be the WAN, whatever the
// tunnels' state is now.
func (d *Destination) MayGoDirect() bool {
	switch d.Policy {
	case config.PolicyBlock:
		return false
	case config.PolicyTunnel:
		return !d.Closed()
	}
	return true
}

// Link is one destination of a chain, by its index in the plan.
type Link struct {
	Destination      int
	Include, Exclude bool // only for, or not for, clients with the bit
	Bit              uint8
}

// Chain is the destinations of one rule: the first that takes the client wins.
// Equal chains of a plan are one piece of memory.
type Chain []Link

// NameRule is what a name is listed for.
type NameRule struct {
	Name   string
	Full   Chain // the name itself; empty: as Suffix
	Suffix Chain // it and all below it; empty: what a shorter name is listed for
}

// NetworkRule is what a network is listed for.
type NetworkRule struct {
	Prefix netip.Prefix
	Chain  Chain
}

// ClientRule gives a client, or a network of them, its bits. A network has the
// bits of those around it too.
type ClientRule struct {
	Prefix           netip.Prefix // valid, or:
	MAC              [6]byte
	Include, Exclude uint64
}

// Source finds what settings refer to.
type Source interface {
	// Service is a service of the catalogue.
	Service(id string) (catalogue.Service, bool)
	// InCategory lists a category's services.
	InCategory(catalogue.Category) []catalogue.Service
	// File is the rules of a `list file`, read beforehand.
	File(path string) []catalogue.Rule
	// Lists is the rules of the lists that name a destination, read beforehand.
	Lists(destination string) []catalogue.Rule
}

// Compile makes the plan of settings.
func Compile(c *config.Config, src Source) (*Plan, error) {
	p := &Plan{Rules: catalogue.NewMatcher[Chain]()}
	b := builder{
		plan: p, full: map[string]Chain{}, suffix: map[string]Chain{}, nets: map[netip.Prefix]Chain{},
		shared: map[links]Chain{},
	}
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if !d.Enabled {
			continue
		}
		if err := b.destination(c, d, src); err != nil {
			return nil, err
		}
	}
	p.Names = b.names()
	p.Networks = b.networks()
	p.Clients = b.clientRules()
	p.Own = p.own()
	b.index()
	return p, nil
}

// builder gathers, for each name and network, the destinations that list it.
type builder struct {
	plan         *Plan
	full, suffix map[string]Chain
	nets         map[netip.Prefix]Chain
	shared       map[links]Chain
	clients      []clientBits
	bits         uint64 // that restricted destinations have
}

func (b *builder) destination(c *config.Config, d *config.Destination, src Source) error {
	out := Destination{
		Name: d.Name, Label: d.Label, Policy: d.Policy, Fallback: d.Fallback, Tunnels: tunnels(c, d.Tunnels),
		Unset: len(c.Tunnels) == 0,
	}
	link := Link{Destination: len(b.plan.Destinations), Include: len(d.Clients) > 0, Exclude: len(d.ExcludeClients) > 0}
	if link.Include || link.Exclude {
		if bits.OnesCount64(b.bits) == MaxRestricted {
			return fmt.Errorf("destination %s: more than %d destinations have option client or exclude_client", d.Name, MaxRestricted)
		}
		link.Bit = b.bit(d.Name)
		out.Restricted, out.Bit = true, link.Bit
		b.addClients(d, link.Bit)
	}
	for _, r := range Rules(d, src) {
		if b.add(r, link) {
			out.Rules++
		}
	}
	b.plan.Destinations = append(b.plan.Destinations, out)
	return nil
}

// bit takes the bit of a restricted destination. It hangs on the name, and on others'
// only where they want the same: while new settings are filled in, the kernel has
// clients' new bits and chains' old ones.
func (b *builder) bit(name string) uint8 {
	var bit uint8
	for _, c := range []byte(name) {
		bit = bit*31 + c
	}
	for bit %= MaxRestricted; b.bits>>bit&1 != 0; bit = (bit + 1) % MaxRestricted {
	}
	b.bits |= 1 << bit
	return bit
}

// Rules lists everything a destination lists, in the order in which it is
// written: own rules, services, categories, files, lists.
func Rules(d *config.Destination, src Source) []catalogue.Rule {
	rules := slices.Clone(d.Rules)
	for _, id := range d.Services {
		if s, ok := src.Service(id); ok {
			rules = append(rules, s.Rules...)
		}
	}
	for _, category := range d.Categories {
		for _, s := range src.InCategory(category) {
			rules = append(rules, s.Rules...)
		}
	}
	for _, f := range d.Files {
		rules = append(rules, src.File(f)...)
	}
	return append(rules, src.Lists(d.Name)...)
}

// add notes that a destination lists a rule; false where it does already.
func (b *builder) add(r catalogue.Rule, l Link) bool {
	switch r.Kind {
	case catalogue.RuleFull:
		return addLink(b.full, r.Name, l)
	case catalogue.RuleSuffix:
		return addLink(b.suffix, r.Name, l)
	case catalogue.RuleAddress:
		return addLink(b.nets, r.Prefix, l)
	}
	return false
}

func addLink[K comparable](m map[K]Chain, key K, l Link) bool {
	c := m[key]
	if slices.ContainsFunc(c, func(o Link) bool { return o.Destination == l.Destination }) {
		return false
	}
	m[key] = append(c, l)
	return true
}

// tunnels are the enabled tunnels of a destination in order of preference: its
// own list, or all by priority (the order of the settings).
func tunnels(c *config.Config, names []string) []string {
	var out []string
	enabled := map[string]bool{}
	for _, t := range c.Tunnels {
		if t.Enabled {
			enabled[t.Name] = true
			if len(names) == 0 {
				out = append(out, t.Name)
			}
		}
	}
	for _, n := range names {
		if enabled[n] {
			out = append(out, n)
		}
	}
	return out
}
