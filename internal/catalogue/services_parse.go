package catalogue

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
)

// serviceParser reads a file of services: see the head of services/*.txt.
type serviceParser struct {
	category Category
	services []Service
}

// parseServices reads the services of one category. The error names the line.
func parseServices(r io.Reader, category Category) ([]Service, error) {
	p := serviceParser{category: category}
	lines := newLineReader(r, MaxListSize)
	for {
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.line(text)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.number, err)
		}
	}
	return p.services, p.finish()
}

func (p *serviceParser) line(text string) error {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' {
		return nil
	}
	if head, ok := strings.CutPrefix(text, "["); ok {
		if err := p.finish(); err != nil {
			return err
		}
		return p.head(head)
	}
	if len(p.services) == 0 {
		return fmt.Errorf("%q stands before the first [id]", shorten(text))
	}
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return fmt.Errorf("%q has no value", shorten(text))
	}
	for _, v := range fields[1:] {
		if err := p.value(fields[0], v); err != nil {
			return err
		}
	}
	return nil
}

// head begins a service: the text after "[".
func (p *serviceParser) head(text string) error {
	id, name, ok := strings.Cut(text, "]")
	name = strings.TrimSpace(name)
	switch {
	case !ok || name == "":
		return errors.New("a service begins with [id] Display name")
	case id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return fmt.Errorf("id %q: only a–z, 0–9 and - are allowed", shorten(id))
	}
	p.services = append(p.services, Service{ID: id, Name: name, Category: p.category})
	return nil
}

func (p *serviceParser) value(key, v string) error {
	s := &p.services[len(p.services)-1]
	switch key {
	case "rule":
		r, err := ParseRule(v)
		if err != nil {
			return err
		}
		s.Rules = append(s.Rules, r)
	case "pool":
		server, err := parsePoolServer(v)
		if err != nil {
			return err
		}
		s.Pools = append(s.Pools, server)
	case "check":
		if err := validateCheck(v); err != nil {
			return err
		}
		s.Checks = append(s.Checks, v)
	case "large":
		if err := validateLarge(v); err != nil {
			return err
		}
		s.Large = v
	default:
		return fmt.Errorf("key %q: rule, pool, check and large are allowed", shorten(key))
	}
	return nil
}

// finish checks that the service read last is whole.
func (p *serviceParser) finish() error {
	if len(p.services) == 0 {
		return nil
	}
	s := p.services[len(p.services)-1]
	switch {
	case len(s.Rules) == 0:
		return fmt.Errorf("service %q has no rule", s.ID)
	case len(s.Checks) == 0:
		return fmt.Errorf("service %q has no check", s.ID)
	case s.Large != "" && !slices.ContainsFunc(s.Checks, isHTTPS):
		return fmt.Errorf("service %q has something large, and no check over https", s.ID)
	}
	return nil
}

func isHTTPS(check string) bool { return strings.HasPrefix(check, "https://") }

// parsePoolServer reads stratum+tcp://host:port or stratum+ssl://host:port.
func parsePoolServer(s string) (PoolServer, error) {
	bad := func(why string) (PoolServer, error) {
		return PoolServer{}, fmt.Errorf("pool server %q: %s; allowed: stratum+tcp://host:port, stratum+ssl://host:port", shorten(s), why)
	}
	scheme, rest, _ := strings.Cut(s, "://")
	if scheme != "stratum+tcp" && scheme != "stratum+ssl" {
		return bad("another scheme")
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return bad("no port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return bad("port is not a number from 1 to 65535")
	}
	name, err := parseName(host)
	if err != nil {
		return bad(err.Error())
	}
	return PoolServer{Host: name, Port: uint16(n), TLS: scheme == "stratum+ssl"}, nil
}

// validateCheck accepts the check targets that services have: those that prove
// by their answer who they are, and pools.
func validateCheck(s string) error {
	if strings.HasPrefix(s, "stratum+") {
		_, err := parsePoolServer(s)
		return err
	}
	t, err := ParseTarget(s)
	if err != nil {
		return fmt.Errorf("check %q %w", shorten(s), err)
	}
	if t.Scheme != SchemeHTTPS || !strings.HasSuffix(s, t.Path) {
		return fmt.Errorf("check %q: allowed: https://host/path, stratum+tcp://host:port, stratum+ssl://host:port", shorten(s))
	}
	if _, err := parseName(t.Host); err != nil {
		return fmt.Errorf("check %q: %w", shorten(s), err)
	}
	return nil
}

// validateLarge accepts a path that a check's host can be asked for.
func validateLarge(s string) error {
	t, err := ParseTarget("https://host.example" + s)
	if err != nil || t.Path != s {
		return fmt.Errorf("large %q is not a path, such as /api/v3/exchangeInfo", shorten(s))
	}
	return nil
}
