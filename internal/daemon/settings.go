package daemon

import (
	"errors"
	"fmt"
	"os"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/lists"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

// settings are everything read from files: the whole input of the daemon. A
// value is made by loadSettings and never changed.
type settings struct {
	cfg   *config.Config
	plan  *steer.Plan
	specs []tunnel.Spec
	// upstreams are those of the resolver, in order.
	upstreams []dns.Upstream
	canaries  map[string]bool // names that are answered so that lookups stay here
	services  *catalogue.Catalogue
	files     map[string][]catalogue.Rule // only until the plan is made
	lists     map[string][]catalogue.Rule // by destination; only until the plan is made
	damaged   []string                    // lists whose kept rules cannot be read, and why
	text      []byte                      // as it stands in the file
}

// listRules gives the rules of a list, as lists.Manager does.
type listRules func(list string) ([]catalogue.Rule, error)

// loadSettings reads and checks all of it. With an error the settings cannot be
// used; the problems say why in either case.
func loadSettings(path string, rules listRules) (*settings, []config.Problem, error) {
	text, err := readSettings(path)
	if err != nil {
		return nil, nil, err
	}
	return parseSettings(path, text, rules)
}

// parseSettings is loadSettings for a text that has been read.
func parseSettings(path string, text []byte, rules listRules) (*settings, []config.Problem, error) {
	env, err := config.DefaultEnv()
	if err != nil {
		return nil, nil, err
	}
	cfg, problems, err := config.Parse(path, text, env)
	if err != nil {
		return nil, problems, err
	}
	services, err := catalogue.Builtin()
	if err != nil {
		return nil, problems, fmt.Errorf("read catalogue: %w", err)
	}
	s := &settings{cfg: cfg, services: services, text: text, files: map[string][]catalogue.Rule{}}
	s.readLists(rules)
	var errs []error
	errs = append(errs, s.readFiles())
	if s.specs, err = tunnelSpecs(cfg); err != nil {
		errs = append(errs, err)
	}
	if s.upstreams, err = upstreams(cfg); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, append(problems, config.Problem{Level: config.LevelError, Text: err.Error()}), err
	}
	if s.plan, err = steer.Compile(cfg, s); err != nil {
		return nil, append(problems, config.Problem{Level: config.LevelError, Text: err.Error()}), err
	}
	s.canaries = canaries(cfg, s.plan)
	s.files, s.lists = nil, nil
	return s, problems, nil
}

// settingsMax is the size of the largest settings file, bytes.
const settingsMax = 4 << 20

func readSettings(path string) ([]byte, error) {
	text, err := config.ReadFile(path, settingsMax+1)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read settings: %w", err)
	case len(text) > settingsMax:
		return nil, fmt.Errorf("read settings: %s is larger than %d bytes", path, settingsMax)
	}
	return text, nil
}

// Service implements steer.Source.
func (s *settings) Service(id string) (catalogue.Service, bool) { return s.services.Service(id) }

// InCategory implements steer.Source.
func (s *settings) InCategory(c catalogue.Category) []catalogue.Service {
	return s.services.InCategory(c)
}

// File implements steer.Source.
func (s *settings) File(path string) []catalogue.Rule { return s.files[path] }

// Lists implements steer.Source.
func (s *settings) Lists(destination string) []catalogue.Rule { return s.lists[destination] }

// readLists reads what is kept of the lists. One that was never fetched has no
// rules yet.
func (s *settings) readLists(rules listRules) {
	s.lists = map[string][]catalogue.Rule{}
	for _, l := range s.cfg.Lists {
		kept, err := rules(l.Name)
		switch {
		case err == nil:
			s.lists[l.Destination] = append(s.lists[l.Destination], kept...)
		case !errors.Is(err, lists.ErrNoCopy) && !errors.Is(err, lists.ErrUnknown):
			s.damaged = append(s.damaged, fmt.Sprintf("list %s: %v; it is fetched again", l.Name, err))
		}
	}
}

// readFiles reads the rules that destinations name by file. A line that is no
// rule is skipped; config.Load has told of it.
func (s *settings) readFiles() error {
	var errs []error
	for _, d := range s.cfg.Destinations {
		for _, path := range d.Files {
			if _, ok := s.files[path]; ok || !d.Enabled {
				continue
			}
			rules, err := readRules(path)
			if err != nil {
				errs = append(errs, fmt.Errorf("destination %s: option file %q: %w", d.Name, path, err))
			}
			s.files[path] = rules
		}
	}
	return errors.Join(errs...)
}

func readRules(path string) ([]catalogue.Rule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open rules: %w", err)
	}
	defer f.Close()
	rules, _, err := catalogue.ParsePlain(f)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return rules, nil
}

// upstreams reads the resolver's; every fault is reported.
func upstreams(c *config.Config) ([]dns.Upstream, error) {
	var out []dns.Upstream
	var errs []error
	for _, text := range c.Main.Resolvers {
		u, err := dns.ParseUpstream(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, u)
	}
	return out, errors.Join(errs...)
}

// canaries are the names by which clients ask whether they may go past the
// router's DNS, less those that a rule lists by name.
func canaries(c *config.Config, p *steer.Plan) map[string]bool {
	out := map[string]bool{}
	if c.Main.DNS != config.DNSSecure || !c.Main.LocalDNS {
		return out
	}
	for _, name := range dns.Canaries() {
		if _, rule, ok := p.Rules.Name(name); !ok || rule.Name != name {
			out[name] = true
		}
	}
	return out
}

// canary says whether a name is answered with "no such name" so that lookups stay
// on the router.
func (s *settings) canary(name string) bool { return s.canaries[name] }

// errCutOff refuses settings that have lost what was set up.
var errCutOff = errors.New("there is neither a tunnel nor a destination any more: the file looks cut off; " +
	"restore it, or set option enabled '0' in section main to switch routerd off")

// cutOff is an error where settings would end all that those before them protect,
// without saying so: that is what is left of a file after a power cut.
func (s *settings) cutOff(before *settings) error {
	if before == nil || !s.cfg.Main.Enabled || len(s.cfg.Tunnels)+len(s.cfg.Destinations) > 0 ||
		before.unset() || len(before.cfg.Destinations) == 0 {
		return nil
	}
	return errCutOff
}

// unset says whether the settings have no tunnel at all, so that nothing is
// steered and no query turned.
func (s *settings) unset() bool { return len(s.cfg.Tunnels) == 0 }

// tunnelSpecs decodes the enabled tunnels; every fault is reported.
func tunnelSpecs(c *config.Config) ([]tunnel.Spec, error) {
	var specs []tunnel.Spec
	var errs []error
	for _, t := range c.Tunnels {
		if !t.Enabled {
			continue
		}
		set, err := tunnel.FromConfig(t)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		spec := tunnel.Spec{
			Name: t.Name, Type: t.Type, Device: owned.Device(t.Name), Backend: t.Backend,
			Settings: set, Mark: c.Main.MarkMask.Mark(owned.PathDirect), Standby: t.Standby,
		}
		if t.Type == config.TunnelInterface {
			spec.Device = t.Device
		}
		specs = append(specs, spec)
	}
	return specs, errors.Join(errs...)
}
