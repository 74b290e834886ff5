package netcfg

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestResetPackets(t *testing.T) {
	ap := netip.MustParseAddrPort
	for _, tt := range []struct {
		name string
		r    Reset
		want string // fields by the RFCs; checksums by another program
	}{
		{
			"TCP over IPv4",
			Reset{Proto: unix.IPPROTO_TCP, Client: ap("192.168.1.40:40000"), Server: ap("203.0.113.5:443"), Seq: 0x11223344},
			`45000028 00004000 4006 3cfa cb007105 c0a80128
			 01bb9c40 11223344 00000000 50040000 cfa8 0000`,
		},
		{
			"TCP that waits for its SYN-ACK",
			Reset{
				Proto: unix.IPPROTO_TCP, Client: ap("192.168.1.40:40000"), Server: ap("203.0.113.5:443"),
				Ack: 0xa0000001,
			},
			`45000028 00004000 4006 3cfa cb007105 c0a80128
			 01bb9c40 00000000 a0000001 50140000 73fd 0000`,
		},
		{
			"TCP over IPv6",
			Reset{
				Proto: unix.IPPROTO_TCP, Client: ap("[2001:db8::40]:40000"), Server: ap("[2001:db8:ffff::5]:443"),
				Seq: 1,
			},
			`60000000 00140640 20010db8 ffff0000 00000000 00000005 20010db8 00000000 00000000 00000040
			 01bb9c40 00000001 00000000 50040000 b62d 0000`,
		},
		{
			"UDP over IPv4",
			Reset{Proto: unix.IPPROTO_UDP, Client: ap("192.168.1.40:40000"), Server: ap("203.0.113.5:443")},
			`45000038 00004000 4001 3cef cb007105 c0a80128
			 0303 5ef9 00000000
			 4500001c 00004000 4011 3cfb c0a80128 cb007105
			 9c4001bb 00080000`,
		},
		{
			"UDP over IPv6",
			Reset{Proto: unix.IPPROTO_UDP, Client: ap("[2001:db8::40]:40000"), Server: ap("[2001:db8:ffff::5]:443")},
			`60000000 00383a40 20010db8 ffff0000 00000000 00000005 20010db8 00000000 00000000 00000040
			 0104 37cf 00000000
			 60000000 00081140 20010db8 00000000 00000000 00000040 20010db8 ffff0000 00000000 00000005
			 9c4001bb 00080000`,
		},
		{
			"IPv4 in its IPv6 form",
			Reset{
				Proto: unix.IPPROTO_TCP, Client: ap("[::ffff:192.168.1.40]:40000"), Server: ap("203.0.113.5:443"),
				Seq: 0x11223344,
			},
			`45000028 00004000 4006 3cfa cb007105 c0a80128
			 01bb9c40 11223344 00000000 50040000 cfa8 0000`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.r.packet()
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(strings.Fields(tt.want), ""); hex.EncodeToString(got) != want {
				t.Errorf("packet\n%x\nwant\n%s", got, want)
			}
			assertChecksums(t, got)
		})
	}
}

// assertChecksums sums a packet as its receiver does: with the checksum in its
// place the sum is all ones.
func assertChecksums(t *testing.T, b []byte) {
	t.Helper()
	fold := func(v uint32) uint32 {
		for v > 0xffff {
			v = v>>16 + v&0xffff
		}
		return v
	}
	proto, head, pseudo := b[9], ipv4HeaderLen, uint32(0)
	if b[0]>>4 == 6 {
		proto, head = b[6], ipv6HeaderLen
		pseudo = sum16(b[8:40]) + uint32(proto) + uint32(len(b)-head)
	} else {
		if s := fold(sum16(b[:head])); s != 0xffff {
			t.Errorf("IPv4 header sums to %#x", s)
		}
		if proto == unix.IPPROTO_TCP {
			pseudo = sum16(b[12:20]) + uint32(proto) + uint32(len(b)-head)
		}
	}
	if s := fold(sum16(b[head:]) + pseudo); s != 0xffff {
		t.Errorf("payload sums to %#x", s)
	}
}

