package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config/uci"
	"github.com/routerd/routerd/internal/memory"
	"github.com/routerd/routerd/internal/sorting"
)

// Env is what settings are checked against. Every field must be set.
type Env struct {
	// ParseRule reads a value of list domain or address.
	ParseRule func(string) (catalogue.Rule, error)
	// ServiceExists says whether the catalogue has a service.
	ServiceExists func(id string) bool
	// Services are all services of the catalogue: for suggestions, and to
	// tell when a rule of one destination is in a service of another.
	Services func() []catalogue.Service
	// ReadFile reads a file of list file.
	ReadFile func(string) ([]byte, error)
	// Memory is the machine's, in octets; 0 is unknown.
	Memory uint64
}

// DefaultEnv is the built-in catalogue and the file system.
func DefaultEnv() (Env, error) {
	c, err := catalogue.Builtin()
	if err != nil {
		return Env{}, fmt.Errorf("load catalogue: %w", err)
	}
	return Env{
		ParseRule: catalogue.ParseRule,
		ServiceExists: func(id string) bool {
			_, ok := c.Service(id)
			return ok
		},
		Services: c.Services,
		ReadFile: readRules,
		Memory:   memory.Total(),
	}, nil
}

// readRules reads a file of rules, and of one that is too large only as much as
// shows it.
func readRules(path string) ([]byte, error) { return ReadFile(path, catalogue.MaxListSize+1) }

// ReadFile reads the beginning of a file, most octets of it, whatever size it is said to
// have: files of the kernel have none. Its errors are os.Open's and the file's.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// Load reads the settings file and checks it against DefaultEnv. All problems
// are returned, in the order of the file, also when there is no error. The
// error wraps ErrInvalid when one of them is of LevelError; then there is no
// Config.
func Load(path string) (*Config, []Problem, error) {
	env, err := DefaultEnv()
	if err != nil {
		return nil, nil, err
	}
	f, err := uci.Read(path)
	if err != nil {
		return unreadable(path, err)
	}
	return parse(path, f, env)
}

// Parse is Load for a text; the name is only for errors.
func Parse(name string, text []byte, env Env) (*Config, []Problem, error) {
	f, err := uci.Parse(name, text)
	if err != nil {
		return unreadable(name, err)
	}
	return parse(name, f, env)
}

// unreadable makes a problem of a fault in the text; other errors stay errors.
func unreadable(name string, err error) (*Config, []Problem, error) {
	var fault *uci.Error
	if !errors.As(err, &fault) {
		return nil, nil, err
	}
	problems := []Problem{{
		Level: LevelError, Line: fault.Line,
		Text: fmt.Sprintf("column %d: %s", fault.Column, fault.Text),
	}}
	return nil, problems, invalid(name, problems)
}

// parse checks all sections.
func parse(name string, f *uci.File, env Env) (*Config, []Problem, error) {
	r := reader{env: env, tunnels: map[string]bool{}, destinations: map[string]bool{}}
	if len(f.Sections()) == 0 {
		problems := []Problem{nothingThere()}
		return nil, problems, invalid(name, problems)
	}
	c := r.config(f.Sections())
	sorting.By(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if err := invalid(name, r.problems); err != nil {
		return nil, r.problems, err
	}
	return c, r.problems, nil
}

// nothingThere is what is wrong with a file without a section: nobody writes one,
// but a power cut may leave it, and as settings it would have nothing steered.
func nothingThere() Problem {
	return Problem{
		Level: LevelError, Text: "there is no section at all: the file is empty, or has been cut off",
		Mend: "restore it from a backup, or begin anew with: config routerd 'main'",
	}
}

// The section types.
const (
	typeMain        = "routerd"
	typeTunnel      = "tunnel"
	typeDestination = "destination"
	typeList        = "list"
	sectionMain     = "main"
)

// reader collects problems while sections are turned into a Config.
type reader struct {
	env      Env
	problems []Problem
	// tunnels says of each tunnel of the file whether it is enabled;
	// destinations holds the names of all. Sections with errors are in them,
	// so that one mistake is told once.
	tunnels      map[string]bool
	destinations map[string]bool
}

// config reads main and tunnels before destinations and lists, which refer to
// them.
func (r *reader) config(sections []*uci.Section) *Config {
	c := &Config{Main: defaultMain(r.env.Memory)}
	known := r.known(sections)
	if s := known[typeMain]; len(s) > 0 {
		c.Main = r.main(s[0])
	} else {
		r.add(Problem{
			Level: LevelNote, Text: "there is no section main: defaults count for all of it",
			Mend: "add: config routerd 'main'",
		})
	}
	for _, s := range known[typeTunnel] {
		c.Tunnels = append(c.Tunnels, r.tunnel(s))
	}
	r.checkTunnels(c, known[typeTunnel])
	for _, s := range known[typeDestination] {
		c.Destinations = append(c.Destinations, r.destination(s))
	}
	for _, s := range known[typeList] {
		c.Lists = append(c.Lists, r.list(s))
	}
	r.checkDestinations(c, known[typeDestination])
	r.checkOverlaps(c, known[typeDestination])
	sorting.By(c.Tunnels, func(a, b Tunnel) int { return cmp.Compare(a.Priority, b.Priority) })
	return c
}

// known sorts sections by type and names those that are wrong as a whole.
func (r *reader) known(sections []*uci.Section) map[string][]*uci.Section {
	types := []string{typeMain, typeTunnel, typeDestination, typeList}
	known := map[string][]*uci.Section{}
	for _, s := range sections {
		if !slices.Contains(types, s.Type) {
			mend := cmp.Or(didYouMean(s.Type, types), "remove the section")
			r.section(s, fmt.Sprintf("type %q is not known: routerd, tunnel, destination and list are", s.Type), mend)
			continue
		}
		if len(s.Lines) > 1 {
			r.add(Problem{
				Level: LevelError, Section: s.Ref, Line: s.Lines[1],
				Text: fmt.Sprintf("a section of this name begins in line %d already, uci would make one of both", s.Lines[0]),
				Mend: "give one of them another name",
			})
		}
		r.sectionName(s)
		if s.Type == typeMain && s.Name != sectionMain {
			continue
		}
		known[s.Type] = append(known[s.Type], s)
	}
	return known
}

// sectionName checks what a section is called.
func (r *reader) sectionName(s *uci.Section) {
	const longest = 32
	switch {
	case s.Type == typeMain && s.Name != sectionMain:
		r.section(s, "the section of type routerd is called main, there is no other", "write: config routerd 'main'")
	case s.Name == "":
		r.section(s, "has no name", fmt.Sprintf("write: config %s 'NAME'", s.Type))
	case s.Type == typeTunnel:
		r.tunnelName(s)
	case len(s.Name) > longest:
		r.section(s, fmt.Sprintf("the name is longer than %d characters", longest), "")
	}
}

// add collects a problem.
func (r *reader) add(p Problem) { r.problems = append(r.problems, p) }

// section adds an error about a section as a whole.
func (r *reader) section(s *uci.Section, text, mend string) {
	r.add(Problem{Level: LevelError, Section: s.Ref, Text: text, Mend: mend, Line: s.Lines[0]})
}

// sectionNote is section for a note.
func (r *reader) sectionNote(s *uci.Section, text, mend string) {
	r.add(Problem{Level: LevelNote, Section: s.Ref, Text: text, Mend: mend, Line: s.Lines[0]})
}
