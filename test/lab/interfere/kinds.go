package interfere

import (
	"slices"
	"strings"
)

// Kind is a way to interfere.
type Kind string

// The values of Kind.
const (
	DNSForge      Kind = "dns-forge"
	DNSInject     Kind = "dns-inject"
	DNSDrop       Kind = "dns-drop"
	DNSRedirect   Kind = "dns-redirect"
	TCPDrop       Kind = "tcp-drop"
	TCPReset      Kind = "tcp-reset"
	Unreachable   Kind = "unreachable"
	TLSReset      Kind = "tls-reset"
	TLSDrop       Kind = "tls-drop"
	TLSCert       Kind = "tls-cert"
	QUICDrop      Kind = "quic-drop"
	HTTPReset     Kind = "http-reset"
	HTTPBlockPage Kind = "http-block-page"
	Drop          Kind = "drop"
	Freeze        Kind = "freeze"
	Rate          Kind = "rate"
	Loss          Kind = "loss"
	Delayed       Kind = "delay"
	WGHandshake   Kind = "wg-handshake"
	WANDown       Kind = "wan-down"
	ServiceStatus Kind = "service-status"
	ServiceReject Kind = "service-reject"
	ServiceDown   Kind = "service-down"
)

// Field names a field of Interference as the command's options do.
type Field string

// The values of Field.
const (
	Names      Field = "NAME"
	Addresses  Field = "ADDRESS"
	Family     Field = "--family"
	Directions Field = "--direction"
	Protocol   Field = "--protocol"
	Ports      Field = "--port"
	Servers    Field = "--server"
	Answer     Field = "--answer"
	Percent    Field = "PERCENT"
	Bytes      Field = "--bytes"
	Kbit       Field = "--kbit"
	Delay      Field = "DURATION"
	Status     Field = "STATUS"
	On         Field = "--on"
	Messages   Field = "--message"
	Silent     Field = "--silent"
)

// Info is what there is to know of a kind.
type Info struct {
	Kind  Kind
	Short string
	Long  string
	// Example is the words after "scripts/lab isp".
	Example string
	Takes   []Field
	Needs   []Field
	Default Interference
	// ByAddress: Names stand for their addresses.
	ByAddress bool
	// Service: it is done by the service, in net, not by the provider.
	Service bool
}

// InfoOf finds a kind.
func InfoOf(k Kind) (Info, bool) {
	for _, info := range Kinds() {
		if info.Kind == k {
			return info, true
		}
	}
	return Info{}, false
}

// Statuses are those that a service can answer with.
func Statuses() []int { return []int{403, 429, 451, 500, 503} }

// Kinds lists every kind, in the order in which people should read of them.
func Kinds() []Info {
	return slices.Concat(dnsKinds(), connectionKinds(), nameKinds(), lineKinds(), serviceKinds())
}

func dnsKinds() []Info {
	takes := []Field{Names, Servers, Family}
	return []Info{
		{
			Kind: DNSForge, Short: "Answer lookups of a name falsely, whatever server is asked",
			Long: `Turns every query on port 53 (UDP and TCP, to the provider's resolver and to any
other) to the provider, who forges answers for the names and everything below
them; all other names are answered truly, by the provider's resolver. With
--family only A (4) or AAAA (6) are forged.`,
			Example: "dns-forge okx.com --answer nxdomain",
			Takes:   append(takes, Answer), Needs: []Field{Names}, Default: Interference{Answer: AnswerBlockPage},
		},
		{
			Kind: DNSInject, Short: "Send a forged answer ahead of the true one (UDP)",
			Long:    "Sends a forged answer for the names before the query goes on; the true answer arrives too. Lookups over TCP are not touched.",
			Example: "dns-inject okx.com --answer 22.100.0.80", Takes: append(takes, Answer), Needs: []Field{Names},
			Default: Interference{Answer: AnswerBlockPage},
		},
		{
			Kind: DNSDrop, Short: "Drop lookups, of a name or all",
			Long: "Drops queries on port 53 for the names and everything below them, over UDP and TCP; without a name, every query.", Example: "dns-drop binance.com", Takes: takes,
		},
		{
			Kind: DNSRedirect, Short: "Turn every lookup to the provider's own resolver",
			Long: "Turns every query on port 53, to whatever server, to the provider's resolver, which answers truly in that server's name.", Example: "dns-redirect --server 22.8.8.8", Takes: []Field{Servers, Family},
		},
	}
}

func connectionKinds() []Info {
	takes := []Field{Names, Addresses, Family, Ports}
	return []Info{
		{
			Kind: TCPDrop, Short: "Drop TCP connections as they begin", ByAddress: true,
			Long: "Drops the first packet of connections (SYN); with --direction in, its answer.", Example: "tcp-drop okx.com --family 4", Takes: append(takes, Directions),
		},
		{
			Kind: TCPReset, Short: "Reset TCP connections as they begin, or at the first byte", ByAddress: true,
			Long:    "Answers the first packet of connections with a reset; with --on data, resets both sides at the client's first bytes.",
			Example: "tcp-reset stratum.braiins.com --port 3333 --on data", Takes: append(takes, On), Default: Interference{On: OnSYN},
		},
		{
			Kind: Unreachable, Short: "Answer with ICMP host unreachable", ByAddress: true,
			Long: "Answers packets to the addresses with ICMP (or ICMPv6) host unreachable.", Example: "unreachable kraken.com", Takes: append(takes, Protocol),
		},
		{
			Kind: Drop, Short: "Drop packets, such as UDP of QUIC", ByAddress: true,
			Long: "Drops every packet to and from the addresses.", Example: "drop okx.com --protocol udp --port 443", Takes: append(takes, Protocol, Directions),
		},
	}
}

