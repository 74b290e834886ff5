package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/test/chaos/crowd"
	"github.com/routerd/routerd/test/lab"
)

// How many names of the generated ones are used, listed and not.
const generatedUsed = 250

// population is who lives in the lab's internet.
type population struct {
	listed, unlisted []crowd.Target
	spare            []string // listed names that nobody uses
	// closed are all addresses that must never be seen behind the WAN, plain all
	// that must never be seen in a tunnel. An address of both kinds is in neither.
	closed, plain []netip.Addr
}

// populate chooses names by a seed. What the settings list is all names of
// exchanges and pools; what they do not is what no rule of the catalogue covers.
func populate(seed uint64) (*population, error) {
	names, err := lab.Names()
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	closed, err := closedServices()
	if err != nil {
		return nil, err
	}
	shared := map[netip.Addr]int{} // bit 1: of a closed name, 2: of another
	for _, n := range names {
		bit := 2
		if closed[n.Service] {
			bit = 1
		}
		for _, a := range addresses(n) {
			shared[a] |= bit
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	chosen := chosenNames(r)
	p := &population{}
	for _, n := range names {
		p.add(n, closed[n.Service], !n.Generated() || chosen[n.Name], shared)
	}
	slices.SortFunc(p.closed, netip.Addr.Compare)
	slices.SortFunc(p.plain, netip.Addr.Compare)
	p.closed, p.plain = slices.Compact(p.closed), slices.Compact(p.plain)
	return p, nil
}

// add takes a name in; used says whether clients use it.
func (p *population) add(n lab.Name, closed, used bool, shared map[netip.Addr]int) {
	own := !slices.ContainsFunc(addresses(n), func(a netip.Addr) bool { return shared[a] == 3 })
	if !own || !closed && n.Listed() {
		return
	}
	t := crowd.Target{Name: n.Name}
	if len(n.Ports) > 0 {
		t.Port = n.Ports[0]
	}
	if closed {
		p.closed = append(p.closed, addresses(n)...)
		if used {
			p.listed = append(p.listed, t)
		} else {
			p.spare = append(p.spare, n.Name)
		}
		return
	}
	p.plain = append(p.plain, addresses(n)...)
	if used {
		p.unlisted = append(p.unlisted, t)
	}
}

// addresses are all that a client can learn of a name, hints too.
func addresses(n lab.Name) []netip.Addr {
	out := slices.Concat(n.A, n.AAAA)
	if n.HTTPS != nil {
		out = slices.Concat(out, n.HTTPS.Hint4, n.HTTPS.Hint6)
	}
	return out
}

// closedServices are those whose category the settings list.
func closedServices() (map[string]bool, error) {
	builtin, err := catalogue.Builtin()
	if err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	out := map[string]bool{}
	for _, s := range builtin.Services() {
		if s.Category == catalogue.CategoryExchange || s.Category == catalogue.CategoryPool {
			out[s.ID] = true
		}
	}
	return out, nil
}

// chosenNames are the generated names that clients use.
func chosenNames(r *rand.Rand) map[string]bool {
	out := map[string]bool{}
	for _, all := range [][]string{lab.FreshNames(), lab.PlainNames()} {
		for _, i := range r.Perm(len(all))[:generatedUsed] {
			out[all[i]] = true
		}
	}
	return out
}
