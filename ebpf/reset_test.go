package ebpf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// checkReset compares a reset with what RFC 9293 section 3.5.2 asks for in
// answer to a packet.
func checkReset(t *testing.T, sent frame, got []byte) {
	t.Helper()
	if !sent.bare {
		if !bytes.Equal(got[:6], sent.srcMAC[:]) || !bytes.Equal(got[6:12], sent.dstMAC[:]) {
			t.Errorf("MAC addresses %x, want them swapped", got[:12])
		}
		head := len(sent.ethernet())
		if !bytes.Equal(got[12:head], sent.ethernet()[12:]) {
			t.Errorf("tags and type %x", got[12:head])
		}
		got = got[head:]
	}
	if sent.v6() {
		checkReset6(t, sent, got)
	} else {
		checkReset4(t, sent, got)
	}
}

func checkReset4(t *testing.T, sent frame, got []byte) {
	t.Helper()
	if len(got) != 40 || got[0] != 0x45 || binary.BigEndian.Uint16(got[2:]) != 40 || got[9] != tcp || got[8] == 0 {
		t.Fatalf("IPv4 header %x of %d octets", got[:min(20, len(got))], len(got))
	}
	if onesSum(got[:20], 0) != 0xffff {
		t.Errorf("IPv4 checksum of %x", got[:20])
	}
	if !bytes.Equal(got[12:16], sent.dst.Addr().AsSlice()) || !bytes.Equal(got[16:20], sent.src.Addr().AsSlice()) {
		t.Errorf("addresses %x", got[12:20])
	}
	checkResetTCP(t, sent, got[20:], onesSum(got[12:20], tcp+20))
}

func checkReset6(t *testing.T, sent frame, got []byte) {
	t.Helper()
	if len(got) != 60 || got[0] != 0x60 || binary.BigEndian.Uint16(got[4:]) != 20 || got[6] != tcp || got[7] == 0 {
		t.Fatalf("IPv6 header %x of %d octets", got[:min(8, len(got))], len(got))
	}
	if !bytes.Equal(got[8:24], sent.dst.Addr().AsSlice()) || !bytes.Equal(got[24:40], sent.src.Addr().AsSlice()) {
		t.Errorf("addresses %x", got[8:40])
	}
	checkResetTCP(t, sent, got[40:], onesSum(got[8:40], tcp+20))
}

func checkResetTCP(t *testing.T, sent frame, got []byte, pseudo uint16) {
	t.Helper()
	if onesSum(got, uint32(pseudo)) != 0xffff {
		t.Errorf("TCP checksum of %x", got)
	}
	if binary.BigEndian.Uint16(got) != sent.dst.Port() || binary.BigEndian.Uint16(got[2:]) != sent.src.Port() {
		t.Errorf("ports %x", got[:4])
	}
	// Sequence number, acknowledgment, header length and flags.
	var want [10]byte
	binary.BigEndian.PutUint32(want[:], sent.ack)
	want[8], want[9] = 5<<4, rst
	if sent.flags&ack == 0 {
		binary.BigEndian.PutUint32(want[:], 0)
		binary.BigEndian.PutUint32(want[4:], sent.seq+sent.segmentLen())
		want[9] = rst | ack
	}
	if !bytes.Equal(got[4:14], want[:]) {
		t.Errorf("seq, ack, length and flags %x, want %x", got[4:14], want)
	}
}

// segmentLen is SEG.LEN of RFC 9293.
func (f frame) segmentLen() uint32 {
	n := uint32(len(f.payload))
	for _, flag := range []uint8{syn, fin} {
		if f.flags&flag != 0 {
			n++
		}
	}
	return n
}

func TestResetsAreWhatTheClientExpects(t *testing.T) {
	w := servedWorld(t)
	acked := func(f *frame) { f.flags, f.ack = f.flags|ack, 0xfffffff0 }
	for _, c := range []struct {
		name  string
		frame frame
	}{
		{"SYN", to("198.51.100.4")},
		{"SYN, IPv6", to("2001:db8:5::4")},
		{"SYN at the end of the sequence space", to("198.51.100.4", func(f *frame) { f.seq = 0xffffffff })},
		{"SYN with data", to("198.51.100.4", carrying(100))},
		{"SYN with TCP options", to("198.51.100.4", func(f *frame) { f.dataOff = 40 })},
		{"data", to("198.51.100.4", flags(psh), acked, carrying(500))},
		{"data, IPv6", to("2001:db8:5::4", flags(psh), acked, carrying(500))},
		{"data of odd length", to("198.51.100.4", flags(psh), acked, carrying(501))},
		{"data without ACK", to("198.51.100.4", flags(psh), carrying(501))},
		{"FIN", to("198.51.100.4", flags(fin), acked)},
		{"FIN without ACK", to("2001:db8:5::4", flags(fin), carrying(3))},
		{"SYN-ACK", to("198.51.100.4", acked)},
		{"IPv4 options", to("198.51.100.4", func(f *frame) { f.options = 40 })},
		{"IPv6 chain", to("2001:db8:5::4", chained(ext{kind: extHop}, ext{kind: extDest, size: 32}), carrying(5))},
		{"VLAN", to("198.51.100.4", tagged(0x8100))},
		{"VLAN in VLAN, IPv6", to("2001:db8:5::4", tagged(0x88a8, 0x8100), carrying(9))},
		{"padding of Ethernet", to("198.51.100.4", func(f *frame) { f.padding = 6 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.send(t, c.frame)
			if got.verdict != redirected {
				t.Fatalf("%s", got.verdict)
			}
			checkReset(t, c.frame, got.data)
		})
	}
}
