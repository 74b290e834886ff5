package steer

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/sorting"
)

// open says whether a link takes every client: what follows it is never reached.
func (l Link) open() bool { return !l.Include && !l.Exclude }

// cut shortens a chain to the part that can be reached.
func (c Chain) cut() Chain {
	for i, l := range c {
		if l.open() {
			return c[:i+1]
		}
	}
	return c
}

// then appends what a less specific rule is listed for, for clients that the
// chain does not take.
func (c Chain) then(rest Chain) Chain {
	c = c.cut()
	if len(c) > 0 && c[len(c)-1].open() || len(rest) == 0 {
		return c
	}
	out := slices.Clone(c)
	for _, l := range rest {
		if !slices.ContainsFunc(out, func(o Link) bool { return o.Destination == l.Destination }) {
			out = append(out, l)
		}
	}
	return out.cut()
}

// links is a chain as a map can have it for a key.
type links struct {
	n int
	l [ChainMax]Link
}

// share keeps of a chain what the data plane can hold, and gives the same memory
// for equal chains: thousands of names have few of them.
func (b *builder) share(c Chain) Chain {
	c = c[:min(len(c), ChainMax)]
	if len(c) == 0 {
		return nil
	}
	key := links{n: len(c)}
	copy(key.l[:], c)
	if known, ok := b.shared[key]; ok {
		return known
	}
	c = slices.Clip(c)
	b.shared[key] = c
	return c
}

// suffixChain is what a name and those below it are listed for: by the name,
// and then by each listed name above it.
func (b *builder) suffixChain(name string) Chain {
	var out Chain
	for {
		out = out.then(b.suffix[name])
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			return out
		}
		name = parent
	}
}

func (b *builder) names() []NameRule {
	all := make(map[string]bool, len(b.full)+len(b.suffix))
	for n := range b.full {
		all[n] = true
	}
	for n := range b.suffix {
		all[n] = true
	}
	out := make([]NameRule, 0, len(all))
	for n := range all {
		r := NameRule{Name: n}
		if _, ok := b.suffix[n]; ok {
			r.Suffix = b.share(b.suffixChain(n))
		}
		if full, ok := b.full[n]; ok {
			r.Full = b.share(full.then(b.suffixChain(n)))
		}
		out = append(out, r)
	}
	sorting.By(out, func(x, y NameRule) int { return strings.Compare(x.Name, y.Name) })
	return out
}

func (b *builder) networks() []NetworkRule {
	lengths := map[int]bool{}
	for p := range b.nets {
		lengths[p.Bits()] = true
	}
	out := make([]NetworkRule, 0, len(b.nets))
	for p, c := range b.nets {
		for bits := p.Bits() - 1; bits >= 0; bits-- {
			if lengths[bits] {
				c = c.then(b.nets[netip.PrefixFrom(p.Addr(), bits).Masked()])
			}
		}
		out = append(out, NetworkRule{Prefix: p, Chain: b.share(c.cut())})
	}
	sorting.By(out, func(x, y NetworkRule) int { return comparePrefix(x.Prefix, y.Prefix) })
	return out
}

func comparePrefix(x, y netip.Prefix) int {
	if c := x.Addr().Compare(y.Addr()); c != 0 {
		return c
	}
	return x.Bits() - y.Bits()
}

// index fills the matcher that answers people's questions.
func (b *builder) index() {
	for _, r := range b.plan.Names {
		if len(r.Full) > 0 {
			b.plan.Rules.Add(catalogue.Rule{Kind: catalogue.RuleFull, Name: r.Name}, r.Full)
		}
		if len(r.Suffix) > 0 {
			b.plan.Rules.Add(catalogue.Rule{Kind: catalogue.RuleSuffix, Name: r.Name}, r.Suffix)
		}
	}
	for _, r := range b.plan.Networks {
		b.plan.Rules.Add(catalogue.Rule{Kind: catalogue.RuleAddress, Prefix: r.Prefix}, r.Chain)
	}
}

// clientBits is one value of client or exclude_client.
type clientBits struct {
	client           config.Client
	include, exclude uint64
}

func (b *builder) addClients(d *config.Destination, bit uint8) {
	for _, c := range d.Clients {
		b.clients = append(b.clients, clientBits{client: c, include: 1 << bit})
	}
	for _, c := range d.ExcludeClients {
		b.clients = append(b.clients, clientBits{client: c, exclude: 1 << bit})
	}
}

// clientRules gives each client the bits of every value that covers it.
func (b *builder) clientRules() []ClientRule {
	byClient := map[config.Client]ClientRule{}
	for _, c := range b.clients {
		r := ClientRule{Prefix: c.client.Prefix, MAC: c.client.MAC}
		for _, o := range b.clients {
			if covers(o.client, c.client) {
				r.Include |= o.include
				r.Exclude |= o.exclude
			}
		}
		byClient[c.client] = r
	}
	out := make([]ClientRule, 0, len(byClient))
	for _, r := range byClient {
		out = append(out, r)
	}
	sorting.By(out, func(x, y ClientRule) int {
		if c := comparePrefix(x.Prefix, y.Prefix); c != 0 {
			return c
		}
		return slices.Compare(x.MAC[:], y.MAC[:])
	})
	return out
}

func covers(wide, narrow config.Client) bool {
	if !wide.Prefix.IsValid() || !narrow.Prefix.IsValid() {
		return wide == narrow
	}
	return wide.Prefix.Bits() <= narrow.Prefix.Bits() && wide.Prefix.Contains(narrow.Prefix.Addr())
}

// Taker is the destination of a chain that takes a client, by its index in the
// plan; false where none does. Address or hardware address may be unknown (the
// zero value): then the client is in no network and has no bits.
func (p *Plan) Taker(c Chain, client netip.Addr, mac [6]byte) (int, bool) {
	include, exclude := p.bits(client, mac)
	for _, l := range c {
		bit := uint64(1) << l.Bit
		if l.open() || exclude&bit == 0 && (!l.Include || include&bit != 0) {
			return l.Destination, true
		}
	}
	return 0, false
}

// NamesMACs says whether some destination names clients by hardware address.
func (p *Plan) NamesMACs() bool {
	return slices.ContainsFunc(p.Clients, func(r ClientRule) bool { return !r.Prefix.IsValid() })
}

func (p *Plan) bits(client netip.Addr, mac [6]byte) (include, exclude uint64) {
	best := -1
	var net ClientRule
	for _, r := range p.Clients {
		switch {
		case r.Prefix.IsValid():
			if client.IsValid() && r.Prefix.Contains(client) && r.Prefix.Bits() > best {
				best, net = r.Prefix.Bits(), r
			}
		case r.MAC == mac:
			include, exclude = include|r.Include, exclude|r.Exclude
		}
	}
	return include | net.Include, exclude | net.Exclude
}
