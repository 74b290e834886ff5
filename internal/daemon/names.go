package daemon

import (
	"net/netip"
	"slices"
	"sync"
)

// namesPerAddress bounds what is remembered of an address that many names share.
const namesPerAddress = 16

// names remembers which listed names were seen with which addresses, for why
// and flows: nothing is steered by it. Safe for use by many goroutines.
type names struct {
	mu     sync.Mutex
	byAddr map[netip.Addr][]string            // guarded by mu; newest last
	byName map[string]map[netip.Addr]struct{} // guarded by mu
}

func newNames() *names {
	return &names{byAddr: map[netip.Addr][]string{}, byName: map[string]map[netip.Addr]struct{}{}}
}

func (n *names) add(name string, addrs []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		list := n.byAddr[a]
		if slices.Contains(list, name) {
			continue
		}
		if len(list) == namesPerAddress {
			n.unlink(list[0], a)
			list = list[1:]
		}
		n.byAddr[a] = append(slices.Clip(list), name)
		if n.byName[name] == nil {
			n.byName[name] = map[netip.Addr]struct{}{}
		}
		n.byName[name][a] = struct{}{}
	}
}

// unlink is called with mu held.
func (n *names) unlink(name string, a netip.Addr) {
	delete(n.byName[name], a)
	if len(n.byName[name]) == 0 {
		delete(n.byName, name)
	}
}

func (n *names) forget(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range n.byAddr[a] {
		n.unlink(name, a)
	}
	delete(n.byAddr, a)
}

// of lists the names of an address, newest last.
func (n *names) of(a netip.Addr) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.byAddr[a])
}

// addresses lists the addresses of a name.
func (n *names) addresses(name string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]netip.Addr, 0, len(n.byName[name]))
	for a := range n.byName[name] {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
