package netcfg

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// Every match below loads into and compares register 1 (16 bytes): no rule of
// ours needs two values at the same time.
const reg = unix.NFT_REG_1

// ifNameSize is IFNAMSIZ: names are compared with their padding, so that a
// name never matches as the beginning of a longer one.
const ifNameSize = 16

// Keys and values of include/uapi/linux/netfilter/nf_tables.h and linux/tcp.h
// that neither library names.
const (
	ctDirOriginal      = 0
	ctDirReply         = 1
	ctStatusConfirmed  = 1 << 3 // IPS_CONFIRMED: not the first packet of its entry
	tcpOptionMSS       = 2
	tcpFlagsOffset     = 13
	tcpFlagSYN         = 0x02
	tcpFlagRST         = 0x04
	icmpxAdminProhibit = 3 // NFT_REJECT_ICMPX_ADMIN_PROHIBITED
)

func u32(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

func concat(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }

func eq(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}
}

func neq(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data}
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func masked(mask, xor uint32) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: u32(mask), Xor: u32(xor)}
}

// markIs matches packets whose mark names a path.
func markIs(mask owned.Mask, v owned.Mark) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyMARK), masked(uint32(mask), 0), eq(u32(uint32(v)))}
}

// marked matches packets that carry any of our bits.
func marked(mask owned.Mask) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyMARK), masked(uint32(mask), 0), neq(u32(0))}
}

// setMark writes our bits of the packet's mark and keeps all others.
func setMark(mask owned.Mask, v owned.Mark) []expr.Any {
	return []expr.Any{
		meta(expr.MetaKeyMARK), masked(^uint32(mask), uint32(v)),
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg},
	}
}

// setCtMark writes our bits of the connection's mark and keeps all others.
func setCtMark(mask owned.Mask, v owned.Mark) []expr.Any {
	return []expr.Any{
		ct(expr.CtKeyMARK), masked(^uint32(mask), uint32(v)),
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: reg},
	}
}

func ct(key expr.CtKey) expr.Any { return &expr.Ct{Key: key, Register: reg} }

func ctMarkIs(mask owned.Mask, v owned.Mark) []expr.Any {
	return []expr.Any{ct(expr.CtKeyMARK), masked(uint32(mask), 0), eq(u32(uint32(v)))}
}

func ctState(bits uint32) []expr.Any {
	return []expr.Any{ct(expr.CtKeySTATE), masked(bits, 0), neq(u32(0))}
}

func ctStatus(bits uint32) []expr.Any {
	return []expr.Any{ct(expr.CtKeySTATUS), masked(bits, 0), neq(u32(0))}
}

func ctDirection(dir byte) []expr.Any {
	return []expr.Any{ct(expr.CtKeyDIRECTION), eq([]byte{dir})}
}

// ctReplyNotTo matches connections whose answers go to none of addrs, which are
// of one family: those are connections that were translated for another device.
func ctReplyNotTo(addrs []netip.Addr) []expr.Any {
	// The kernel reads the direction as one byte and the library writes it as
	// the last of four; it also logs the length once a rule, which is harmless.
	e := []expr.Any{&expr.Ct{Key: expr.CtKeyDST, Direction: ctDirReply << 24, Register: reg}}
	for _, a := range addrs {
		e = append(e, neq(a.AsSlice()))
	}
	return e
}

func ifName(name string) []byte {
	b := make([]byte, ifNameSize)
	copy(b, name)
	return b
}

func iif(name string) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyIIFNAME), eq(ifName(name))}
}

func oif(name string) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyOIFNAME), eq(ifName(name))}
}

func family(f Family) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyNFPROTO), eq([]byte{byte(f)})}
}

func l4proto(p byte) []expr.Any { return []expr.Any{meta(expr.MetaKeyL4PROTO), eq([]byte{p})} }

func notICMP() []expr.Any {
	return []expr.Any{
		meta(expr.MetaKeyL4PROTO), neq([]byte{unix.IPPROTO_ICMP}), neq([]byte{unix.IPPROTO_ICMPV6}),
	}
}

// daddrIn matches packets of family f to an address of the set.
func daddrIn(f Family, set string) []expr.Any {
	load := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if f == IPv6 {
		load.Offset, load.Len = 24, 16
	}
	return append(family(f), load, &expr.Lookup{SourceRegister: reg, SetName: set})
}

// toLocal matches packets to one of the machine's own addresses.
func toLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, eq(u32(unix.RTN_LOCAL)),
	}
}

// noRoute matches packets whose route, by destination and mark, leads to no
// device: it is unreachable or prohibited.
func noRoute() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, FlagMARK: true, ResultOIF: true, FlagPRESENT: true},
		eq(u32(0)),
	}
}

// syn matches TCP segments that carry the maximum segment size: SYN, SYN-ACK.
func syn() []expr.Any {
	return append(l4proto(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlagsOffset, Len: 1},
		&expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: 1,
			Mask: []byte{tcpFlagSYN | tcpFlagRST}, Xor: []byte{0},
		},
		eq([]byte{tcpFlagSYN}))
}

func setMSS() expr.Any {
	return &expr.Exthdr{
		SourceRegister: reg, Type: tcpOptionMSS, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt,
	}
}

// clampToRoute lowers the segment size to what the packet's route takes; the
// kernel never raises it (net/netfilter/nft_exthdr.c).
func clampToRoute() []expr.Any {
	return []expr.Any{
		&expr.Rt{Register: reg, Key: expr.RtTCPMSS},
		&expr.Byteorder{
			SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 2, Size: 2,
		},
		setMSS(),
	}
}

// clampTo lowers the segment size to mss.
func clampTo(mss uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: reg, Data: binaryutil.BigEndian.PutUint16(mss)},
		setMSS(),
	}
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func accept() []expr.Any { return verdict(expr.VerdictAccept) }

func drop() []expr.Any { return append([]expr.Any{&expr.Counter{}}, verdict(expr.VerdictDrop)...) }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

func rejectTCP() []expr.Any {
	return concat(l4proto(unix.IPPROTO_TCP), reset())
}

// reset answers a packet of TCP by a reset.
func reset() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
}

func rejectOther() []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: icmpxAdminProhibit},
	}
}

// oncePerMinute matches a handful of packets, then one a minute.
func oncePerMinute() []expr.Any {
	return []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeMinute, Burst: 5}}
}

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }
