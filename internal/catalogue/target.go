package catalogue

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Scheme says how a check's target is spoken to.
type Scheme string

// The schemes of targets, by the word before "://".
const (
	SchemeHTTPS      Scheme = "https"
	SchemeHTTP       Scheme = "http"
	SchemeTLS        Scheme = "tls" // a handshake
	SchemeTCP        Scheme = "tcp" // a connection
	SchemeStratumTCP Scheme = "stratum+tcp"
	SchemeStratumSSL Scheme = "stratum+ssl"
)

// Target is what a check tries. Its values can be compared; the zero value is
// no target.
type Target struct {
	Scheme Scheme
	Host   string // in lower case, without a dot at the end, or an address without brackets
	Port   uint16
	// Path is path and query as they are sent; "" but for http and https, where
	// it begins with /.
	Path string
}

// targetForm is what a target of one scheme may and must have.
type targetForm struct {
	scheme Scheme
	port   uint16 // where none is given; 0: it must be given
	path   bool   // may be given
}

func targetForms() []targetForm {
	return []targetForm{
		{SchemeHTTPS, 443, true},
		{SchemeHTTP, 80, true},
		{SchemeTLS, 443, false},
		{SchemeTCP, 0, false},
		{SchemeStratumTCP, 0, false},
		{SchemeStratumSSL, 0, false},
	}
}

// TargetSyntax says what ParseTarget reads, for people.
const TargetSyntax = "https://HOST[:PORT][/PATH], http://HOST[:PORT][/PATH], tls://HOST[:PORT], tcp://HOST:PORT, " +
	"stratum+tcp://HOST:PORT, stratum+ssl://HOST:PORT"

// maxTarget bounds a target's text, in bytes.
const maxTarget = 2048

// ParseTarget reads a check's target. Its error says what is wrong with the
// text and does not repeat it.
func ParseTarget(s string) (Target, error) {
	forms := targetForms()
	schemes := make([]string, len(forms))
	for i, f := range forms {
		schemes[i] = string(f.scheme) + "://"
	}
	allowed := strings.Join(schemes, ", ")
	if len(s) > maxTarget {
		return Target{}, fmt.Errorf("is longer than %d characters", maxTarget)
	}
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, fmt.Errorf("is not a URL: one of %s and a host", allowed)
	}
	i := slices.IndexFunc(forms, func(f targetForm) bool { return string(f.scheme) == u.Scheme })
	if i < 0 {
		return Target{}, fmt.Errorf("begins with none of %s", allowed)
	}
	return forms[i].read(u)
}

func (f targetForm) read(u *url.URL) (Target, error) {
	host := lowerASCII(strings.TrimSuffix(u.Hostname(), "."))
	switch {
	case !isTargetHost(host):
		return Target{}, fmt.Errorf("has no valid host: write %s://HOST", f.scheme)
	case u.User != nil:
		return Target{}, errors.New("holds a user name or password, which is not supported")
	case u.Port() == "" && f.port == 0:
		return Target{}, fmt.Errorf("has no port: write %s://HOST:PORT", f.scheme)
	}
	port, err := f.portOf(u)
	if err != nil {
		return Target{}, err
	}
	path, err := f.pathOf(u)
	return Target{f.scheme, host, port, path}, err
}

func (f targetForm) portOf(u *url.URL) (uint16, error) {
	if u.Port() == "" && !strings.HasSuffix(u.Host, ":") {
		return f.port, nil
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || n == 0 {
		return 0, errors.New("has a port that is not a number from 1 to 65535")
	}
	return uint16(n), nil
}

// pathOf gives what stands in a request's first line; nothing of it can end the
// line.
func (f targetForm) pathOf(u *url.URL) (string, error) {
	switch {
	case !f.path && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != ""):
		return "", fmt.Errorf("has something after the host: write %s://HOST:PORT", f.scheme)
	case u.Fragment != "":
		return "", errors.New("has a fragment (#…), which no server ever sees")
	case !f.path:
		return "", nil
	}
	path := u.RequestURI()
	if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= unicode.MaxASCII }) {
		return "", errors.New("has a character in its path that must be written as %XX")
	}
	return path, nil
}

// Address gives host:port, as dialers take it.
func (t Target) Address() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

// Addr gives the host's address where it is one.
func (t Target) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(t.Host)
	return a.Unmap(), err == nil
}

// Encrypted says whether the target proves by a certificate who it is.
func (t Target) Encrypted() bool {
	return t.Scheme == SchemeHTTPS || t.Scheme == SchemeTLS || t.Scheme == SchemeStratumSSL
}

// String gives the target as ParseTarget reads it, without a port that is the
// scheme's own.
func (t Target) String() string {
	for _, f := range targetForms() {
		if f.scheme == t.Scheme && f.port == t.Port {
			return string(t.Scheme) + "://" + t.HostHeader() + t.Path
		}
	}
	return string(t.Scheme) + "://" + t.Address() + t.Path
}

// HostHeader is the field Host of an HTTP request: without a port that is the
// scheme's own (RFC 9110 7.2).
func (t Target) HostHeader() string {
	for _, f := range targetForms() {
		if f.scheme != t.Scheme || f.port != t.Port {
			continue
		}
		if strings.Contains(t.Host, ":") {
			return "[" + t.Host + "]"
		}
		return t.Host
	}
	return t.Address()
}

// isTargetHost says whether a string is an address without a zone, or can be a
// host's name.
func isTargetHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if s == "" || len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isTargetLabel(label) {
			return false
		}
	}
	return true
}

func isTargetLabel(s string) bool {
	const longest = 63
	return s != "" && len(s) <= longest && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
