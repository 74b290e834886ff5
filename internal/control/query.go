package control

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a query may hold.
const (
	maxRawQuery    = 4096 // bytes of the query string
	maxName        = 253  // RFC 1035, without the final dot
	maxLabel       = 63
	maxWords       = 8
	maxWord        = 64
	minInterval    = time.Second
	maxInterval    = time.Minute
	maxSinceDigits = 20
)

// ErrInvalid marks an error that is the caller's fault; the API answers it with
// status 400. Handlers may wrap it too.
var ErrInvalid = errors.New("invalid request")

// ErrUnavailable marks an error that passes by itself, such as a daemon that is
// still starting; the API answers it with status 503 and does not log it.
var ErrUnavailable = errors.New("not available now")

// invalidf makes an error that is ErrInvalid and reads as the format says.
func invalidf(format string, a ...any) error {
	return &invalidError{fmt.Sprintf(format, a...)}
}

// invalidError is an ErrInvalid whose text is meant for the user alone.
type invalidError struct{ text string }

func (e *invalidError) Error() string { return e.text }
func (e *invalidError) Unwrap() error { return ErrInvalid }

// whyQuery is the decoded query of /v1/why.
type whyQuery struct{ query, client string }

// streamQuery is the decoded query of /v1/events and /v1/flows.
type streamQuery struct {
	since    uint64
	follow   bool
	interval time.Duration
}

// parseValues decodes a query string and refuses parameters that the resource
// does not have, so that a misspelt one is not silently ignored.
func parseValues(raw string, allowed ...string) (url.Values, error) {
	if len(raw) > maxRawQuery {
		return nil, invalidf("the query is %d bytes long, at most %d are allowed", len(raw), maxRawQuery)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, invalidf("the query cannot be decoded: %v", err)
	}
	for key := range values {
		if !slices.Contains(allowed, key) {
			return nil, invalidf("parameter %q is unknown, allowed: %s", key, listed(allowed))
		}
	}
	return values, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// parseNothing accepts the empty query only.
func parseNothing(raw string) error {
	_, err := parseValues(raw)
	return err
}

// parseWhy decodes query= (a name or an address) and client= (an address).
func parseWhy(raw string) (whyQuery, error) {
	values, err := parseValues(raw, "query", "client")
	if err != nil {
		return whyQuery{}, err
	}
	query, err := ParseTarget(values.Get("query"))
	if err != nil {
		return whyQuery{}, err
	}
	client, err := ParseClient(values.Get("client"))
	if err != nil {
		return whyQuery{}, err
	}
	return whyQuery{query, client}, nil
}

// ParseTarget brings the subject of `why` into one form: an address as netip
// writes it, or a name in lower case with no dot at the end.
func ParseTarget(s string) (string, error) {
	if s == "" {
		return "", invalidf("a domain name or an address is needed")
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().WithZone("").String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if len(name) > maxName {
		return "", invalidf("the name is %d characters long, at most %d are allowed", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return "", invalidf("%q is neither an address nor a domain name (write names in letters, digits, hyphens and dots; an international name as xn--…)", s)
		}
	}
	return name, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxLabel {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// ParseClient brings the client's address of `why` into one form; "" stays "".
func ParseClient(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if len(s) > maxWord {
		return "", invalidf("the client is %d characters long; an IPv4 or IPv6 address is needed", len(s))
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return "", invalidf("client %q is not an IPv4 or IPv6 address", s)
	}
	return addr.Unmap().WithZone("").String(), nil
}

// parseStream decodes follow=, since= (events) and interval= in seconds (flows).
func parseStream(raw string, allowed ...string) (streamQuery, error) {
	q := streamQuery{interval: minInterval}
	values, err := parseValues(raw, allowed...)
	if err != nil {
		return q, err
	}
	if q.follow, err = parseBool("follow", values.Get("follow")); err != nil {
		return q, err
	}
	if s := values.Get("since"); s != "" {
		if q.since, err = parseSince(s); err != nil {
			return q, err
		}
	}
	if s := values.Get("interval"); s != "" {
		q.interval, err = parseInterval(s)
	}
	return q, err
}

func parseBool(name, s string) (bool, error) {
	switch s {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, invalidf("%s=%q: 0 or 1 is allowed", name, s)
}

func parseSince(s string) (uint64, error) {
	if len(s) > maxSinceDigits {
		return 0, invalidf("since is %d characters long; the seq of an event is needed", len(s))
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, invalidf("since=%q: the seq of an event is needed", s)
	}
	return n, nil
}

func parseInterval(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	d := time.Duration(n) * time.Second
	if err != nil || d < minInterval || d > maxInterval {
		return 0, invalidf("interval=%q: %d to %d seconds are allowed", s, minInterval/time.Second, maxInterval/time.Second)
	}
	return d, nil
}

// parseWords decodes the repeated parameter word= of /v1/catalogue.
func parseWords(raw string) ([]string, error) {
	values, err := parseValues(raw, "word")
	if err != nil {
		return nil, err
	}
	words := values["word"]
	if len(words) > maxWords {
		return nil, invalidf("%d words, at most %d are allowed", len(words), maxWords)
	}
	for _, w := range words {
		if w == "" || len(w) > maxWord {
			return nil, invalidf("a word of %d characters, 1 to %d are allowed", len(w), maxWord)
		}
	}
	return words, nil
}
