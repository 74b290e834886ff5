package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/internal/steer"
)

// why explains where a name or an address goes, for a client or for anyone.
func (d *daemon) why(_ context.Context, query, client string) (control.Why, error) {
	dp, done := d.plane()
	defer done()
	v := d.seen()
	if err := v.ready(); err != nil {
		return control.Why{}, err
	}
	if dp == nil {
		return control.Why{}, v.noPlane()
	}
	q := question{daemon: d, view: &v, dp: dp, now: ebpf.Now()}
	q.out = control.Why{Query: query, Client: client, Path: steer.PathDirect, Addresses: []control.WhyAddress{}}
	if client != "" {
		addr, err := netip.ParseAddr(client)
		if err != nil {
			return control.Why{}, fmt.Errorf("client %q is no IP address", client)
		}
		q.client = addr.Unmap()
		q.id, q.mac = identify(q.client)
	}
	if err := q.answer(query); err != nil {
		return control.Why{}, err
	}
	return q.out, nil
}

// question is one why on its way to an answer.
type question struct {
	*daemon
	view   *view
	dp     *ebpf.DataPlane
	now    ebpf.Ticks
	client netip.Addr
	id     ebpf.Client // as the data plane knows the client
	mac    [6]byte
	out    control.Why
	known  map[netip.Addr][]ebpf.Known
}

func (q *question) answer(query string) error {
	var err error
	if q.known, err = q.allKnown(); err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(query); err == nil {
		q.address(addr.Unmap())
	} else {
		q.name(query)
	}
	q.out.Checks = q.view.checksOf(q.out.Destination, query, q.runner.Verdicts())
	q.out.LastCheck = lastCheck(q.out.Checks)
	return nil
}

// allKnown gathers the learned entries by address in the order in which they count: for
// a client what it looked up itself comes first.
func (q *question) allKnown() (map[netip.Addr][]ebpf.Known, error) {
	addresses, err := q.dp.Addresses()
	if err != nil {
		return nil, err
	}
	grants, err := q.dp.Grants()
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Addr][]ebpf.Known, len(addresses))
	if q.client.IsValid() {
		addresses, grants = grants, addresses
	}
	for _, k := range append(addresses, grants...) {
		out[k.Addr] = append(out[k.Addr], k)
	}
	return out, nil
}

func (q *question) name(name string) {
	if q.view.settings.canary(name) {
		q.out.Reason = "routerd answers that there is no such name, so that lookups stay on the router: option local_dns"
		return
	}
	chain, rule, ok := q.view.settings.plan.Rules.Name(name)
	if !ok {
		q.out.Reason = "no rule lists this name"
		return
	}
	q.out.Rule = rule.String()
	for _, a := range q.names.addresses(name) {
		q.addAddress(a)
	}
	q.decide(chain, "rule "+q.out.Rule)
	if len(q.out.Addresses) == 0 && q.out.Destination != "" {
		q.out.Reason += "; no lookup of it was seen since routerd started, so none of its addresses is named here"
	}
}

// address follows the data plane: what lookups made known, then networks.
func (q *question) address(a netip.Addr) {
	q.addAddress(a)
	for _, k := range q.known[a] {
		if chain, rule, ok := q.view.rule(ruleKey{k.Rule, k.Full}); ok && q.applies(k) {
			q.out.Rule = rule.String()
			q.decide(chain, "learned by a lookup, rule "+q.out.Rule)
			return
		}
	}
	chain, rule, ok := q.view.settings.plan.Rules.Address(a)
	if !ok {
		q.out.Reason = "no rule lists this address and no lookup of a listed name gave it"
		if len(q.known[a]) > 0 {
			q.out.Reason = "known only for clients that looked a listed name up, and this is none of them"
		}
		return
	}
	q.out.Rule = rule.String()
	if len(q.out.Addresses) == 0 {
		q.out.Addresses = append(q.out.Addresses, control.WhyAddress{
			Address: a.String(), LearnedFrom: "rule", Trusted: true, Names: []string{}, Clients: []string{}, SharedWith: []string{},
		})
	}
	q.decide(chain, "rule "+q.out.Rule)
}

// applies says whether a learned entry is for the client that is asked about.
func (q *question) applies(k ebpf.Known) bool {
	switch {
	case k.Draining:
		return false
	case k.Client == 0:
		return k.Global && !k.Shared
	case !q.client.IsValid():
		return true
	}
	return k.Client == q.id
}

