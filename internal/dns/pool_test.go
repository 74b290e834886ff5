package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
)

func TestPoolBoundsWorkersAndBacklog(t *testing.T) {
	p := newPool(3, 5)
	release := make(chan struct{})
	var running, most, done atomic.Int32
	accepted := 0
	for range 20 {
		if p.do(func() {
			most.Store(max(most.Load(), running.Add(1)))
			<-release
			running.Add(-1)
			done.Add(1)
		}) {
			accepted++
		}
	}
	close(release)
	p.wait()
	if accepted != 8 || done.Load() != 8 || most.Load() > 3 {
		t.Errorf("accepted %d, done %d, %d at a time", accepted, done.Load(), most.Load())
	}
	if !p.do(func() {}) {
		t.Error("an empty pool refuses")
	}
	p.wait()
}

func TestLimiterRemembersABoundedNumberOfClients(t *testing.T) {
	l := newLimiter(0.001, 2)
	client := netip.MustParseAddr("192.0.2.1")
	var got []bool
	for range 3 {
		got = append(got, l.allow(client))
	}
	if !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("not two at once: %v", got)
	}
	for i := range 3 * maxClients {
		l.allow(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)))
	}
	if len(l.clients) > maxClients {
		t.Errorf("%d clients", len(l.clients))
	}
}
