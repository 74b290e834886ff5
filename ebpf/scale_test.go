package ebpf

import (
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// maxNamesMemory is what 100,000 names may take of the kernel's memory.
const maxNamesMemory = 16 << 20

func TestHundredThousandNamesFit(t *testing.T) {
	w := newWorld(t)
	w.tables.Names = thousands(100_000, w.all("closed"))
	start := time.Now()
	mustSet(t, w.DataPlane, w.tables)
	took := time.Since(start)
	inner := w.inner(t)
	defer inner.Close()
	info, err := inner.Info()
	if err != nil {
		t.Fatal(err)
	}
	size, ok := info.Memlock()
	if !ok {
		t.Skip("the kernel does not tell how much a map takes")
	}
	t.Logf("%d names take %d KiB and %s to set", inner.MaxEntries(), size>>10, took)
	if size > maxNamesMemory {
		t.Errorf("the map of names takes %d octets, want at most %d", size, maxNamesMemory)
	}
	w.learned(t, "www.host99999.zone89.listed.example", aliceMAC, addrs("198.51.100.1")...)
	w.goes(t, "the last of them", to("198.51.100.1"), tunnelA)
}

// repeat runs a program over a packet and gives the time of one run.
func (w *world) repeat(b *testing.B, program string, data []byte) {
	b.Helper()
	p, err := w.program(program)
	if err != nil {
		b.Fatal(err)
	}
	in := skb{Ifindex: uint32(w.lan), IngressIfindex: uint32(w.lan)}
	for b.Loop() {
		const runs = 10_000
		start := time.Now()
		if _, err := p.Run(&ebpf.RunOptions{Data: data, Context: in, Repeat: runs}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/runs, "ns/packet")
	}
}

// What an answer costs does not depend on how many names are listed.
func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		for _, name := range []string{"www.host1.zone1.listed.example", "www.host1.zone1.unlisted.example"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				w := newWorld(b)
				w.tables.Names = thousands(n, w.all("closed"))
				mustSet(b, w.DataPlane, w.tables)
				w.repeat(b, bpfProgRouterdLearn, carry(plain(name, "198.51.100.1")).build())
			})
		}
	}
}

// What a packet of a client costs: an unlisted one is most of all traffic.
func BenchmarkSteer(b *testing.B) {
	w := newWorld(b)
	w.learned(b, "closed.example", aliceMAC, addrs("198.51.100.1", "2001:db8:5::1")...)
	for name, f := range map[string]frame{
		"miss": to("192.0.2.1", flags(ack), carrying(1000)), "miss6": to("2001:db8:9::1", flags(ack), carrying(1000)),
		"hit": to("198.51.100.1", flags(ack), carrying(1000)), "hit6": to("2001:db8:5::1", flags(ack), carrying(1000)),
		// "hit" repeats its octets, which is noted each time; this does not.
		"hitAck":  to("198.51.100.1", flags(ack)),
		"network": to("203.0.113.1", flags(ack), carrying(1000)),
	} {
		b.Run(name, func(b *testing.B) { w.repeat(b, bpfProgRouterdSteer, f.build()) })
	}
	b.Run("missWithoutNetworks", func(b *testing.B) {
		w.tables.Networks = nil
		mustSet(b, w.DataPlane, w.tables)
		w.repeat(b, bpfProgRouterdSteer, to("192.0.2.1", flags(ack), carrying(1000)).build())
	})
}

// What a packet to a client costs that is no answer.
func BenchmarkLearn(b *testing.B) {
	w := newWorld(b)
	for name, f := range map[string]frame{
		"tcp":  back(to("192.0.2.1", flags(ack), carrying(1000))),
		"quic": back(to("192.0.2.1", protocol(udp), carrying(1000))),
	} {
		b.Run(name, func(b *testing.B) { w.repeat(b, bpfProgRouterdLearn, f.build()) })
	}
}
