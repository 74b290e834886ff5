package interfere

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// segments cuts a client's stream into packets of so many bytes after its SYN.
func segments(stream []byte, size int) []packet {
	p := packet{src: ap("192.168.1.10:40000"), dst: ap("22.10.1.1:443"), proto: protoTCP, seq: 0xfffffff0}
	out := []packet{p}
	out[0].flags = flagSYN
	p.flags, p.seq = flagACK, p.seq+1
	for at := 0; at < len(stream); at += size {
		p.payload = stream[at:min(at+size, len(stream))]
		out = append(out, p)
		p.seq += uint32(len(p.payload))
	}
	return out
}

// forName looks for a hello of okx.com.
func forName(_ packet, stream []byte) finding {
	name, f := serverName(stream)
	if f == found && !Covers([]string{"okx.com"}, name) {
		return nothing
	}
	return f
}

func TestStreamIsPutTogetherInAnyOrder(t *testing.T) {
	hello := helloOf(t, "www.okx.com")
	r := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{1, 7, 100, 536, 1400, 9000} {
		if len(hello)/size > inspectPackets {
			size = len(hello)/inspectPackets + 1
		}
		all := segments(hello, size)
		rest := all[1:]
		r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		all = append(all, all[1:]...) // everything twice
		i := newInspector(forName)
		firsts, agains := 0, 0
		for _, p := range all {
			first, again := i.see(p)
			if first {
				firsts++
			}
			if again {
				agains++
			}
		}
		if firsts != 1 || agains < len(rest) {
			t.Errorf("segments of %d: found %d times, cut %d of %d packets after", size, firsts, agains, len(all))
		}
	}
}

func TestStreamOfAnotherNameIsLeftAlone(t *testing.T) {
	i := newInspector(forName)
	for _, stream := range [][]byte{helloOf(t, "www.binance.com"), []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 6000)} {
		for _, p := range segments(stream, 1400) {
			if first, again := i.see(p); first || again {
				t.Fatalf("%.20q is cut", stream)
			}
		}
	}
	if f := i.flows[flowKey{"192.168.1.10:40000", "22.10.1.1:443"}]; f == nil || len(f.data) > 0 {
		t.Error("bytes are kept of a connection that is decided")
	}
}

func TestConnectionOlderThanTheInterferenceIsSeen(t *testing.T) {
	i := newInspector(forName)
	all := segments(helloOf(t, "okx.com"), 9000)
	if first, _ := i.see(all[1]); !first {
		t.Error("a hello without its SYN passes")
	}
	if first, _ := i.see(all[0]); first {
		t.Error("a new connection of the same port is cut at once")
	}
	if first, again := i.see(all[1]); !first || again {
		t.Error("the new connection's hello passes")
	}
}

func TestFlowsThatEndAreForgotten(t *testing.T) {
	i := newInspector(forName)
	all := segments([]byte("no TLS"), 100)
	end := all[1]
	end.payload, end.flags = nil, flagFIN|flagACK
	for _, p := range append(all, end) {
		i.see(p)
	}
	if len(i.flows) != 0 {
		t.Errorf("%d flows are left", len(i.flows))
	}
	for n := range maxFlows + 10 {
		p := all[0]
		p.src = ap("192.168.1.10:1")
		p.dst = ap("22.10.1.1:1")
		p.seq = uint32(n)
		i.begin(flowKey{string(rune(n)), ""}, 1)
		i.see(p)
	}
	if len(i.flows) > maxFlows {
		t.Errorf("%d flows are held", len(i.flows))
	}
}