func TestChecksumOfOddLength(t *testing.T) {
	// RFC 1071, section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
	if got := sum16([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != 0x2ddf0 {
		t.Errorf("sum %#x", got)
	}
	if got := sum16([]byte{0x12, 0x34, 0x56}); got != 0x1234+0x5600 {
		t.Errorf("sum of an odd length %#x", got)
	}
}

func TestResetRefusesMixedFamilies(t *testing.T) {
	_, err := Reset{
		Client: netip.MustParseAddrPort("192.0.2.1:1"), Server: netip.MustParseAddrPort("[2001:db8::1]:1"),
	}.packet()
	if err == nil {
		t.Error("no error")
	}
}

// received is the sequence number that a socket expects next.
func received(t *testing.T, c net.Conn) (seq uint32) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		const repairReceive, repairOffNoProbe = 1, -1
		set := func(option, value int) {
			if e := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value); e != nil {
				err = errors.Join(err, e)
			}
		}
		set(unix.TCP_REPAIR, 1)
		set(unix.TCP_REPAIR_QUEUE, repairReceive)
		v, e := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		seq, err = uint32(v), errors.Join(err, e)
		set(unix.TCP_REPAIR, repairOffNoProbe)
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

func TestResetEndsARealTCPConnectionAtItsClient(t *testing.T) {
	w := newWorld(t)
	d := w.state()
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, d)
	w.mark(t, d, int(pathHome))
	targets(t, func(target, _ string, _ int) {
		w.serve(t, w.exit, target)
		c, other := mustDial(t, w, w.client, target), mustDial(t, w, w.client, target)
		if err := errors.Join(echo(c), echo(other)); err != nil {
			t.Fatal(err)
		}
		r := Reset{
			Proto: unix.IPPROTO_TCP, Client: addrPort(c.LocalAddr()), Server: addrPort(c.RemoteAddr()),
			Seq: received(t, c), Device: "br-lan",
		}
		// A wrong number must not do it (RFC 5961), the right one must.
		wrong := r
		wrong.Seq += 1 << 30
		if err := n.Reset(t.Context(), []Reset{wrong}); err != nil {
			t.Fatal(err)
		}
		if err := echo(c); err != nil {
			t.Fatalf("%s: a reset out of the window ended it: %v", target, err)
		}
		r.Seq = received(t, c)
		if err := n.Reset(t.Context(), []Reset{r}); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(limit))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", target, err)
		}
		if err := echo(other); err != nil {
			t.Errorf("%s: another connection: %v", target, err)
		}
	})
}

func TestResetRefusesUDPAtTheClient(t *testing.T) {
	w := newWorld(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, w.state())
	targets(t, func(target, _ string, _ int) {
		// The server keeps silent: its namespace drops what comes.
		w.in(t, w.inet, func() {
			run(t, "nft add chain inet seen in { type filter hook input priority 0 ; policy drop ; }")
		})
		var c net.Conn
		var err error
		w.in(t, w.client, func() { c, err = dialHere("udp", netip.MustParseAddr(target), 443, limit) })
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		r := Reset{
			Proto: unix.IPPROTO_UDP, Client: addrPort(c.LocalAddr()), Server: addrPort(c.RemoteAddr()),
			Device: "br-lan",
		}
		if err := n.Reset(t.Context(), []Reset{r}); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(limit))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want a refusal", target, err)
		}
		w.in(t, w.inet, func() { run(t, "nft delete chain inet seen in") })
	})
}

func TestResetSaysWhichFlowFailed(t *testing.T) {
	routerNetns(t)
	n := newNet(t, WithFirewall(NFTables))
	err := n.Reset(t.Context(), []Reset{{
		Proto: unix.IPPROTO_TCP, Device: "nowhere",
		Client: netip.MustParseAddrPort("192.0.2.1:1"), Server: netip.MustParseAddrPort("192.0.2.2:2"),
	}})
	if err == nil || !strings.Contains(err.Error(), "nowhere") || !strings.Contains(err.Error(), "192.0.2.1:1") {
		t.Errorf("error %v", err)
	}
}

func TestDropConntrackForgetsWhatMatches(t *testing.T) {
	w := newWorld(t)
	n := newNet(t, WithFirewall(NFTables))
	apply(t, n, w.state())
	targets(t, func(target, _ string, _ int) {
		w.serve(t, w.inet, target)
		one, two := mustDial(t, w, w.client, target), mustDial(t, w, w.client, target)
		if err := errors.Join(echo(one), echo(two)); err != nil {
			t.Fatal(err)
		}
		var seen []string
		k, err := n.DropConntrack(t.Context(),
			func(src, dst netip.AddrPort, proto uint8, reply netip.Addr) bool {
				seen = append(seen, dst.String())
				return src == addrPort(one.LocalAddr()) && dst == addrPort(one.RemoteAddr()) &&
					proto == unix.IPPROTO_TCP && reply != src.Addr()
			})
		if err != nil || k != 1 {
			t.Errorf("%s: %d dropped (%v) of %q, want 1", target, k, err, seen)
		}
		k, err = n.DropConntrack(t.Context(),
			func(src, _ netip.AddrPort, _ uint8, _ netip.Addr) bool { return src == addrPort(one.LocalAddr()) })
		if err != nil || k != 0 {
			t.Errorf("%s: %d dropped (%v) the second time", target, k, err)
		}
		if err := echo(two); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	})
}
