package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// refEvent is what must be told.
type refEvent struct {
	kind     EventKind
	name     string
	withheld bool
	ttl      Ticks
	addrs    []netip.Addr
	news     bool // an address is new to the client, or was known by another rule
}

// again says whether a packet's earlier events told the same: it is not told twice.
func (e refEvent) again(earlier []refEvent) bool {
	sorted := slices.SortedFunc(slices.Values(e.addrs), netip.Addr.Compare)
	return e.kind == EventLearned && !e.news && slices.ContainsFunc(earlier, func(o refEvent) bool {
		return o.kind == e.kind && o.name == e.name && slices.Equal(slices.SortedFunc(slices.Values(o.addrs), netip.Addr.Compare), sorted)
	})
}

// refAnswers is what must become of a packet of answers.
type refAnswers struct {
	verdict verdict
	events  []refEvent
}

// answers is what the reference says of a packet, and brings the model forward.
func (d *differ) answers(p differPacket, client netip.Addr, shared bool) refAnswers {
	out := refAnswers{verdict: passed}
	for _, m := range p.datagrams() {
		msg, ok := refReadAnswer(m)
		if !ok {
			continue
		}
		ev, withheld := d.answer(msg, client, shared)
		if ev.kind != 0 && !ev.again(out.events) {
			out.events = append(out.events, ev)
		}
		if withheld {
			out.verdict = dropped
			return out
		}
	}
	return out
}

// answer is what becomes of one.
func (d *differ) answer(msg refMessage, client netip.Addr, shared bool) (refEvent, bool) {
	rule := d.rules[client].find(msg.question)
	ev := refEvent{name: textName(append(slices.Clone(msg.question.name), 0))}
	unread := msg.header.truncated || !shared || !msg.sound // of an unlisted name
	switch {
	case rule == nil && unread:
		return refEvent{}, false
	case rule == nil:
		d.share(&ev, msg.found)
	case msg.sound, msg.header.truncated && msg.partial:
		d.learn(&ev, rule, msg.found, client)
	case msg.header.truncated:
	case slices.Contains([]uint16{1, 28, 64, 65, 255}, msg.question.kind):
		ev.kind, ev.withheld = EventUnparsed, rule.slot.Closed
	}
	return ev, ev.withheld
}

