package ebpf

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// Destination is the number of a destination: an index of the slots. 0 is none.
type Destination uint16

// Target is the number of a chain of destinations. 0 is none.
type Target uint16

// Slot is where a destination goes now.
type Slot struct {
	Path owned.PathIndex
	// Closed destinations never leave by the WAN: the guard stops the
	// router's own packets too, and DNS answers that cannot be learned whole
	// are withheld.
	Closed bool
	// Resolve turns queries for its names to routerd's resolver.
	Resolve bool
}

// Link is one link of a chain: the destination, for those clients that it takes.
type Link struct {
	Destination Destination
	Include     bool // only clients whose Include has Bit
	Exclude     bool // not clients whose Exclude has Bit
	Bit         uint8
}

// Chain is the destinations of one rule, tried in order, at most ChainMax.
type Chain []Link

// NameRule is what a name is listed for; either chain may be empty.
type NameRule struct {
	Name   string // lower case, no dot at the end
	Full   Chain  // the name itself
	Suffix Chain  // the name and all below it
}

// NetworkRule is what a network is listed for.
type NetworkRule struct {
	Prefix netip.Prefix
	Chain  Chain
}

// ClientRule sets the bits of clients that destinations name.
type ClientRule struct {
	Prefix           netip.Prefix // valid, or:
	MAC              [6]byte
	Include, Exclude uint64
}

// Tables are everything that SetTables makes the maps say.
type Tables struct {
	Slots    map[Destination]Slot
	Names    []NameRule
	Networks []NetworkRule
	// Moved gives, for the hash of a name that Names has no more, that of the name
	// whose suffix rule lists it now: what was learned is that one's. nil, or 0: none.
	Moved func(rule uint64) uint64
	// Clients must hold, for each prefix, also the bits of those around it.
	Clients []ClientRule
	// Exempt ranges are never learned.
	Exempt []netip.Prefix
	// WAN are the interface indexes of the direct path, at most four count.
	WAN []int
	// TrackDirect says that some destination may go direct, so that answers on
	// the direct path are counted.
	TrackDirect bool
	Own         bool // the router's own connections are steered
	// Resolver says where the resolver is reached by each LAN device's clients.
	// An entry for lo turns the router's own queries too, for which programs
	// must be attached to lo. None: nothing is turned.
	Resolver []ResolverAddress
	// LocalDNS refuses clients' DNS over TLS and QUIC at once, and tells of their
	// connections to the resolvers over HTTPS in DoH.
	LocalDNS bool
	DoH      []netip.Prefix
	// TLSNames reads the server name of connections to port 443 whose address is
	// not known: for a listed one the address becomes known to the client, and the
	// connection is ended.
	TLSNames bool
	// Shared marks learned addresses that answers of unlisted names give too: for
	// them only what a client itself looked up counts.
	Shared bool
}

// SetTables makes the maps say what t says. Each step leaves a state in which a
// listed address is steered: new slots and chains come before the rules that
// use them, old ones go after them; a client's bit must mean for that what it meant
// before. Addresses learned by rules that are gone, and that no wider rule lists, are
// drained: their flows go on, new ones are not steered.
func (d *DataPlane) SetTables(t *Tables) error {
	targets, err := d.internTargets(t)
	if err != nil {
		return err
	}
	if err := d.setSlots(t.Slots); err != nil {
		return err
	}
	if err := d.setClients(t.Clients); err != nil {
		return err
	}
	if err := d.setExempt(t.Exempt); err != nil {
		return err
	}
	networks, err := d.setRules(t, targets)
	if err != nil {
		return err
	}
	resolving, port, err := d.setResolver(t.Resolver)
	if err != nil {
		return err
	}
	if err := d.setDoH(t.DoH); err != nil {
		return err
	}
	return d.setConfig(func(c *bpfRdConfig) {
		c.Flags = flag(networks > 0, flagNetworks) | flag(t.TrackDirect, flagTrackDirect) | flag(t.Own, flagOwn) |
			resolving | flag(t.LocalDNS, flagLocalDNS) | flag(t.TLSNames, flagTLS) | flag(t.Shared, flagShared)
		c.ResolverPort = port
		c.Wan = [4]uint32{}
		for i := 0; i < len(t.WAN) && i < len(c.Wan); i++ {
			c.Wan[i] = uint32(t.WAN[i])
		}
	})
}

