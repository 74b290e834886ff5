package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrKernel is wrapped by errors about a kernel that lacks what is needed.
var ErrKernel = errors.New("the kernel lacks BPF support")

// explain says what to do about the errors that users meet.
func explain(err error) error {
	var verr *ebpf.VerifierError
	switch {
	case errors.As(err, &verr):
		return fmt.Errorf("the kernel's verifier refused the program: %w", verr)
	case errors.Is(err, syscall.ENOSYS), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w (needs CONFIG_BPF_SYSCALL; on OpenWrt install kmod-sched-bpf): %w", ErrKernel, err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("not permitted, routerd must run as root: %w", err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("not enough memory, lower option max_addresses: %w", err)
	}
	return err
}

// mountBPF sees to it that dir lies on a BPF file system: OpenWrt mounts one,
// other systems may not.
func mountBPF(dir string) error {
	var st unix.Statfs_t
	for d := dir; ; d = filepath.Dir(d) {
		err := unix.Statfs(d, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENOENT) || d == filepath.Dir(d) {
			return fmt.Errorf("look at %s: %w", d, err)
		}
	}
	if uint32(st.Type) == unix.BPF_FS_MAGIC {
		return nil
	}
	at := filepath.Dir(dir)
	if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("make mount point of the BPF file system: %w", err)
	}
	if err := unix.Mount("bpf", at, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount BPF file system on %s: %w", at, explain(err))
	}
	return nil
}
