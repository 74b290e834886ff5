package reach

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/dns"
)

// Path is a way that checks take.
type Path struct {
	Name   string // as people read it: direct, or a tunnel's name
	Index  dns.Path
	Direct bool // the provider's own line
}

// Resolver looks names up by any path; a *dns.Resolver is one.
type Resolver interface {
	// Lookup asks trusted servers.
	Lookup(ctx context.Context, p dns.Path, name string, t dns.Type) (dns.Answer, error)
	// AskAsClient asks one server as an ordinary client does.
	AskAsClient(ctx context.Context, server netip.AddrPort, p dns.Path, name string, t dns.Type) ([]dns.Answer, error)
}

// ProberOptions are what a Prober is made with. Dial and Resolver are needed,
// Resolver only for targets that are names.
type ProberOptions struct {
	Dial     dns.Dialer
	Resolver Resolver
	// Provider gives the servers that the direct path's clients ask, without
	// routerd; none: the direct path's lookups are not compared.
	Provider func() []netip.AddrPort

	// Down says why a path cannot be used at all; nil is that it can, as far as is
	// known. A path that is down is not tried. Without it every path is.
	Down func(dns.Path) error

	Roots *x509.CertPool   // nil: the system's
	Now   func() time.Time // of certificates; time.Now
	Floor time.Time        // the clock is unset while it shows less; dns.BuildFloor()
	Times Times            // the zero value: DefaultTimes
}

// Times bound the steps of a check over one path. A step that takes longer has
// timed out.
type Times struct {
	Connect time.Duration // four SYNs with Linux' own repetition
	TLS     time.Duration
	Answer  time.Duration // to the head of an HTTP answer, and to a pool's
	Silence time.Duration // within a transfer: slowness is no fault, silence is
	Other   time.Duration // a handshake with a neutral name
	Whole   time.Duration
}

// DefaultTimes are those of the router: each leaves a packet four or more tries
// on a line that is slow and loses many.
func DefaultTimes() Times {
	return Times{
		Connect: 8 * time.Second, TLS: 10 * time.Second, Answer: 10 * time.Second,
		Silence: 10 * time.Second, Other: 5 * time.Second, Whole: 90 * time.Second,
	}
}

// What one check over one path may take, in bytes above TCP.
const (
	// MaxBytes is for a check that asks for little.
	MaxBytes = 64 << 10
	// MaxDeepBytes is for one with a transfer.
	MaxDeepBytes = 224 << 10
	// bodyBytes is what is read of an answer.
	bodyBytes = 8 << 10
	// deepBytes is what is read of a large one: past 64 KiB.
	deepBytes = 68 << 10
)

// Prober makes observations. It is safe for concurrent use and keeps nothing
// between them.
type Prober struct{ o ProberOptions }

// NewProber makes a prober.
func NewProber(o ProberOptions) *Prober {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Floor.IsZero() {
		o.Floor = dns.BuildFloor()
	}
	if o.Times == (Times{}) {
		o.Times = DefaultTimes()
	}
	return &Prober{o: o}
}

// probe is one observation being made.
type probe struct {
	*Prober
	path   Path
	target catalogue.Target
	large  string // asked for in place of the target's path; "": that
	deep   bool
	taken  *atomic.Int64 // bytes
	resent *atomic.Int64 // segments
	late   *atomic.Bool  // a step overran its time
	limit  int64
}

// Observe tries a target over a path. The truth of its name is that of Truth.
// With a large path, or deep, it makes a transfer past 64 KiB where the answer
// is that long. It returns soon after ctx ends.
func (p *Prober) Observe(ctx context.Context, path Path, target catalogue.Target, truth Truth, depth Depth) Observation {
	began := time.Now()
	x := &probe{Prober: p, path: path, target: target, large: depth.Large, deep: depth.Deep, taken: new(atomic.Int64), resent: new(atomic.Int64), late: new(atomic.Bool), limit: MaxBytes}
	if x.deep {
		x.limit = MaxDeepBytes
	}
	within, cancel := context.WithTimeout(ctx, p.o.Times.Whole)
	defer cancel()
	o := Observation{Path: path.Name, Direct: path.Direct, Target: target, Deep: depth.Deep, Began: p.o.Now()}
	if why := p.down(path); why != nil {
		o.Down = clean(strings.TrimPrefix(why.Error(), dns.ErrPathDown.Error()+": "))
	} else {
		x.observe(within, &o, truth, depth.AsControl)
	}
	o.Took, o.Bytes, o.Resent, o.Late, o.Cancelled = time.Since(began), x.taken.Load(), x.resent.Load(), x.late.Load(), ctx.Err() != nil
	return o
}

func (p *Prober) down(path Path) error {
	if p.o.Down == nil {
		return nil
	}
	return p.o.Down(path.Index)
}

// Depth says how much of a check is made.
type Depth struct {
	Deep  bool
	Large string // of catalogue.Service.Large: the path to ask for when Deep
	// AsControl leaves out the comparison of lookups: a control tells of the line
	// alone.
	AsControl bool
}

