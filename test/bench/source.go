package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// copiedLen is what is written of each packet: headers and an octet or two, whole
// words.
const copiedLen = 44

// stream is many flows of datagrams of one size from one client.
type stream struct {
	client, router net.HardwareAddr
	from           netip.Addr
	to             netip.Addr // the first of the addresses, which follow each other
	addresses      int        // how many there are
	flows          int        // they take the addresses in turn
	size           int        // octets of a frame without its checksum
}

// The ports of a stream: a flow has one of its own, so that masquerading need not
// change it. The other is QUIC's, which routerd looks at more closely than at most.
const (
	firstPort = 20000
	webPort   = 443
)

// packet is that of a flow. Its first octet is QUIC's in the middle of a connection.
func (s stream) packet(flow int) []byte {
	payload := make([]byte, s.size-headersLen)
	payload[0] = 0x40
	return datagram{
		to: s.router, from: s.client, payload: payload,
		source: netip.AddrPortFrom(s.from, uint16(firstPort+flow)),
		target: netip.AddrPortFrom(offset(s.to, flow%s.addresses), webPort),
	}.frame()
}

// source makes the packets of a stream inside the kernel, as if they came in by a
// device: what they cost is what the router does with them, and next to nothing
// else. It needs Linux 5.18 or newer (BPF_F_TEST_XDP_LIVE_FRAMES).
type source struct {
	prog    *ebpf.Program
	flows   *ebpf.Map
	next    *ebpf.Map
	packet  []byte
	ifindex int
}

// xdpContext is struct xdp_md of linux/bpf.h.
type xdpContext struct{ Data, DataEnd, DataMeta, Ifindex, RxQueue, Egress uint32 }

// newSource makes a source for a device, which must have an XDP program of its own.
func newSource(s stream, ifindex int) (_ *source, err error) {
	out := &source{packet: s.packet(0), ifindex: ifindex}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.close())
		}
	}()
	out.flows, err = ebpf.NewMap(&ebpf.MapSpec{Name: "bench_flows", Type: ebpf.Array, KeySize: 4, ValueSize: copiedLen, MaxEntries: uint32(s.flows)})
	if err != nil {
		return nil, fmt.Errorf("make map of headers: %w", err)
	}
	for i := range s.flows {
		if err := out.flows.Put(uint32(i), s.packet(i)[:copiedLen]); err != nil {
			return nil, fmt.Errorf("write headers: %w", err)
		}
	}
	out.next, err = ebpf.NewMap(&ebpf.MapSpec{Name: "bench_next", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make map of the next flow: %w", err)
	}
	out.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bench_source", Type: ebpf.XDP, License: "GPL", Instructions: sourceCode(out.next.FD(), out.flows.FD(), s.flows),
	})
	if err != nil {
		return nil, fmt.Errorf("load source of packets: %w", err)
	}
	return out, nil
}

func (s *source) close() error {
	var errs []error
	for _, m := range []*ebpf.Map{s.flows, s.next} {
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, s.prog.Close())...)
}

// Verdicts of XDP, and where struct xdp_md has the packet's begin and end.
const (
	xdpDrop   = 1
	xdpPass   = 2
	atData    = 0
	atDataEnd = 4
)

// sourceCode writes the next flow's headers over a packet, whose page the stack has
// used before, and passes it on.
func sourceCode(next, flows, count int) asm.Instructions {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, next),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.Word),
		asm.Mov.Reg(asm.R8, asm.R7), asm.Add.Imm(asm.R8, 1), asm.Mod.Imm(asm.R8, int32(count)),
		asm.StoreMem(asm.R0, 0, asm.R8, asm.Word),
		asm.StoreMem(asm.RFP, -4, asm.R7, asm.Word),
		asm.LoadMapPtr(asm.R1, flows),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R2, asm.R6, atData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, atDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, copiedLen),
		asm.JGT.Reg(asm.R4, asm.R3, "drop"),
	}
	for at := int16(0); at < copiedLen; at += 4 {
		code = append(code, asm.LoadMem(asm.R5, asm.R0, at, asm.Word), asm.StoreMem(asm.R2, at, asm.R5, asm.Word))
	}
	return append(code,
		asm.Mov.Imm(asm.R0, xdpPass), asm.Return(),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("drop"), asm.Return())
}

// passAll is what a device needs so that packets can be made to come in by it.
func passAll() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bench_pass", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
}

// send makes n packets come in, from a thread inside the host, and gives the
// processor time that it took: others who use the machine are not counted.
func (s *source) send(n int) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	_, err = s.prog.Run(&ebpf.RunOptions{
		Data: s.packet, Repeat: uint32(n), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		Context: xdpContext{DataEnd: uint32(len(s.packet)), Ifindex: uint32(s.ifindex)},
	})
	if err != nil {
		return 0, fmt.Errorf("send packets: %w", err)
	}
	after, err := threadTime()
	return after - before, err
}

// threadTime is the processor time of this thread.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// pinHere keeps this thread on the last core.
func pinHere() error {
	var set unix.CPUSet
	set.Set(runtime.NumCPU() - 1)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("keep to one core: %w", err)
	}
	return nil
}
