package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/test/lab"
)

// subject is a router that packets are sent through, in a lab of its own: to go from
// one to the other nothing has to be switched, so that turns can be short.
type subject struct {
	*run
	name   string
	daemon *daemon // nil: routerd does not run here
	router net.HardwareAddr
	port   int // index of the device that packets are made to come in by
}

// Devices that a bench adds to a router: a second way out to the provider, and a
// port of br-lan for packets that the kernel makes.
const (
	secondDevice = "wan2"
	portDevice   = "blast"
	secondAtISP  = "cust2"
	secondNet    = "22.102.0.0/24"
	secondISP    = "22.102.0.1/24"
	secondRouter = "22.102.0.2/24"
)

// clientMAC is that of the client that packets are made for.
func clientMAC() net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0x77, 1} }

// benchClient is its address.
func benchClient() netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, 77}) }

// newSubject raises a lab whose router has a second way out.
func (r *run) newSubject(ctx context.Context, name string) (_ *subject, err error) {
	r.say("raising a lab: %s", name)
	l, err := lab.Up(ctx, lab.Options{Program: r.Lab})
	if err != nil {
		return nil, err
	}
	s := &subject{run: &run{Options: r.Options, lab: l}, name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Down())
		}
	}()
	if err := s.addSecond(); err != nil {
		return nil, fmt.Errorf("add second way out: %w", err)
	}
	if err := s.addPort(); err != nil {
		return nil, fmt.Errorf("add port: %w", err)
	}
	if err := s.load(ctx, lab.Router, secondRules); err != nil {
		return nil, err
	}
	return s, s.load(ctx, lab.ISP, sinkRules)
}

// secondRules let clients use the second way out as they use the first.
const secondRules = `
add rule inet fw4 srcnat oifname "` + secondDevice + `" meta nfproto ipv4 masquerade
insert rule inet fw4 forward iifname "br-lan" oifname "` + secondDevice + `" ct state new,established,related accept
insert rule inet fw4 forward iifname "` + secondDevice + `" ct state established,related accept
`

// sinkRules have the provider drop datagrams as soon as they arrive, so that none
// but the router is measured.
const sinkRules = `
table netdev bench {
	chain sink { type filter hook ingress devices = { "cust", "` + secondAtISP + `" } priority 0; policy accept; udp dport 443 drop; }
}
`

// load gives rules to nft in a host.
func (s *subject) load(ctx context.Context, host, rules string) error {
	const file = "/run/bench.nft"
	if err := s.lab.WriteFile(host, file, []byte(rules), 0o600); err != nil {
		return err
	}
	_, err := s.lab.Run(ctx, host, "nft", "-f", file)
	return err
}

// addSecond lays a cable to the provider. Nobody is asked for hardware addresses on
// it, as on a tunnel: both ends have the same.
func (s *subject) addSecond() error {
	if err := s.lab.AddCable(lab.Router, secondDevice, lab.ISP, secondAtISP); err != nil {
		return err
	}
	for _, end := range []struct{ host, device, cidr string }{
		{lab.Router, secondDevice, secondRouter}, {lab.ISP, secondAtISP, secondISP},
	} {
		if err := s.lab.Inside(end.host, func() error { return raiseUnasked(end.device, end.cidr) }); err != nil {
			return err
		}
	}
	return s.lab.Inside(lab.Net, func() error {
		_, to, err := net.ParseCIDR(secondNet)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.IPv4(22, 101, 0, 1)})
	})
}

