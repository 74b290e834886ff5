package lab

import (
	"fmt"
	"net/url"

	"github.com/routerd/routerd/internal/catalogue"
)

// listedRule is one rule over names of the catalogue.
type listedRule struct {
	service, name string
	suffix        bool
}

// poolServer is one Stratum server of the catalogue.
type poolServer struct {
	host string
	port uint16
}

// service is what the lab takes of one service of the catalogue.
type service struct {
	rules []listedRule
	hosts []string // of checks
	pools []poolServer
}

// catalogueServices is where the lab's names come from.
func catalogueServices() ([]service, error) {
	builtin, err := catalogue.Builtin()
	if err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	var out []service
	for _, from := range builtin.Services() {
		var s service
		for _, r := range from.Rules {
			if r.Kind == catalogue.RuleSuffix || r.Kind == catalogue.RuleFull {
				s.rules = append(s.rules, listedRule{from.ID, r.Name, r.Kind == catalogue.RuleSuffix})
			}
		}
		for _, p := range from.Pools {
			s.pools = append(s.pools, poolServer{p.Host, p.Port})
		}
		for _, check := range from.Checks {
			u, err := url.Parse(check)
			if err != nil {
				return nil, fmt.Errorf("read catalogue: check of %s: %w", from.ID, err)
			}
			s.hosts = append(s.hosts, u.Hostname())
		}
		out = append(out, s)
	}
	return out, nil
}
