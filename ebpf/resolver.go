package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
)

// ResolverAddress says where routerd's resolver is reached by the clients of a
// device: what they ask of listed names is turned there.
type ResolverAddress struct {
	// Ifindex is the LAN device's, or that of lo for the router's own queries,
	// whose addresses do not count.
	Ifindex int
	// V4 and V6 are addresses of the router's own. A query for a listed name in
	// a family that has none is dropped, unless it is for a link-local address.
	V4, V6 netip.Addr
	Port   uint16 // UDP and TCP; the same in all entries
}

// errResolverPort is for resolvers that do not agree on their port.
var errResolverPort = errors.New("entries of the resolver need one port, the same in all")

// setResolver makes the map hold exactly list, and gives the flags and the port
// that the configuration must have with it.
func (d *DataPlane) setResolver(list []ResolverAddress) (flags uint32, port uint16, err error) {
	want := make(map[uint32]bpfRdResolver, len(list))
	for _, r := range list {
		if r.Port == 0 || (port != 0 && r.Port != port) {
			return 0, 0, fmt.Errorf("set resolver of device %d to port %d: %w", r.Ifindex, r.Port, errResolverPort)
		}
		port = r.Port
		flags |= flagResolve | flag(r.Ifindex == loIndex, flagResolveOwn)
		want[uint32(r.Ifindex)] = bpfRdResolver{V4: optional(r.V4), V6: optional(r.V6)}
	}
	return flags, port, equalise(d.maps[bpfMapResolver], want, "resolver's addresses")
}

// setDoH makes the map of known resolvers over HTTPS hold exactly list.
func (d *DataPlane) setDoH(list []netip.Prefix) error {
	want := make(map[bpfRdPrefix]uint32, len(list))
	for _, p := range list {
		want[prefix(p)] = 1
	}
	return equalise(d.maps[bpfMapDoh], want, "resolvers over HTTPS")
}

// optional is an address, or zeros.
func optional(a netip.Addr) bpfRdAddr {
	if !a.IsValid() {
		return bpfRdAddr{}
	}
	return addr(a.WithZone(""))
}

// OriginalServer gives the server that a client asked whose TCP connection was
// turned to the resolver. false: it was not turned, or so long ago that the data
// plane has forgotten; it is then cut off. local, where the connection came in,
// does not count: a client's port has one such connection at a time.
func (d *DataPlane) OriginalServer(client, local netip.AddrPort) (netip.AddrPort, bool) {
	return d.asked(bpfMapStreams, queryKey(client, 0, protoTCP))
}

// OriginalUDP does the same for a query over UDP with an id.
func (d *DataPlane) OriginalUDP(client, local netip.AddrPort, id uint16) (netip.AddrPort, bool) {
	return d.asked(bpfMapQueries, queryKey(client, id, protoUDP))
}

// IANA protocol numbers.
const (
	protoTCP = 6
	protoUDP = 17
)

func queryKey(client netip.AddrPort, id uint16, proto uint8) bpfRdQueryKey {
	return bpfRdQueryKey{Client: addr(client.Addr().WithZone("")), Port: client.Port(), Id: id, Proto: proto}
}

func (d *DataPlane) asked(name string, key bpfRdQueryKey) (netip.AddrPort, bool) {
	var v bpfRdAsked
	if err := d.maps[name].Lookup(key, &v); err != nil {
		return netip.AddrPort{}, false // not there; nothing else can go wrong
	}
	return netip.AddrPortFrom(v.Server.addr(), v.Port), true
}

// errNoRoom is wrapped by errors about an address map that is full.
var errNoRoom = errors.New("the address map is full")

// LearnVerified makes addresses of a name known for every client, as an answer
// of the resolver that the kernel sees does. It is for answers that it does not
// see: over TCP, and to the daemon itself. client, unless it is 0, also gets what
// it needs where an address is shared. Addresses that are exempt are passed over;
// of a name that is not listed nothing is learned.
//
// The event is what the kernel would tell of it: EventLearned with the addresses
// that are known now, or EventFull along with an error that wraps errNoRoom. Its
// Target is 0 where the name is not listed.
func (d *DataPlane) LearnVerified(name string, client Client, addrs []netip.Addr, ttl time.Duration) (Event, error) {
	v, err := d.match(name)
	if err != nil || v.Target == 0 {
		return Event{}, err
	}
	shut, err := d.shut(v.Target)
	if err != nil {
		return Event{}, fmt.Errorf("find destination of %s: %w", name, err)
	}
	v.Flags |= uint8(flag(shut, knownShut))
	now := Now()
	v.Seen, v.Used, v.Expires, v.Origin = uint32(now), uint32(now), uint32(now+Ticks(ttl/Tick)), uint8(OriginResolver)
	ev := Event{
		Kind: EventLearned, Client: client, Name: name, Rule: v.Rule, Full: v.Flags&knownFull != 0, Verified: true,
		Target: Target(v.Target), TTL: Ticks(ttl / Tick), Time: now,
	}
	for _, a := range addrs {
		exempt, err := d.isExempt(a)
		if exempt {
			continue
		}
		if err == nil {
			err = d.learnVerified(addr(a), client, v)
		}
		if err != nil {
			ev.Kind = EventFull
			return ev, fmt.Errorf("learn %s of %s: %w", a, name, err)
		}
		ev.Addrs = append(ev.Addrs, a)
	}
	return ev, nil
}

// match finds the rule of the longest suffix of a name, as the programs do.
func (d *DataPlane) match(name string) (bpfRdKnown, error) {
	var v bpfRdKnown
	wire, err := wireName(name)
	if err != nil {
		return v, err
	}
	d.namesMu.Lock()
	defer d.namesMu.Unlock()
	inner, err := d.namesMap()
	if inner == nil || err != nil {
		return v, err
	}
	starts := map[int]bool{}
	for i := 0; i < len(wire); i += 1 + int(wire[i]) {
		starts[i] = true
	}
	h := d.seed
	for i := len(wire) - 1; i >= 0; i-- {
		h = (h ^ uint64(wire[i])) * fnvPrime
		if !starts[i] {
			continue
		}
		var r bpfRdRule
		switch err := inner.Lookup(h, &r); {
		case err == nil:
			v.take(h, r, i == 0)
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return v, fmt.Errorf("look up name %s: %w", name, err)
		}
	}
	return v, nil
}

// namesMap is the map of names in force, which stays open for the next time; nil
// when there is none. namesMu must be held.
func (d *DataPlane) namesMap() (*ebpf.Map, error) {
	if d.openNames != nil {
		return d.openNames, nil
	}
	err := d.maps[bpfMapRules].Lookup(uint32(0), &d.openNames)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open map of names: %w", err)
	}
	return d.openNames, nil
}

// forgetNamesMap has the map of names opened anew: another one is in force.
func (d *DataPlane) forgetNamesMap() {
	d.namesMu.Lock()
	defer d.namesMu.Unlock()
	if d.openNames != nil {
		d.openNames.Close()
	}
	d.openNames = nil
}

// take is match_label of bpf/dns.h.
func (v *bpfRdKnown) take(hash uint64, r bpfRdRule, whole bool) {
	switch {
	case whole && r.Full != 0:
		v.Rule, v.Target, v.Flags = hash, r.Full, knownFull
	case r.Suffix != 0:
		v.Rule, v.Target, v.Flags = hash, r.Suffix, 0
	}
}

// shut says whether a chain begins with a destination that is closed and takes every
// client. The programs know the client, and ask about the one that takes it.
func (d *DataPlane) shut(target uint16) (bool, error) {
	var t bpfRdTarget
	var slot uint32
	err := d.maps[bpfMapTargets].Lookup(uint32(target), &t)
	if err == nil {
		err = d.maps[bpfMapSlots].Lookup(uint32(t.Dest), &slot)
	}
	return t.Flags == 0 && slot&slotClosed != 0, err
}

func (d *DataPlane) isExempt(a netip.Addr) (bool, error) {
	var bits uint32
	err := d.maps[bpfMapExempt].Lookup(bpfRdPrefix{Bits: 128, Addr: addr(a)}, &bits)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return bits != 0, err
}

// learnVerified is learn_address of bpf/known.h.
func (d *DataPlane) learnVerified(a bpfRdAddr, client Client, v bpfRdKnown) error {
	if client != 0 {
		if err := d.learnInto(bpfMapGrants, bpfRdGrantKey{Addr: a, Client: uint64(client)}, v, knownShut); err != nil {
			return err
		}
	}
	v.Flags |= knownGlobal
	return d.learnInto(bpfMapAddresses, a, v, knownShut|knownGlobal)
}

// learnInto puts an entry into a map. Where that has one with the flags of stays, whose
// rule is in force, v must be closed too to take its place.
func (d *DataPlane) learnInto(name string, key any, v bpfRdKnown, stays uint8) error {
	var old bpfRdKnown
	m := d.maps[name]
	err := m.Lookup(key, &old)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	if v.Flags&knownShut == 0 && old.Target != v.Target && old.Flags&(stays|knownDrain) == stays {
		v.Rule, v.Target, v.Flags = old.Rule, old.Target, old.Flags
	}
	v.Flags |= old.Flags & knownShared
	v.Expires = max(v.Expires, old.Expires)
	return noRoom(m.Put(key, v))
}

// noRoom tells a full map from other failures.
func noRoom(err error) error {
	if errors.Is(err, syscall.E2BIG) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return err
}