func (x *probe) observe(ctx context.Context, o *Observation, truth Truth, control bool) {
	var routes []route
	if a, is := x.target.Addr(); is {
		routes = []route{{ipv6: a.Is6(), addrs: []netip.Addr{a}}}
	} else {
		if !control || !truth.known() {
			o.Lookups = x.lookups(ctx, truth)
		}
		routes = x.routes(o.Lookups, truth)
	}
	o.Walks = make([]Walk, len(routes))
	var all sync.WaitGroup
	for i, r := range routes {
		all.Go(func() { o.Walks[i] = x.walk(ctx, r) })
	}
	all.Wait()
	o.Down = downOf(o)
}

// downOf says why a path cannot be used at all.
func downOf(o *Observation) string {
	why, other := "", false
	look := func(f Failure) {
		if f.Fault == FaultPath {
			why = f.Text
		} else {
			other = true
		}
	}
	for _, w := range o.Walks {
		for _, c := range w.Connects {
			look(c.Failure)
		}
	}
	if len(o.Walks) == 0 {
		for _, l := range o.Lookups {
			look(l.Failure)
		}
	}
	if other {
		return ""
	}
	return why
}

// route is a family's addresses.
type route struct {
	ipv6, given bool
	addrs       []netip.Addr
}

// maxAddresses bounds the addresses of one family that are tried.
const maxAddresses = 3

func (x *probe) walk(ctx context.Context, r route) Walk {
	w := Walk{IPv6: r.ipv6, Given: r.given}
	conns := x.connectAll(ctx, r.addrs, &w)
	first := keepFastest(conns, w.Connects)
	if first < 0 {
		return w
	}
	address := w.Connects[first].Address
	s := x.session(ctx, conns[first], address)
	w.Sessions = []Session{s}
	if !s.failed() || ctx.Err() != nil {
		return w
	}
	w.Sessions = append(w.Sessions, x.again(ctx, address, s))
	return w
}

// keepFastest closes all connections but the one that was made the fastest, and
// gives its index; -1: there is none.
func keepFastest(conns []net.Conn, connects []Connect) int {
	first := -1
	for i, c := range conns {
		if c != nil && (first < 0 || connects[i].Took < connects[first].Took) {
			first = i
		}
	}
	for i, c := range conns {
		if c != nil && i != first {
			_ = c.Close()
		}
	}
	return first
}

// again makes a second session where the first one failed: what happens once may
// be chance.
func (x *probe) again(ctx context.Context, address netip.AddrPort, first Session) Session {
	conn, err := x.connect(ctx, address, x.o.Times.Connect)
	if err != nil {
		return Session{Address: address, Reconnect: failure(err)}
	}
	s := x.session(ctx, conn, address)
	if s.failed() && x.taken.Load() >= x.limit {
		// The first sessions have taken what this one needs: it says nothing.
		return Session{Address: address, Reconnect: failure(errBudget)}
	}
	if s.TLS != nil && first.TLS != nil && s.TLS.Failure.Fault.byName() && ctx.Err() == nil {
		s.OtherName = x.otherName(ctx, address)
	}
	return s
}

// byName says whether it is worth asking if the name is what the fault is about.
func (f Fault) byName() bool { return f == FaultReset || f == FaultTimeout || f == FaultClosed }

func (x *probe) connectAll(ctx context.Context, addrs []netip.Addr, w *Walk) []net.Conn {
	addrs = addrs[:min(len(addrs), maxAddresses)]
	conns := make([]net.Conn, len(addrs))
	w.Connects = make([]Connect, len(addrs))
	var all sync.WaitGroup
	for i, a := range addrs {
		all.Go(func() {
			address := netip.AddrPortFrom(a, x.target.Port)
			conns[i], w.Connects[i] = x.connectTwice(ctx, address)
		})
	}
	all.Wait()
	return conns
}

// connectTwice tries again where nothing came: on a line that loses packets all
// SYNs of one connection are lost now and then.
func (x *probe) connectTwice(ctx context.Context, address netip.AddrPort) (net.Conn, Connect) {
	for again := false; ; again = true {
		began := time.Now()
		conn, err := x.connect(ctx, address, x.o.Times.Connect)
		f := failure(err)
		if f.Fault != FaultTimeout || again || ctx.Err() != nil {
			return conn, Connect{address, time.Since(began), f}
		}
	}
}

func (x *probe) connect(ctx context.Context, address netip.AddrPort, limit time.Duration) (net.Conn, error) {
	defer x.watch(limit)()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := x.o.Dial(within, x.path.Index, "tcp", address.String())
	if err != nil {
		return nil, err
	}
	return &meter{Conn: conn, taken: x.taken, resent: x.resent, limit: x.limit}, nil
}

// watch is called when a step that has a time begins, and what it gives when the
// step ends. It notes steps that take longer than they may: this machine did not
// get to look, so that what it did not see may have been there.
func (x *probe) watch(limit time.Duration) func() {
	const tolerance = time.Second
	began := time.Now()
	return func() {
		if time.Since(began) > limit+tolerance {
			x.late.Store(true)
		}
	}
}
