package ebpf

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// skb is struct __sk_buff of linux/bpf.h.
type skb struct {
	Len, PktType, Mark, QueueMapping, Protocol uint32
	VlanPresent, VlanTCI, VlanProto, Priority  uint32
	IngressIfindex, Ifindex, TCIndex           uint32
	CB                                         [5]uint32
	Hash, TCClassid, Data, DataEnd, NapiID     uint32
	Family, RemoteIP4, LocalIP4                uint32
	RemoteIP6, LocalIP6                        [4]uint32
	RemotePort, LocalPort, DataMeta            uint32
	FlowKeys, Tstamp                           uint64
	WireLen, GSOSegs                           uint32
	SK                                         uint64
	GSOSize, TstampType                        uint32
	HWTstamp                                   uint64
}

// verdict is what a tc program returns.
type verdict int32

const (
	passed     verdict = -1 // TC_ACT_UNSPEC
	dropped    verdict = 2
	redirected verdict = 7
)

func (v verdict) String() string {
	switch v {
	case passed:
		return "passed"
	case dropped:
		return "dropped"
	case redirected:
		return "redirected"
	}
	return fmt.Sprintf("verdict %d", int32(v))
}

// outcome is what a program did with a packet.
type outcome struct {
	verdict verdict
	mark    uint32
	data    []byte
}

// path is the path that the mark names.
func (o outcome) path() owned.PathIndex { return owned.DefaultMask.Path(owned.Mark(o.mark)) }

// via is what a packet brings with it.
type via struct {
	mark             uint32
	in, out          int // interface indexes
	gsoSize, gsoSegs int
}

// run gives a packet to a program. A program for devices without Ethernet header
// gets one without: the kernel takes its first 14 octets for such a header,
// which is why frame.bare needs addresses of bareNet.
func (w *world) run(t testing.TB, program string, data []byte, v via) outcome {
	t.Helper()
	p, err := w.program(program)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	in := skb{
		Mark: v.mark, IngressIfindex: uint32(v.in), Ifindex: uint32(v.out),
		GSOSize: uint32(v.gsoSize), GSOSegs: uint32(v.gsoSegs),
	}
	var out skb
	o := ebpf.RunOptions{Data: data, DataOut: make([]byte, len(data)+256), Context: in, ContextOut: &out}
	var ret uint32
	inside(t, w.ns, func() { ret, err = p.Run(&o) })
	if err != nil {
		t.Fatalf("run %s over %d octets: %v", program, len(data), err)
	}
	return outcome{verdict(int32(ret)), out.Mark, o.DataOut}
}

// In these, octets 12 and 13 of the IP header read as the EtherType that
// BPF_PROG_TEST_RUN sets the skb's protocol by.
var (
	bareV4 = netip.MustParseAddr("8.0.7.7")
	bareV6 = netip.MustParseAddr("2001:db8:86dd::77")
)
