package daemon

import (
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// The kernel's table of neighbours is read anew when it may have changed: after
// neighbourOld, or for an address that it did not have after neighbourNew.
const (
	neighbourOld = 10 * time.Second
	neighbourNew = time.Second
)

// neighbours knows clients' hardware addresses. Safe for use by many goroutines.
type neighbours struct {
	list func() ([]netlink.Neigh, error)
	now  func() time.Time

	mu   sync.Mutex // guards what follows
	read time.Time
	macs map[netip.Addr][6]byte
}

func newNeighbours() *neighbours {
	return &neighbours{list: func() ([]netlink.Neigh, error) { return netlink.NeighList(0, 0) }, now: time.Now}
}

// mac is the hardware address of a client; zeros where the router knows none.
func (n *neighbours) mac(a netip.Addr) [6]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	mac, ok := n.macs[a]
	if age := n.now().Sub(n.read); age < neighbourNew || ok && age < neighbourOld {
		return mac
	}
	n.refresh()
	return n.macs[a]
}

// address is an address of the client with a hardware address, IPv4 before IPv6;
// not valid where the router knows none.
func (n *neighbours) address(mac [6]byte) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.now().Sub(n.read) >= neighbourOld {
		n.refresh()
	}
	var best netip.Addr
	for a, m := range n.macs {
		if m == mac && (!best.IsValid() || a.Less(best)) {
			best = a
		}
	}
	return best
}

// refresh is called with mu held. When the kernel does not answer, what was known
// stays.
func (n *neighbours) refresh() {
	list, err := n.list()
	n.read = n.now()
	if err != nil {
		return
	}
	n.macs = make(map[netip.Addr][6]byte, len(list))
	for _, e := range list {
		if ip, ok := netip.AddrFromSlice(e.IP); ok && len(e.HardwareAddr) == 6 {
			n.macs[ip.Unmap()] = [6]byte(e.HardwareAddr)
		}
	}
}
