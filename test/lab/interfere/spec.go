package interfere

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Direction says which packets an interference is about.
type Direction string

// The values of Direction.
const (
	Both Direction = ""
	Out  Direction = "out" // from the customer
	In   Direction = "in"  // to the customer
)

// The values of Interference.Answer that are no addresses.
const (
	AnswerBlockPage = "block-page" // addresses of the provider's block page
	AnswerNXDomain  = "nxdomain"   // no such name
	AnswerEmpty     = "empty"      // the name without an address
	AnswerRedirect  = "redirect"   // http-block-page: 302 to the block page
	AnswerPage      = "page"       // http-block-page: the page in place
)

// The values of Interference.On.
const (
	OnSYN  = "syn"  // the first packet of a connection
	OnData = "data" // the client's first bytes
)

// The values of Interference.Messages, WireGuard's handshake.
const (
	Initiation = "initiation" // type 1, 148 bytes
	Response   = "response"   // type 2, 92 bytes
)

// Interference is one thing that is done to the customer's traffic. Which fields
// a kind takes stands in Kinds; the others stay zero.
type Interference struct {
	// ID is given when the interference begins.
	ID   string `json:"id,omitempty"`
	Kind Kind   `json:"kind"`
	// Names are host names, each with every name below it.
	Names []string `json:"names,omitempty"`
	// Addresses are those of the far side: servers, not the customer.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// Targets are the addresses that Names have, for kinds that act on
	// addresses; the lab fills them in.
	Targets []netip.Prefix `json:"targets,omitempty"`
	// Hosts are Names and those below them that net has, for service-status;
	// the lab fills them in.
	Hosts []string `json:"hosts,omitempty"`
	// Family is 4, 6 or 0 for both: of the packets, and of the records for
	// forged DNS.
	Family    int       `json:"family,omitempty"`
	Direction Direction `json:"direction,omitempty"`
	// Protocol is tcp, udp or "" for every one.
	Protocol string   `json:"protocol,omitempty"`
	Ports    []uint16 `json:"ports,omitempty"` // of the far side
	// Servers are the DNS servers whose queries are touched; none: every one.
	Servers []netip.Addr `json:"servers,omitempty"`
	// Answer is what forged DNS says: AnswerBlockPage (also ""), AnswerNXDomain,
	// AnswerEmpty, or addresses with commas between them.
	Answer   string        `json:"answer,omitempty"`
	Percent  float64       `json:"percent,omitempty"`
	Bytes    uint64        `json:"bytes,omitempty"`
	Kbit     uint64        `json:"kbit,omitempty"` // kbit/s
	Delay    time.Duration `json:"delay,omitempty"`
	Status   int           `json:"status,omitempty"` // of HTTP
	On       string        `json:"on,omitempty"`
	Messages []string      `json:"messages,omitempty"`
	Silent   bool          `json:"silent,omitempty"` // drop instead of refuse
	// Hits counts the packets, queries or connections touched; for rate and
	// delay, those held.
	Hits uint64 `json:"hits"`
}

