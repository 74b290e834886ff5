// Package lab is a sample: test may import anything.
package lab

import (
	_ "testing"

	_ "github.com/cilium/ebpf"
	_ "github.com/routerd/routerd/internal/daemon"
)
