package ebpf

import (
	"fmt"
	"testing"
)

// forgetTold has the next answer told whatever was told before.
func (d *DataPlane) forgetTold(t testing.TB) {
	t.Helper()
	const slots = 1 << 10
	keys, values := make([]uint32, slots), make([][2]uint64, slots)
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := d.maps[bpfMapRecent].BatchUpdate(keys, values, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerThatSaysNothingNewIsToldOnce(t *testing.T) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	again := func(what string, want int, f frame) {
		t.Helper()
		const times = 20
		told := 0
		for range times {
			w.run(t, bpfProgRouterdLearn, f.build(), via{out: w.lan})
			told += len(pending(t, events))
		}
		// The clock may go on to the next few seconds meanwhile.
		if told < want || told > want+2 {
			t.Errorf("%s: told %d times of %d, want %d", what, told, times, want)
		}
	}
	again("a name", 1, carry(plain("a.closed.example", "198.51.100.1")))
	again("another name of the same address", 1, carry(plain("b.closed.example", "198.51.100.1")))
	again("another address of the name", 1, carry(plain("a.closed.example", "198.51.100.2")))
	again("another client", 1, carryTo(bob, bobMAC, plain("a.closed.example", "198.51.100.1")))
	known, err := w.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Forget(known); err != nil {
		t.Fatal(err)
	}
	again("what was forgotten meanwhile", 1, carry(plain("a.closed.example", "198.51.100.1")))
}

// A house has a hundred names in use at a time: each is told once, though some
// share a slot.
func TestManyNamesAreEachToldOnce(t *testing.T) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	const names, rounds = 100, 5
	told := 0
	for range rounds {
		for i := range names {
			w.run(t, bpfProgRouterdLearn, carry(plain(fmt.Sprintf("n%d.closed.example", i), "198.51.100.1")).build(), via{out: w.lan})
			told += len(pending(t, events))
		}
	}
	// The clock may go on to the next few seconds meanwhile.
	if told < names || told > names+names*3/2 {
		t.Errorf("%d names, asked for %d times: told %d times", names, rounds, told)
	}
}
