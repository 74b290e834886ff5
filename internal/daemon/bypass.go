package daemon

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/dns"
	"github.com/routerd/routerd/internal/sorting"
)

const (
	// bypassMax bounds what is remembered of clients that ask others than the
	// router for names.
	bypassMax = 256
	// bypassTime is how long it is told.
	bypassTime = 24 * time.Hour
)

// bypassKey is a client at a resolver past the router's.
type bypassKey struct {
	client ebpf.Client
	server netip.Addr
	kind   ebpf.EventKind
}

// bypasses remembers clients that ask resolvers over TLS, which is refused, or
// over HTTPS, which is not. Safe for use by many goroutines.
type bypasses struct {
	mu   sync.Mutex
	seen map[bypassKey]time.Time // guarded by mu
}

func newBypasses() *bypasses { return &bypasses{seen: map[bypassKey]time.Time{}} }

// add notes an event of the kinds DoT and DoH. Beyond the bound the oldest goes.
func (b *bypasses) add(ev ebpf.Event) {
	if len(ev.Addrs) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := bypassKey{ev.Client, ev.Addrs[0], ev.Kind}
	if _, ok := b.seen[key]; !ok && len(b.seen) >= bypassMax {
		b.dropOldest()
	}
	b.seen[key] = time.Now()
}

// dropOldest is called with mu held.
func (b *bypasses) dropOldest() {
	var oldest bypassKey
	var at time.Time
	for k, t := range b.seen {
		if at.IsZero() || t.Before(at) {
			oldest, at = k, t
		}
	}
	delete(b.seen, oldest)
}

// list gives those of the last day, the newest first.
func (b *bypasses) list(n *neighbours) []control.Bypass {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []control.Bypass{}
	for k, at := range b.seen {
		if time.Since(at) > bypassTime {
			delete(b.seen, k)
			continue
		}
		e := control.Bypass{
			Client: clientText(n, k.client), Address: k.server.String(), Resolver: resolverName(k.server),
			Protocol: control.ProtocolDoH, Last: at,
		}
		if k.kind == ebpf.EventDoT {
			e.Protocol, e.Refused = control.ProtocolDoT, true
		}
		out = append(out, e)
	}
	sorting.By(out, func(a, b control.Bypass) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Address, b.Address))
	})
	return out
}

// clientText names a client by its address where the router knows it.
func clientText(n *neighbours, c ebpf.Client) string {
	mac, ok := c.MAC()
	if !ok {
		return c.String()
	}
	if a := n.address(mac); a.IsValid() {
		return a.String() + " (" + c.String() + ")"
	}
	return c.String()
}

// dohAddresses are the known resolvers over HTTPS, whose clients are told of: the
// public ones and those that routerd itself asks.
func dohAddresses(s *settings) []netip.Prefix {
	var out []netip.Prefix
	add := func(addrs []netip.Addr) {
		for _, a := range addrs {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, r := range dns.KnownDoH() {
		add(r.Addrs)
	}
	for _, u := range s.upstreams {
		if u.Scheme() == dns.SchemeHTTPS {
			add(u.Addrs())
		}
	}
	return out
}

// resolverName names a public resolver; "" where it is not known.
func resolverName(a netip.Addr) string {
	for _, r := range dns.KnownDoH() {
		if slices.Contains(r.Addrs, a) {
			return r.Name
		}
	}
	return ""
}
