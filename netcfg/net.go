package netcfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/owned"
)

// Firewall names what a Net makes its firewall rules with.
type Firewall string

// The values of Firewall.
const (
	NFTables Firewall = "nftables"
	IPTables Firewall = "iptables"
)

// Reached is the state that Apply left the kernel in.
type Reached struct {
	Firewall Firewall
	// Changes has one line for each thing that was changed; none when the
	// kernel's state was as desired.
	Changes []string
	// Paths are those of the desired state, in its order.
	Paths []PathState
	// Warnings say what is not as it should be, and how to mend it.
	Warnings []string
}

// PathState says whether packets of a path leave by its device now. For direct
// both are true, for block and for a tunnel that is down both are false.
type PathState struct {
	Index      owned.PathIndex
	Name       string
	Device     string
	IPv4, IPv6 bool
}

// report is what one step did.
type report struct {
	changes  []string
	warnings []string
}

func (r *report) note(format string, args ...any) {
	r.changes = append(r.changes, fmt.Sprintf(format, args...))
}

func (r *report) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

func (r *report) merge(o report) {
	r.changes = append(r.changes, o.changes...)
	r.warnings = append(r.warnings, o.warnings...)
}

// firewall is the part that differs between nftables and iptables.
type firewall interface {
	// apply makes the firewall what d says and changes only the difference.
	apply(d Desired, links linkTable) (report, error)
	// own adds and removes learned addresses of a destination's own route.
	own(id uint16, add, remove []netip.Addr) error
	// offload makes what forwards connections past the rules what d says, and
	// says why nothing does.
	offload(d Desired) (why string, err error)
	// flushFast puts those connections back on their usual way; false: there are
	// none.
	flushFast() (bool, error)
	// devices names the devices of the paths that the rules in the kernel know.
	devices() ([]string, error)
}

// Net applies a desired state. Its methods may be called at the same time; those that
// change rules, routes or the firewall wait for each other. It acts on the network
// namespace of the calling thread.
type Net struct {
	log *slog.Logger
	fw  firewall
	// kind is which firewall fw is.
	kind Firewall
	// ports are the netlink port numbers of our nftables sockets, by which
	// Watch tells our changes from others'.
	ports *portSet
	// expected are changes of rules and routes that Watch shall not report.
	expected *eventSet

	// mu lets one change of the kernel's state happen at a time.
	mu sync.Mutex
}

// Option changes what New chooses.
type Option func(*options)

type options struct {
	kind     Firewall
	commands iptablesCommands
}

// WithFirewall takes the firewall as given instead of asking the system.
func WithFirewall(f Firewall) Option { return func(o *options) { o.kind = f } }

// WithIPTablesCommands names the programs to use instead of iptables and
// ip6tables; each has its -restore beside it.
func WithIPTablesCommands(v4, v6 string) Option {
	return func(o *options) { o.commands = iptablesCommands{v4, v6} }
}

// New finds out which firewall the system uses. It changes nothing.
func New(log *slog.Logger, opts ...Option) (*Net, error) {
	o := options{commands: iptablesCommands{"iptables", "ip6tables"}}
	for _, opt := range opts {
		opt(&o)
	}
	n := &Net{log: log, ports: newPortSet(), expected: newEventSet()}
	nft := &nftFirewall{log: log, open: n.openNFT}
	n.kind = o.kind
	if n.kind == "" {
		kind, err := detect(nft, o.commands)
		if err != nil {
			return nil, err
		}
		n.kind = kind
	}
	switch n.kind {
	case NFTables:
		n.fw = nft
	case IPTables:
		ipt, err := newIPTables(log, o.commands)
		if err != nil {
			return nil, err
		}
		n.fw = ipt
	default:
		return nil, fmt.Errorf("firewall %q is neither %q nor %q", n.kind, NFTables, IPTables)
	}
	return n, nil
}

// Firewall says which firewall is used.
func (n *Net) Firewall() Firewall { return n.kind }

// linkTable is what we need of the machine's devices, by name.
type linkTable map[string]linkInfo

type linkInfo struct {
	index int
	mtu   int
	up    bool
	// carrier is the index of the device that carries a VLAN; 0 for all others.
	carrier int
}

func listLinks() (linkTable, error) {
	links, err := retryDump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	out := linkTable{}
	for _, l := range links {
		a := l.Attrs()
		i := linkInfo{index: a.Index, mtu: a.MTU, up: a.Flags&1 != 0}
		if l.Type() == "vlan" {
			i.carrier = a.ParentIndex
		}
		out[a.Name] = i
	}
	return out, nil
}

// validate refuses a desired state that could not be what somebody means.
func (d Desired) validate() error {
	if err := d.Mask.Validate(); err != nil {
		return fmt.Errorf("desired state: %w", err)
	}
	seen := map[owned.PathIndex]bool{}
	for _, p := range d.Paths {
		if p.Index == owned.PathNone || int(p.Index)<<d.Mask.Shift()&^int(d.Mask) != 0 {
			return fmt.Errorf("desired state: path %q has index %d, which mask %#x cannot hold",
				p.Name, p.Index, uint32(d.Mask))
		}
		if seen[p.Index] {
			return fmt.Errorf("desired state: two paths have index %d", p.Index)
		}
		seen[p.Index] = true
	}
	for _, o := range d.Own {
		if !seen[o.Path] {
			return fmt.Errorf("desired state: own traffic of %q takes path %d, which is not there",
				o.Destination, o.Path)
		}
	}
	return nil
}

