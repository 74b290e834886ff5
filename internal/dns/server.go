package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/routerd/routerd/internal/owned"
)

// Decision is what becomes of a query for a name.
type Decision struct {
	Listed bool // false: the query is relayed to the server that the client asked
	Block  bool // no such name
	Canary bool // no such name either: it asks whether clients may go past the router's DNS
	Path   Path // by which upstreams are asked
	// Else is the path by which they are asked where none answers by Path; 0: none.
	Else   Path
	NoIPv6 bool // the path carries no IPv6: nothing is said of IPv6 addresses
}

// Lesson is what an answer for a client says of a name.
type Lesson struct {
	Name   string
	Client netip.Addr
	Addrs  []netip.Addr // of A and AAAA records and SVCB hints
	TTL    uint32       // seconds
	Stream bool         // it goes out over TCP, not in a datagram
}

// Canaries are the names by which software asks whether it may go past the
// network's DNS; "no such name" says no. Firefox asks the first one before it
// uses DoH (support.mozilla.org, "Canary domain - use-application-dns.net"); the
// others are those of iCloud Private Relay, for which Apple asks networks to
// give a negative answer, neither silence nor a wrong address
// (developer.apple.com, "Prepare your network for iCloud Private Relay").
func Canaries() []string {
	return []string{"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"}
}

// ServerOptions are what a Server is made with. Names in them are in lower case
// without a dot at the end. All functions are called from many goroutines and
// must not wait for the network.
type ServerOptions struct {
	Resolver *Resolver
	// Decide says what becomes of a client's query for a name.
	Decide func(name string, client netip.Addr) Decision
	// Learn is told the addresses of an answer before the client gets it, from
	// the cache too. With an error the client gets SERVFAIL.
	Learn func(Lesson) error
	// Device says whether queries may come in by a device; others are dropped.
	// nil: all may.
	Device func(ifindex int) bool
	// Original gives the server that a client asked, when its query was turned
	// to this server on its way; local is where it came in. nil: none ever was.
	Original func(client, local netip.AddrPort) (netip.AddrPort, bool)
	// OriginalUDP is the same for single queries, which their id tells apart.
	// nil: Original.
	OriginalUDP func(client, local netip.AddrPort, id uint16) (netip.AddrPort, bool)
	// Relay opens a connection to a server that a client asked. It must not be
	// turned back to here.
	Relay func(ctx context.Context, network, address string) (net.Conn, error)

	// Sockets are those that HandOver gave, in this process or the one before it;
	// Listen takes them, and opens what is missing.
	Sockets []*os.File

	Port      uint16  // owned.ResolverPort
	Workers   int     // queries that wait for an upstream at a time; 128
	Backlog   int     // queries that wait for a worker; 1024
	Conns     int     // TCP connections; 64
	ConnsEach int     // TCP connections of one client; 16
	Rate      float64 // queries of one client that are not in the cache, a second; 200
	Burst     int     // and how many of them at once; 2000
	Log       *slog.Logger
}

func (o *ServerOptions) defaults() {
	def(&o.Port, owned.ResolverPort)
	def(&o.Workers, 128)
	def(&o.Backlog, 1024)
	def(&o.Conns, 64)
	def(&o.ConnsEach, 16)
	def(&o.Rate, 200)
	def(&o.Burst, 2000)
	def(&o.Log, slog.New(slog.DiscardHandler))
	if o.Device == nil {
		o.Device = func(int) bool { return true }
	}
	if o.Original == nil {
		o.Original = func(_, _ netip.AddrPort) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
	}
	if o.OriginalUDP == nil {
		o.OriginalUDP = func(client, local netip.AddrPort, _ uint16) (netip.AddrPort, bool) { return o.Original(client, local) }
	}
}

// Server answers clients on one port of every local address, over UDP and TCP,
// IPv4 and IPv6.
type Server struct {
	o       ServerOptions
	pool    *pool
	limiter *limiter
	udp     []*net.UDPConn
	tcp     []*net.TCPListener
	readers sync.WaitGroup // goroutines that read from the sockets
	ending  atomic.Bool    // nothing more is to be read

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[*tcpConn]struct{}
	each   map[netip.Addr]int // connections of a client
}

// Listen opens the sockets; from then on the kernel takes queries. Where the
// kernel has no IPv6 it goes without.
func Listen(ctx context.Context, o ServerOptions) (*Server, error) {
	o.defaults()
	s := &Server{
		o: o, pool: newPool(o.Workers, o.Backlog), limiter: newLimiter(o.Rate, o.Burst),
		conns: map[*tcpConn]struct{}{}, each: map[netip.Addr]int{},
	}
	before := givenSockets(o.Sockets, o.Port)
	defer before.close()
	for _, family := range []string{"4", "6"} {
		err := s.listen(ctx, family, before)
		if family == "6" && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
			o.Log.Info("no IPv6 in this kernel: the resolver listens on IPv4 only")
			break
		}
		if err != nil {
			s.closeSockets()
			return nil, fmt.Errorf("listen on port %d: %w", o.Port, err)
		}
	}
	s.readers.Add(len(s.udp) + len(s.tcp))
	return s, nil
}

// listen takes or opens the sockets of a family.
func (s *Server) listen(ctx context.Context, family string, before given) error {
	config := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error { return wantArrival(network, c) }}
	config.SetMultipathTCP(false)
	host := map[string]string{"4": "0.0.0.0", "6": "[::]"}[family]
	address := fmt.Sprintf("%s:%d", host, s.o.Port)
	udp, ok := before.udp["udp"+family]
	if !ok {
		packets, err := config.ListenPacket(ctx, "udp"+family, address)
		if err != nil {
			return err
		}
		udp = packets.(*net.UDPConn)
	}
	delete(before.udp, "udp"+family)
	s.udp = append(s.udp, udp)
	tcp, ok := before.tcp["tcp"+family]
	if !ok {
		stream, err := config.Listen(ctx, "tcp"+family, address)
		if err != nil {
			return err
		}
		tcp = stream.(*net.TCPListener)
	}
	delete(before.tcp, "tcp"+family)
	s.tcp = append(s.tcp, tcp)
	return nil
}

// Serve answers until ctx ends, then closes the sockets and returns nil; an
// error where a socket failed.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(s.udp)+len(s.tcp))
	// All end when their sockets are closed, below.
	for _, c := range s.udp {
		go func() { failed <- s.untilEnded(ctx, func() error { return s.serveUDP(ctx, c) }) }()
	}
	for _, l := range s.tcp {
		go func() { failed <- s.untilEnded(ctx, func() error { return s.serveTCP(ctx, l) }) }() // as above
	}
	var err error
	got := 0
	select {
	case <-ctx.Done():
	case err = <-failed:
		got = 1
	}
	cancel()
	s.closeSockets()
	for ; got < cap(failed); got++ {
		err = errors.Join(err, <-failed)
	}
	s.pool.wait()
	return err
}

// untilEnded reads from a socket. One that is handed over still sends answers
// until ctx ends.
func (s *Server) untilEnded(ctx context.Context, read func() error) error {
	err := read()
	s.readers.Done()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		<-ctx.Done()
		return nil
	}
	return err
}

func (s *Server) closeSockets() {
	for _, c := range s.udp {
		_ = c.Close()
	}
	for _, l := range s.tcp {
		_ = l.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true // one that is accepted just now is not kept
	for c := range s.conns {
		_ = c.conn.Close()
	}
}
