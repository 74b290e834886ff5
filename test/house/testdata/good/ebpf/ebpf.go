// Package ebpf is a sample.
package ebpf

import (
	"github.com/cilium/ebpf"

	"github.com/routerd/routerd/internal/owned"
)

// Map is documented.
type Map struct {
	inner *ebpf.Map
	table owned.Mark
}
