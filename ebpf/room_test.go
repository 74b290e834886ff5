package ebpf

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// fill fills the maps of learned addresses, through answers.
func (w *world) fill(t *testing.T) {
	t.Helper()
	for i := 0; ; i++ {
		a := netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)})
		w.run(t, bpfProgRouterdLearn, answer("open.example", a).build(), via{out: w.lan})
		s, err := w.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.Full > 0 {
			return
		}
	}
}

// A full map is told, and never lets an address of a closed destination reach
// the client unknown.
func TestFullMaps(t *testing.T) {
	w := openWorld(t, func(o *Options) { o.MaxAddresses = 16 })
	events := openEvents(t, w.DataPlane)
	w.fill(t)
	known := w.knownAddrs(t)
	pending(t, events)
	for _, c := range []struct {
		name     string
		frame    frame
		withheld bool
		event    EventKind
	}{
		{"closed", carry(plain("closed.example", "198.51.100.7")), true, EventFull},
		{"blocked", carry(plain("blocked.example", "198.51.100.7")), true, EventFull},
		{"open", carry(plain("open.example", "198.51.100.7")), false, EventFull},
		{"direct", carry(plain("direct.example", "198.51.100.7")), false, EventFull},
		{"unlisted", carry(plain("www.example", "198.51.100.7")), false, 0},
		{"refreshed", carry(plain("open.example", known[0])), false, EventLearned},
		{"not excluded from the first link", carry(plain("notbob.example", "198.51.100.7")), true, EventFull},
		{"second link, which is open", carry(plain("guests.example", "198.51.100.7")), false, EventFull},
		{"nobody's", carryTo(bob, bobMAC, plain("solo.example", "198.51.100.7")), false, EventFull},
		{"alice's", carry(plain("solo.example", "198.51.100.7")), true, EventFull},
		{"fourth link, which is closed", carryTo(bob, aliceMAC, plain("four.example", "198.51.100.7")), true, EventFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.run(t, bpfProgRouterdLearn, c.frame.build(), via{out: w.lan})
			if (got.verdict == dropped) != c.withheld {
				t.Errorf("%s", got.verdict)
			}
			events := pending(t, events)
			if c.event == 0 && len(events) == 0 {
				return
			}
			if len(events) != 1 || events[0].Kind != c.event || events[0].Withheld != c.withheld {
				t.Errorf("events %+v, want one of kind %d", events, c.event)
			}
		})
	}
	if got := w.knownAddrs(t); !slices.Equal(got, known) {
		t.Errorf("known %v, before %v: nothing may be lost", got, known)
	}
}

// carryTo puts a message into a packet to another client than alice.
func carryTo(addr netip.Addr, mac [6]byte, message []byte) frame {
	f := carry(message)
	f.dst, f.dstMAC = netip.AddrPortFrom(addr, 40000), mac
	return f
}

func TestEventsTellTheAnswer(t *testing.T) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	hash := func(name string) uint64 {
		h, err := HashName(w.seed, name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, c := range []struct {
		name  string
		frame frame
		out   int
		want  Event
	}{
		{"suffix", carry(plain("WWW.Closed.Example", "198.51.100.7")), w.lan, Event{
			Kind: EventLearned, Client: ClientMAC(aliceMAC), Ifindex: w.lan, Name: "www.closed.example",
			Rule: hash("closed.example"), TTL: 300, Addrs: addrs("198.51.100.7"),
		}},
		{"full", carry(plain("both.example", "198.51.100.7")), w.lan, Event{
			Kind: EventLearned, Client: ClientMAC(aliceMAC), Ifindex: w.lan, Name: "both.example",
			Rule: hash("both.example"), Full: true, TTL: 300, Addrs: addrs("198.51.100.7"),
		}},
		{"longer suffix", carry(plain("x.deeper.closed.example", "198.51.100.7")), w.lan, Event{
			Kind: EventLearned, Client: ClientMAC(aliceMAC), Ifindex: w.lan, Name: "x.deeper.closed.example",
			Rule: hash("deeper.closed.example"), TTL: 300, Addrs: addrs("198.51.100.7"),
		}},
		{"the router's own", carry(plain("closed.example", "198.51.100.7")), loIndex, Event{
			Kind: EventLearned, Client: ClientSelf, Ifindex: loIndex, Name: "closed.example",
			Rule: hash("closed.example"), TTL: 300, Addrs: addrs("198.51.100.7"),
		}},
		{"withheld", carry(many("closed.example", 65)), w.lan, Event{
			Kind: EventUnparsed, Client: ClientMAC(aliceMAC), Ifindex: w.lan, Name: "closed.example",
			Rule: hash("closed.example"), Withheld: true,
		}},
		{"mixed", answer("closed.example", addrs("10.0.0.1", "198.51.100.7", "::1", "2001:db8:5::7")...), w.lan, Event{
			Kind: EventLearned, Client: ClientMAC(aliceMAC), Ifindex: w.lan, Name: "closed.example",
			Rule: hash("closed.example"), TTL: 300, Addrs: addrs("198.51.100.7", "2001:db8:5::7"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.run(t, bpfProgRouterdLearn, c.frame.build(), via{out: c.out})
			got := pending(t, events)
			if len(got) != 1 {
				t.Fatalf("%d events", len(got))
			}
			if got[0].Target == 0 {
				t.Error("the event has no target")
			}
			got[0].Target = 0
			diff(t, got[0], c.want)
		})
	}
}

// Answers of one client leave what others may reach alone.
func TestAddressesAreKnownForTheirClientOnly(t *testing.T) {
	w := newWorld(t)
	a := addrs("198.51.100.7")
	w.learned(t, "closed.example", aliceMAC, a...)
	w.learned(t, "open.example", bobMAC, a...)
	grants, err := w.Grants()
	if err != nil {
		t.Fatal(err)
	}
	rules := map[Client]uint64{}
	for _, g := range grants {
		rules[g.Client] = g.Rule
	}
	for client, name := range map[[6]byte]string{aliceMAC: "closed.example", bobMAC: "open.example"} {
		if h, _ := HashName(w.seed, name); rules[ClientMAC(client)] != h {
			t.Errorf("client %x: rule %x, want that of %s", client, rules[ClientMAC(client)], name)
		}
	}
}

func TestStatsCountAnswers(t *testing.T) {
	w := openWorld(t, func(o *Options) { o.MaxAddresses = 3 })
	for _, m := range [][]byte{
		plain("www.example", "198.51.100.1"),
		wire(reply("closed.example", dns.TypeA, "closed.example. 60 IN A 198.51.100.1", "closed.example. 60 IN A 10.0.0.1")),
		with(reply("closed.example", dns.TypeA), func(m *dns.Msg) { m.Truncated = true }),
		many("closed.example", 65), many("open.example", 65), many("closed.example", 4),
	} {
		w.run(t, bpfProgRouterdLearn, carry(m).build(), via{out: w.lan})
	}
	got, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	diff(t, got, Stats{Answers: 6, Matched: 5, Learned: 3, Refused: 1, Truncated: 1, Unparsed: 2, Full: 1, Withheld: 2})
}
