package netcfg

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/google/nftables"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// event is a change of a rule or route, as far as Watch tells them apart.
type event struct {
	kind   uint16 // RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE
	family Family
	table  int
	link   int        // routes
	mark   owned.Mark // rules
}

// eventSet counts the notifications that our own changes will make. The
// kernel does not say who changed a route, and a daemon that answers its own
// changes would work for nothing.
type eventSet struct {
	mu sync.Mutex
	// watchers is how many Watch run; with none nothing is counted. Guarded by mu.
	watchers int
	// counts is guarded by mu.
	counts map[event]int
}

func newEventSet() *eventSet { return &eventSet{counts: map[event]int{}} }

// during runs change and expects one notification of it; none if it fails.
func (s *eventSet) during(e event, change func() error) error {
	s.add(e, 1)
	err := change()
	if err != nil {
		s.add(e, -1)
	}
	return err
}

func (s *eventSet) add(e event, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == 0 {
		return
	}
	if s.counts[e] += n; s.counts[e] <= 0 {
		delete(s.counts, e)
	}
}

// take says whether a notification was expected, and counts it.
func (s *eventSet) take(e event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.counts[e]
	if n == 0 {
		return false
	}
	if s.counts[e] = n - 1; n == 1 {
		delete(s.counts, e)
	}
	return true
}

func (s *eventSet) watch(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers += n; s.watchers == 0 {
		clear(s.counts)
	}
}

// portsKept is how many of our last nftables sockets Watch knows; a
// notification comes soon after the change.
const portsKept = 64

// portSet holds netlink port numbers.
type portSet struct {
	mu sync.Mutex
	// last is guarded by mu; the newest stands last.
	last []uint32
}

func newPortSet() *portSet { return &portSet{} }

func (s *portSet) add(port uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last = append(s.last, port); len(s.last) > portsKept {
		s.last = s.last[1:]
	}
}

func (s *portSet) has(port uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.last {
		if p == port {
			return true
		}
	}
	return false
}

// nftBuffer is the size of a socket's buffers: a batch goes out in one piece,
// and 16,384 IPv6 networks need about a megabyte.
const nftBuffer = 4 << 20

// openNFT gives a connection for one batch. Its sockets' ports are remembered,
// so that Watch knows our changes.
func (n *Net) openNFT() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *mdnetlink.Conn) error {
		if err := c.SetWriteBuffer(nftBuffer); err != nil {
			return fmt.Errorf("set write buffer: %w", err)
		}
		if err := c.SetReadBuffer(nftBuffer); err != nil {
			return fmt.Errorf("set read buffer: %w", err)
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return fmt.Errorf("find netlink port: %w", err)
		}
		return n.rememberPort(raw)
	}))
}

func (n *Net) rememberPort(raw syscall.RawConn) error {
	var err error
	ctlErr := raw.Control(func(fd uintptr) {
		var sa unix.Sockaddr
		if sa, err = unix.Getsockname(int(fd)); err != nil {
			return
		}
		if a, ok := sa.(*unix.SockaddrNetlink); ok {
			n.ports.add(a.Pid)
		}
	})
	if ctlErr != nil {
		err = ctlErr
	}
	if err != nil {
		return fmt.Errorf("find netlink port: %w", err)
	}
	return nil
}
