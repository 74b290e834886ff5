package reach

import (
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
)

// sentence explains a verdict.
func (c comparison) sentence(v Verdict) string {
	switch v {
	case Reachable:
		return c.reachable()
	case Interfered:
		return fmt.Sprintf("%s; %s works through %s: %s", c.direct.Detail, c.same(), names(c.reached), c.conclusion())
	case VerdictRefused:
		return c.refused()
	case ServiceDown:
		return c.down()
	case Offline:
		if c.direct.Outcome == PathDown {
			return "the direct path is down: " + c.direct.Detail
		}
		return fmt.Sprintf("%s, and none of %d neutral services answers either: the line is dead", c.direct.Detail, c.line.Asked)
	}
	return c.unknown()
}

func (c comparison) reachable() string {
	text := "it works over the direct path"
	if c.direct.Detail != "" {
		text += "; " + c.direct.Detail
	}
	if len(c.failing) > 0 {
		text += fmt.Sprintf("; through %s it does not: %s", names(c.failing[:1]), c.failing[0].Detail)
	}
	return text
}

// same is what works elsewhere.
func (c comparison) same() string {
	switch c.direct.Layer {
	case LayerTLS:
		return "the same name"
	case LayerDNS:
		return "the name"
	}
	return "the same"
}

// conclusion names the kind of interference.
func (c comparison) conclusion() string {
	switch c.direct.Outcome {
	case DNSTimeout, DNSNXDomain, DNSTampered:
		return "interference with lookups"
	case TCPTimeout, TCPRefused, TCPUnreachable:
		return "interference by address"
	case TLSBadCertificate:
		return "somebody on the way answers in its name"
	case HTTPBlockPage:
		return "a page of the network's own"
	case Stalled:
		return "interference with long transfers"
	case StratumReset, StratumTimeout:
		return "interference with Stratum"
	case TLSReset, TLSTimeout:
		if c.direct.Named {
			return "interference by name"
		}
		return "interference with TLS, or by address"
	}
	if c.target.Scheme == catalogue.SchemeHTTP {
		return "interference with plain HTTP"
	}
	return "interference with the connection"
}

func (c comparison) refused() string {
	text := c.direct.Detail
	if c.direct.Outcome == HTTPError {
		text += " over every path"
	}
	for _, r := range c.reached {
		if r.Outcome == OutcomeOK {
			return text + fmt.Sprintf(" to the direct path, and not through %s: it is the service that refuses, not the network", r.Path)
		}
	}
	return text + ": it is the service that refuses, not the network"
}

func (c comparison) down() string {
	others := names(append(append([]Result{}, c.reached...), c.failing...))
	if others == "" {
		return c.direct.Detail + ": the service itself fails"
	}
	return fmt.Sprintf("%s, and it fails alike through %s: the service is down", c.direct.Detail, others)
}

func (c comparison) unknown() string {
	text := c.direct.Detail
	switch {
	case c.direct.Outcome == HTTPError:
		return fmt.Sprintf("%s, but it works through %s: it cannot be told who answers", text, names(c.reached))
	case c.direct.Outcome.silent() && c.line.Asked == 0:
		return text + "; no neutral service was asked, so the line itself may be at fault"
	case c.direct.Outcome.silent() && !c.line.works():
		return fmt.Sprintf("%s; only %d of %d neutral services work, so the line itself is at fault", text, c.line.Working, c.line.Asked)
	case len(c.failing) > 0:
		return fmt.Sprintf("%s; through %s it fails in another way: %s", text, names(c.failing[:1]), c.failing[0].Detail)
	}
	return text + "; no other path works, so there is nothing to compare with"
}

func names(results []Result) string {
	all := make([]string, len(results))
	for i, r := range results {
		all[i] = r.Path
	}
	return strings.Join(all, ", ")
}