// raiseUnasked gives a device its address and switches it on, without ARP.
func raiseUnasked(name, cidr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0x77, 2}
	return errors.Join(netlink.LinkSetHardwareAddr(l, mac), netlink.LinkSetARPOff(l), netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

// addPort makes the port of br-lan. Packets can be made to come in by a device of
// this kind while it has an XDP program.
func (s *subject) addPort() error {
	pass, err := passAll()
	if err != nil {
		return fmt.Errorf("load program: %w", err)
	}
	defer pass.Close()
	return s.lab.Inside(lab.Router, func() error {
		bridge, err := netlink.LinkByName(lab.LANDevice)
		if err != nil {
			return err
		}
		s.router = bridge.Attrs().HardwareAddr
		attrs := netlink.NewLinkAttrs()
		attrs.Name = portDevice
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: portDevice + "p"}); err != nil {
			return err
		}
		l, err := netlink.LinkByName(portDevice)
		if err != nil {
			return err
		}
		s.port = l.Attrs().Index
		if err := errors.Join(netlink.LinkSetXdpFd(l, pass.FD()), netlink.LinkSetMaster(l, bridge), netlink.LinkSetUp(l)); err != nil {
			return err
		}
		peer, err := netlink.LinkByName(portDevice + "p")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(peer); err != nil {
			return err
		}
		// A bridge's address is that of one of its ports, unless it is set.
		return netlink.LinkSetHardwareAddr(bridge, s.router)
	})
}

// markRules are the way of pbr and keen-pbr: a set that dnsmasq fills, a mark, and a
// rule of policy routing. pbr's sets hold ranges by default, which costs more.
const markRules = `
table inet bench {
	set listed { type ipv4_addr; elements = { %s }; }
	chain prerouting {
		type filter hook prerouting priority mangle; policy accept;
		iifname "br-lan" ip daddr @listed goto mark_second
	}
	chain mark_second { meta mark set meta mark & 0xff00ffff | 0x00020000; return; }
}
`

// useSet has the router mark packets to n addresses by a set of nftables.
func (s *subject) useSet(ctx context.Context, n int) error {
	list := []string{bulkServer(true).String()}
	for i := range n {
		list = append(list, offset(firstListed(), i).String())
	}
	if err := s.load(ctx, lab.Router, fmt.Sprintf(markRules, strings.Join(list, ", "))); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"rule", "add", "pref", "29998", "fwmark", "0x20000/0xff0000", "lookup", "256"},
		{"route", "add", "default", "dev", secondDevice, "table", "256"},
	} {
		if _, err := s.lab.Run(ctx, lab.Router, "ip", args...); err != nil {
			return err
		}
	}
	return nil
}

// Where packets go. No server is there: the provider drops them.
func firstListed() netip.Addr   { return netip.AddrFrom4([4]byte{22, 64, 0, 0}) }
func firstUnlisted() netip.Addr { return netip.AddrFrom4([4]byte{22, 80, 0, 0}) }

// sent is how many packets have left by a device of the router. What the provider's
// queue then had no room for, on a machine with other work, has left too.
func (s *subject) sent(device string) (n uint64, err error) {
	err = s.lab.Inside(lab.Router, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		n = l.Attrs().Statistics.TxPackets + l.Attrs().Statistics.TxDropped
		return nil
	})
	return n, err
}

// down ends what runs in the lab, and the lab.
func (s *subject) down(ctx context.Context) error {
	var err error
	if s.daemon != nil {
		err = s.stopDaemon(ctx, s.daemon)
	}
	return errors.Join(err, s.lab.Down())
}

// open makes a source for a stream of this subject's client.
func (s *subject) open(st stream) (*source, error) {
	st.client, st.router, st.from = clientMAC(), s.router, benchClient()
	return newSource(st, s.port)
}

// pass sends n packets through the router, all of which must leave by a device, and
// gives the processor time of one.
func (s *subject) pass(src *source, n int, by string) (time.Duration, error) {
	before, err := s.sent(by)
	if err != nil {
		return 0, err
	}
	var took time.Duration
	err = s.lab.Inside(lab.Router, func() (err error) {
		if err = pinHere(); err != nil {
			return err
		}
		took, err = src.send(n)
		return err
	})
	if err != nil {
		return 0, err
	}
	after, err := s.sent(by)
	if err != nil {
		return 0, err
	}
	// Others send a packet now and then: answers to neighbours, checks.
	if lost := n - int(after-before); lost > 0 {
		return 0, fmt.Errorf("%s: of %d packets %d did not leave by %s", s.name, n, lost, by)
	}
	return took, nil
}