// setRules makes the maps of names and networks say what t says, and brings what
// was learned in line. It says how many networks there are.
func (d *DataPlane) setRules(t *Tables, targets chains) (int, error) {
	names, err := d.setNames(t.Names, targets)
	if err != nil {
		return 0, err
	}
	networks, err := d.setNetworks(t.Networks, targets)
	if err != nil {
		return 0, err
	}
	return networks, d.retarget(nameRules{names, t.Moved})
}

// RD_F_* of bpf/abi.h.
const (
	flagNetworks    = 1 << 0
	flagTrackDirect = 1 << 1
	flagOwn         = 1 << 2
	flagResolve     = 1 << 3
	flagResolveOwn  = 1 << 4
	flagLocalDNS    = 1 << 5
	flagTLS         = 1 << 6
	flagShared      = 1 << 7
)

func flag(on bool, bit uint32) uint32 {
	if on {
		return bit
	}
	return 0
}

// SetSlot switches a destination: one atomic write, for every flow from the next.
func (d *DataPlane) SetSlot(id Destination, s Slot) error {
	if most := owned.PathIndex(uint32(d.opts.Mask) >> d.opts.Mask.Shift()); s.Path > most {
		return fmt.Errorf("set slot of destination %d: path %d does not fit the mark bits, which hold up to %d", id, s.Path, most)
	}
	v := uint32(s.Path) | flag(s.Closed, slotClosed) | flag(s.Resolve, slotResolve)
	if err := d.maps[bpfMapSlots].Put(uint32(id), v); err != nil {
		return fmt.Errorf("set slot of destination %d: %w", id, err)
	}
	return nil
}

func (d *DataPlane) setSlots(slots map[Destination]Slot) error {
	for id, s := range slots {
		if err := d.SetSlot(id, s); err != nil {
			return err
		}
	}
	return nil
}

// RD_SLOT_* of bpf/abi.h.
const (
	slotClosed  = 0x100
	slotResolve = 0x200
)

// setNames builds the hash of names and puts it in the place of the old one,
// unless that says the same: for a moment there are two.
func (d *DataPlane) setNames(rules []NameRule, targets chains) (map[uint64]bpfRdRule, error) {
	values, err := d.hashNames(rules, targets)
	if err != nil {
		return nil, err
	}
	fp := d.fingerprint(values)
	if fp == d.names {
		return values, nil
	}
	spec := *d.spec.maps[bpfMapRules].Inner
	spec.MaxEntries = uint32(max(len(values), 1))
	inner, err := makeMap(&spec)
	if err != nil {
		return nil, fmt.Errorf("make map of %d names: %w", len(values), explain(err))
	}
	defer inner.Close()
	if err := putAll(inner, values); err != nil {
		return nil, fmt.Errorf("fill map of names: %w", err)
	}
	if err := d.maps[bpfMapRules].Put(uint32(0), uint32(inner.FD())); err != nil {
		return nil, fmt.Errorf("replace map of names: %w", err)
	}
	d.forgetNamesMap()
	d.names = fp
	return values, nil
}

func (d *DataPlane) hashNames(rules []NameRule, targets chains) (map[uint64]bpfRdRule, error) {
	values := make(map[uint64]bpfRdRule, len(rules))
	for i, r := range rules {
		h, err := HashName(d.seed, r.Name)
		if err != nil {
			return nil, err
		}
		if _, ok := values[h]; ok {
			return nil, fmt.Errorf("hash names: %s and %s collide, or one is given twice", d.nameOf(h, rules[:i]), r.Name)
		}
		values[h] = bpfRdRule{Full: targets.of(r.Full), Suffix: targets.of(r.Suffix)}
	}
	return values, nil
}

func (d *DataPlane) nameOf(hash uint64, rules []NameRule) string {
	for _, r := range rules {
		if h, _ := HashName(d.seed, r.Name); h == hash {
			return r.Name
		}
	}
	return ""
}

// namesPrint tells one map of names from another, whatever their order.
type namesPrint struct {
	n   int
	sum uint64
}

func (d *DataPlane) fingerprint(values map[uint64]bpfRdRule) namesPrint {
	type entry struct {
		hash         uint64
		full, suffix uint16
	}
	p := namesPrint{n: len(values) + 1} // unlike that of no map
	for h, r := range values {
		p.sum += maphash.Comparable(d.printSeed, entry{h, r.Full, r.Suffix})
	}
	return p
}

