package daemon

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/sorting"
)

// namesPerAddress bounds what is remembered of an address that many names share.
const namesPerAddress = 16

// namedAddresses bounds of how many addresses names are remembered: what a
// router of 64 MB can spare, some 10 MB at the very most.
const namedAddresses = 32768

// names remembers which listed names were seen with which addresses, for why
// and flows: nothing is steered by it. Safe for use by many goroutines.
type names struct {
	mu     sync.Mutex
	byAddr map[netip.Addr][]string // guarded by mu; newest last; slices are not written to
}

func newNames() *names { return &names{byAddr: map[netip.Addr][]string{}} }

// add notes that an answer for a name held addresses. Of addresses beyond the
// bound nothing is noted until keep has made room.
func (n *names) add(name string, addrs []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		list, known := n.byAddr[a]
		if slices.Contains(list, name) || !known && len(n.byAddr) >= namedAddresses {
			continue
		}
		if len(list) == namesPerAddress {
			list = list[1:]
		}
		next := make([]string, 0, len(list)+1)
		n.byAddr[a] = append(append(next, list...), name)
	}
}

// keep forgets every address that is not among those known, or is among those
// gone with Client 0. What is learned while it runs may be forgotten too, until
// the name is asked for again.
func (n *names) keep(known, gone []ebpf.Known) {
	keep := make(map[netip.Addr]bool, len(known))
	for _, k := range known {
		keep[k.Addr] = true
	}
	for _, k := range gone {
		if k.Client == 0 {
			delete(keep, k.Addr)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for a := range n.byAddr {
		if !keep[a] {
			delete(n.byAddr, a)
		}
	}
}

// of lists the names of an address, newest last.
func (n *names) of(a netip.Addr) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.byAddr[a])
}

// addresses lists the addresses of a name. It looks at all of them: only people
// ask.
func (n *names) addresses(name string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := []netip.Addr{}
	for a, list := range n.byAddr {
		if slices.Contains(list, name) {
			out = append(out, a)
		}
	}
	sorting.By(out, netip.Addr.Compare)
	return out
}
