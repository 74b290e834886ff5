package reach

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func target(t testing.TB, text string) catalogue.Target {
	t.Helper()
	x, err := catalogue.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func ap(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

func answer(rcode int, addrs ...string) dns.Answer {
	a := dns.Answer{Rcode: rcode}
	for _, x := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(x))
	}
	return a
}

// asked is a lookup of A at the provider's, held against the truth.
func asked(given, trusted dns.Answer, more ...dns.Answer) Lookup {
	return Lookup{Provider: true, Answers: append([]dns.Answer{given}, more...), Trusted: trusted}
}

func noAnswer(ipv6 bool) Lookup {
	return Lookup{IPv6: ipv6, Provider: true, Failure: Failure{FaultTimeout, "i/o timeout"}, Trusted: answer(0, real4)}
}

const (
	real4  = "104.16.1.1"
	near4  = "95.100.1.1" // of the same service, elsewhere
	fake4  = "10.10.34.35"
	block4 = "95.213.1.1"
)

func connected(address string, sessions ...Session) Walk {
	return Walk{IPv6: ap(address).Addr().Is6(), Connects: []Connect{{Address: ap(address), Took: 40 * time.Millisecond}}, Sessions: sessions}
}

func unconnected(f Failure, addresses ...string) Walk {
	w := Walk{IPv6: ap(addresses[0]).Addr().Is6()}
	for _, a := range addresses {
		w.Connects = append(w.Connects, Connect{Address: ap(a), Failure: f})
	}
	return w
}

func given(w Walk) Walk {
	w.Given = true
	return w
}

func tlsFailed(f Fault, text string, other *Failure) Session {
	return Session{TLS: &Handshake{Failure: Failure{f, text}, Issuer: ""}, OtherName: other}
}

func answered(status int, f Failure) Session {
	return Session{TLS: &Handshake{}, HTTP: &Response{Status: status}, Transfer: &Transfer{Bytes: 20, Whole: f.Fault == "", Failure: f}}
}

func page(r Response) Session {
	return Session{HTTP: &r, Transfer: &Transfer{Whole: true, Bytes: r.Length}}
}

var (
	timeout     = Failure{FaultTimeout, "i/o timeout"}
	refused     = Failure{FaultRefused, "connection refused"}
	reset       = Failure{FaultReset, "connection reset by peer"}
	closed      = Failure{FaultClosed, "EOF"}
	unreachable = Failure{FaultUnreachable, "no route to host"}
	fine        = &Failure{}
)

// look is one observation of the golden table.
type look struct {
	name   string
	target string
	o      Observation
	other  *Observation
}

const (
	https   = "https://okx.com/api"
	v4      = real4 + ":443"
	v4b     = "104.16.1.2:443"
	v6      = "[2606:4700::1]:443"
	stratum = "stratum+tcp://pool.example:3333"
	plain   = "http://okx.com/"
)

