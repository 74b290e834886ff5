package ebpf

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"unsafe"
)

// rawEvent is struct rd_event as the kernel sends it.
func rawEvent(name []byte, addresses int, addrs ...byte) []byte {
	b := make([]byte, unsafe.Offsetof(bpfRdEvent{}.Addr))
	order := binary.NativeEndian
	order.PutUint64(b, uint64(ClientSelf))
	order.PutUint64(b[8:], 0x1122334455667788)
	order.PutUint32(b[16:], 300)
	order.PutUint32(b[20:], 7)
	order.PutUint16(b[24:], 9)
	order.PutUint16(b[26:], uint16(addresses))
	b[28], b[29], b[30], b[31] = 1, byte(len(name)), knownFull, 1
	copy(b[32:], name)
	return append(b, addrs...)
}

func TestParseEvent(t *testing.T) {
	a := addrs("2001:db8::1")[0].As16()
	got, ok := parseEvent(rawEvent(labels("A", "example"), 1, a[:]...))
	if !ok {
		t.Fatal("not read")
	}
	diff(t, got, Event{
		Kind: EventLearned, Client: ClientSelf, Ifindex: 7, Name: "a.example", Rule: 0x1122334455667788,
		Full: true, Target: 9, TTL: 300, Addrs: addrs("2001:db8::1"), Withheld: true,
	})
	for name, raw := range map[string][]byte{
		"nothing":               nil,
		"cut":                   rawEvent(nil, 0)[:100],
		"an address is missing": rawEvent(nil, 2, a[:]...),
		"too many addresses":    append(rawEvent(nil, 65), make([]byte, 65*16)...),
	} {
		if _, ok := parseEvent(raw); ok {
			t.Errorf("%s: read", name)
		}
	}
	if unsafe.Sizeof(bpfRdEvent{}) != 288+64*16 {
		t.Errorf("struct rd_event has %d octets", unsafe.Sizeof(bpfRdEvent{}))
	}
}

func FuzzEvent(f *testing.F) {
	f.Add(rawEvent(labels("a", "example"), 0))
	f.Add(rawEvent(labels("a", "example"), 1, make([]byte, 16)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, ok := parseEvent(raw)
		if !ok {
			return
		}
		if len(e.Addrs) > 64 || len(raw) < 288+16*len(e.Addrs) || len(e.Name) > 4*255 {
			t.Fatalf("%d octets gave %+v", len(raw), e)
		}
	})
}

func TestEventsEndWithClose(t *testing.T) {
	w := newWorld(t)
	e, err := w.Events()
	if err != nil {
		t.Fatal(err)
	}
	w.run(t, bpfProgRouterdLearn, carry(plain("closed.example", "198.51.100.1")).build(), via{out: w.lan})
	before := Now()
	ev, err := e.Next()
	if err != nil || ev.Name != "closed.example" || ev.Time < before {
		t.Errorf("event %+v, %v", ev, err)
	}
	done := make(chan error)
	go func() {
		_, err := e.Next()
		done <- err
	}()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

func TestEventsThatFindNoRoomAreCounted(t *testing.T) {
	w := newWorld(t)
	f := carry(many("closed.example", 64)).build()
	for range 80 {
		w.forgetTold(t)
		w.run(t, bpfProgRouterdLearn, f, via{out: w.lan})
	}
	s, err := w.Stats()
	if err != nil || s.LostEvents == 0 || s.Learned != 80*64 {
		t.Errorf("stats %+v, %v", s, err)
	}
}
