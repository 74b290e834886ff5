package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/test/lab"
)

// prime begins every flow that is measured and has it answered, so that connection
// tracking sees connections and no first packets.
func (s *subject) prime(ctx context.Context) error {
	if err := s.knowNeighbours(); err != nil {
		return err
	}
	flows := map[flowKey]bool{}
	for _, p := range passages() {
		if p.base != s.name && p.ours != s.name {
			continue
		}
		p.flows, p.size = manyFlows, smallFrame
		if err := s.answerAll(p, flows); err != nil {
			return fmt.Errorf("answer flows: %w", err)
		}
	}
	if err := s.answered(ctx, len(flows)); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// flowKey tells the flows of a client apart.
type flowKey struct {
	port int
	to   netip.Addr
}

// knowNeighbours tells the router where the client is, that nobody is, and where the
// provider is: while a neighbour is looked for, packets to it are lost.
func (s *subject) knowNeighbours() error {
	isp, err := s.hardware(lab.ISP, "cust")
	if err != nil {
		return err
	}
	return s.lab.Inside(lab.Router, func() error {
		return errors.Join(
			knowNeighbour(lab.LANDevice, benchClient(), clientMAC()),
			knowNeighbour(lab.WANDevice, netip.AddrFrom4([4]byte{22, 100, 0, 1}), isp))
	})
}

func knowNeighbour(device string, a netip.Addr, mac net.HardwareAddr) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	return netlink.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac,
	})
}

// answerAll sends one packet of each flow, and as the provider an answer to each. It
// is done once for each flow.
func (s *subject) answerAll(p passage, done map[flowKey]bool) error {
	st, by := p.traffic()
	// The last one tells: the first ones may be those of fewer addresses too.
	if done[flowKey{manyFlows - 1, offset(st.to, (manyFlows-1)%st.addresses)}] {
		return nil
	}
	for flow := range manyFlows {
		done[flowKey{flow, offset(st.to, flow%st.addresses)}] = true
	}
	src, err := s.open(st)
	if err != nil {
		return err
	}
	defer src.close()
	if _, err := s.pass(src, manyFlows, by); err != nil {
		return err
	}
	device, router := "cust", netip.MustParseAddr(lab.RouterWAN4)
	if by == secondDevice {
		device, router = secondAtISP, netip.MustParsePrefix(secondRouter).Addr()
	}
	to, err := s.hardware(lab.Router, by)
	if err != nil {
		return err
	}
	return s.lab.Inside(lab.ISP, func() error {
		return sendFrames(device, func(flow int) []byte {
			return datagram{
				to: to, from: to, payload: make([]byte, smallFrame-headersLen),
				source: netip.AddrPortFrom(offset(st.to, flow%st.addresses), webPort),
				target: netip.AddrPortFrom(router, uint16(firstPort+flow)),
			}.frame()
		})
	})
}

// hardware is the hardware address of a host's device.
func (s *subject) hardware(host, device string) (mac net.HardwareAddr, err error) {
	err = s.lab.Inside(host, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		mac = l.Attrs().HardwareAddr
		return nil
	})
	return mac, err
}

// sendFrames sends a frame of each flow by a device of the host it is called in.
func sendFrames(device string, frame func(flow int) []byte) error {
	l, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer unix.Close(fd)
	for flow := range manyFlows {
		if err := unix.Sendto(fd, frame(flow), 0, &unix.SockaddrLinklayer{Ifindex: l.Index}); err != nil {
			return fmt.Errorf("send an answer: %w", err)
		}
	}
	return nil
}

// answered waits until connection tracking has seen answers to n flows.
func (s *subject) answered(ctx context.Context, n int) error {
	got := 0
	err := poll(ctx, func() bool {
		out, err := s.lab.Run(ctx, lab.Router, "conntrack", "-L", "-p", "udp", "--orig-src", benchClient().String())
		if err != nil {
			return false
		}
		got = strings.Count(string(out), "dport=443 ") - strings.Count(string(out), "[UNREPLIED]")
		return got >= n
	})
	if err != nil {
		return fmt.Errorf("%d of %d flows have an answer: %w", got, n, err)
	}
	return nil
}
