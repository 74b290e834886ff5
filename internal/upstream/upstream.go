// Package upstream reads how a DNS server is named in settings, and knows the
// public ones. It stands apart from package dns so that settings are judged by the
// parser that the resolver uses.
package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Scheme is how an upstream is asked.
type Scheme string

// The schemes, by the word that stands in settings.
const (
	SchemeHTTPS Scheme = "https" // DoH, RFC 8484
	SchemeTLS   Scheme = "tls"   // DoT, RFC 7858
	SchemeTCP   Scheme = "tcp"
	SchemeUDP   Scheme = "udp" // with TCP for truncated and doubtful answers
)

// Server names one server. It does not change; the zero value is no server.
type Server struct {
	text   string
	scheme Scheme
	host   string // name or address without brackets; the certificate is for it
	port   uint16
	path   string // of https
	addrs  []netip.Addr
}

const forms = "allowed are https://HOST[:PORT][/PATH], tls://HOST[:PORT], tcp://HOST[:PORT] and udp://HOST[:PORT]; " +
	"HOST is an address, or a name with its addresses at the end: #ADDRESS[,ADDRESS…]"

// Parse reads an upstream as settings have it, such as
// https://1.1.1.1/dns-query or tls://dns.example#192.0.2.1,2001:db8::1.
// Names of a few public resolvers need no addresses.
func Parse(text string) (Server, error) {
	u, err := parse(text)
	if err != nil {
		return Server{}, fmt.Errorf("%w; %s", err, forms)
	}
	return u, nil
}

// Plain is the server at an address that is asked without encryption: over TCP,
// or over UDP.
func Plain(at netip.AddrPort, tcp bool) Server {
	scheme := SchemeUDP
	if tcp {
		scheme = SchemeTCP
	}
	return Server{
		text: string(scheme) + "://" + at.String(), scheme: scheme, host: at.Addr().String(), port: at.Port(),
		addrs: []netip.Addr{at.Addr()},
	}
}

func parse(text string) (Server, error) {
	address, list, _ := strings.Cut(text, "#")
	p, err := url.Parse(address)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return Server{}, err
	}
	u := Server{text: text, scheme: Scheme(p.Scheme), host: strings.ToLower(p.Hostname())}
	if u.port, err = readPort(u.scheme, p.Port()); err != nil {
		return Server{}, err
	}
	if err := checkHost(p, u.host); err != nil {
		return Server{}, err
	}
	if u.path, err = readPath(u.scheme, p); err != nil {
		return Server{}, err
	}
	u.addrs, err = readAddrs(u.host, list)
	return u, err
}

func readPort(scheme Scheme, text string) (uint16, error) {
	if text == "" {
		switch scheme {
		case SchemeHTTPS:
			return 443, nil
		case SchemeTLS:
			return 853, nil
		case SchemeTCP, SchemeUDP:
			return 53, nil
		}
	}
	switch scheme {
	case SchemeHTTPS, SchemeTLS, SchemeTCP, SchemeUDP:
	case "":
		return 0, errors.New("it has no scheme")
	default:
		return 0, fmt.Errorf("scheme %q is not known", scheme)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", text)
	}
	return uint16(n), nil
}

// readPath takes a URI template too; its variable is for GET only.
func readPath(scheme Scheme, p *url.URL) (string, error) {
	path, _, _ := strings.Cut(p.EscapedPath(), "%7B")
	switch {
	case scheme != SchemeHTTPS && (path != "" && path != "/" || p.RawQuery != ""):
		return "", fmt.Errorf("a path is for https:// only, not %q", p.RequestURI())
	case scheme != SchemeHTTPS:
		return "", nil
	case path == "" || path == "/":
		path = "/dns-query"
	}
	if query := strings.TrimSuffix(p.RawQuery, "dns}"); query != "" {
		path += "?" + query
	}
	return path, nil
}

func checkHost(p *url.URL, host string) error {
	switch {
	case p.User != nil:
		return errors.New("a user name has no place in it")
	case host == "":
		return errors.New("it names no host")
	case strings.HasSuffix(p.Host, ":"):
		return errors.New("a port is missing after the colon")
	case strings.Contains(host, "%"):
		return errors.New("an address with a zone cannot be used")
	case strings.Contains(host, ":"), isAddr(host):
		if !isAddr(host) {
			return fmt.Errorf("%q is not an address", host)
		}
		return nil
	}
	return checkName(host)
}

// checkName allows what can be a host's name.
func checkName(host string) error {
	if !hostName.MatchString(host) {
		return fmt.Errorf("%q is not a host name", host)
	}
	if len(strings.TrimSuffix(host, ".")) > maxName {
		return fmt.Errorf("name %q: longer than %d octets", host, maxName)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("name %q: a label needs 1 to 63 octets", host)
		}
	}
	return nil
}

// maxName is the longest name in text form (RFC 1035 section 3.1).
const maxName = 253

// hostName is what names of hosts are made of; the labels are checked apart.
var hostName = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]*$`)

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func readAddrs(host, list string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if list != "" {
			return nil, fmt.Errorf("addresses after # are for a host that is a name, %s is an address", host)
		}
		return []netip.Addr{a.Unmap()}, nil
	}
	var addrs []netip.Addr
	for part := range strings.SplitSeq(list, ",") {
		if list == "" {
			break
		}
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || a.Zone() != "" || a.IsUnspecified() {
			return nil, fmt.Errorf("%q after # is not an address", part)
		}
		addrs = append(addrs, a.Unmap())
	}
	if len(addrs) == 0 {
		addrs = wellKnown(host)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("the addresses of %s are not known before anything can be resolved: write them at its end, %s#192.0.2.1", host, host)
	}
	return addrs, nil
}

// String is the text that it was read from.
func (u Server) String() string { return u.text }

// Scheme says how it is asked.
func (u Server) Scheme() Scheme { return u.scheme }

// Addrs are the addresses that it is reached at, in order of preference.
func (u Server) Addrs() []netip.Addr { return append([]netip.Addr(nil), u.addrs...) }

// Host is the name, or the address without brackets, that a certificate must be
// for.
func (u Server) Host() string { return u.host }

// Equal says whether both are the same server at the same addresses.
func (u Server) Equal(other Server) bool {
	return u.text == other.text && slices.Equal(u.addrs, other.addrs)
}

// Endpoints are the addresses with the port, in order of preference.
func (u Server) Endpoints() []string {
	out := make([]string, len(u.addrs))
	for i, a := range u.addrs {
		out[i] = netip.AddrPortFrom(a, u.port).String()
	}
	return out
}

// URL is where https upstreams get their queries.
func (u Server) URL() string {
	host := u.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.port != 443 {
		host += ":" + strconv.Itoa(int(u.port))
	}
	return "https://" + host + u.path
}