// Complete fills in a kind's defaults, brings names into one form and refuses
// what the kind does not take or cannot do without.
func (x *Interference) Complete() error {
	info, ok := InfoOf(x.Kind)
	if !ok {
		return fmt.Errorf("kind %q: use one of %s", x.Kind, kindNames())
	}
	for i, name := range x.Names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if !regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`).MatchString(name) {
			return fmt.Errorf("%s: name %q: use letters, digits, - and _ with dots between", x.Kind, x.Names[i])
		}
		x.Names[i] = name
	}
	for _, field := range x.set() {
		if !slices.Contains(info.Takes, field) {
			return fmt.Errorf("%s does not take %s; it takes %s", x.Kind, field, join(info.Takes))
		}
	}
	for _, field := range info.Needs {
		if !slices.Contains(x.set(), field) {
			return fmt.Errorf("%s needs %s, such as: scripts/lab isp %s", x.Kind, field, info.Example)
		}
	}
	if info.Service && len(x.Names)+len(x.Addresses) == 0 {
		return fmt.Errorf("%s needs a name or an address, such as: scripts/lab isp %s", x.Kind, info.Example)
	}
	x.fillIn(info)
	return x.checkValues()
}

// fillIn gives what is not said the kind's default.
func (x *Interference) fillIn(info Info) {
	d := info.Default
	if x.Answer == "" {
		x.Answer = d.Answer
	}
	if x.Bytes == 0 {
		x.Bytes = d.Bytes
	}
	if x.Kbit == 0 {
		x.Kbit = d.Kbit
	}
	if x.On == "" {
		x.On = d.On
	}
	if len(x.Messages) == 0 {
		x.Messages = d.Messages
	}
	if len(x.Ports) == 0 {
		x.Ports = d.Ports
	}
	if x.Protocol == "" {
		x.Protocol = d.Protocol
	}
}

// set lists the fields that say something.
func (x *Interference) set() []Field {
	all := []struct {
		field Field
		is    bool
	}{
		{Names, len(x.Names) > 0},
		{Addresses, len(x.Addresses) > 0},
		{Family, x.Family != 0},
		{Directions, x.Direction != Both},
		{Protocol, x.Protocol != ""},
		{Ports, len(x.Ports) > 0},
		{Servers, len(x.Servers) > 0},
		{Answer, x.Answer != ""},
		{Percent, x.Percent != 0},
		{Bytes, x.Bytes != 0},
		{Kbit, x.Kbit != 0},
		{Delay, x.Delay != 0},
		{Status, x.Status != 0},
		{On, x.On != ""},
		{Messages, len(x.Messages) > 0},
		{Silent, x.Silent},
	}
	var out []Field
	for _, f := range all {
		if f.is {
			out = append(out, f.field)
		}
	}
	return out
}

// checkValues refuses values out of range.
func (x *Interference) checkValues() error {
	for _, v := range []struct {
		what  string
		value any
		right bool
		use   string
	}{
		{"family", x.Family, slices.Contains([]int{0, 4, 6}, x.Family), "4 or 6, or leave it out for both"},
		{"direction", x.Direction, slices.Contains([]Direction{Both, Out, In}, x.Direction), "out (from the customer) or in, or leave it out for both"},
		{"protocol", x.Protocol, slices.Contains([]string{"", "tcp", "udp"}, x.Protocol), "tcp or udp, or leave it out for every one"},
		{"on", x.On, slices.Contains([]string{"", OnSYN, OnData}, x.On), OnSYN + " or " + OnData},
		{"percent", x.Percent, x.Percent == 0 || within(x.Percent, 0.01, 100), "0.01 to 100"},
		{"delay", x.Delay, within(x.Delay, 0, 10*time.Second), "up to 10s"},
		{"kbit", x.Kbit, within(x.Kbit, 0, 10_000_000), "1 to 10000000"},
		{"status", x.Status, slices.Contains(append(Statuses(), 0), x.Status), fmt.Sprint("one of ", Statuses())},
		{"messages", x.Messages, known(x.Messages, Initiation, Response), Initiation + ", " + Response + " or both"},
	} {
		if !v.right {
			return fmt.Errorf("%s: %s %v: use %s", x.Kind, v.what, v.value, v.use)
		}
	}
	return x.checkAnswer()
}

func within[T cmp.Ordered](v, low, high T) bool { return low <= v && v <= high }

// known says whether all words are among those of a list.
func known(words []string, list ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(list, w) })
}

func (x *Interference) checkAnswer() error {
	if x.Kind == HTTPBlockPage {
		if x.Answer != AnswerRedirect && x.Answer != AnswerPage {
			return fmt.Errorf("%s: answer %q: use %s or %s", x.Kind, x.Answer, AnswerRedirect, AnswerPage)
		}
		return nil
	}
	_, err := x.answers(netip.Addr{}, netip.Addr{})
	return err
}

// answers are the addresses that forged DNS gives; block4 and block6 are those
// of the block page.
func (x *Interference) answers(block4, block6 netip.Addr) ([]netip.Addr, error) {
	switch x.Answer {
	case "", AnswerNXDomain, AnswerEmpty:
		return nil, nil
	case AnswerBlockPage:
		return []netip.Addr{block4, block6}, nil
	}
	var out []netip.Addr
	for s := range strings.SplitSeq(x.Answer, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("%s: answer %q: use %s, %s, %s or addresses with commas between", x.Kind, x.Answer, AnswerBlockPage, AnswerNXDomain, AnswerEmpty)
		}
		out = append(out, a)
	}
	return out, nil
}

// covers says whether a host name is one of Names or below one.
func (x *Interference) covers(name string) bool { return Covers(x.Names, name) }

// Covers says whether a host name is one of names or below one.
func Covers(names []string, name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return slices.ContainsFunc(names, func(n string) bool {
		return name == n || strings.HasSuffix(name, "."+n)
	})
}

// restricted are the far side's addresses; everything when there are none.
func (x *Interference) restricted() []netip.Prefix {
	return slices.Concat(x.Addresses, x.Targets)
}

// String is the interference in a line.
func (x Interference) String() string {
	words := append([]string{string(x.Kind)}, x.Names...)
	for _, a := range x.Addresses {
		words = append(words, a.String())
	}
	for _, option := range []struct {
		is   bool
		text string
	}{
		{x.Family != 0, fmt.Sprintf("family %d", x.Family)},
		{x.Direction != Both, string(x.Direction)},
		{x.Protocol != "", x.Protocol},
		{len(x.Ports) > 0, fmt.Sprintf("ports %v", x.Ports)},
		{len(x.Servers) > 0, fmt.Sprintf("servers %v", x.Servers)},
		{x.Answer != "", "answer " + x.Answer},
		{x.Percent != 0, fmt.Sprintf("%g %%", x.Percent)},
		{x.Bytes != 0, fmt.Sprintf("after %d bytes", x.Bytes)},
		{x.Kbit != 0, fmt.Sprintf("%d kbit/s", x.Kbit)},
		{x.Delay != 0, x.Delay.String()},
		{x.Status != 0, fmt.Sprint(x.Status)},
		{x.On != "", "on " + x.On},
		{len(x.Messages) > 0, strings.Join(x.Messages, " ")},
		{x.Silent, "silent"},
	} {
		if option.is {
			words = append(words, option.text)
		}
	}
	return strings.Join(words, " ")
}
