package reach

// Outcome is what came of a check over one path.
type Outcome string

// The outcomes, by layer.
const (
	OutcomeNone Outcome = "" // not measured
	OutcomeOK   Outcome = "ok"

	DNSTimeout  Outcome = "dns_timeout"
	DNSNXDomain Outcome = "dns_nxdomain"
	DNSTampered Outcome = "dns_tampered"

	TCPTimeout     Outcome = "tcp_timeout"
	TCPRefused     Outcome = "tcp_refused"
	TCPUnreachable Outcome = "tcp_unreachable"

	TLSReset          Outcome = "tls_reset"
	TLSTimeout        Outcome = "tls_timeout"
	TLSBadCertificate Outcome = "tls_bad_certificate"

	HTTPReset      Outcome = "http_reset"
	HTTPTimeout    Outcome = "http_timeout"
	HTTPBlockPage  Outcome = "http_block_page"
	HTTPError      Outcome = "http_error"
	ServiceRefused Outcome = "service_refused"

	StratumTimeout  Outcome = "stratum_timeout"
	StratumReset    Outcome = "stratum_reset"
	StratumRejected Outcome = "stratum_rejected"

	Stalled  Outcome = "stalled"
	PathDown Outcome = "path_down"
)

// Layer is where a check failed.
type Layer string

// The layers; LayerNone goes with OutcomeOK and PathDown.
const (
	LayerNone     Layer = ""
	LayerDNS      Layer = "dns"
	LayerTCP      Layer = "tcp"
	LayerTLS      Layer = "tls"
	LayerHTTP     Layer = "http"
	LayerStratum  Layer = "stratum"
	LayerTransfer Layer = "transfer"
)

// Outcomes lists all, in order of their layers.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeOK, DNSTimeout, DNSNXDomain, DNSTampered, TCPTimeout, TCPRefused, TCPUnreachable,
		TLSReset, TLSTimeout, TLSBadCertificate, HTTPReset, HTTPTimeout, HTTPBlockPage, HTTPError, ServiceRefused,
		StratumTimeout, StratumReset, StratumRejected, Stalled, PathDown,
	}
}

// Verdict is what all paths' outcomes together say.
type Verdict string

// The verdicts.
const (
	Reachable      Verdict = "reachable"       // the direct path works
	Interfered     Verdict = "interfered"      // it fails where another works, in a way a network does
	VerdictRefused Verdict = "service_refused" // the service itself answers and says no
	ServiceDown    Verdict = "service_down"    // it fails alike on every working path
	Offline        Verdict = "offline"         // nothing at all answers on the direct path
	Unknown        Verdict = "unknown"
)

// Verdicts lists all.
func Verdicts() []Verdict {
	return []Verdict{Reachable, Interfered, VerdictRefused, ServiceDown, Offline, Unknown}
}

// layerOf is the layer that an outcome belongs to.
func layerOf(o Outcome) Layer {
	switch o {
	case DNSTimeout, DNSNXDomain, DNSTampered:
		return LayerDNS
	case TCPTimeout, TCPRefused, TCPUnreachable:
		return LayerTCP
	case TLSReset, TLSTimeout, TLSBadCertificate:
		return LayerTLS
	case HTTPReset, HTTPTimeout, HTTPBlockPage, HTTPError, ServiceRefused:
		return LayerHTTP
	case StratumTimeout, StratumReset, StratumRejected:
		return LayerStratum
	case Stalled:
		return LayerTransfer
	}
	return LayerNone
}

// Reached says whether the service itself was reached, and serves or says no.
func (o Outcome) Reached() bool { return o.byService() }

// byService says that the service itself was reached and answered: the network
// let everything through.
func (o Outcome) byService() bool {
	switch o {
	case OutcomeOK, HTTPError, ServiceRefused, StratumRejected:
		return true
	}
	return false
}

// refuses says that the service answers and says no.
func (o Outcome) refuses() bool { return o == ServiceRefused || o == StratumRejected }

// silent says that a loss of packets can look like it: only timeouts do, and
// what a dead line's own router says.
func (o Outcome) silent() bool {
	switch o {
	case DNSTimeout, TCPTimeout, TCPUnreachable, TLSTimeout, HTTPTimeout, StratumTimeout, Stalled:
		return true
	}
	return false
}
