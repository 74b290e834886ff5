package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// Dialer opens a connection by a path; network is tcp or udp, address an
// address with port. Where the path is down it fails at once with an error that
// is ErrPathDown and says which path and why.
type Dialer func(ctx context.Context, path Path, network, address string) (net.Conn, error)

// ErrPathDown is what a Dialer's error wraps when the path cannot be used: no
// upstream is to blame, and none of them is worth trying.
var ErrPathDown = errors.New("path is down")

// MarkDialer gives a dialer whose sockets, TCP and UDP, carry a mark, so that
// the kernel routes them by the mark's path.
func MarkDialer(mark owned.Mark) *net.Dialer {
	return &net.Dialer{
		Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			if err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
			}); err != nil {
				return fmt.Errorf("set mark %#x: %w", uint32(mark), err)
			}
			return os.NewSyscallError("set mark", failed)
		},
	}
}

// releaseDate is the floor of the clock for binaries that were built without
// version control. It is moved with each release.
const releaseDate = "2026-11-01T00:00:00Z"

// BuildFloor is a time that has certainly passed: when the source of this
// binary was committed, or the date of the release. A clock that shows an
// earlier time is not set.
func BuildFloor() time.Time {
	floor, _ := time.Parse(time.RFC3339, releaseDate)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return floor
	}
	for _, s := range info.Settings {
		if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return t
		}
	}
	return floor
}

// Layers of UpstreamError.
const (
	LayerPath    = "path"
	LayerConnect = "connect"
	LayerTLS     = "tls"
	LayerHTTP    = "http"
	LayerAnswer  = "answer"
	LayerTimeout = "timeout"
)

// layerError says at which layer asking an upstream failed.
type layerError struct {
	layer string
	err   error
}

func (e *layerError) Error() string { return e.layer + ": " + e.err.Error() }
func (e *layerError) Unwrap() error { return e.err }

// dialStagger is how long an upstream's address may take before the next one is
// tried beside it (RFC 8305 5).
const dialStagger = 250 * time.Millisecond

// opener opens connections to one upstream by one path.
type opener struct {
	upstream Upstream
	path     Path
	dial     Dialer
}

// open gives the connection to the first address that takes one.
func (o opener) open(ctx context.Context, network string) (net.Conn, error) {
	addresses := o.upstream.Endpoints()
	conn, err := race(ctx, len(addresses), dialStagger, func(ctx context.Context, i int) (net.Conn, error) {
		return o.dial(ctx, o.path, network, addresses[i])
	}, func(late net.Conn) { _ = late.Close() })
	switch {
	case errors.Is(err, ErrPathDown):
		return nil, &layerError{LayerPath, err}
	case err != nil:
		return nil, &layerError{LayerConnect, err}
	}
	return conn, nil
}

// openTLS gives a connection over which the server has proven who it is.
func (o opener) openTLS(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	raw, err := o.open(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &layerError{LayerTLS, err}
	}
	return conn, nil
}
