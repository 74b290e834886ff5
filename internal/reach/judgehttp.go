package reach

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/web"
)

// judgeHTTP is for an exchange whose connection was made, and proven where it is
// encrypted.
func judgeHTTP(s *seen, o Observation, x Session) {
	h := x.HTTP
	s.status = h.Status
	switch h.Failure.Fault {
	case FaultNone:
		judgeStatus(s, o, x)
	case FaultTimeout:
		s.outcome, s.detail = HTTPTimeout, "no answer to the request"
	case FaultGarbage:
		s.outcome, s.detail = HTTPError, "the answer is not HTTP: "+h.Failure.Text
	default:
		s.outcome, s.detail = HTTPReset, "connection "+ended(h.Failure)+" after the request for "+o.Target.Host+" was sent"
	}
}

func judgeStatus(s *seen, o Observation, x Session) {
	switch h := x.HTTP; {
	case refusedBy(h, o.Target.Encrypted()):
		s.outcome, s.detail = ServiceRefused, fmt.Sprintf("the service itself answers %s", statusText(h.Status))
	case h.Status >= web.StatusInternalServerError || !o.Target.Encrypted() && h.Status == web.StatusForbidden:
		s.outcome, s.detail = HTTPError, "the answer is "+statusText(h.Status)
	default:
		judgeTransfer(s, x.Transfer)
		if s.outcome == OutcomeOK && s.detail == "" && h.Status >= web.StatusBadRequest {
			s.detail = "it answers " + statusText(h.Status)
		}
	}
}

// refusedBy says whether a service says no: by 451 (RFC 7725), or by 403 where
// its certificate proves that it is the service. A proxy that wants to see a
// browser first says nothing about people.
func refusedBy(h *Response, proven bool) bool {
	return h.Status == web.StatusUnavailableForLegalReasons || h.Status == web.StatusForbidden && proven && !h.Challenge
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, web.StatusText(status)))
}

func judgeTransfer(s *seen, t *Transfer) {
	s.outcome = OutcomeOK
	if t == nil {
		return
	}
	switch t.Failure.Fault {
	case FaultNone:
	case FaultSlow:
		s.detail = fmt.Sprintf("slow: %d bytes in %s", t.Bytes, t.Took.Round(100*time.Millisecond))
	case FaultTimeout:
		s.outcome, s.detail = Stalled, fmt.Sprintf("the transfer stopped after %d bytes, and nothing came since", t.Bytes)
	case FaultGarbage, FaultOther:
		s.outcome, s.detail = HTTPError, "the answer is not HTTP: "+t.Failure.Text
	default:
		s.outcome, s.detail = HTTPReset, fmt.Sprintf("connection %s after %d bytes of the answer", ended(t.Failure), t.Bytes)
	}
}

// judgePage holds a plain answer against the one that came over another path. Like
// OONI it takes two pages for one unless nothing about them agrees.
// A status that refuses is left to the service: that somebody else says it in its
// name cannot be known.
func judgePage(s *seen, host string, h *Response, other *Observation) {
	if s.outcome != OutcomeOK || h.Failure.Fault != FaultNone {
		return
	}
	real := pageOf(other)
	if real == nil || samePage(h, real) {
		return
	}
	switch {
	case h.Location != "" && h.Location != real.Location && !related(h.Location, host):
		s.outcome, s.detail = HTTPBlockPage, fmt.Sprintf("plain HTTP is led to %s", h.Location)
	case h.Status/100 == 2:
		s.outcome, s.detail = HTTPBlockPage, "plain HTTP is answered with another page"
		if h.Title != "" {
			s.detail += fmt.Sprintf(", %q", h.Title)
		}
	}
}

// related says whether two hosts have their last two labels in common: a service
// leads its visitors around within its own names.
func related(a, b string) bool { return lastLabels(a) == lastLabels(b) }

func lastLabels(host string) string {
	last := strings.LastIndexByte(host, '.')
	if last <= 0 {
		return host
	}
	return host[strings.LastIndexByte(host[:last], '.')+1:]
}

// pageOf is an answer that the service itself gave, as far as plain HTTP can say.
func pageOf(o *Observation) *Response {
	for _, w := range o.Walks {
		for _, x := range w.Sessions {
			if x.HTTP != nil && x.HTTP.Failure.Fault == FaultNone && !w.Given {
				return x.HTTP
			}
		}
	}
	return nil
}

// samePage compares what stays the same when one server answers twice.
func samePage(a, b *Response) bool {
	if a.Location != "" && a.Location == b.Location {
		return true
	}
	if a.Status/100 != b.Status/100 || a.Location != b.Location {
		return false
	}
	return a.Title != "" && a.Title == b.Title || similar(a.Length, b.Length) || slices.Equal(a.Fields, b.Fields) && a.Server == b.Server
}

// similar says whether two lengths are those of one page: OONI's proportion.
func similar(a, b int64) bool {
	const percent = 70
	return max(a, b) == 0 || min(a, b)*100/max(a, b) > percent
}
