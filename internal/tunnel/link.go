package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

const (
	// defaultMTU and overhead are wg-quick's: 80 bytes hold the outer IPv6
	// and UDP headers and WireGuard's own.
	defaultMTU = 1420
	overhead   = 80
)

var errNoModule = errors.New("the kernel has no WireGuard: install the package kmod-wireguard, or set option backend to 'userspace' or 'auto'")

// linkByName is nil without an error when there is no such device.
func linkByName(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find device %s: %w", name, err)
	}
	return link, nil
}

// backendOf is what carries a device, or "" when it is not WireGuard's.
func backendOf(link netlink.Link) Backend {
	switch link.Type() {
	case "wireguard":
		return BackendKernel
	case "tuntap", "tun":
		return BackendUserspace
	}
	return ""
}

// addKernelDevice creates a device; errNoModule when the kernel cannot.
func addKernelDevice(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV):
		return errNoModule
	case err != nil && !errors.Is(err, unix.EEXIST):
		return fmt.Errorf("create WireGuard device %s: %w", name, err)
	}
	return nil
}

func removeLink(link netlink.Link) error {
	err := netlink.LinkDel(link)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove device %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// ownLinks lists the WireGuard devices with our prefix. Devices of other types
// are not ours, whatever their name.
func ownLinks() ([]netlink.Link, error) {
	links, err := netlink.LinkList()
	for range 3 { // a device that came or went meanwhile spoils the dump
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		links, err = netlink.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool {
		return !owned.IsDevice(l.Attrs().Name) || backendOf(l) == ""
	}), nil
}

// setUpLink gives a device its MTU and addresses and takes it up. Only what
// differs is touched.
func setUpLink(link netlink.Link, addresses []netip.Prefix, mtu int) error {
	name := link.Attrs().Name
	// The link-local address that the kernel would make up is of no use here,
	// and router advertisements from the far end would bring routes of its own.
	// Without IPv6 in the kernel there is nothing to write to.
	for _, knob := range []struct{ file, value string }{{"addr_gen_mode", "1"}, {"accept_ra", "0"}} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/"+knob.file, []byte(knob.value), 0)
	}
	if link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set MTU of %s to %d: %w", name, mtu, err)
		}
	}
	if err := setAddresses(link, addresses); err != nil {
		return err
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("take %s up: %w", name, err)
		}
	}
	return nil
}

// setAddresses makes a device's addresses those.
func setAddresses(link netlink.Link, want []netip.Prefix) error {
	have, err := addressesOf(link)
	if err != nil {
		return err
	}
	for _, p := range have {
		if slices.Contains(want, p) {
			continue
		}
		if err := netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", p, err)
		}
	}
	// Removing one may have removed its secondaries, so that all are added.
	for _, p := range want {
		if err := addAddress(link, p); err != nil {
			return err
		}
	}
	return nil
}

// addAddress adds an address unless it is there.
func addAddress(link netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if isIPv6(p) {
		// Nobody else is on the link that could have it.
		addr.Flags = unix.IFA_F_NODAD
	}
	err := netlink.AddrAdd(link, addr)
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return addressError(p, err)
}

// addressError names the one cause that people can mend.
func addressError(p netip.Prefix, err error) error {
	if isIPv6(p) && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		return fmt.Errorf("add address %s: IPv6 is switched off in the kernel; remove the address or switch it on: %w", p, err)
	}
	return fmt.Errorf("add address %s: %w", p, err)
}

// addressesOf lists a device's addresses; link-local ones, which the kernel
// makes by itself, are left out.
func addressesOf(link netlink.Link) ([]netip.Prefix, error) {
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		if ip = ip.Unmap(); ok && !(ip.Is6() && ip.IsLinkLocalUnicast()) {
			out = append(out, netip.PrefixFrom(ip, ones))
		}
	}
	return out, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// mtuFor is the MTU for a tunnel whose settings name none: what the way to the
// endpoint leaves, at most wg-quick's default.
func mtuFor(s Settings, mark owned.Mark, endpoints []netip.AddrPort) int {
	if s.MTU != 0 {
		return s.MTU
	}
	mtu := defaultMTU
	for _, e := range endpoints {
		if path := pathMTU(e.Addr(), mark); path > 0 {
			mtu = min(mtu, path-overhead)
		}
	}
	lowest := minMTU
	if slices.ContainsFunc(s.Addresses, isIPv6) {
		lowest = minMTUv6
	}
	return max(mtu, lowest)
}

// pathMTU is the MTU of the route that marked packets to an address take, or 0.
func pathMTU(to netip.Addr, mark owned.Mark) int {
	routes, err := netlink.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{Mark: uint32(mark)})
	if err != nil || len(routes) == 0 {
		return 0
	}
	if routes[0].MTU > 0 {
		return routes[0].MTU
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return 0
	}
	return link.Attrs().MTU
}
