package e2e_test

import (
	"net"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/lab"
)

// inRouter runs do on a thread in the router's network namespace.
func inRouter(t *testing.T, l *lab.Lab, do func() error) {
	t.Helper()
	pid := 0
	for _, h := range l.Status().Hosts {
		if h.Name == lab.Router {
			pid = h.PID
		}
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := unix.PidfdOpen(pid, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in the router's network: %v", err)
	}
}

// tcxPrograms is how many programs the kernel lets hang on one tcx hook.
const tcxPrograms = 63

// occupyTCX leaves no room for another tcx program on lo, where routerd tries
// whether the kernel has tcx: it then takes clsact, as on older kernels.
func occupyTCX(t *testing.T, l *lab.Lab) {
	t.Helper()
	inRouter(t, l, func() error {
		for range tcxPrograms {
			if err := hangOnLo(t); err != nil {
				return err
			}
		}
		return nil
	})
}

// hangOnLo puts a program that does nothing on lo for the length of a test.
func hangOnLo(t *testing.T) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "neighbour", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}, // TCX_NEXT
	})
	if err != nil {
		return err
	}
	hold, err := link.AttachTCX(link.TCXOptions{Interface: 1, Program: p, Attach: ebpf.AttachTCXEgress})
	t.Cleanup(func() {
		if err == nil {
			hold.Close()
		}
		p.Close()
	})
	return err
}

// countingFilters puts a filter of somebody else on each side of br-lan, which
// has a clsact qdisc, and gives back how many packets each has seen. They let
// every packet go on to the next filter.
func countingFilters(t *testing.T, l *lab.Lab) (seen func() [2]uint64) {
	t.Helper()
	counts := [2]*ebpf.Map{}
	parents := []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}
	inRouter(t, l, func() error {
		device, err := net.InterfaceByName(lab.LANDevice)
		if err != nil {
			return err
		}
		for i, parent := range parents {
			p := counter(t, &counts[i])
			if err := netlink.FilterAdd(&netlink.BpfFilter{
				FilterAttrs: netlink.FilterAttrs{LinkIndex: device.Index, Parent: parent, Handle: 1, Priority: 10, Protocol: unix.ETH_P_ALL},
				Fd:          p.FD(), Name: "neighbour", DirectAction: true,
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return func() (n [2]uint64) {
		for i, m := range counts {
			if err := m.Lookup(uint32(0), &n[i]); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
}

// counter makes a program that counts packets in the first element of m.
func counter(t *testing.T, m **ebpf.Map) *ebpf.Program {
	t.Helper()
	var err error
	if *m, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "neighbour", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.R10, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, (*m).FD()),
			asm.Mov.Reg(asm.R2, asm.R10),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, -1).WithSymbol("out"), // TC_ACT_UNSPEC
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); (*m).Close() })
	return p
}
