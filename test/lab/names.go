package lab

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
)

// Name is one name of the lab's internet.
type Name struct {
	Name string `json:"name"`
	// A and AAAA are what a lookup of the name ends in.
	A    []netip.Addr `json:"a"`
	AAAA []netip.Addr `json:"aaaa"`
	// CNAME is the chain that leads there: the name's own target first.
	CNAME []string `json:"cname,omitempty"`
	// HTTPS is the name's HTTPS record; nil when it has none.
	HTTPS *HTTPSRecord `json:"https,omitempty"`
	// Service is the id of the catalogue's service that lists the name; "" for
	// a name that no rule covers.
	Service string `json:"service"`
	// Ports are the TCP ports where a Stratum server listens for the name.
	Ports []uint16 `json:"ports,omitempty"`
	// certificate names the file of the certificate that servers show.
	certificate string
}

// HTTPSRecord is the resource record of RFC 9460 in so far as the lab has it.
type HTTPSRecord struct {
	Priority uint16       `json:"priority"` // 0: alias
	Target   string       `json:"target"`   // "" is the name itself
	ALPN     []string     `json:"alpn,omitempty"`
	Hint4    []netip.Addr `json:"ipv4hint,omitempty"`
	Hint6    []netip.Addr `json:"ipv6hint,omitempty"`
}

// Listed says whether a rule of the catalogue covers the name.
func (n Name) Listed() bool { return n.Service != "" }

// GeneratedNames is how many names FreshNames and PlainNames hold each.
const GeneratedNames = 2000

// Names that show one thing each.
const (
	// SharedListed and SharedUnlisted have one address, as on a CDN.
	SharedListed   = "cdn.okx.com"
	SharedUnlisted = "cdn.shopping.example"
	// ManyAddresses has ManyCount A and as many AAAA records.
	ManyAddresses = "many.binance.com"
	ManyCount     = 60
	// HintedListed has HTTPS hints that stand in no A or AAAA record of it.
	HintedListed = "hints.kraken.com"
	// HTTP3Listed and HTTP3Unlisted have HTTPS records with their addresses.
	HTTP3Listed   = "h3.binance.com"
	HTTP3Unlisted = "h3.shopping.example"
	// HTTPSAlias has an HTTPS record in alias mode.
	HTTPSAlias = "svc.okx.com"
	// AliasUnlisted is no listed name, but its CNAME ends at one.
	AliasUnlisted = "alias.shopping.example"
)

// ChainName is a listed name whose address stands behind a chain of that many
// (1 to 4) CNAME records through unlisted names.
func ChainName(length int) string { return fmt.Sprintf("chain%d.kraken.com", length) }

// PlainNames lists names that no rule covers; each has addresses of its own.
func PlainNames() []string { return generated("n%05d.plain.example") }

// FreshNames lists names below suffixes that the catalogue lists; each has
// addresses of its own, and nothing ever looks them up but the test that
// takes them.
func FreshNames() []string {
	out := make([]string, 0, GeneratedNames)
	suffixes := []string{"binance.com", "okx.com", "bybit.com", "kraken.com"}
	for i := range GeneratedNames {
		out = append(out, fmt.Sprintf("n%05d.fresh.%s", i, suffixes[i%len(suffixes)]))
	}
	return out
}

