package interfere

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func packets() []packet {
	return []packet{
		{src: ap("192.168.1.10:40000"), dst: ap("22.10.1.1:443"), proto: protoTCP, seq: 7, ack: 9, flags: flagACK | flagPSH, payload: []byte("hello")},
		{src: ap("[2d00:1:1::10]:40000"), dst: ap("[2d00:10::1]:443"), proto: protoTCP, seq: 1 << 31, flags: flagSYN},
		{src: ap("192.168.1.10:5353"), dst: ap("22.8.8.8:53"), proto: protoUDP, payload: []byte("odd")},
		{src: ap("[2d00:1:1::10]:5353"), dst: ap("[2d00:8::8]:53"), proto: protoUDP, payload: []byte("even")},
	}
}

func TestPacketsAreReadAsTheyWereBuilt(t *testing.T) {
	for _, p := range packets() {
		raw := p.build()
		got, ok := parsePacket(raw)
		if !ok || fmt.Sprint(got) != fmt.Sprint(p) {
			t.Errorf("%+v, %v, want %+v", got, ok, p)
		}
		for n := range raw {
			if _, ok := parsePacket(raw[:n]); ok && n < len(raw)-len(p.payload) {
				t.Errorf("%d of %d bytes are a packet", n, len(raw))
			}
		}
	}
}

// sum is the one's complement sum over pseudo header and body: all ones if the
// checksum in it is right.
func sum(p packet, body []byte) uint32 {
	all := append(append(p.src.Addr().AsSlice(), p.dst.Addr().AsSlice()...), 0, p.proto)
	all = append(binary.BigEndian.AppendUint16(all, uint16(len(body))), body...)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var out uint32
	for i := 0; i < len(all); i += 2 {
		out += uint32(binary.BigEndian.Uint16(all[i:]))
	}
	for out>>16 != 0 {
		out = out&0xffff + out>>16
	}
	return out
}

func TestChecksumsAreRight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		for _, p := range packets() {
			p.payload = make([]byte, r.IntN(40))
			for i := range p.payload {
				p.payload[i] = byte(r.Uint32())
			}
			p.seq = r.Uint32()
			head := 40
			if p.src.Addr().Is4() {
				head = 20
			}
			if got := sum(p, p.build()[head:]); got != 0xffff {
				t.Fatalf("sum is %#x of %+v", got, p)
			}
		}
	}
}

func TestResetsStandWhereEachSideExpectsThem(t *testing.T) {
	p := packets()[0]
	toClient, toServer := p.resets()
	client, _ := parsePacket(toClient)
	server, _ := parsePacket(toServer)
	if client.src != p.dst || client.dst != p.src || client.seq != p.ack || client.ack != p.seq+5 || client.flags&flagRST == 0 {
		t.Errorf("to the client: %+v", client)
	}
	if server.src != p.src || server.dst != p.dst || server.seq != p.seq || server.flags&flagRST == 0 {
		t.Errorf("to the server: %+v", server)
	}
}

func TestHeadersBetweenAreSteppedOver(t *testing.T) {
	p := packets()[1]
	raw := p.build()
	raw[6] = 0 // hop-by-hop
	with := append(append(bytes.Clone(raw[:40]), protoTCP, 0, 1, 4, 0, 0, 0, 0), raw[40:]...)
	binary.BigEndian.PutUint16(with[4:], uint16(len(with)-40))
	if got, ok := parsePacket(with); !ok || got.dst != p.dst {
		t.Errorf("%+v, %v", got, ok)
	}
	four := packets()[0].build()
	binary.BigEndian.PutUint16(four[6:], 100) // a later fragment
	if got, ok := parsePacket(four); ok {
		t.Errorf("a fragment is %+v", got)
	}
}

func FuzzPackets(f *testing.F) {
	for _, p := range packets() {
		f.Add(p.build())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parsePacket(b); ok && len(p.payload) > len(b) {
			t.Error("more payload than packet")
		}
	})
}
