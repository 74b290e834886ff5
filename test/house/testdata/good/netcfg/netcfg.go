// Package netcfg is a sample of everything that is allowed.
package netcfg

import (
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"sync"

	"github.com/google/nftables"

	"github.com/routerd/routerd/internal/owned"
)

// ErrBusy is a sentinel.
var ErrBusy = errors.New("busy")

//go:embed netcfg.go
var files embed.FS

var (
	errOdd  = fmt.Errorf("odd: %w", ErrBusy)
	pattern = regexp.MustCompile(`x+`)
	bogons  = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	none    = netip.MustParsePrefix("0.0.0.0/0")
)

var _ fmt.Stringer = Kind(0)

// Kind is documented.
type Kind int

// The kinds. TODO(anna): name the third.
const (
	KindA Kind = iota
	KindB
)

// String is documented.
func (Kind) String() string { return "kind" }

type state struct {
	mu    sync.Mutex
	count int // guarded by mu
}

type private struct{}

// A method of an unexported type needs no comment.
func (private) Exported() {}

// shadow writes to a local variable that has the name of a package variable.
func shadow() {
	bogons := make([]netip.Prefix, 1)
	bogons[0] = none
	_, _, _, _, _ = bogons, files, errOdd, pattern, nftables.Conn{}
	_ = owned.Mark(0)
}

func (s *state) run(done chan struct{}) {
	// Ends when done is closed; run waits for it.
	go func() { <-done }()
}
