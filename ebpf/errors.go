package ebpf

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
)

// errKernel is wrapped by errors about a kernel that lacks what is needed.
var errKernel = errors.New("the kernel lacks BPF support")

// explain says what to do about the errors that users meet.
func explain(err error) error {
	var verr *ebpf.VerifierError
	switch {
	case errors.As(err, &verr):
		return fmt.Errorf("the kernel's verifier refused the program: %w", verr)
	case errors.Is(err, syscall.ENOSYS), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w (needs CONFIG_BPF_SYSCALL; on OpenWrt install kmod-sched-bpf): %w", errKernel, err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("not permitted, routerd must run as root: %w", err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("not enough memory, lower option max_addresses: %w", err)
	}
	return err
}
