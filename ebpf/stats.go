package ebpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// Stats count what the programs did since the maps were made.
type Stats struct {
	Answers    uint64 // DNS answers parsed
	Matched    uint64 // of a listed name
	Learned    uint64 // addresses put in or refreshed
	Refused    uint64 // addresses in exempt ranges
	Truncated  uint64 // answers of listed names with TC set
	Unparsed   uint64 // answers of listed names that could not be read whole
	Full       uint64 // answers whose addresses found no room
	Withheld   uint64 // answers dropped for one of the last two
	Steered    uint64 // packets given a mark
	Blocked    uint64 // packets of policy block, or of a path that is shut
	Reset      uint64 // TCP resets sent
	Guarded    uint64 // packets stopped at the WAN
	LostEvents uint64 // events for which the ring had no room
	Queries    uint64 // DNS queries turned to the resolver
	Unanswered uint64 // queries of listed names for which no resolver was there
	Unturned   uint64 // queries of listed names dropped: they could not be turned
	Streams    uint64 // TCP connections turned to the resolver
	Bypass     uint64 // packets of DNS over TLS or QUIC refused
	DoH        uint64 // connections to known resolvers over HTTPS
	Hellos     uint64 // server names read in TLS hellos
	TLS        uint64 // of those, listed ones whose connection was ended
	Shared     uint64 // addresses found to be shared with unlisted names
}

// Stats reads the counters, summed over the processors.
func (d *DataPlane) Stats() (Stats, error) {
	var s Stats
	fields := [...]*uint64{
		bpfRdStatRD_STAT_ANSWERS: &s.Answers, bpfRdStatRD_STAT_MATCHED: &s.Matched,
		bpfRdStatRD_STAT_LEARNED: &s.Learned, bpfRdStatRD_STAT_REFUSED: &s.Refused,
		bpfRdStatRD_STAT_TRUNCATED: &s.Truncated, bpfRdStatRD_STAT_UNPARSED: &s.Unparsed,
		bpfRdStatRD_STAT_FULL: &s.Full, bpfRdStatRD_STAT_WITHHELD: &s.Withheld,
		bpfRdStatRD_STAT_STEERED: &s.Steered, bpfRdStatRD_STAT_BLOCKED: &s.Blocked,
		bpfRdStatRD_STAT_RESET: &s.Reset, bpfRdStatRD_STAT_GUARDED: &s.Guarded,
		bpfRdStatRD_STAT_LOST_EVENTS: &s.LostEvents, bpfRdStatRD_STAT_QUERIES: &s.Queries,
		bpfRdStatRD_STAT_UNANSWERED: &s.Unanswered, bpfRdStatRD_STAT_UNTURNED: &s.Unturned,
		bpfRdStatRD_STAT_STREAMS: &s.Streams, bpfRdStatRD_STAT_BYPASS: &s.Bypass, bpfRdStatRD_STAT_DOH: &s.DoH,
		bpfRdStatRD_STAT_HELLOS: &s.Hellos, bpfRdStatRD_STAT_TLS: &s.TLS,
		bpfRdStatRD_STAT_SHARED: &s.Shared,
	}
	for key, field := range fields {
		var err error
		if *field, err = d.counted(bpfRdStat(key)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// Guarded reads Stats.Guarded alone.
func (d *DataPlane) Guarded() (uint64, error) { return d.counted(bpfRdStatRD_STAT_GUARDED) }

// counted reads a counter, summed over the processors.
func (d *DataPlane) counted(key bpfRdStat) (sum uint64, err error) {
	var perCPU []uint64
	if err := d.maps[bpfMapStats].Lookup(uint32(key), &perCPU); err != nil {
		return 0, fmt.Errorf("read statistics: %w", err)
	}
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}

// CountKey names a counter.
type CountKey struct {
	Destination Destination
	Path        owned.PathIndex
	ToClient    bool
}

// Count is traffic in IP packets and octets.
type Count struct{ Packets, Bytes uint64 }

// Counts reads the traffic of each destination over each path.
func (d *DataPlane) Counts() (map[CountKey]Count, error) {
	out := map[CountKey]Count{}
	var k bpfRdCountKey
	var perCPU []bpfRdCount
	it := d.maps[bpfMapCounters].Iterate()
	for it.Next(&k, &perCPU) {
		key := CountKey{Destination(k.Dest), owned.PathIndex(k.Path), k.Rx == 1}
		for _, c := range perCPU {
			sum := out[key]
			out[key] = Count{sum.Packets + c.Packets, sum.Bytes + c.Bytes}
		}
	}
	if err := it.Err(); err != nil && err != ebpf.ErrIterationAborted {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return out, nil
}
