package e2e_test

import (
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
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
