package netcfg

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// Chains of table inet routerd.
const (
	chainPaths   = "paths"   // accepts a marked packet that leaves by its path's device
	chainRefuse  = "refuse"  // ends a client's connection that leaves elsewhere, so that it learns at once
	chainLeave   = "leave"   // drops what leaves elsewhere
	chainStale   = "stale"   // ends or mends a connection that was translated for elsewhere
	chainForward = "forward" // clients' packets: stale translations, then the guard
	chainPost    = "post"    // everything that leaves: the guard for the router's own packets, MSS
	chainPre     = "pre"     // everything that arrives: MSS
	chainInput   = "input"   // no connection from a tunnel's other end to the router
	chainNAT     = "nat"     // masquerade
	chainOwn     = "own"     // the router's own connections
)

// chainSpec is one chain of ours; hook is nil for one that is only jumped to.
type chainSpec struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
}

// chainSpecs lists the chains in the order in which they are made. The forward
// guard comes before fw4's forward chain (priority 0), so that a connection
// that is refused never enters a flowtable.
func chainSpecs() []chainSpec {
	return []chainSpec{
		{name: chainPaths},
		{name: chainRefuse},
		{name: chainLeave},
		{name: chainStale},
		{chainForward, nftables.ChainTypeFilter, nftables.ChainHookForward, -5},
		{chainInput, nftables.ChainTypeFilter, nftables.ChainHookInput, -5},
		{chainPre, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -150},
		{chainPost, nftables.ChainTypeFilter, nftables.ChainHookPostrouting, -150},
		{chainOwn, nftables.ChainTypeRoute, nftables.ChainHookOutput, -150},
		{chainNAT, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100},
	}
}

// nftRule is one rule that shall be. Its comment holds the name, which tells it
// from the others of its chain, and a print of its content, so that a rule can
// be compared with the kernel's without reading back expressions that the
// library cannot parse.
type nftRule struct {
	chain string
	name  string
	exprs []expr.Any
	print uint32
}

// comment is what stands in the kernel.
func (r nftRule) comment() string { return fmt.Sprintf("%s #%08x", r.name, r.print) }

// nftRules collects rules and their prints.
type nftRules struct {
	list []nftRule
	err  error
}

func (rs *nftRules) add(chain, name string, parts ...[]expr.Any) {
	r := nftRule{chain: chain, name: name, exprs: concat(parts...)}
	h := fnv.New32a()
	for _, e := range r.exprs {
		b, err := expr.Marshal(byte(nftables.TableFamilyINet), e)
		if err != nil && rs.err == nil {
			rs.err = fmt.Errorf("encode rule %q: %w", name, err)
		}
		h.Write(b)
	}
	r.print = h.Sum32()
	rs.list = append(rs.list, r)
}

// buildRules is the whole of table inet routerd but the sets' elements.
func buildRules(d Desired, links linkTable) ([]nftRule, error) {
	rs := &nftRules{}
	// The tunnels' own packets are of this path, whether d names it or not.
	rs.add(chainPaths, "direct: any device", markIs(d.Mask, d.Mask.Mark(owned.PathDirect)), accept())
	for _, p := range d.Paths {
		if p.Device != "" {
			rs.add(chainPaths, p.Name+": leaves by "+p.Device,
				markIs(d.Mask, d.Mask.Mark(p.Index)), oif(p.Device), accept())
		}
	}
	for _, p := range d.Paths {
		if p.Device != "" {
			rs.device(d, p, links[p.Device].mtu)
		}
	}
	rs.resolver(d)
	rs.guard(d.Mask)
	rs.own(d)
	return rs.list, rs.err
}

// device makes the rules of a tunnel's device.
func (rs *nftRules) device(d Desired, p Path, mtu int) {
	if p.Masquerade {
		rs.add(chainNAT, p.Name+": masquerade", oif(p.Device), masquerade())
		rs.stale(p, IPv4)
		if d.IPv6 {
			rs.stale(p, IPv6)
		}
	}
	if !owned.IsDevice(p.Device) {
		// Somebody else's device: only packets of ours are touched on it.
		rs.add(chainPost, p.Name+": segment size",
			markIs(d.Mask, d.Mask.Mark(p.Index)), oif(p.Device), syn(), clampToRoute())
		return
	}
	rs.add(chainPost, p.Name+": segment size", oif(p.Device), syn(), clampToRoute())
	if mtu > minMTU {
		// An answer's route leads to the LAN, so its MTU says nothing.
		rs.add(chainPre, p.Name+": segment size IPv4", iif(p.Device), family(IPv4), syn(),
			clampTo(uint16(mtu-headersIPv4)))
		rs.add(chainPre, p.Name+": segment size IPv6", iif(p.Device), family(IPv6), syn(),
			clampTo(uint16(mtu-headersIPv6)))
	}
	// The device is in no zone of the user's firewall, whose default may be to
	// accept; the other end of a tunnel begins no connection.
	rs.add(chainForward, p.Name+": no connections inwards", iif(p.Device),
		ctState(expr.CtStateBitNEW), drop())
	// An answer to a connection that has been forgotten is no connection (invalid):
	// the router's refusal of it, to a listed address, would leave by the WAN.
	rs.add(chainInput, p.Name+": no connections inwards", iif(p.Device),
		ctState(expr.CtStateBitNEW|expr.CtStateBitINVALID), notICMP(), drop())
}

