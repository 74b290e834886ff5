package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network is one host's kernel network, configured from outside.
type network struct {
	ns netns.NsHandle
	*netlink.Handle
}

// openNetworks opens every host's network; close it when done.
func openNetworks(pids map[string]int) (map[string]network, error) {
	out := make(map[string]network, len(pids))
	for host, pid := range pids {
		ns, err := netns.GetFromPid(pid)
		if err != nil {
			closeNetworks(out)
			return nil, fmt.Errorf("open network of %s: %w", host, err)
		}
		handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		if err != nil {
			_ = ns.Close()
			closeNetworks(out)
			return nil, fmt.Errorf("open netlink of %s: %w", host, err)
		}
		out[host] = network{ns: ns, Handle: handle}
	}
	return out, nil
}

func closeNetworks(all map[string]network) {
	for _, n := range all {
		n.Close()
		_ = n.ns.Close()
	}
}

// connect lays every cable, then gives devices their addresses and hosts their
// routes.
func connect(pids map[string]int) error {
	for host, pid := range pids {
		if err := inNetwork(pid, func() error { return writeSysctls(sysctls(host)) }); err != nil {
			return fmt.Errorf("set up %s: %w", host, err)
		}
	}
	all, err := openNetworks(pids)
	if err != nil {
		return err
	}
	defer closeNetworks(all)
	if err := layCables(all); err != nil {
		return err
	}
	for _, d := range devices() {
		if err := all[d.host].raise(d); err != nil {
			return fmt.Errorf("raise %s on %s: %w", d.name, d.host, err)
		}
	}
	for _, r := range routes() {
		if err := all[r.host].route(r); err != nil {
			return fmt.Errorf("add route to %s on %s: %w", r.to, r.host, err)
		}
	}
	return nil
}

// layCables makes both ends of each cable inside their hosts at once: no
// device of a lab is ever seen on the machine, not even for a moment.
func layCables(all map[string]network) error {
	for _, c := range links() {
		if err := layCable(all, c); err != nil {
			return err
		}
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: LANDevice}}
	if err := all[Router].LinkAdd(bridge); err != nil {
		return fmt.Errorf("add %s: %w", LANDevice, err)
	}
	for _, name := range bridgePorts() {
		port, err := all[Router].LinkByName(name)
		if err != nil {
			return fmt.Errorf("find port %s: %w", name, err)
		}
		if err := all[Router].LinkSetMaster(port, bridge); err != nil {
			return fmt.Errorf("add port %s to %s: %w", name, LANDevice, err)
		}
	}
	for host, n := range all {
		if err := n.raise(device{host: host, name: "lo"}); err != nil {
			return fmt.Errorf("raise lo on %s: %w", host, err)
		}
	}
	return nil
}

func layCable(all map[string]network, c link) error {
	err := all[c.a].LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: c.aDev, TxQLen: 1000}, PeerTxQLen: 1000,
		PeerName: c.bDev, PeerNamespace: netlink.NsFd(all[c.b].ns),
	})
	if err != nil {
		return fmt.Errorf("lay cable %s–%s: %w", c.a, c.b, err)
	}
	return nil
}

// AddCable lays one more cable, between a device of one host and one of another.
// Both are down and have no address.
func (l *Lab) AddCable(host, device, other, itsDevice string) error {
	pids := map[string]int{}
	for _, name := range []string{host, other} {
		pid, err := l.pid(name)
		if err != nil {
			return err
		}
		pids[name] = pid
	}
	all, err := openNetworks(pids)
	if err != nil {
		return err
	}
	defer closeNetworks(all)
	return layCable(all, link{host, device, other, itsDevice})
}

func (n network) raise(d device) error {
	l, err := n.LinkByName(d.name)
	if err != nil {
		return err
	}
	for _, cidr := range d.addresses {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD // usable at once
		if err := n.AddrAdd(l, a); err != nil {
			return err
		}
	}
	return n.LinkSetUp(l)
}

func (n network) route(r route) error {
	to := prefixNet(netip.MustParsePrefix(r.to))
	if r.via != "" {
		return n.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(r.via)})
	}
	lo, err := n.LinkByName("lo")
	if err != nil {
		return err
	}
	return n.RouteAdd(&netlink.Route{
		Dst: to, LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL,
		Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST,
	})
}

func prefixNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// sysctls are what a host sets before it has devices.
func sysctls(host string) map[string]string {
	out := map[string]string{
		"net/ipv6/conf/all/disable_ipv6":     "0",
		"net/ipv6/conf/default/disable_ipv6": "0",
		"net/ipv6/conf/default/accept_dad":   "0", // link-local addresses usable at once
		"net/ipv6/conf/default/accept_ra":    "0",
		"net/ipv4/conf/all/rp_filter":        "0",
		"net/ipv4/conf/default/rp_filter":    "0",
		"net/ipv4/ping_group_range":          "0 2147483647",
	}
	if forwards(host) {
		out["net/ipv4/ip_forward"] = "1"
		out["net/ipv6/conf/all/forwarding"] = "1"
		out["net/ipv6/conf/default/forwarding"] = "1"
	}
	if host != Router {
		// Several tests at once count on each "unreachable" being sent.
		out["net/ipv4/icmp_ratelimit"], out["net/ipv6/icmp/ratelimit"] = "0", "0"
	} else {
		// As on OpenWrt: else, where the machine has br_netfilter, the firewall
		// sees a client's packet before tc has marked it.
		for _, program := range []string{"iptables", "ip6tables", "arptables"} {
			out["net/bridge/bridge-nf-call-"+program] = "0"
		}
	}
	if host == Net {
		// Servers answer from the address that was asked (AnyIP).
		out["net/ipv4/ip_nonlocal_bind"] = "1"
		out["net/ipv6/ip_nonlocal_bind"] = "1"
	}
	return out
}

// writeSysctls sets each value; those a kernel does not have are skipped.
func writeSysctls(values map[string]string) error {
	for key, value := range values {
		err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set %s: %w", key, err)
		}
	}
	return nil
}
