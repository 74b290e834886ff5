package dns

import (
	"fmt"

	"github.com/routerd/routerd/internal/upstream"
)

// Upstream names one server that is asked.
type Upstream = upstream.Server

// Scheme is how an upstream is asked.
type Scheme = upstream.Scheme

// The schemes.
const (
	SchemeHTTPS = upstream.SchemeHTTPS
	SchemeTLS   = upstream.SchemeTLS
	SchemeTCP   = upstream.SchemeTCP
	SchemeUDP   = upstream.SchemeUDP
)

// KnownResolver is a public resolver that answers over HTTPS on port 443.
type KnownResolver = upstream.KnownResolver

// ParseUpstream reads an upstream as settings have it (upstream.Parse); its error
// names the text.
func ParseUpstream(text string) (Upstream, error) {
	u, err := upstream.Parse(text)
	if err != nil {
		return Upstream{}, fmt.Errorf("resolver %q: %w", text, err)
	}
	return u, nil
}

// KnownDoH are the public resolvers over HTTPS that upstream.KnownDoH knows.
func KnownDoH() []KnownResolver { return upstream.KnownDoH() }