func (d *differ) exempt(a netip.Addr) bool {
	return slices.ContainsFunc(d.tables.Exempt, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (d *differ) learn(ev *refEvent, rule *refRule, found []refAddr, client netip.Addr) {
	for _, a := range found {
		if d.exempt(a.addr) {
			continue
		}
		k := refKnown{rule: rule.name, full: rule.full, shut: rule.slot.Closed}
		grant := refGrant{a.addr, d.who(client)}
		was, granted := d.grants[grant]
		if !d.stays(was, k) {
			ev.news = ev.news || !granted || was != k
			d.grants[grant] = k
		}
		k.shared = d.known[a.addr].shared
		d.known[a.addr] = k
		if ev.addrs = append(ev.addrs, a.addr); len(ev.addrs) == 1 || Ticks(a.ttl) < ev.ttl {
			ev.ttl = Ticks(a.ttl)
		}
	}
	if len(ev.addrs) > 0 {
		ev.kind = EventLearned
	}
}

// stays says whether an address that is closed for a client is not given to another name.
func (d *differ) stays(was, now refKnown) bool {
	return was.shut && !now.shut && !slices.Equal(d.chain(was), d.chain(now))
}

// chain is that of the rule by which an address is known.
func (d *differ) chain(k refKnown) Chain {
	i := slices.IndexFunc(d.tables.Names, func(r NameRule) bool { return r.Name == k.rule })
	if k.full {
		return d.tables.Names[i].Full
	}
	return d.tables.Names[i].Suffix
}

// who is a client by its MAC address.
func (d *differ) who(client netip.Addr) netip.Addr {
	if client == alice6 {
		return alice
	}
	return client
}

func (d *differ) share(ev *refEvent, found []refAddr) {
	for _, a := range found {
		k, known := d.known[a.addr]
		if !known || k.shared {
			continue
		}
		k.shared = true
		d.known[a.addr] = k
		ev.addrs = append(ev.addrs, a.addr)
		ev.kind = EventShared
	}
}

// refCallsMost is what every kernel has of calls by tail for a packet
// (MAX_TAIL_CALL_CNT): what takes more is not read.
const refCallsMost = 32

// refCalls is how often the programs call each other by tail, at most, to read the
// answers in a packet; the lengths of their walks are those of dns.h and known.h.
func refCalls(p differPacket) (calls int) {
	for _, m := range p.datagrams() {
		calls++
		msg, ok := refReadAnswer(m)
		if !ok {
			continue
		}
		name := msg.question.name
		calls += len(msg.question.labels)/32 + (len(name)+32)/32
		calls += (msg.steps[0]+16)/16 + len(msg.found)/8
		if msg.steps[1] > 0 {
			calls += (msg.steps[1]+8)/8 + 1
		}
	}
	return calls
}

// check compares what happened with what had to.
func (d *differ) check(p differPacket, want refAnswers, got verdict, data []byte) error {
	events := d.told()
	switch {
	case got != want.verdict:
		return fmt.Errorf("%s, want %s", got, want.verdict)
	case !slices.EqualFunc(events, want.events, refEvent.same):
		return fmt.Errorf("told\n  %+v, want\n  %+v", events, want.events)
	case got == passed && !bytes.Equal(data, p.frame.build()):
		return errors.New("the packet was changed")
	}
	if err := d.checkAddresses(); err != nil {
		return err
	}
	return d.checkGrants()
}

// told are the events of the packet.
func (d *differ) told() []refEvent {
	var out []refEvent
	for _, ev := range pending(d.t, d.events) {
		e := refEvent{kind: ev.Kind, name: ev.Name, withheld: ev.Withheld, addrs: ev.Addrs}
		if ev.Kind == EventLearned {
			e.ttl = ev.TTL
		}
		out = append(out, e)
	}
	return out
}

func (e refEvent) same(o refEvent) bool {
	return e.kind == o.kind && e.name == o.name && e.withheld == o.withheld && e.ttl == o.ttl && slices.Equal(e.addrs, o.addrs)
}

// checkAddresses compares the map with the model.
func (d *differ) checkAddresses() error {
	all, err := d.Addresses()
	if err != nil {
		return err
	}
	for _, k := range all {
		want := d.known[k.Addr]
		if got := (refKnown{d.names[k.Rule], k.Full, k.Shared, want.shut}); got != want || k.Global || k.Draining {
			return fmt.Errorf("%s is known as %+v, want %+v", k.Addr, k, d.known[k.Addr])
		}
	}
	if len(all) != len(d.known) {
		return fmt.Errorf("%d addresses are known, want %d", len(all), len(d.known))
	}
	return nil
}

func (d *differ) checkGrants() error {
	all, err := d.Grants()
	if err != nil {
		return err
	}
	macs := map[Client]netip.Addr{ClientMAC(aliceMAC): alice, ClientMAC(bobMAC): bob}
	for _, k := range all {
		want, ok := d.grants[refGrant{k.Addr, macs[k.Client]}]
		if got := (refKnown{d.names[k.Rule], k.Full, false, want.shut}); !ok || got != want {
			return fmt.Errorf("%s is known to %s as %+v, want %+v", k.Addr, k.Client, k, want)
		}
	}
	if len(all) != len(d.grants) {
		return fmt.Errorf("%d grants are there, want %d", len(all), len(d.grants))
	}
	return nil
}

// TestAnswersAreReadAsTheReferenceReadsThem compares the programs that read DNS
// answers with reference_test.go, message by message.
func TestAnswersAreReadAsTheReferenceReadsThem(t *testing.T) {
	for _, seed := range differSeeds(t) {
		w := newWorld(t)
		d := newDiffer(t, w, bpfProgRouterdLearn)
		g := newGenerator(seed, w.tables)
		inside(t, w.ns, func() { d.runAnswers(g) })
		t.Logf("seed %d: %v", seed, d.kinds)
		d.checkKinds("untouched", "learned", "unparsed", "withheld", "shared")
	}
}

func (d *differ) runAnswers(g *generator) {
	carriers := []func([]byte) frame{
		carry, func(m []byte) frame { return carry6(m) }, func(m []byte) frame { return carryTo(bob, bobMAC, m) },
	}
	for i := range *differMessages {
		shared := i%128 >= 64
		if i%64 == 0 {
			d.clear()
			d.markShared(shared)
		}
		p := g.packet(g.several(g.answer), pick(g, carriers...))
		for refCalls(p) > refCallsMost {
			p = g.packet(g.several(g.answer), pick(g, carriers...))
		}
		want := d.answers(p, p.frame.dst.Addr(), shared)
		got, data := d.send(p, 0, d.lan)
		if err := d.check(p, want, got, data); err != nil {
			d.t.Fatalf("packet %d: %v\n%x", i, err, p.datagrams())
		}
		d.tally(want)
	}
}

func (d *differ) markShared(on bool) {
	err := d.setConfig(func(c *bpfRdConfig) { c.Flags = c.Flags&^flagShared | flag(on, flagShared) })
	if err != nil {
		d.t.Fatal(err)
	}
}

// tally counts what was seen, so that a generator that makes nothing of a kind
// is noticed.
func (d *differ) tally(a refAnswers) {
	kind := "untouched"
	for _, ev := range a.events {
		kind = map[EventKind]string{EventLearned: "learned", EventUnparsed: "unparsed", EventShared: "shared"}[ev.kind]
		if ev.withheld {
			kind = "withheld"
		}
	}
	d.kinds[kind]++
}
