package reach

import (
	"fmt"
	"slices"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
)

// Result is what came of a check over one path.
type Result struct {
	Path    string
	Direct  bool
	Outcome Outcome
	Layer   Layer
	RTT     time.Duration // of the TCP handshake, the shortest; 0: none was made
	Detail  string        // for people; it begins in lower case
	// Rest is what comes of the layers above when the lookup alone is at fault and
	// true addresses are used; else it is Outcome.
	Rest   Outcome
	Named  bool  // the fault was about the server name: with another one the address answers
	IPv6   bool  // the family that it was seen over
	Status int   // of HTTP; 0: none came
	Resent int64 // segments that were sent again
	Late   bool  // silence may be that this machine did not look in time
}

// Judge says what came of an observation. Plain HTTP proves nothing about who
// answers: it is held against what another path got, which may be nil.
func Judge(o Observation, other *Observation) Result {
	r := Result{Path: o.Path, Direct: o.Direct, Resent: o.Resent, Late: o.Late}
	if o.Down != "" {
		r.set(PathDown, o.Down)
		return r
	}
	r.RTT = shortest(o.Walks)
	real, given := judgeWalks(o, other, false), judgeWalks(o, other, true)
	judgeRest(&r, o, real)
	if name := judgeName(o, real, given); name.outcome != OutcomeNone {
		r.Outcome, r.Layer, r.Detail, r.IPv6 = name.outcome, layerOf(name.outcome), name.detail, name.ipv6
	}
	return r
}

// seen is what a part of an observation shows.
type seen struct {
	outcome Outcome
	detail  string
	ipv6    bool
	named   bool
	status  int
}

func (r *Result) set(o Outcome, detail string) {
	r.Outcome, r.Rest, r.Layer, r.Detail = o, o, layerOf(o), detail
}

// judgeRest sets what comes of everything but the lookup.
func judgeRest(r *Result, o Observation, s seen) {
	if s.outcome == OutcomeNone {
		s = unresolved(o)
	}
	r.set(s.outcome, s.detail)
	r.IPv6, r.Named, r.Status = s.ipv6, s.named, s.status
}

// unresolved is for a name that nobody gave an address of.
func unresolved(o Observation) seen {
	for _, l := range o.Lookups {
		if l.Failure.Fault == FaultNone && l.Answers[0].Rcode == rcodeName {
			return seen{outcome: DNSNXDomain, detail: fmt.Sprintf("there is no name %s", o.Target.Host)}
		}
	}
	for _, l := range o.Lookups {
		if l.Failure.Fault == FaultNone && l.Answers[0].Settled() {
			return seen{outcome: DNSNXDomain, detail: fmt.Sprintf("%s has no address (response code %d)", o.Target.Host, l.Answers[0].Rcode)}
		}
	}
	return seen{outcome: DNSTimeout, detail: fmt.Sprintf("no answer to the lookup of %s", o.Target.Host)}
}

// judgeName says whether the lookup is at fault: OutcomeNone is that it is not,
// or that nothing is there to compare.
func judgeName(o Observation, real, given seen) seen {
	var found seen
	timeouts := 0
	for _, l := range o.Lookups {
		s := judgeLookup(o, l, real, given)
		timeouts += btoi(s.outcome == DNSTimeout)
		if found.outcome == OutcomeNone && s.outcome != DNSTimeout {
			found = s
		}
	}
	switch {
	case found.outcome != OutcomeNone && (found.detail != emptyAnswer || !someAddress(o.Lookups)):
		return found
	case len(o.Lookups) > 0 && timeouts == len(o.Lookups):
		return seen{outcome: DNSTimeout, detail: fmt.Sprintf("no answer to the lookup of %s", o.Target.Host)}
	}
	return seen{}
}

// someAddress says whether the path's resolver gave an address of any family.
func someAddress(lookups []Lookup) bool {
	return slices.ContainsFunc(lookups, func(l Lookup) bool { return len(l.Answers) > 0 && len(l.Answers[0].Addrs) > 0 })
}

