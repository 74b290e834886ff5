package daemon

import (
	"net/url"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
)

// maxFixedHosts bounds the names that are looked up without anybody asking: some
// ten times what the whole catalogue has.
const maxFixedHosts = 8192

// fixedHosts lists the listed names that are known to be hosts, those that matter
// most first, each once: hosts of checks, servers of pools, names of full: rules,
// and names of suffix rules themselves. Names below a suffix are known only when
// somebody asks for them. Long lists from elsewhere come last and are cut.
func fixedHosts(s *settings) []string {
	if !s.secure() || s.unset() {
		return nil
	}
	h := hosts{settings: s, seen: map[string]bool{}}
	for _, d := range s.cfg.Destinations {
		if d.Enabled && d.Policy != config.PolicyDirect {
			h.addDestination(d)
		}
	}
	for _, r := range s.plan.Names {
		if len(r.Full) > 0 {
			h.add(r.Name)
		}
	}
	for _, r := range s.plan.Names {
		h.add(r.Name)
	}
	return h.list
}

// servicesOf lists the services of a destination.
func (s *settings) servicesOf(d config.Destination) []catalogue.Service {
	var out []catalogue.Service
	for _, id := range d.Services {
		if service, ok := s.services.Service(id); ok {
			out = append(out, service)
		}
	}
	for _, c := range d.Categories {
		out = append(out, s.services.InCategory(c)...)
	}
	return out
}

// hosts gathers listed names.
type hosts struct {
	settings *settings
	seen     map[string]bool
	list     []string
}

// addDestination takes the hosts of checks and the servers of pools.
func (h *hosts) addDestination(d config.Destination) {
	for _, c := range d.Checks {
		h.addURL(c)
	}
	for _, service := range h.settings.servicesOf(d) {
		for _, c := range service.Checks {
			h.addURL(c)
		}
		for _, p := range service.Pools {
			h.add(p.Host)
		}
	}
}

func (h *hosts) addURL(text string) {
	if u, err := url.Parse(text); err == nil {
		h.add(u.Hostname())
	}
}

// add takes a name whose addresses are of use: one that is listed for a
// destination which does not always go direct.
func (h *hosts) add(name string) {
	if len(h.list) >= maxFixedHosts || h.seen[name] {
		return
	}
	h.seen[name] = true
	plan := h.settings.plan
	chain, _, ok := plan.Rules.Name(name)
	if !ok {
		return
	}
	for _, l := range chain {
		if plan.Destinations[l.Destination].Policy != config.PolicyDirect {
			h.list = append(h.list, name)
			return
		}
	}
}
