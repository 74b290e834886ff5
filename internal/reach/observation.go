package reach

import (
	"net/netip"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
)

// Fault is the way in which a step failed.
type Fault string

// The faults; FaultNone is success.
const (
	FaultNone        Fault = ""
	FaultTimeout     Fault = "timeout"
	FaultReset       Fault = "reset"       // RST once connected
	FaultClosed      Fault = "closed"      // FIN before the answer was whole
	FaultRefused     Fault = "refused"     // RST to the SYN
	FaultUnreachable Fault = "unreachable" // ICMP, or no route
	FaultAlert       Fault = "alert"       // of TLS, from the other side
	FaultCertificate Fault = "certificate" // not proven who it is
	FaultGarbage     Fault = "garbage"     // not the protocol that was asked for
	FaultPath        Fault = "path"        // the path is down
	FaultSlow        Fault = "slow"        // the check's time was up while bytes still came
	FaultOther       Fault = "other"
)

// Failure is a fault with what the system or the other side said of it. The
// zero value is success.
type Failure struct {
	Fault Fault
	Text  string
}

// Observation is what was seen of one target over one path: raw, nothing in it
// is judged. It does not change once it is made.
type Observation struct {
	Path   string
	Direct bool
	Target catalogue.Target
	Deep   bool // a transfer past 64 KiB was asked for
	Began  time.Time
	Took   time.Duration
	Bytes  int64 // read and written above TCP
	Resent int64 // segments that the kernel sent again, over connections that were made
	Late   bool  // this machine was too busy to look in time

	Down      string   // why the path cannot be used; "" is that it can
	Lookups   []Lookup // none where the target is an address or names were not compared
	Walks     []Walk
	Cancelled bool // it was cut short by the caller and says nothing
}

// Lookup is one question for the target's name.
type Lookup struct {
	IPv6     bool // AAAA, else A
	Provider bool // the provider's servers were asked, as clients do; else trusted ones
	Took     time.Duration
	Answers  []dns.Answer // what a client of the path takes, then what else came for it
	Failure  Failure      // there is no answer

	Trusted        dns.Answer // what a resolver says that nobody on the way can change
	TrustedFailure Failure    // there is none to compare with
}

// Walk is the way up the layers over one family of addresses.
type Walk struct {
	IPv6     bool
	Given    bool // with addresses that the path's resolver gave and the trusted one did not
	Connects []Connect
	Sessions []Session // over the first connection; a second one where the first failed
}

// Connect is one attempt to connect.
type Connect struct {
	Address netip.AddrPort
	Took    time.Duration // the round trip of the handshake, where it is made
	Failure Failure
}

// Session is what happened over one connection. What was not tried is nil.
type Session struct {
	Address   netip.AddrPort
	Reconnect Failure // the second session's connection could not be made
	TLS       *Handshake
	OtherName *Failure // of a handshake with the same address and a neutral name
	HTTP      *Response
	Stratum   *Reply
	Transfer  *Transfer
}

// Handshake is a TLS handshake with the target's name.
type Handshake struct {
	Took    time.Duration
	Failure Failure
	Issuer  string // of a certificate that did not prove the name
}

// Response is the head of an HTTP answer, and what of its body tells block pages
// from others.
type Response struct {
	Took      time.Duration // to the whole head
	Failure   Failure
	Status    int
	Location  string   // the host that a redirect leads to
	Server    string   // the field of that name
	Title     string   // of the page
	Fields    []string // the names of its fields in order, in lower case
	Length    int64    // of the body that was read
	Challenge bool     // a proxy of the service wants to see a browser first
}

// Reply is what a pool said to mining.subscribe.
type Reply struct {
	Took     time.Duration
	Failure  Failure
	Rejected string // the error that it answered with; "" is none
}

// Transfer is the body of an HTTP answer.
type Transfer struct {
	Bytes   int64
	Took    time.Duration
	Whole   bool // all of it came, however short
	Failure Failure
}