// emptyAnswer is no sign of anything while the other family has addresses: some
// resolvers leave one family out for everybody.
const emptyAnswer = "the provider's resolver gives no address"

func judgeLookup(o Observation, l Lookup, real, given seen) seen {
	switch {
	case !l.Provider:
		return seen{} // a trusted resolver: what it says is true, and others were asked too
	case l.Failure.Fault != FaultNone:
		return seen{outcome: DNSTimeout}
	case l.TrustedFailure.Fault != FaultNone:
		return seen{}
	}
	return judgeAnswer(o, l, real, given)
}

func judgeAnswer(o Observation, l Lookup, real, given seen) seen {
	t := dns.Compare(l.Answers[0], l.Trusted)
	s := seen{outcome: DNSTampered, ipv6: l.IPv6, detail: "the provider's resolver answers falsely: " + t.Detail}
	switch t.Reason {
	case dns.ReasonSame:
		if len(l.Trusted.Addrs) > 0 || len(l.Answers[0].Addrs) == 0 {
			return seen{}
		}
		s.detail = fmt.Sprintf("the provider's resolver gives %s, but there is no such address", l.Answers[0].Addrs[0])
		return judgeDisjoint(s, l, real, given)
	case dns.ReasonName:
		s.outcome, s.detail = DNSNXDomain, fmt.Sprintf("the provider's resolver says that %s does not exist", o.Target.Host)
	case dns.ReasonEmpty:
		s.detail = emptyAnswer
	case dns.ReasonError:
		s.detail = fmt.Sprintf("the provider's resolver refuses the lookup of %s (response code %d)", o.Target.Host, l.Answers[0].Rcode)
	case dns.ReasonDisjoint:
		s.detail = "the provider's resolver gives " + t.Detail
		return judgeDisjoint(s, l, real, given)
	}
	return s
}

// judgeDisjoint decides about addresses in other networks than the true ones: a
// distributed service has such. They are true when the service is there, and
// nobody's fault when they fare as the true ones do.
func judgeDisjoint(s seen, l Lookup, real, given seen) seen {
	if given.outcome == OutcomeNone || given.outcome == real.outcome || given.outcome.byService() {
		return seen{}
	}
	if len(l.Answers) > 1 {
		s.detail += ", followed by another answer: the first was injected on the way"
	}
	s.detail += ", where " + given.detail
	return s
}

// judgeWalks says what the walks over given or true addresses show together. A
// family that cannot be connected to does not count while the other can: clients
// take that one. One that connects and fails later does.
func judgeWalks(o Observation, other *Observation, given bool) seen {
	var out seen
	connected := false
	for _, w := range o.Walks {
		if w.Given != given {
			continue
		}
		s := judgeWalk(o, other, w)
		switch {
		case out.outcome == OutcomeNone, worse(w, s, connected, out):
			out = s
		}
		connected = connected || len(w.Sessions) > 0
	}
	return out
}

// worse says whether what a walk shows counts more than what is known.
func worse(w Walk, s seen, connected bool, known seen) bool {
	now := len(w.Sessions) > 0
	switch {
	case now != connected:
		return now
	case now:
		return known.outcome == OutcomeOK && s.outcome != OutcomeOK
	}
	return known.outcome == TCPUnreachable && s.outcome != TCPUnreachable
}

func judgeWalk(o Observation, other *Observation, w Walk) seen {
	s := seen{ipv6: w.IPv6}
	if len(w.Sessions) == 0 {
		s.outcome, s.detail = judgeConnects(w.Connects)
		return s
	}
	last := w.Sessions[len(w.Sessions)-1]
	if last.Reconnect.Fault != FaultNone {
		last = w.Sessions[0] // what was seen, however seldom
	}
	judgeSession(&s, o, last)
	if plain := o.Target.Scheme == catalogue.SchemeHTTP; plain && other != nil && last.HTTP != nil {
		judgePage(&s, o.Target.Host, last.HTTP, other)
	}
	if w.Given {
		s.named = false
	}
	return s
}