func nameKinds() []Info {
	takes := []Field{Names, Addresses, Family, Ports}
	return []Info{
		{
			Kind: TLSReset, Short: "Reset TLS connections by server name",
			Long:    "Resets both sides of a TCP connection, on any port, whose ClientHello names one of the names or one below, also when the hello is split over segments.",
			Example: "tls-reset okx.com", Takes: takes, Needs: []Field{Names},
		},
		{
			Kind: TLSDrop, Short: "Silence TLS connections by server name",
			Long:    "Drops the ClientHello that names one of the names or one below, and everything after it, both ways.",
			Example: "tls-drop okx.com --family 6", Takes: takes, Needs: []Field{Names},
		},
		{
			Kind: TLSCert, Short: "Substitute the certificate", ByAddress: true,
			Long: `Answers TLS for the names with a certificate that nobody trusts, and passes on
what the client says if it accepts that. Other names on the same addresses pass
untouched through the transparent proxy.`,
			Example: "tls-cert okx.com", Takes: takes, Needs: []Field{Names}, Default: Interference{Ports: []uint16{443}},
		},
		{
			Kind: QUICDrop, Short: "Silence QUIC connections by server name",
			Long:    "Decrypts Initial packets of QUIC version 1 as anybody on the way can, and drops those connections whose ClientHello names one of the names or one below.",
			Example: "quic-drop okx.com", Takes: takes, Needs: []Field{Names}, Default: Interference{Ports: []uint16{443}},
		},
		{
			Kind: HTTPReset, Short: "Reset plain HTTP by its Host",
			Long:    "Resets both sides of a TCP connection, on any port, whose HTTP request names one of the names or one below as Host.",
			Example: "http-reset okx.com", Takes: takes, Needs: []Field{Names},
		},
		{
			Kind: HTTPBlockPage, Short: "Lead plain HTTP to a block page", ByAddress: true,
			Long:    "Answers plain HTTP requests for the names with a redirect to the block page (302), or with the page itself: --answer page.",
			Example: "http-block-page okx.com --answer page", Takes: append(takes, Answer), Needs: []Field{Names},
			Default: Interference{Ports: []uint16{80}, Answer: AnswerRedirect},
		},
	}
}

func lineKinds() []Info {
	takes := []Field{Names, Addresses, Family, Directions, Protocol, Ports}
	return []Info{
		{
			Kind: Freeze, Short: "Freeze transfers after 16 KiB", ByAddress: true,
			Long:    "Drops everything of a connection (TCP, or UDP such as QUIC) after it has brought so many bytes to the customer; with --direction out, after it has carried them from the customer.",
			Example: "freeze okx.com --bytes 16384", Takes: append(takes, Bytes), Default: Interference{Bytes: 16 << 10},
		},
		{
			Kind: Rate, Short: "Limit the rate to 128 kbit/s", ByAddress: true,
			Long: "Sends packets on at so many kbit/s, all connections together.", Example: "rate okx.com --kbit 256", Takes: append(takes, Kbit), Default: Interference{Kbit: 128},
		},
		{
			Kind: Loss, Short: "Lose a share of the packets", ByAddress: true,
			Long: "Drops packets at random.", Example: "loss 20 --direction in", Takes: append(takes, Percent), Needs: []Field{Percent},
		},
		{
			Kind: Delayed, Short: "Delay packets", ByAddress: true,
			Long: "Holds each packet for so long in each direction. It is done by a queue of the provider, because netem is not in every kernel.", Example: "delay 150ms", Takes: append(takes, Delay), Needs: []Field{Delay},
		},
		{
			Kind: WGHandshake, Short: "Drop WireGuard's handshake", ByAddress: true,
			Long:    "Drops WireGuard's handshake by message type and length, on any port: what is up goes on until the next handshake.",
			Example: "wg-handshake 22.50.0.1 --message response", Takes: []Field{Addresses, Family, Ports, Messages}, Default: Interference{Messages: []string{Initiation, Response}},
		},
		{Kind: WANDown, Short: "Let nothing pass the customer's line", Long: "Drops everything on the customer's line, ARP and neighbour discovery included; with --family, all of one family.", Example: "wan-down", Takes: []Field{Family}},
	}
}

func serviceKinds() []Info {
	return []Info{
		{
			Kind: ServiceStatus, Short: "Have a service itself answer 403, 451, 503 …", Service: true,
			Long: "The servers of net answer HTTP and HTTPS for the names with this status, under their own certificate, whatever path the request took.", Example: "service-status okx.com 451", Takes: []Field{Names, Status}, Needs: []Field{Names, Status},
		},
		{
			Kind: ServiceReject, Short: "Have a pool refuse miners", Service: true, ByAddress: true,
			Long: "The Stratum servers of net answer mining.subscribe on the names' addresses with an error.", Example: "service-reject stratum.braiins.com", Takes: []Field{Names, Addresses, Family},
		},
		{
			Kind: ServiceDown, Short: "Have a service be down", Service: true, ByAddress: true,
			Long:    "The names' addresses in net refuse every connection, over every path; with --silent they do not answer. Names that share an address share its fate.",
			Example: "service-down binance.com", Takes: []Field{Names, Addresses, Family, Ports, Protocol, Silent},
		},
	}
}

func kindNames() string {
	var out []string
	for _, info := range Kinds() {
		out = append(out, string(info.Kind))
	}
	return strings.Join(out, ", ")
}

func join(fields []Field) string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = string(f)
	}
	return strings.Join(out, ", ")
}
