package ebpf

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// healthOf is what was counted for a destination over a path, without times.
func (w *world) healthOf(t *testing.T, k HealthKey) Health {
	t.Helper()
	all, err := w.Health()
	if err != nil {
		t.Fatal(err)
	}
	h := all[k]
	if (h.RTT > 0) != (h.RTTMin > 0) || h.RTT < h.RTTMin {
		t.Errorf("handshakes took %s, the shortest %s", h.RTT, h.RTTMin)
	}
	h.RTT, h.RTTMin = 0, 0
	return h
}

// number places a segment in a connection's octets.
func number(seq uint32) func(*frame) { return func(f *frame) { f.seq = seq } }

func TestHealthOfConnections(t *testing.T) {
	const there = "198.51.100.2"
	type packet struct {
		back bool
		frame
	}
	out := func(with ...func(*frame)) packet { return packet{false, to(there, with...)} }
	in := func(with ...func(*frame)) packet { return packet{true, back(to(there), with...)} }
	dgram := protocol(udp)
	begin := []packet{out(number(100)), in(flags(syn | ack))}
	hello := slices.Concat(begin, []packet{out(number(101), flags(ack), carrying(20))})
	after := func(first []packet, more ...packet) []packet { return slices.Concat(first, more) }
	tests := []struct {
		name    string
		packets []packet
		want    Health
		again   uint32
		waits   bool
	}{
		{name: "SYN", packets: []packet{out(number(100))}, want: Health{Begun: 1}, waits: true},
		{
			name: "SYN three times", packets: []packet{out(number(100)), out(number(100)), out(number(100))},
			want: Health{Begun: 1, Again: 2}, again: 2, waits: true,
		},
		{name: "refused", packets: []packet{out(number(100)), in(flags(rst | ack))}, want: Health{Begun: 1, Refused: 1}},
		{name: "established", packets: begin, want: Health{Begun: 1, Established: 1}},
		{name: "SYN-ACK twice", packets: after(begin, in(flags(syn|ack))), want: Health{Begun: 1, Established: 1}},
		{name: "bare acknowledgement", packets: after(begin, out(number(101), flags(ack))), want: Health{Begun: 1, Established: 1}},
		{name: "hello", packets: hello, want: Health{Begun: 1, Established: 1}, waits: true},
		{
			name: "hello again", packets: after(hello, out(number(101), flags(ack), carrying(20))),
			want: Health{Begun: 1, Established: 1, Again: 1}, again: 1, waits: true,
		},
		{
			name: "part of the hello again", packets: after(hello, out(number(101), flags(ack), carrying(5))),
			want: Health{Begun: 1, Established: 1, Again: 1}, again: 1, waits: true,
		},
		{
			name: "more is no repetition", packets: after(hello, out(number(121), flags(ack), carrying(20))),
			want: Health{Begun: 1, Established: 1}, waits: true,
		},
		{name: "hello acknowledged", packets: after(hello, in(flags(ack))), want: Health{Begun: 1, Established: 1}},
		{name: "hello answered", packets: after(hello, in(flags(ack), carrying(9))), want: Health{Begun: 1, Established: 1, Answered: 1}},
		{name: "reset after the hello", packets: after(hello, in(flags(rst))), want: Health{Begun: 1, Established: 1, Reset: 1}},
		{
			name: "two resets after the hello", packets: after(hello, in(flags(rst)), in(flags(rst))),
			want: Health{Begun: 1, Established: 1, Reset: 1},
		},
		{
			name: "reset after an answer", packets: after(hello, in(flags(ack), carrying(9)), in(flags(rst))),
			want: Health{Begun: 1, Established: 1, Answered: 1},
		},
		{name: "reset before the hello", packets: after(begin, in(flags(rst))), want: Health{Begun: 1, Established: 1}},
		{name: "client's reset wants nothing", packets: after(begin, out(number(101), flags(rst))), want: Health{Begun: 1, Established: 1}},
		{name: "a client that gives up waits no longer", packets: []packet{out(number(100)), out(number(101), flags(rst))}, want: Health{Begun: 1}},
		{name: "FIN waits", packets: after(begin, out(number(101), flags(fin|ack))), want: Health{Begun: 1, Established: 1}, waits: true},
		{name: "segments past the end of the numbers", packets: []packet{
			out(number(1<<32 - 10)), in(flags(syn | ack)), out(number(1<<32-9), flags(ack), carrying(5)),
			out(number(1<<32-4), flags(ack), carrying(20)), out(number(16), flags(ack), carrying(20)),
		}, want: Health{Begun: 1, Established: 1}, waits: true},
		{name: "data of a connection from before", packets: []packet{out(number(5000), flags(ack), carrying(20)), in(flags(ack))}, want: Health{}},
		{
			name: "datagrams", packets: []packet{out(dgram), out(dgram), out(dgram)},
			want: Health{Begun: 1, Again: 2}, again: 2, waits: true,
		},
		{
			name: "datagram answered", packets: []packet{out(dgram, carrying(4)), in(dgram, carrying(4)), out(dgram)},
			want: Health{Begun: 1, Answered: 1}, waits: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := servedWorld(t)
			for _, p := range tt.packets {
				if p.back {
					w.agedSYN(t, time.Millisecond)
					w.comes(t, p.frame)
				} else {
					w.send(t, p.frame)
				}
			}
			if diff := cmp.Diff(tt.want, w.healthOf(t, HealthKey{w.dest["open"], tunnelB})); diff != "" {
				t.Errorf("health (-want +got):\n%s", diff)
			}
			f := w.onlyFlow(t)
			if waits := f.Waiting > 0; waits != tt.waits || f.Again != tt.again || f.Waiting > time.Minute {
				t.Errorf("waits for %s, %d times again; want waiting %t, %d times", f.Waiting, f.Again, tt.waits, tt.again)
			}
		})
	}
}