func looks() []look {
	ok := connected(v4, answered(200, Failure{}))
	walks := func(w ...Walk) Observation { return Observation{Walks: w} }
	named := func(l Lookup, w ...Walk) Observation {
		return Observation{Direct: true, Lookups: []Lookup{l}, Walks: w}
	}
	truth := answer(0, real4)
	return []look{
		{"works", https, walks(ok), nil},
		{"works, with its own error", https, walks(connected(v4, answered(404, Failure{}))), nil},
		{"works for browsers", https, walks(connected(v4, Session{TLS: &Handshake{}, HTTP: &Response{Status: 403, Challenge: true}})), nil},
		{"works at the second try", https, walks(connected(v4, tlsFailed(FaultReset, "", nil), answered(200, Failure{}))), nil},
		{"path down", https, Observation{Down: "tunnel home: no handshake for 200 s"}, nil},
		{"nothing was looked up", https, Observation{Direct: true}, nil},

		{"DNS: same", https, named(asked(truth, truth), ok), nil},
		{"DNS: no answer", https, Observation{Direct: true, Lookups: []Lookup{noAnswer(false), noAnswer(true)}, Walks: []Walk{ok}}, nil},
		{"DNS: no answer for IPv6", https, Observation{Direct: true, Lookups: []Lookup{asked(truth, truth), noAnswer(true)}, Walks: []Walk{ok}}, nil},
		{"DNS: private address", https, named(asked(answer(0, fake4), truth), ok), nil},
		{"DNS: no such name", https, named(asked(answer(3), truth), ok), nil},
		{"DNS: empty", https, named(asked(answer(0), truth), ok), nil},
		{"DNS: empty for IPv6 alone", https, Observation{Direct: true, Lookups: []Lookup{asked(truth, truth), {IPv6: true, Provider: true, Answers: []dns.Answer{answer(0)}, Trusted: answer(0, "2606:4700::1")}}, Walks: []Walk{ok}}, nil},
		{"DNS: refused", https, named(asked(answer(5), truth), ok), nil},
		{"DNS: invented", https, named(asked(answer(0, block4), answer(3))), nil},
		{"DNS: another place of the service", https, named(asked(answer(0, near4), truth), ok, given(connected(near4+":443", answered(200, Failure{})))), nil},
		{"DNS: block page", https, named(asked(answer(0, block4), truth), ok, given(connected(block4+":443", tlsFailed(FaultCertificate, "valid for block.example", nil)))), nil},
		{"DNS: block page, injected", https, named(asked(answer(0, block4), truth, truth), ok, given(connected(block4+":443", tlsFailed(FaultCertificate, "valid for block.example", nil)))), nil},
		{"DNS: elsewhere, all are reset", https, named(asked(answer(0, near4), truth), connected(v4, tlsFailed(FaultReset, "", fine)), given(connected(near4+":443", tlsFailed(FaultReset, "", fine)))), nil},
		{"DNS: IPv6 of a name without", https, named(Lookup{IPv6: true, Provider: true, Answers: []dns.Answer{answer(0, "2a00::1")}, Trusted: answer(0)}, ok, given(connected("[2a00::1]:443", tlsFailed(FaultCertificate, "valid for block.example", nil)))), nil},
		{"DNS: no truth", https, named(Lookup{Provider: true, Answers: []dns.Answer{answer(0, block4)}, TrustedFailure: timeout}, ok), nil},
		{"DNS: a trusted resolver's silence", https, Observation{Lookups: []Lookup{{Failure: timeout}}, Walks: []Walk{ok}}, nil},
		{"DNS: the name is gone", https, Observation{Lookups: []Lookup{{Answers: []dns.Answer{answer(3)}}}}, nil},
		{"DNS: the name has no address", https, Observation{Lookups: []Lookup{{Answers: []dns.Answer{answer(0)}}}}, nil},

		{"TCP: silence", https, walks(unconnected(timeout, v4)), nil},
		{"TCP: silence of many", https, walks(unconnected(timeout, v4, v4b)), nil},
		{"TCP: refused", https, walks(unconnected(refused, v4)), nil},
		{"TCP: unreachable", https, walks(unconnected(unreachable, v4)), nil},
		{"TCP: silence, and no IPv6", https, walks(unconnected(unreachable, v6), unconnected(timeout, v4)), nil},
		{"TCP: IPv6 silent", https, walks(unconnected(timeout, v6), ok), nil},
		{"TCP: refused and silent", https, walks(Walk{Connects: []Connect{{Address: ap(v4), Failure: refused}, {Address: ap(v4b), Failure: timeout}}}), nil},

		{"TLS: reset by name", https, walks(connected(v4, tlsFailed(FaultReset, "", nil), tlsFailed(FaultReset, "", fine))), nil},
		{"TLS: reset by address", https, walks(connected(v4, tlsFailed(FaultReset, "", nil), tlsFailed(FaultReset, "", &reset))), nil},
		{"TLS: reset over IPv6 alone", https, walks(ok, connected(v6, tlsFailed(FaultReset, "", nil), tlsFailed(FaultReset, "", fine))), nil},
		{"TLS: closed", https, walks(connected(v4, tlsFailed(FaultClosed, "EOF", nil))), nil},
		{"TLS: silence", https, walks(connected(v4, tlsFailed(FaultTimeout, "", fine))), nil},
		{"TLS: alert", https, walks(connected(v4, tlsFailed(FaultAlert, "handshake failure", nil))), nil},
		{"TLS: another certificate", https, walks(connected(v4, Session{TLS: &Handshake{Failure: Failure{FaultCertificate, "unknown authority"}, Issuer: "Provider CA"}})), nil},
		{"TLS: no TLS", https, walks(connected(v4, tlsFailed(FaultGarbage, "first record does not look like a TLS handshake", nil))), nil},
		{"TLS: fails, then no connection", https, walks(connected(v4, tlsFailed(FaultReset, "", nil), Session{Reconnect: timeout})), nil},

		{"HTTP: reset", https, walks(connected(v4, Session{TLS: &Handshake{}, HTTP: &Response{Failure: reset}})), nil},
		{"HTTP: silence", https, walks(connected(v4, Session{TLS: &Handshake{}, HTTP: &Response{Failure: timeout}})), nil},
		{"HTTP: garbage", https, walks(connected(v4, Session{TLS: &Handshake{}, HTTP: &Response{Failure: Failure{FaultGarbage, "malformed HTTP response"}}})), nil},
		{"HTTP: 403 of its own", https, walks(connected(v4, answered(403, Failure{}))), nil},
		{"HTTP: 451", https, walks(connected(v4, answered(451, Failure{}))), nil},
		{"HTTP: 503", https, walks(connected(v4, answered(503, Failure{}))), nil},
		{"HTTP: 403, plain", plain, walks(connected(v4, page(Response{Status: 403}))), nil},
		{"HTTP: stalled", https, walks(connected(v4, answered(200, timeout))), nil},
		{"HTTP: cut", https, walks(connected(v4, answered(200, closed))), nil},
		{"HTTP: slow", https, walks(connected(v4, answered(200, Failure{FaultSlow, ""}))), nil},
		{"HTTP: chunks are wrong", https, walks(connected(v4, answered(200, Failure{FaultOther, "malformed chunked encoding"}))), nil},

		{"pool: works", stratum, walks(connected(v4, Session{Stratum: &Reply{}})), nil},
		{"pool: refuses", stratum, walks(connected(v4, Session{Stratum: &Reply{Rejected: "Not allowed"}})), nil},
		{"pool: reset", stratum, walks(connected(v4, Session{Stratum: &Reply{Failure: reset}})), nil},
		{"pool: closed", stratum, walks(connected(v4, Session{Stratum: &Reply{Failure: closed}})), nil},
		{"pool: silence", stratum, walks(connected(v4, Session{Stratum: &Reply{Failure: timeout}})), nil},
		{"pool: no pool", stratum, walks(connected(v4, Session{Stratum: &Reply{Failure: Failure{FaultGarbage, "HTTP/1.1 400"}}})), nil},
	}
}

