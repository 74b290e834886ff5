package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/routerd/routerd/ebpf"
)

// ago is a moment before now, in whole ticks.
func ago(now ebpf.Ticks, d time.Duration) ebpf.Ticks { return now - ebpf.Ticks(d/ebpf.Tick) }

func TestIdleTimeShrinksAsTheMapFills(t *testing.T) {
	tests := []struct {
		used, capacity int
		want           time.Duration
	}{
		{0, 16384, 24 * time.Hour},
		{8191, 16384, 24 * time.Hour},
		{8193, 16384, 6 * time.Hour},
		{8356, 16384, 6 * time.Hour},
		{12400, 16384, time.Hour},
		{14800, 16384, 10 * time.Minute},
		{16384, 16384, 10 * time.Minute},
		{20000, 16384, 10 * time.Minute},
		{0, 0, 24 * time.Hour},
	}
	for _, tt := range tests {
		if got := idleTime(tt.used, tt.capacity); got != tt.want {
			t.Errorf("%d of %d: %v, want %v", tt.used, tt.capacity, got, tt.want)
		}
	}
}

func TestExpiredEntries(t *testing.T) {
	const now = ebpf.Ticks(1 << 20)
	a, b := netip.MustParseAddr("5.5.5.1"), netip.MustParseAddr("5.5.5.2")
	entry := func(addr netip.Addr, client ebpf.Client, seen, used, expires ebpf.Ticks) ebpf.Known {
		return ebpf.Known{Addr: addr, Client: client, Seen: seen, Used: used, Expires: expires}
	}
	day, hour := ago(now, 25*time.Hour), ago(now, time.Hour)
	draining := func(k ebpf.Known) ebpf.Known { k.Draining = true; return k }
	tests := []struct {
		name              string
		addresses, grants []ebpf.Known
		capacity          int
		want              []ebpf.Known
	}{
		{
			name:      "nothing in use is touched",
			addresses: []ebpf.Known{entry(a, 0, now, now, now+60)}, grants: []ebpf.Known{entry(a, 1, now, now, now+60)}, capacity: 100,
		},
		{
			name:      "a TTL that is over alone ends nothing",
			addresses: []ebpf.Known{entry(a, 0, hour, hour, hour+1)}, grants: []ebpf.Known{entry(a, 1, hour, hour, hour+1)}, capacity: 100,
		},
		{
			name:      "an address and its grant go together",
			addresses: []ebpf.Known{entry(a, 0, day, day, day+1)}, grants: []ebpf.Known{entry(a, 1, day, day, day+1)}, capacity: 100,
			want: []ebpf.Known{entry(a, 1, day, day, day+1), entry(a, 0, day, day, day+1)},
		},
		{
			name:      "an address stays while one client uses it",
			addresses: []ebpf.Known{entry(a, 0, day, day, day+1)}, capacity: 100,
			grants: []ebpf.Known{entry(a, 1, day, day, day+1), entry(a, 2, day, now, day+1)},
			want:   []ebpf.Known{entry(a, 1, day, day, day+1)},
		},
		{
			name:   "a long TTL keeps an unused entry",
			grants: []ebpf.Known{entry(a, 1, day, day, now+1)}, capacity: 100,
		},
		{
			name:   "an entry that was asked for lately stays",
			grants: []ebpf.Known{entry(a, 1, now, day, day+1)}, capacity: 100,
		},
		{
			name:   "a full map lets go after ten minutes",
			grants: []ebpf.Known{entry(a, 1, hour, hour, hour+1), entry(b, 1, now, now, now)}, capacity: 2,
			want: []ebpf.Known{entry(a, 1, hour, hour, hour+1)},
		},
		{
			name: "a drained entry goes ten minutes after its last packet, whatever its TTL",
			grants: []ebpf.Known{
				draining(entry(a, 1, now, hour, now+9999)), draining(entry(b, 1, day, ago(now, time.Minute), day)),
			},
			capacity: 100,
			want:     []ebpf.Known{draining(entry(a, 1, now, hour, now+9999))},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := expired(now, tt.addresses, tt.grants, tt.capacity); !slices.Equal(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestStaleFlows(t *testing.T) {
	const now = ebpf.Ticks(1 << 20)
	tests := []struct {
		name  string
		proto uint8
		flags ebpf.FlowFlags
		tx    time.Duration // since the last packets
		rx    time.Duration
		want  bool
	}{
		{"TCP that is quiet for hours", protoTCP, ebpf.FlowSYN | ebpf.FlowData, 20 * time.Hour, 20 * time.Hour, false},
		{"TCP that is quiet for more than a day", protoTCP, ebpf.FlowSYN, 25 * time.Hour, 25 * time.Hour, true},
		{"TCP whose server still speaks", protoTCP, 0, 25 * time.Hour, time.Hour, false},
		{"TCP after a FIN", protoTCP, ebpf.FlowFIN, time.Minute, time.Minute, true},
		{"TCP just after a FIN", protoTCP, ebpf.FlowFIN, 10 * time.Second, time.Minute, false},
		{"TCP that the client reset", protoTCP, ebpf.FlowResetClient, time.Minute, time.Minute, true},
		{"TCP that the server reset", protoTCP, ebpf.FlowResetServer, time.Minute, time.Minute, true},
		{"TCP that was ended", protoTCP, ebpf.FlowEnded, time.Minute, time.Minute, true},
		{"UDP after two minutes", protoUDP, 0, 2 * time.Minute, 2 * time.Minute, false},
		{"UDP after four", protoUDP, 0, 4 * time.Minute, 4 * time.Minute, true},
		{"ICMP after four", protoICMP, 0, 4 * time.Minute, 4 * time.Minute, true},
	}
	for _, tt := range tests {
		f := ebpf.Flow{Protocol: tt.proto, Flags: tt.flags, LastTx: ago(now, tt.tx), LastRx: ago(now, tt.rx)}
		if got := len(stale(now, []ebpf.Flow{f})) == 1; got != tt.want {
			t.Errorf("%s: stale %t, want %t", tt.name, got, tt.want)
		}
	}
}