// Sizes of IP and TCP headers without options, and the least MTU that is worth
// a rule (65535 at the most fits a segment size).
const (
	headersIPv4 = 40
	headersIPv6 = 60
	minMTU      = 576
)

// stale ends connections that were translated for another device: their
// packets would enter the tunnel with an address that the peer refuses, and
// the client would wait for nothing. The first packet of a connection is not
// confirmed yet; all others are, answered or not.
//
// TCP is reset. Of the others a few are told by ICMP, and what comes after
// passes: the kernel then forgets the masquerade of the old device, and the
// packet after that begins anew. To refuse them all would hold a client that
// keeps its port, because every packet renews the old entry.
func (rs *nftRules) stale(p Path, f Family) {
	addrs := f.of(p.Addresses)
	if len(addrs) == 0 {
		return
	}
	rs.add(chainForward, fmt.Sprintf("%s: begun elsewhere, %s", p.Name, f),
		oif(p.Device), family(f), ctStatus(ctStatusConfirmed), ctDirection(ctDirOriginal),
		ctReplyNotTo(addrs), jump(chainStale))
}

// guard is the second line of defence: whatever became of rules and routes, a
// marked packet leaves by its path's device or not at all.
func (rs *nftRules) guard(mask owned.Mask) {
	// A path's end answers with ICMP, of which the kernel sends a client about
	// one a second; a browser opens ten connections at once.
	// The route is looked up for these alone.
	rs.add(chainPre, "path ends: refuse TCP", marked(mask), l4proto(unix.IPPROTO_TCP), noRoute(), reset())
	// One look at the mark a chain: it is all that most packets pay.
	rs.add(chainForward, "guard", marked(mask), jump(chainRefuse))
	rs.add(chainRefuse, "guard", jump(chainPaths))
	rs.add(chainRefuse, "TCP", rejectTCP())
	rs.add(chainRefuse, "all others", rejectOther())
	rs.add(chainStale, "TCP", rejectTCP())
	rs.add(chainStale, "a few others", oncePerMinute(), rejectOther())
	rs.add(chainPost, "guard", marked(mask), jump(chainLeave))
	rs.add(chainLeave, "local", oif("lo"), accept())
	rs.add(chainLeave, "guard", jump(chainPaths))
	rs.add(chainLeave, "drop", drop())
}

// own steers the router's own connections. A connection keeps its path by our
// bits of its mark; one that began unmarked stays as it began, because its
// source address is settled.
func (rs *nftRules) own(d Desired) {
	if len(d.Own) == 0 {
		return
	}
	rs.add(chainOwn, "marked already", marked(d.Mask), accept())
	rs.add(chainOwn, "loopback", oif("lo"), accept())
	for _, dev := range d.LAN {
		rs.add(chainOwn, "LAN "+dev, oif(dev), accept())
	}
	rs.add(chainOwn, "own addresses", toLocal(), accept())
	for _, p := range d.Paths {
		v := d.Mask.Mark(p.Index)
		rs.add(chainOwn, "keep "+p.Name, ctMarkIs(d.Mask, v), setMark(d.Mask, v), accept())
	}
	rs.add(chainOwn, "begun before", ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	rs.add(chainOwn, "answers", ctDirection(ctDirReply), accept())
	for _, o := range d.Own {
		for _, f := range d.families() {
			spec := ownSetSpec(o, f)
			v := d.Mask.Mark(o.Path)
			rs.add(chainOwn, spec.ruleName(o.Destination), daddrIn(f, spec.name),
				setMark(d.Mask, v), setCtMark(d.Mask, v), accept())
		}
	}
}

// forwardRules are what stands at the head of fw4's forward chain: clients may
// use our tunnels, whatever zones say. They come before fw4's flow offload on
// purpose, so that a steered connection can still be moved and refused. A
// device that the user owns is in a zone of theirs: only our packets pass.
func forwardRules(d Desired) ([]nftRule, error) {
	rs := &nftRules{}
	for _, p := range d.Paths {
		if p.Device == "" {
			continue
		}
		for _, lan := range d.LAN {
			rs.forward(d.Mask, p, lan)
		}
	}
	return rs.list, rs.err
}

func (rs *nftRules) forward(mask owned.Mask, p Path, lan string) {
	name := fmt.Sprintf("%s %s: %s to %s", owned.Comment, p.Name, lan, p.Device)
	var only []expr.Any
	if !owned.IsDevice(p.Device) {
		only = markIs(mask, mask.Mark(p.Index))
	}
	// First what tells most packets apart.
	rs.add(fw4Forward, name, oif(p.Device), iif(lan), only, accept())
	rs.add(fw4Forward, name+", answers", iif(p.Device), oif(lan),
		ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
}

// Family is an address family: AF_INET or AF_INET6.
type Family int

// The families.
const (
	IPv4 Family = unix.AF_INET
	IPv6 Family = unix.AF_INET6
)

// String is the family's name as people write it.
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// of picks the addresses of the family.
func (f Family) of(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() == (f == IPv4) && a.IsValid() {
			out = append(out, a.WithZone(""))
		}
	}
	return out
}

// families are those that the desired state makes anything of.
func (d Desired) families() []Family {
	if d.IPv6 {
		return []Family{IPv4, IPv6}
	}
	return []Family{IPv4}
}