// pages are plain answers held against what another path got.
func pages() []look {
	mine := Response{Status: 200, Title: "OKX", Server: "nginx", Fields: []string{"content-type", "date", "server"}, Length: 5000}
	against := func(r Response) *Observation { return &Observation{Walks: []Walk{connected(v4, page(r))}} }
	one := func(r Response) Observation { return Observation{Walks: []Walk{connected(v4, page(r))}} }
	block := Response{Status: 200, Title: "Blocked", Server: "provider", Fields: []string{"content-type"}, Length: 300}
	away := Response{Status: 302, Location: "block.provider.example", Length: 0}
	home := Response{Status: 301, Location: "www.okx.com", Length: 160}
	changed := mine
	changed.Title, changed.Length = "OKX — 63,000", 5400
	return []look{
		{"page: the same", plain, one(mine), against(mine)},
		{"page: changed since", plain, one(changed), against(mine)},
		{"page: another", plain, one(block), against(mine)},
		{"page: another in place of a redirect", plain, one(block), against(home)},
		{"page: led away", plain, one(away), against(mine)},
		{"page: led away, not home", plain, one(away), against(home)},
		{"page: led home", plain, one(home), against(home)},
		{"page: nothing to compare", plain, one(away), nil},
		{"page: led about within the service", plain, one(Response{Status: 302, Location: "m.okx.com"}), against(mine)},
		{"page: 451 here alone", plain, one(Response{Status: 451, Title: "Blocked"}), against(mine)},
		{"page: 451 of the service", plain, one(Response{Status: 451, Length: 9}), against(Response{Status: 451, Length: 9})},
		{"page: 403 here alone", plain, one(Response{Status: 403, Length: 9}), against(mine)},
		{"page: the other failed", plain, one(block), &Observation{Walks: []Walk{unconnected(timeout, v4)}}},
	}
}

func TestJudgeGoldenTable(t *testing.T) {
	var b strings.Builder
	met := map[Outcome]bool{}
	for _, l := range append(looks(), pages()...) {
		l.o.Target = target(t, l.target)
		r := Judge(l.o, l.other)
		met[r.Outcome] = true
		if r.Layer != layerOf(r.Outcome) {
			t.Errorf("%s: outcome %s at layer %s", l.name, r.Outcome, r.Layer)
		}
		fmt.Fprintf(&b, "%s: %s", l.name, r.Outcome)
		if r.Rest != r.Outcome {
			fmt.Fprintf(&b, ", else %s", r.Rest)
		}
		fmt.Fprintf(&b, " | %s\n", r.Detail)
	}
	golden(t, "judge.txt", b.String())
	for _, o := range Outcomes() {
		if !met[o] {
			t.Errorf("no line has %s", o)
		}
	}
}

func TestFaultsOfErrors(t *testing.T) {
	for want, errs := range map[Fault][]error{
		FaultTimeout:     {syscall.ETIMEDOUT, os.ErrDeadlineExceeded, fmt.Errorf("x: %w", os.ErrDeadlineExceeded)},
		FaultReset:       {syscall.ECONNRESET, syscall.EPIPE},
		FaultRefused:     {os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		FaultUnreachable: {syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EACCES},
		FaultPath:        {fmt.Errorf("tunnel home: %w", dns.ErrPathDown)},
		FaultSlow:        {errSlow},
		FaultGarbage:     {errors.New("tls: server selected unsupported protocol version 301")},
		FaultOther:       {errors.New("something")},
	} {
		for _, err := range errs {
			if got := failure(err); got.Fault != want || got.Text == "" {
				t.Errorf("%v: %+v, want %s", err, got, want)
			}
		}
	}
	if got := failure(nil); got != (Failure{}) {
		t.Errorf("no error: %+v", got)
	}
}

func TestTextOfOthersIsOneShortLine(t *testing.T) {
	got := clean("a\r\nb\x1b[31m\u202e\xff" + strings.Repeat("ж", 200))
	if strings.ContainsAny(got, "\r\n\x1b\u202e") || !utf8.ValidString(got) || len(got) > maxText+8 || !strings.HasPrefix(got, "a  b") {
		t.Errorf("%q", got)
	}
}