// Apply makes the kernel's state what d says. It changes only what differs,
// and in an order that leaves no moment in which a marked packet may leave by
// another device: the firewall's guard first, then tables, then rules. What goes,
// goes in the same order: the guard holds its packets meanwhile. A device that is
// missing is no error: its path ends in its table, Reached says so, and the next
// Apply adds the route.
func (n *Net) Apply(ctx context.Context, d Desired) (Reached, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	reached := Reached{Firewall: n.kind}
	if err := d.validate(); err != nil {
		return reached, err
	}
	links, err := listLinks()
	if err != nil {
		return reached, err
	}
	before, err := n.pathDevices()
	if err != nil {
		return reached, err
	}
	rep, err := n.steps(ctx, d, links, before)
	reached.Changes, reached.Warnings = rep.changes, rep.warnings
	if err != nil {
		return reached, err
	}
	reached.Paths, err = pathStates(d)
	return reached, err
}

func (n *Net) steps(ctx context.Context, d Desired, links linkTable, before []string) (report, error) {
	var rep report
	want := wantedRoutes(d, links)
	for _, step := range []func() (report, error){
		func() (report, error) { return n.fw.apply(d, links) },
		func() (report, error) { return n.syncRoutes(want) },
		func() (report, error) { return n.addRules(d) },
		func() (report, error) { return n.removeRules(wantedRules(d)) },
		func() (report, error) { return applySysctls(d, links, before) },
		func() (report, error) { return checkForwarding(d), nil },
	} {
		if err := ctx.Err(); err != nil {
			return rep, err
		}
		r, err := step()
		rep.merge(r)
		if err != nil {
			return rep, err
		}
	}
	for _, p := range d.Paths {
		if p.Up && p.Device != "" && links[p.Device].index == 0 {
			rep.warn("path %s: device %s does not exist", p.Name, p.Device)
		}
	}
	return rep, nil
}

// pathDevices names the devices that our routes and firewall rules mention.
func (n *Net) pathDevices() ([]string, error) {
	names := map[string]bool{}
	fromRules, err := n.fw.devices()
	if err != nil {
		return nil, err
	}
	for _, name := range fromRules {
		names[name] = true
	}
	for _, f := range []Family{IPv4, IPv6} {
		routes, _, err := listOurRoutes(f)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if name := linkName(r.LinkIndex); name != "" && name != "lo" {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

func linkName(index int) string {
	if index == 0 {
		return ""
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return "" // gone meanwhile
	}
	return l.Attrs().Name
}

// pathStates reads back which paths have their device's route.
func pathStates(d Desired) ([]PathState, error) {
	has := map[[2]int]bool{}
	for _, f := range []Family{IPv4, IPv6} {
		routes, _, err := listOurRoutes(f)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if k := asRoute(f, r); k.link != 0 {
				has[[2]int{int(f), k.table}] = true
			}
		}
	}
	var out []PathState
	for _, p := range d.Paths {
		direct, table := p.Index == owned.PathDirect, owned.Table(p.Index)
		out = append(out, PathState{
			Index: p.Index, Name: p.Name, Device: p.Device,
			IPv4: direct || has[[2]int{int(IPv4), table}],
			IPv6: direct && d.IPv6 || has[[2]int{int(IPv6), table}],
		})
	}
	return out, nil
}

// AddOwn lets the router's own connections to addrs take the path of the
// destination with that number. It is cheap: nothing is read and nothing else
// touched. A destination that the last Apply had no OwnRoute for is ignored.
func (n *Net) AddOwn(ctx context.Context, id uint16, addrs []netip.Addr) error {
	return n.changeOwn(ctx, id, addrs, nil)
}

// RemoveOwn is the inverse of AddOwn. Addresses that are not there are ignored.
func (n *Net) RemoveOwn(ctx context.Context, id uint16, addrs []netip.Addr) error {
	return n.changeOwn(ctx, id, nil, addrs)
}

func (n *Net) changeOwn(ctx context.Context, id uint16, add, remove []netip.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fw.own(id, add, remove); err != nil {
		return fmt.Errorf("steer own traffic of destination %d: %w", id, err)
	}
	return nil
}

// Cleanup removes every trace from the kernel, with no stored state and
// whichever firewall made it: policy rules, the routes of our tables, nftables
// table inet routerd, our rules in others' chains, chains ROUTERD*, the
// reverse-path settings. Devices rd-* are left to package tunnel. A second
// Cleanup finds nothing to do. On a system where New finds no firewall that
// works, New with WithFirewall(NFTables) gives a Net whose Cleanup does.
func (n *Net) Cleanup(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	devices, err := n.pathDevices()
	if err != nil {
		n.log.Warn("devices of paths not found", "error", err)
	}
	var errs []error
	var rep report
	for _, step := range []func() (report, error){
		func() (report, error) { return n.removeRules(nil) },
		func() (report, error) { return n.syncRoutes(nil) },
		(&nftFirewall{log: n.log, open: n.openNFT}).cleanup,
		func() (report, error) { return cleanupIPTables(n.log) },
		func() (report, error) { return restoreSysctls(devices) },
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := step()
		rep.merge(r)
		errs = append(errs, err)
	}
	for _, c := range rep.changes {
		n.log.Info("cleaned up", "change", c)
	}
	return errors.Join(errs...)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
