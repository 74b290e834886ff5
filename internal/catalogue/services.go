package catalogue

import (
	"cmp"
	"embed"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/routerd/routerd/internal/sorting"
)

// files holds the built-in services, one file a category; the head of each
// explains the format.
//
//go:embed services/*.txt
var files embed.FS

// Service is one exchange, pool, … with all that it needs. Its slices belong
// to the catalogue and must not be written to.
type Service struct {
	ID       string // [a-z0-9-], unique
	Name     string // as people write it
	Category Category
	Rules    []Rule       // every domain it needs: web, static files, API, Stratum
	Pools    []PoolServer // of category pool: where miners connect
	Checks   []string     // what to try, the best first: https://, stratum+tcp://, stratum+ssl:// URLs
	// Large is a path on the host of the first https:// check whose answer is
	// certainly longer than 64 KiB; "" where none is known.
	Large string
}

// Targets gives the checks parsed, in their order.
func (s Service) Targets() []Target {
	out := make([]Target, 0, len(s.Checks))
	for _, c := range s.Checks {
		if t, err := ParseTarget(c); err == nil { // all were read once, when the catalogue was
			out = append(out, t)
		}
	}
	return out
}

// PoolServer is a Stratum server.
type PoolServer struct {
	Host string
	Port uint16
	TLS  bool
}

// String gives the server as miners write it: stratum+tcp://host:port, or
// stratum+ssl:// with TLS.
func (p PoolServer) String() string {
	scheme := "stratum+tcp://"
	if p.TLS {
		scheme = "stratum+ssl://"
	}
	return scheme + p.Address()
}

// Address gives host:port.
func (p PoolServer) Address() string {
	return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
}

// Categories gives every category, in the order in which people see them.
func Categories() []Category {
	return []Category{CategoryExchange, CategoryPool, CategoryAnalytics, CategoryWallet, CategoryManagement}
}

// Catalogue is a set of services. It never changes after it was made.
type Catalogue struct {
	services []Service
	byID     map[string]int // index into services
}

// Builtin parses the services that are built in: categories in the order of
// Categories, services in the order of their file. It takes under a millisecond
// on a PC and allocates some 300 KB: keep the value while it is needed, and let
// it go after.
func Builtin() (*Catalogue, error) {
	c := &Catalogue{byID: map[string]int{}}
	for _, category := range Categories() {
		name := path.Join("services", string(category)+".txt")
		f, err := files.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open built-in services: %w", err)
		}
		services, err := parseServices(f, category)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("parse built-in %s: %w", name, err)
		}
		if err := c.add(services); err != nil {
			return nil, fmt.Errorf("parse built-in %s: %w", name, err)
		}
	}
	return c, nil
}

func (c *Catalogue) add(services []Service) error {
	for _, s := range services {
		if _, ok := c.byID[s.ID]; ok {
			return fmt.Errorf("service %q stands twice", s.ID)
		}
		c.byID[s.ID] = len(c.services)
		c.services = append(c.services, s)
	}
	return nil
}

// Service gives the service of an id.
func (c *Catalogue) Service(id string) (Service, bool) {
	i, ok := c.byID[id]
	if !ok {
		return Service{}, false
	}
	return c.services[i], true
}

// Services gives every service. The slice is the caller's.
func (c *Catalogue) Services() []Service { return slices.Clone(c.services) }

// InCategory gives the services of a category. The slice is the caller's.
func (c *Catalogue) InCategory(category Category) []Service {
	var found []Service
	for _, s := range c.services {
		if s.Category == category {
			found = append(found, s)
		}
	}
	return found
}

// Search gives the services that match every word, the best first; no words
// match all. A word in any case matches when it is a category, stands in the
// id, the display name or a rule, or when it is a host name, an address of a
// page (https://…) or host:port that a rule of the service covers.
func (c *Catalogue) Search(words ...string) []Service {
	type hit struct {
		service Service
		score   int
	}
	var hits []hit
	for _, s := range c.services {
		if score, ok := s.match(words); ok {
			hits = append(hits, hit{s, score})
		}
	}
	sorting.By(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	found := make([]Service, len(hits))
	for i, h := range hits {
		found[i] = h.service
	}
	return found
}

// Scores of a match; a covering rule counts its own length on top, so that the
// most specific service comes first.
const (
	scorePart  = 1
	scoreCover = 1000
	scoreExact = 2000
	scoreFull  = maxName // full: goes before a suffix of any length
)

func (s Service) match(words []string) (score int, ok bool) {
	for _, w := range words {
		n := s.matchWord(lowerASCII(strings.TrimSpace(w)))
		if n == 0 {
			return 0, false
		}
		score += n
	}
	return score, true
}

func (s Service) matchWord(w string) int {
	host := hostOf(w)
	best := 0
	if w == s.ID || w == strings.ToLower(s.Name) {
		best = scoreExact
	} else if w == string(s.Category) || strings.Contains(s.ID, w) || strings.Contains(strings.ToLower(s.Name), w) {
		best = scorePart
	}
	for _, r := range s.Rules {
		if n, ok := r.covers(host); ok {
			best = max(best, scoreCover+n)
		} else if strings.Contains(r.Name, w) {
			best = max(best, scorePart)
		}
	}
	return best
}

// covers says whether a rule over names covers a lower-case name, and how
// specific it is.
func (r Rule) covers(name string) (int, bool) {
	switch r.Kind {
	case RuleFull:
		return len(r.Name) + scoreFull, name == r.Name
	case RuleSuffix:
		below, ok := strings.CutSuffix(name, r.Name)
		return len(r.Name), ok && (below == "" || strings.HasSuffix(below, "."))
	default:
		return 0, false
	}
}

// hostOf takes the host out of what people paste: a URL, host:port or a name
// with a dot at the end.
func hostOf(w string) string {
	if _, rest, ok := strings.Cut(w, "://"); ok {
		w = rest
	}
	w, _, _ = strings.Cut(w, "/")
	w, _, _ = strings.Cut(w, ":")
	return strings.TrimSuffix(w, ".")
}
