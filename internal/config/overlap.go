package config

import (
	"fmt"
	"slices"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config/uci"
)

// claim is the first destination that lists something for all clients.
type claim struct {
	destination string
	via         string // "" when it lists it itself, else the service it is in
}

// claims are what destinations list, those without a restriction of clients
// only: what they list never reaches a destination further down.
type claims struct {
	rules      map[catalogue.Rule]claim
	services   map[string]claim
	categories map[catalogue.Category]claim
	all        []catalogue.Service
}

// checkOverlaps notes what a destination lists in vain because one that stands
// before it lists the same.
func (r *reader) checkOverlaps(c *Config, sections []*uci.Section) {
	taken := claims{
		rules: map[catalogue.Rule]claim{}, services: map[string]claim{}, categories: map[catalogue.Category]claim{},
		all: r.env.Services(),
	}
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if !d.Enabled {
			continue
		}
		r.noteOverlaps(taken, sections[i], d)
		if len(d.Clients) == 0 && len(d.ExcludeClients) == 0 {
			taken.add(d)
		}
	}
}

// noteOverlaps notes what of a section is taken.
func (r *reader) noteOverlaps(taken claims, s *uci.Section, d *Destination) {
	find := map[string]func(string) (claim, bool){
		"service":  func(id string) (claim, bool) { c, ok := taken.services[id]; return c, ok },
		"category": func(name string) (claim, bool) { c, ok := taken.categories[catalogue.Category(name)]; return c, ok },
		"domain":   func(text string) (claim, bool) { return taken.rule(r.env, text) },
		"address":  func(text string) (claim, bool) { return taken.rule(r.env, text) },
	}
	for _, o := range s.Options {
		look, ok := find[o.Name]
		if !ok {
			continue
		}
		for i, text := range o.Values {
			first, ok := look(text)
			if !ok || first.destination == d.Name {
				continue
			}
			v := value{r: r, section: s.Ref, option: o.Name, text: text, line: o.Lines[i]}
			v.note(fmt.Sprintf("is in destination %s too%s, which stands before %s: %s wins",
				first.destination, first.via, d.Name, first.destination),
				fmt.Sprintf("remove it from one of them, or put %s first", d.Name))
		}
	}
}

// rule finds who lists the same rule.
func (t claims) rule(env Env, text string) (claim, bool) {
	rule, err := env.ParseRule(text)
	if err != nil {
		return claim{}, false // told already
	}
	c, ok := t.rules[rule]
	return c, ok
}

// add claims what a destination lists.
func (t claims) add(d *Destination) {
	for _, rule := range d.Rules {
		putFirst(t.rules, rule, claim{destination: d.Name})
	}
	for _, c := range d.Categories {
		putFirst(t.categories, c, claim{destination: d.Name})
	}
	for _, s := range t.all {
		switch {
		case slices.Contains(d.Services, s.ID):
			putFirst(t.services, s.ID, claim{destination: d.Name})
		case slices.Contains(d.Categories, s.Category):
			putFirst(t.services, s.ID, claim{destination: d.Name, via: fmt.Sprintf(" (by category %s)", s.Category)})
		default:
			continue
		}
		for _, rule := range s.Rules {
			putFirst(t.rules, rule, claim{destination: d.Name, via: fmt.Sprintf(" (by service %s)", s.ID)})
		}
	}
}

// putFirst keeps what is in a map already.
func putFirst[K comparable](m map[K]claim, key K, c claim) {
	if _, ok := m[key]; !ok {
		m[key] = c
	}
}
