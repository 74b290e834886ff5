package daemon

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/routerd/routerd/ebpf"
)

func TestNamesOfAddressesAndAddressesOfNames(t *testing.T) {
	n := newNames()
	a, b := netip.MustParseAddr("5.5.5.1"), netip.MustParseAddr("2001:db8::1")
	n.add("one.example", []netip.Addr{a, b})
	n.add("two.example", []netip.Addr{a})
	n.add("one.example", []netip.Addr{a})
	if got := n.of(a); !slices.Equal(got, []string{"one.example", "two.example"}) {
		t.Errorf("names of %s: %v", a, got)
	}
	if got := n.addresses("one.example"); !slices.Equal(got, []netip.Addr{a, b}) {
		t.Errorf("addresses: %v", got)
	}
	if got := n.addresses("three.example"); got == nil || len(got) != 0 {
		t.Errorf("addresses of an unknown name: %v", got)
	}
}

func TestNamesKeepTheNewestOfMany(t *testing.T) {
	n, a := newNames(), netip.MustParseAddr("5.5.5.1")
	for i := range namesPerAddress + 3 {
		n.add(fmt.Sprintf("%d.example", i), []netip.Addr{a})
	}
	got := n.of(a)
	if len(got) != namesPerAddress || got[0] != "3.example" || got[len(got)-1] != "18.example" {
		t.Errorf("names: %v", got)
	}
	if left := n.addresses("0.example"); len(left) != 0 {
		t.Errorf("a name that was dropped has addresses: %v", left)
	}
}

func TestNamesAreBounded(t *testing.T) {
	n := newNames()
	var known []ebpf.Known
	for i := range namedAddresses + 100 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i)+5<<24)
		a := netip.AddrFrom4(b)
		n.add("flood.example", []netip.Addr{a})
		if i < 10 {
			known = append(known, ebpf.Known{Addr: a})
		}
	}
	if got := len(n.addresses("flood.example")); got != namedAddresses {
		t.Errorf("%d addresses are remembered, at most %d may be", got, namedAddresses)
	}
	n.add("again.example", []netip.Addr{known[0].Addr})
	if got := n.of(known[0].Addr); len(got) != 2 {
		t.Errorf("an address that is known takes no further name: %v", got)
	}
	grant := known[1]
	grant.Client = ebpf.ClientSelf
	n.keep(known, []ebpf.Known{known[0], grant})
	if got := len(n.addresses("flood.example")); got != 9 {
		t.Errorf("%d addresses are left, 9 are known to the data plane", got)
	}
}

func TestNamesAreSafeForManyGoroutines(t *testing.T) {
	n, a := newNames(), netip.MustParseAddr("5.5.5.1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				n.add(fmt.Sprintf("%d.%d.example", i, j), []netip.Addr{a})
				list := n.of(a)
				slices.Sort(list) // the caller's own
				n.addresses("x")
				n.keep([]ebpf.Known{{Addr: a}}, nil)
			}
		})
	}
	wg.Wait()
}
