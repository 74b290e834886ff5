package ebpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// refTurn is what must become of a packet of queries.
type refTurn struct {
	verdict verdict
	turned  []uint16 // ids of the messages
}

// queries is what the reference says of a packet: all that are for listed names
// go to the resolver, none that is not; of several in one skb all or none.
func (d *differ) queries(p differPacket, client netip.Addr) refTurn {
	out, others := refTurn{verdict: passed}, 0
	for _, m := range p.datagrams() {
		q, ok := refReadQuery(m)
		var rule *refRule
		if ok {
			rule = d.rules[client].find(q)
		}
		if rule == nil || !rule.slot.Resolve {
			others++
			continue
		}
		out.turned = append(out.turned, binary.BigEndian.Uint16(m))
	}
	if len(out.turned) > 0 && others > 0 {
		return refTurn{verdict: dropped}
	}
	return out
}

// TestQueriesAreReadAsTheReferenceReadsThem compares the program that turns DNS
// queries with reference_test.go, message by message.
func TestQueriesAreReadAsTheReferenceReadsThem(t *testing.T) {
	for _, seed := range differSeeds(t) {
		w := resolvingWorld(t)
		d := newDiffer(t, w, bpfProgRouterdSteer)
		g := newGenerator(seed, w.tables)
		inside(t, w.ns, func() { d.runQueries(g) })
		t.Logf("seed %d: %v", seed, d.kinds)
		d.checkKinds("turned", "passed", "dropped")
	}
}

func (d *differ) runQueries(g *generator) {
	carriers := []func([]byte) frame{
		func(m []byte) frame { return ask("x", 1, message(m)) },
		func(m []byte) frame { return ask("x", 1, message(m), server("2001:db8:53::53")) },
		func(m []byte) frame { return ask("x", 1, message(m), from(bob.String(), bobMAC)) },
	}
	for i := range *differMessages {
		p := g.packet(g.several(g.query), pick(g, carriers...))
		want := d.queries(p, p.frame.src.Addr())
		got, data := d.send(p, d.lan, d.lan)
		if err := d.checkTurn(p, want, got, data); err != nil {
			d.t.Fatalf("packet %d: %v\n%x", i, err, p.datagrams())
		}
	}
}

// checkTurn compares what happened with what had to.
func (d *differ) checkTurn(p differPacket, want refTurn, got verdict, data []byte) error {
	if got != want.verdict {
		return fmt.Errorf("%s, want %s", got, want.verdict)
	}
	kind := got.String()
	f := p.frame
	if len(want.turned) > 0 {
		kind = "turned"
		own := router
		if f.v6() {
			own = router6
		}
		f.dst = netip.AddrPortFrom(own, resolverPort)
	}
	d.kinds[kind]++
	if got == passed && !bytes.Equal(ipSum(f, data), ipSum(f, f.build())) {
		return fmt.Errorf("the packet is\n%x, want\n%x", data, f.build())
	}
	for _, id := range want.turned {
		key := bpfRdQueryKey{Client: addr(f.src.Addr()), Port: f.src.Port(), Id: id, Proto: udp}
		var asked bpfRdAsked
		if err := d.maps[bpfMapQueries].Lookup(key, &asked); err != nil {
			return fmt.Errorf("query %d is not remembered: %w", id, err)
		}
		if got := netip.AddrPortFrom(asked.Server.addr(), asked.Port); got != p.frame.dst {
			return fmt.Errorf("query %d was for %s, want %s", id, got, p.frame.dst)
		}
	}
	return nil
}

// ipSum is a packet with the checksum of its IPv4 header made anew.
func ipSum(f frame, data []byte) []byte {
	if f.v6() {
		return data
	}
	out := bytes.Clone(data)
	h := out[14+4*len(f.tags):][:20+f.options]
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^onesSum(h, 0))
	return out
}
