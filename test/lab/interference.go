package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/lab/interfere"
)

// Interference is one thing that the provider does to the customer's traffic, or
// a service to its clients. interfere.Kinds tells what there is.
type Interference = interfere.Interference

// Interfere begins an interference and gives back how to end it; ending twice,
// or after the lab, is no error. Several go on at a time.
func (l *Lab) Interfere(ctx context.Context, x Interference) (undo func() error, err error) {
	x, err = l.begin(ctx, x)
	if err != nil {
		return nil, err
	}
	return sync.OnceValue(func() error {
		host := controllerOf(x.Kind)
		if _, err := l.pid(host); err != nil {
			return nil //nolint:nilerr // it ended with its host
		}
		_, err := l.askInterference(context.WithoutCancel(ctx), host, interfere.Request{Remove: &x.ID})
		return err
	}), nil
}

// begin has the controller of the kind begin an interference, and gives it back
// as it goes on.
func (l *Lab) begin(ctx context.Context, x Interference) (Interference, error) {
	if err := x.Complete(); err != nil {
		return x, err
	}
	info, _ := interfere.InfoOf(x.Kind)
	if len(x.Names) > 0 && (info.ByAddress || info.Service) {
		if err := target(&x, info.ByAddress); err != nil {
			return x, err
		}
	}
	reply, err := l.askInterference(ctx, controllerOf(x.Kind), interfere.Request{Add: &x})
	if err != nil {
		return x, err
	}
	if reply.Added == nil {
		return x, errors.New("begin interference: no answer of its controller")
	}
	return *reply.Added, nil
}

// BeginInterference is Interfere for an interference that outlives this process:
// it ends with ClearInterference or with the lab. It gives back the ID.
func (l *Lab) BeginInterference(ctx context.Context, x Interference) (id string, err error) {
	x, err = l.begin(ctx, x)
	return x.ID, err
}

// Interferences lists what goes on, with what each has touched so far.
func (l *Lab) Interferences(ctx context.Context) ([]Interference, error) {
	var out []Interference
	for _, host := range controllerHosts() {
		reply, err := l.askInterference(ctx, host, interfere.Request{List: true})
		if err != nil {
			return nil, err
		}
		out = append(out, reply.All...)
	}
	return out, nil
}

// ClearInterference ends interferences by ID or kind, or all when none is named.
func (l *Lab) ClearInterference(ctx context.Context, which ...string) error {
	if len(which) == 0 {
		which = []string{""}
	}
	for _, what := range which {
		for _, host := range controllerHosts() {
			if _, err := l.askInterference(ctx, host, interfere.Request{Remove: &what}); err != nil {
				return err
			}
		}
	}
	return nil
}

// controllerHosts are those where interference is made.
func controllerHosts() []string { return []string{ISP, Net} }

func controllerOf(k interfere.Kind) string {
	if info, _ := interfere.InfoOf(k); info.Service {
		return Net
	}
	return ISP
}

