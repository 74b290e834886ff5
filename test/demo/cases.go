package demo

import (
	"net/netip"

	"github.com/routerd/routerd/test/lab"
)

// Method is how a client uses a name.
type Method string

// The values of Method.
const (
	// HTTPS is curl with the system's resolver, which is the router's dnsmasq.
	HTTPS Method = "https"
	// Asked is curl to what kdig got from a public resolver, the name in mixed
	// case: the router's dnsmasq has no part in it.
	Asked Method = "kdig, https"
	// Hinted is curl to the address hint of the name's HTTPS record.
	Hinted Method = "hint, https"
	// HTTP is curl to an address, without any lookup.
	HTTP Method = "http"
	// Stratum is a mining session: subscribe, authorise, a share a job.
	Stratum Method = "stratum"
	// UDP is a flow of datagrams, as QUIC is to the router.
	UDP Method = "udp"
)

// The paths that a case may take.
const (
	pathTunnel = tunnelName
	pathDirect = "direct"
	pathBlock  = "block"
)

// Case is one thing that a client does, and where it must go.
type Case struct {
	Group  string
	Client string // host of the lab
	Method Method
	Name   string // or an address, for HTTP
	Port   uint16
	Family int    // 4 or 6
	Path   string // that it must take
}

// group is a heading over cases that belong together.
type group struct {
	title string
	path  string
	cases []Case
}

// cases lists everything that the clients do, in order. No two neighbours use
// one address, so that late packets of one are not counted for the other.
func cases(net4, net6 netip.Prefix) []Case {
	const both = 0
	groups := []group{
		{"Exchanges of the catalogue: through the tunnel", pathTunnel, []Case{
			{Client: lab.Client, Method: HTTPS, Name: "www.binance.com", Family: both},
			{Client: lab.Client, Method: HTTPS, Name: lab.ChainName(3), Family: both},
			{Client: lab.Client, Method: HTTPS, Name: lab.SharedListed, Family: both},
			{Client: lab.Client, Method: Asked, Name: "www.bybit.com", Family: both},
			{Client: lab.Client, Method: Hinted, Name: lab.HintedListed, Family: both},
			{Client: lab.Client, Method: UDP, Name: "www.okx.com", Port: lab.EchoPort, Family: both},
			{Client: lab.Client2, Method: HTTPS, Name: "api.kraken.com", Family: both},
		}},
		{"Mining pools, and a network of theirs: through the tunnel", pathTunnel, []Case{
			{Client: lab.Client, Method: Stratum, Name: "stratum.braiins.com", Port: 3333, Family: 4},
			{Client: lab.Client2, Method: Stratum, Name: "btc.f2pool.com", Port: 1314, Family: 6},
			{Client: lab.Client2, Method: HTTP, Name: someAddress(net4).String(), Family: 4},
			{Client: lab.Client2, Method: HTTP, Name: someAddress(net6).String(), Family: 6},
		}},
		{"An exception with policy direct: by the WAN", pathDirect, []Case{
			{Client: lab.Client, Method: HTTPS, Name: "api.okx.com", Family: both},
		}},
		{"Policy block: nowhere, and the client learns at once", pathBlock, []Case{
			{Client: lab.Client, Method: HTTPS, Name: "metamask.io", Family: both},
		}},
		{"Not listed: by the WAN, also at the address of a listed name (" + lab.SharedListed + ")", pathDirect, []Case{
			{Client: lab.Client2, Method: HTTPS, Name: lab.SharedUnlisted, Family: both},
			{Client: lab.Client, Method: HTTPS, Name: "www.news.example", Family: both},
			{Client: lab.Client, Method: UDP, Name: lab.HTTP3Unlisted, Port: lab.EchoPort, Family: both},
			{Client: lab.Client2, Method: HTTPS, Name: "bank.example", Family: both},
			{Client: lab.Client2, Method: Asked, Name: "video.example", Family: both},
		}},
	}
	var out []Case
	for _, g := range groups {
		for _, c := range g.cases {
			c.Group, c.Path = g.title, g.path
			out = append(out, c.families()...)
		}
	}
	return out
}

// families is the case once for each family that it is about.
func (c Case) families() []Case {
	if c.Family != 0 {
		return []Case{c}
	}
	four, six := c, c
	four.Family, six.Family = 4, 6
	return []Case{four, six}
}
