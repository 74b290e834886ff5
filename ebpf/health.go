package ebpf

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// HealthKey names what connections of a destination over a path came to.
type HealthKey struct {
	Destination Destination
	Path        owned.PathIndex
}

// Health counts what connections came to since the maps were made. Each number
// turns over at 2^32.
type Health struct {
	Begun       uint32        // SYNs of new connections, first datagrams
	Again       uint32        // packets sent again, or datagrams on, with no answer between
	Established uint32        // SYNs that were accepted
	Answered    uint32        // connections of which the first octet came back
	Reset       uint32        // by the far side after the client's first octet, before its own
	Refused     uint32        // by a reset in answer to the SYN
	RTT         time.Duration // of handshakes, the sum over Established
	RTTMin      time.Duration // the shortest; 0: none was measured
}

// Health reads what connections came to, summed over the processors.
func (d *DataPlane) Health() (map[HealthKey]Health, error) {
	out := map[HealthKey]Health{}
	var k bpfRdCountKey
	var perCPU []bpfRdHealth
	it := d.maps[bpfMapHealth].Iterate()
	for it.Next(&k, &perCPU) {
		key := HealthKey{Destination(k.Dest), owned.PathIndex(k.Path)}
		sum := out[key]
		for i := range perCPU {
			sum.add(&perCPU[i])
		}
		out[key] = sum
	}
	if err := it.Err(); err != nil && err != ebpf.ErrIterationAborted {
		return nil, fmt.Errorf("read health: %w", err)
	}
	return out, nil
}

func (h *Health) add(v *bpfRdHealth) {
	h.Begun += v.Begun
	h.Again += v.Again
	h.Established += v.Established
	h.Answered += v.Answered
	h.Reset += v.Reset
	h.Refused += v.Refused
	h.RTT += time.Duration(v.RttUs) << 10
	if least := time.Duration(v.RttMinUs) << 10; least > 0 && (h.RTTMin == 0 || least < h.RTTMin) {
		h.RTTMin = least
	}
}

// fineNow is fine() of bpf/maps.h: the clock of rd_flow.asked.
func fineNow() uint32 {
	var ts unix.Timespec
	// Cannot fail for this clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint32(uint64(ts.Nano())>>20) | 1
}

// fineSince is how long ago a moment of that clock was; never 0, and never
// negative where a packet came after now was read.
func fineSince(asked, now uint32) time.Duration {
	return max(time.Duration(int32(now-asked))<<20, 1)
}