// target finds out the addresses and hosts that an interference's names stand
// for.
func target(x *Interference, byAddress bool) error {
	all, err := Names()
	if err != nil {
		return err
	}
	meant := slices.DeleteFunc(all, func(n Name) bool { return !interfere.Covers(x.Names, n.Name) })
	for _, wanted := range x.Names {
		if !slices.ContainsFunc(meant, func(n Name) bool { return interfere.Covers([]string{wanted}, n.Name) }) {
			return fmt.Errorf("%s: name %q is not in the lab's internet: scripts/lab names lists what is", x.Kind, wanted)
		}
	}
	x.Hosts, x.Targets = nil, nil
	if !byAddress {
		for _, n := range meant {
			x.Hosts = append(x.Hosts, n.Name)
		}
		return nil
	}
	var addresses []netip.Addr
	for _, n := range meant {
		addresses = append(addresses, n.addresses()...)
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	for _, a := range slices.Compact(addresses) {
		x.Targets = append(x.Targets, netip.PrefixFrom(a, a.BitLen()))
	}
	return nil
}

// addresses are all that a client can learn of a name, hints too.
func (n Name) addresses() []netip.Addr {
	out := slices.Concat(n.A, n.AAAA)
	if n.HTTPS != nil {
		out = slices.Concat(out, n.HTTPS.Hint4, n.HTTPS.Hint6)
	}
	return out
}

// interferenceWait bounds what a controller does at one request.
const interferenceWait = 20 * time.Second

// askInterference asks the controller of a host.
func (l *Lab) askInterference(ctx context.Context, host string, r interfere.Request) (interfere.Reply, error) {
	pid, err := l.pid(host)
	if err != nil {
		return interfere.Reply{}, err
	}
	ctx, stop := context.WithTimeout(ctx, interferenceWait)
	defer stop()
	var conn net.Conn
	err = inNetwork(pid, func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", interfere.Socket)
		if err != nil {
			return fmt.Errorf("reach controller of %s: %w", host, err)
		}
		return nil
	})
	if err != nil {
		return interfere.Reply{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return interfere.Ask(conn, r)
}

// startInterference starts the controller of a host.
func (l *Lab) startInterference(host string) error {
	config := interfere.Config{Prefix: "s", StatusDir: statusDir}
	if host == ISP {
		config = interfere.Config{
			Provider: true, Prefix: "i", Resolver: providerResolver, BlockPageName: BlockPageName,
			BlockPage: []netip.Addr{netip.MustParseAddr(BlockPage4), netip.MustParseAddr(BlockPage6)},
		}
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode settings of controller: %w", err)
	}
	return l.hosts[host].start("interfere", l.state.Program, "interfere", string(raw))
}

// raiseProvider starts what the provider has of its own: a resolver that answers
// truly, a block page, and what interferes when told to.
func (l *Lab) raiseProvider(names []Name) error {
	err := l.writeFiles(ISP, files{
		runDir + "/root.zone":    []byte(zoneFile(names)),
		runDir + "/unbound.conf": []byte(unboundConfig(providerListen())),
	})
	if err != nil {
		return err
	}
	if err := l.startTool(ISP, "unbound", "-d", "-p", "-c", runDir+"/unbound.conf"); err != nil {
		return err
	}
	if err := l.routeToSelf(); err != nil {
		return err
	}
	return l.startInterference(ISP)
}

// routeToSelf has isp deliver to its own programs the packets that interference
// marks (tproxy); without a mark it changes nothing. It also has connections'
// bytes counted, which a kernel else begins, and never ends, with the first rule
// that compares them.
func (l *Lab) routeToSelf() error {
	pid, err := l.pid(ISP)
	if err != nil {
		return err
	}
	return inNetwork(pid, func() error {
		if err := writeSysctls(map[string]string{"net/netfilter/nf_conntrack_acct": "1"}); err != nil {
			return err
		}
		for family, all := range map[int]string{unix.AF_INET: "0.0.0.0/0", unix.AF_INET6: "::/0"} {
			if err := addSelfRoute(family, netip.MustParsePrefix(all)); err != nil {
				return fmt.Errorf("route marked packets of %s to itself: %w", ISP, err)
			}
		}
		return nil
	})
}

// selfTable is the number of isp's routing table of local delivery.
const selfTable = 100

func addSelfRoute(family int, all netip.Prefix) error {
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table = family, interfere.DeliverMark, selfTable
	mask := uint32(interfere.DeliverMark)
	rule.Mask = &mask
	if err := netlink.RuleAdd(rule); err != nil {
		return fmt.Errorf("add rule: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	err = netlink.RouteAdd(&netlink.Route{
		Family: family, Dst: prefixNet(all), LinkIndex: lo.Attrs().Index,
		Type: unix.RTN_LOCAL, Table: selfTable, Scope: unix.RT_SCOPE_HOST,
	})
	if err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	return nil
}