// judgeConnects is for a family whose addresses all failed.
func judgeConnects(all []Connect) (Outcome, string) {
	outcomes := map[Fault]Outcome{
		FaultRefused: TCPRefused, FaultReset: TCPRefused, FaultUnreachable: TCPUnreachable, FaultPath: TCPUnreachable,
	}
	out := OutcomeNone
	var first Connect
	for _, c := range all {
		now := outcomes[c.Failure.Fault]
		if now == OutcomeNone {
			now = TCPTimeout
		}
		// Silence says the least and so decides, when addresses differ.
		if out == OutcomeNone || now == TCPTimeout && out != TCPTimeout {
			out, first = now, c
		}
	}
	where := first.Address.String()
	if len(all) > 1 {
		where = fmt.Sprintf("%d addresses, such as %s", len(all), where)
	}
	switch out {
	case TCPRefused:
		return out, "connection refused by " + where
	case TCPUnreachable:
		return out, fmt.Sprintf("no way to %s (%s)", where, first.Failure.Text)
	}
	return out, "no answer to the connection to " + where
}

func judgeSession(s *seen, o Observation, x Session) {
	switch {
	case x.TLS != nil && x.TLS.Failure.Fault != FaultNone:
		judgeHandshake(s, o.Target.Host, x)
	case x.HTTP != nil:
		judgeHTTP(s, o, x)
	case x.Stratum != nil:
		judgeStratum(s, *x.Stratum)
	default:
		s.outcome = OutcomeOK
	}
}

func judgeHandshake(s *seen, host string, x Session) {
	f := x.TLS.Failure
	s.named = x.OtherName != nil && x.OtherName.Fault == FaultNone
	switch f.Fault {
	case FaultTimeout:
		s.outcome, s.detail = TLSTimeout, fmt.Sprintf("TLS connection silent after the name %s was sent", host)
	case FaultCertificate:
		s.outcome, s.detail = TLSBadCertificate, fmt.Sprintf("the certificate shown for %s is not its own", host)
		if x.TLS.Issuer != "" {
			s.detail += fmt.Sprintf(", but one by %q", x.TLS.Issuer)
		}
		s.detail += ": " + f.Text
	case FaultGarbage, FaultOther:
		s.outcome, s.detail = TLSBadCertificate, fmt.Sprintf("the answer for %s is not proper TLS: %s", host, f.Text)
	case FaultAlert:
		s.outcome, s.detail = TLSReset, fmt.Sprintf("TLS connection ended by an alert after the name %s was sent: %s", host, f.Text)
	case FaultClosed:
		s.outcome, s.detail = TLSReset, fmt.Sprintf("TLS connection closed right after the name %s was sent", host)
	default:
		s.outcome, s.detail = TLSReset, fmt.Sprintf("TLS connection reset right after the name %s was sent", host)
	}
}

func judgeStratum(s *seen, r Reply) {
	switch f := r.Failure; {
	case f.Fault == FaultTimeout:
		s.outcome, s.detail = StratumTimeout, "no answer to mining.subscribe"
	case f.Fault == FaultGarbage:
		s.outcome, s.detail = StratumReset, "something that is no pool answers: "+f.Text
	case f.Fault != FaultNone:
		s.outcome, s.detail = StratumReset, "connection "+ended(f)+" after mining.subscribe was sent"
	case r.Rejected != "":
		s.outcome, s.detail = StratumRejected, fmt.Sprintf("the pool refuses mining.subscribe: %q", r.Rejected)
	default:
		s.outcome = OutcomeOK
	}
}

func ended(f Failure) string {
	switch f.Fault {
	case FaultReset:
		return "reset"
	case FaultClosed:
		return "closed"
	}
	return "broken (" + f.Text + ")"
}

// shortest is the round trip to the nearest address that answered.
func shortest(walks []Walk) time.Duration {
	var all []time.Duration
	for _, w := range walks {
		for _, c := range w.Connects {
			if c.Failure.Fault == FaultNone && !w.Given {
				all = append(all, c.Took)
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	return slices.Min(all)
}