// putAll writes many entries, in batches where the kernel has them.
func putAll[K comparable, V any](m *ebpf.Map, values map[K]V) error {
	keys, vals := make([]K, 0, batchSize), make([]V, 0, batchSize)
	flush := func() error {
		_, err := m.BatchUpdate(keys, vals, nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = nil
			for i := range keys {
				if err = m.Put(keys[i], vals[i]); err != nil {
					break
				}
			}
		}
		keys, vals = keys[:0], vals[:0]
		return err
	}
	for k, v := range values {
		keys, vals = append(keys, k), append(vals, v)
		if len(keys) == batchSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return flush()
}

// setNetworks says how many networks there are now. One whose rule is gone stays
// for as long as flows use it, unless a wider one takes them.
func (d *DataPlane) setNetworks(rules []NetworkRule, targets chains) (int, error) {
	m := d.maps[bpfMapNetworks]
	want := make(map[bpfRdPrefix]bpfRdRule, len(rules))
	for _, r := range rules {
		want[prefix(r.Prefix)] = bpfRdRule{Suffix: targets.of(r.Chain)}
	}
	have, err := entries[bpfRdPrefix, bpfRdRule](m)
	if err != nil {
		return 0, fmt.Errorf("read networks: %w", err)
	}
	for k := range want {
		delete(have, k)
	}
	if len(have) > 0 {
		if err := d.drainNetworks(have, rules, want); err != nil {
			return 0, err
		}
	}
	apart(want)
	return len(want), equalise(m, want, "networks")
}

func (d *DataPlane) drainNetworks(gone map[bpfRdPrefix]bpfRdRule, rules []NetworkRule, want map[bpfRdPrefix]bpfRdRule) error {
	flows, err := d.Flows()
	if err != nil {
		return err
	}
	for k, v := range gone {
		p := k.prefix()
		used := slices.ContainsFunc(flows, func(f Flow) bool { return p.Contains(f.Server.Addr()) })
		covered := slices.ContainsFunc(rules, func(r NetworkRule) bool {
			return r.Prefix.Bits() <= p.Bits() && r.Prefix.Contains(p.Addr())
		})
		if used && !covered {
			want[k] = bpfRdRule{Full: networkDrain, Suffix: v.Suffix}
		}
	}
	return nil
}

// networkDrain stands in the place of a full: target, which no network has.
const networkDrain = 1

// setExempt gives each range its length, counted from 1, as value.
func (d *DataPlane) setExempt(prefixes []netip.Prefix) error {
	want := make(map[bpfRdPrefix]uint32, len(prefixes))
	for _, p := range prefixes {
		want[prefix(p)] = prefix(p).Bits + 1
	}
	apart(want)
	return equalise(d.maps[bpfMapExempt], want, "exempt ranges")
}

// apart keeps IPv6 prefixes from covering IPv4, whose addresses lie below
// ::ffff:0:0/96 in the maps: that gets an entry which says nothing.
func apart[V any](want map[bpfRdPrefix]V) {
	v4 := prefix(netip.MustParsePrefix("0.0.0.0/0"))
	if _, ok := want[v4]; ok {
		return
	}
	for k := range want {
		if k.Bits < v4.Bits && netip.PrefixFrom(netip.AddrFrom16(k.Addr.B), int(k.Bits)).Contains(netip.AddrFrom16(v4.Addr.B)) {
			var nothing V
			want[v4] = nothing
			return
		}
	}
}

func (d *DataPlane) setClients(rules []ClientRule) error {
	nets, macs := map[bpfRdPrefix]bpfRdClients{}, map[uint64]bpfRdClients{}
	for _, r := range rules {
		v := bpfRdClients{Include: r.Include, Exclude: r.Exclude}
		if r.Prefix.IsValid() {
			nets[prefix(r.Prefix)] = v
		} else {
			macs[uint64(ClientMAC(r.MAC))] = v
		}
	}
	apart(nets)
	if err := equalise(d.maps[bpfMapClientNetworks], nets, "clients' networks"); err != nil {
		return err
	}
	return equalise(d.maps[bpfMapClientMacs], macs, "clients' hardware addresses")
}

// equalise makes a map hold exactly want: first what is new, then what is old.
func equalise[K, V comparable](m *ebpf.Map, want map[K]V, what string) error {
	have, err := entries[K, V](m)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	for k, v := range want {
		if old, ok := have[k]; ok && old == v {
			continue
		}
		if err := put(m, k, v); err != nil {
			return fmt.Errorf("write %s: %w", what, explain(err))
		}
	}
	for k := range have {
		if _, ok := want[k]; ok {
			continue
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove from %s: %w", what, err)
		}
	}
	return nil
}