func generated(format string) []string {
	out := make([]string, 0, GeneratedNames)
	for i := range GeneratedNames {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

// Names lists every name of the lab's internet, in order of the name. It gives
// the same names and addresses whenever the catalogue is the same, and a change
// of the catalogue moves few of the addresses. It fails if the catalogue does.
func Names() ([]Name, error) {
	services, err := catalogueServices()
	if err != nil {
		return nil, err
	}
	b := &nameBuilder{names: map[string]*Name{}, taken: map[uint32]bool{}}
	b.services(services)
	for _, list := range [][]string{FreshNames(), PlainNames()} {
		for _, name := range list {
			_, parent, _ := strings.Cut(name, ".")
			b.add(name).certificate = "_." + parent
		}
	}
	for _, name := range []string{"www.shopping.example", "news.example", "www.news.example", "video.example", "bank.example"} {
		b.add(name)
	}
	b.special()
	return b.finish(), nil
}

// nameBuilder collects names and gives addresses away.
type nameBuilder struct {
	names map[string]*Name
	taken map[uint32]bool
	rules []listedRule
}

// add gives a new name one address a family; a known name is left as it is.
func (b *nameBuilder) add(name string) *Name {
	if n, ok := b.names[name]; ok {
		return n
	}
	n := &Name{Name: name, certificate: name}
	v4, v6 := b.address(name)
	n.A, n.AAAA = []netip.Addr{v4}, []netip.Addr{v6}
	b.names[name] = n
	return n
}

// address takes the next free pair of addresses from where the name's hash
// points. Host parts of 0 and 255 are left out, to look like anybody's server.
func (b *nameBuilder) address(key string) (v4, v6 netip.Addr) {
	h := fnv.New32a()
	h.Write([]byte(key))
	const size = 1 << 17 // of ServerNet4
	at := h.Sum32() % size
	for b.taken[at] || at&0xff == 0 || at&0xff == 0xff {
		at = (at + 1) % size
	}
	b.taken[at] = true
	four := netip.MustParsePrefix(ServerNet4).Addr().As4()
	four[1] += byte(at >> 16)
	four[2], four[3] = byte(at>>8), byte(at)
	six := netip.MustParsePrefix(ServerNet6).Addr().As16()
	six[13], six[14], six[15] = byte(at>>16), byte(at>>8), byte(at)
	return netip.AddrFrom4(four), netip.AddrFrom16(six)
}

// services adds what the catalogue names: the apex, www and api of suffixes,
// full names, hosts of pools and of checks.
func (b *nameBuilder) services(all []service) {
	for _, s := range all {
		for _, r := range s.rules {
			b.rules = append(b.rules, r)
			b.add(r.name)
			if r.suffix {
				b.add("www." + r.name)
				b.add("api." + r.name)
			}
		}
		for _, host := range s.hosts {
			b.add(host)
		}
		for _, p := range s.pools {
			n := b.add(p.host)
			if !slices.Contains(n.Ports, p.port) {
				n.Ports = append(n.Ports, p.port)
			}
		}
	}
}

// special adds the names that show one thing each.
func (b *nameBuilder) special() {
	listed, unlisted := b.add(SharedListed), b.add(SharedUnlisted)
	unlisted.A, unlisted.AAAA = listed.A, listed.AAAA

	many := b.add(ManyAddresses)
	for i := 1; i < ManyCount; i++ {
		v4, v6 := b.address(fmt.Sprint(ManyAddresses, i))
		many.A, many.AAAA = append(many.A, v4), append(many.AAAA, v6)
	}
	for length := 1; length <= 4; length++ {
		n := b.add(ChainName(length))
		for hop := 1; hop <= length; hop++ {
			n.CNAME = append(n.CNAME, fmt.Sprintf("hop%d.chain%d.edge.example", hop, length))
		}
	}
	target := b.add("www.binance.com")
	alias := b.add(AliasUnlisted)
	alias.CNAME, alias.A, alias.AAAA = []string{target.Name}, target.A, target.AAAA

	for _, name := range []string{HTTP3Listed, HTTP3Unlisted} {
		n := b.add(name)
		n.HTTPS = &HTTPSRecord{Priority: 1, ALPN: []string{"h2", "h3"}, Hint4: n.A, Hint6: n.AAAA}
	}
	v4, v6 := b.address(HintedListed + " hint")
	b.add(HintedListed).HTTPS = &HTTPSRecord{Priority: 1, ALPN: []string{"h2"}, Hint4: []netip.Addr{v4}, Hint6: []netip.Addr{v6}}
	b.add(HTTPSAlias).HTTPS = &HTTPSRecord{Target: "svc.edge.example"}
	b.add("svc.edge.example")
}

// finish says which service lists each name and puts them in order.
func (b *nameBuilder) finish() []Name {
	full, suffix := map[string]string{}, map[string]string{}
	for _, r := range b.rules {
		if r.suffix {
			suffix[r.name] = r.service
		} else {
			full[r.name] = r.service
		}
	}
	out := make([]Name, 0, len(b.names))
	for _, n := range b.names {
		n.Service = full[n.Name]
		for at := n.Name; n.Service == "" && at != ""; {
			n.Service = suffix[at]
			_, at, _ = strings.Cut(at, ".")
		}
		out = append(out, *n)
	}
	slices.SortFunc(out, func(x, y Name) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// Generated says whether the name is one of FreshNames or PlainNames.
func (n Name) Generated() bool { return strings.HasPrefix(n.certificate, "_.") }