func TestWaitingIsCountedFromTheFirstUnansweredPacket(t *testing.T) {
	w := servedWorld(t)
	w.send(t, to("198.51.100.2", number(100)))
	var v bpfRdFlow
	key := w.onlyFlow(t).key
	if err := w.maps[bpfMapFlows].Lookup(key, &v); err != nil {
		t.Fatal(err)
	}
	v.Asked -= 2 << 10 // 2.1 s
	if err := w.maps[bpfMapFlows].Put(key, v); err != nil {
		t.Fatal(err)
	}
	w.send(t, to("198.51.100.2", number(100)))
	if f := w.onlyFlow(t); f.Waiting < 2*time.Second || f.Waiting > time.Minute || f.Again != 1 {
		t.Errorf("waits for %s, %d times again; want more than 2 s, once", f.Waiting, f.Again)
	}
	w.comes(t, back(to("198.51.100.2"), flags(syn|ack)))
	w.send(t, to("198.51.100.2", number(101), flags(ack), carrying(3)))
	if f := w.onlyFlow(t); f.Waiting == 0 || f.Waiting > time.Second || f.Again != 0 {
		t.Errorf("after an answer: waits for %s, %d times again", f.Waiting, f.Again)
	}
}

func TestFineClockTurnsOver(t *testing.T) {
	for _, tt := range []struct {
		asked, now uint32
		want       time.Duration
	}{
		{asked: 1, now: 1, want: 1},
		{asked: 5, now: 3, want: 1}, // the packet came after the clock was read
		{asked: 1<<32 - 3, now: 5, want: 8 << 20},
		{asked: 1, now: 1001, want: 1000 << 20},
	} {
		if got := fineSince(tt.asked, tt.now); got != tt.want {
			t.Errorf("from %d to %d: %s, want %s", tt.asked, tt.now, got, tt.want)
		}
	}
}