// decide fills in destination and path.
func (q *question) decide(chain steer.Chain, reason string) {
	plan := q.view.settings.plan
	i, ok := plan.Taker(chain, q.client, q.mac)
	if !ok {
		q.out.Reason = reason + ", but its destinations do not take this client"
		if !q.client.IsValid() {
			q.out.Reason = reason + ", but its destinations are only for some clients: give one with --client"
		}
		return
	}
	dest := &plan.Destinations[i]
	c := q.view.choices[dest.Name]
	index := pathIndex(q.view, c.Path)
	mask := q.view.settings.cfg.Main.MarkMask
	q.out.Destination, q.out.Policy, q.out.Path = dest.Name, string(dest.Policy), c.Path
	q.out.Reason = reason
	if c.Reason != "" {
		q.out.Reason += "; " + c.Reason
	}
	if index != owned.PathDirect {
		q.out.Mark = fmt.Sprintf("0x%08x", uint32(mask.Mark(index)))
		q.out.Table = owned.Table(index)
	}
	for _, t := range q.view.tunnels {
		if t.Name == c.Path {
			q.out.Device = t.Device
		}
	}
	if c.Path == steer.PathDirect && len(q.view.wan) > 0 {
		q.out.Device = q.view.wan[0]
	}
}

// addAddress describes what is known of an address.
func (q *question) addAddress(a netip.Addr) {
	entries := q.known[a]
	if len(entries) == 0 {
		return
	}
	out := control.WhyAddress{
		Address: a.String(), LearnedFrom: "tls", Names: nonNil(q.names.of(a)), Clients: []string{}, SharedWith: nonNil(q.sharers.of(a)),
	}
	var seen, expires ebpf.Ticks
	for _, k := range entries {
		seen, expires = max(seen, k.Seen), max(expires, k.Expires)
		if k.Client != 0 {
			out.Clients = append(out.Clients, k.Client.String())
		}
		switch {
		case k.Global || k.Origin == ebpf.OriginResolver:
			out.LearnedFrom, out.Trusted = "resolver", true
		case k.Origin == ebpf.OriginDNS && !out.Trusted:
			out.LearnedFrom = "dns"
		}
	}
	slices.Sort(out.Clients)
	out.AgeS, out.ExpiresS = int64(seen.Since(q.now).Seconds()), int64(expires.Until(q.now).Seconds())
	q.out.Addresses = append(q.out.Addresses, out)
}

// identify finds who a client is to the data plane: the router itself, whoever is
// behind a device without hardware addresses, or the owner of one; that is zero
// where the router knows none.
func identify(a netip.Addr) (ebpf.Client, [6]byte) {
	routes, err := netlink.RouteGet(a.AsSlice())
	if err == nil && len(routes) > 0 {
		if routes[0].Type == unix.RTN_LOCAL {
			return ebpf.ClientSelf, [6]byte{}
		}
		link, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err == nil && link.Attrs().EncapType != "ether" {
			return ebpf.ClientDevice(routes[0].LinkIndex), [6]byte{}
		}
	}
	mac := neighbour(a)
	return ebpf.ClientMAC(mac), mac
}

// neighbour is the hardware address that the router knows for a client; zero
// where it knows none.
func neighbour(a netip.Addr) [6]byte {
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	list, err := netlink.NeighList(0, family)
	if err != nil {
		return [6]byte{}
	}
	for _, n := range list {
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a && len(n.HardwareAddr) == 6 {
			return [6]byte(n.HardwareAddr)
		}
	}
	return [6]byte{}
}

func protocolName(p uint8) string {
	switch p {
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoICMP, protoICMPv6:
		return "icmp"
	}
	return strconv.Itoa(int(p))
}

// flowState is a flow's state in a word.
func flowState(f ebpf.Flow) string {
	switch {
	case f.Flags&ebpf.FlowEnded != 0:
		return "ended"
	case f.Flags&(ebpf.FlowResetClient|ebpf.FlowResetServer) != 0:
		return "reset"
	case f.Flags&ebpf.FlowFIN != 0:
		return "closing"
	case f.Protocol != protoTCP, f.RxPackets > 0:
		return "open"
	case f.Flags&ebpf.FlowSYN != 0:
		return "connecting"
	}
	return "open"
}
