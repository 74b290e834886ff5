package ebpf

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// JITFile is the setting net.core.bpf_jit_enable.
const JITFile = "/proc/sys/net/core/bpf_jit_enable"

// TurnOnJIT lets the kernel compile the programs that are loaded from now on,
// where it is able to and told not to: so it is on arm and mips unless the
// firmware says otherwise. It says whether it has changed the setting in file,
// which is JITFile but in tests. A kernel without a compiler, and a network
// namespace that does not show the setting, are no error.
func TurnOnJIT(file string) (changed bool, err error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read net.core.bpf_jit_enable: %w", err)
	}
	if strings.TrimSpace(string(raw)) != "0" {
		return false, nil
	}
	if err := os.WriteFile(file, []byte("1\n"), 0o644); err != nil {
		return false, fmt.Errorf("turn on the BPF JIT: %w", err)
	}
	return true, nil
}
