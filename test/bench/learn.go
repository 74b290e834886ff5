package bench

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/routerd/routerd/internal/owned"
	"github.com/routerd/routerd/test/lab"
)

// listedName is a name that a subject's settings list.
const listedName = "bench.example"

// answerAddresses is how many addresses an answer holds, at most: what routerd
// reads of one.
const answerAddresses = 64

// skb is struct __sk_buff of linux/bpf.h, of which two fields are given.
type skb [48]uint32

// Where skb has its fields.
const (
	skbIngress = 9
	skbDevice  = 10
)

// program opens one of routerd's programs as it hangs on a device of the router;
// close it when done.
func (r *run) program(device, role string) (p *ebpf.Program, ctx skb, err error) {
	var pins *os.File
	err = r.lab.Inside(lab.Router, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		ctx[skbIngress], ctx[skbDevice] = uint32(l.Attrs().Index), uint32(l.Attrs().Index)
		pins, err = os.Open(owned.BPFDir)
		return err
	})
	if err == nil {
		defer pins.Close()
		// By this process's own name for the directory: the router's is not seen here.
		p, err = pinnedProgram(fmt.Sprintf("/proc/self/fd/%d/link_%d_%s", pins.Fd(), ctx[skbDevice], role))
	}
	if err != nil {
		return nil, ctx, fmt.Errorf("open program %s of %s: %w", role, device, err)
	}
	return p, ctx, nil
}

// pinnedProgram is the program of a pinned link.
func pinnedProgram(path string) (*ebpf.Program, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	return ebpf.NewProgramFromID(info.Program)
}

// learn has routerd read answers of these addresses on their way to a client.
func (s *subject) learn(client net.HardwareAddr, addrs []netip.Addr) error {
	p, ctx, err := s.program(lab.LANDevice, "learn")
	if err != nil {
		return err
	}
	defer p.Close()
	return s.lab.Inside(lab.Router, func() error {
		for len(addrs) > 0 {
			n := min(len(addrs), answerAddresses)
			packet, err := s.answer(client, listedName, addrs[:n])
			if err != nil {
				return err
			}
			if _, err := p.Run(&ebpf.RunOptions{Data: packet, Context: ctx}); err != nil {
				return fmt.Errorf("give an answer: %w", err)
			}
			addrs = addrs[n:]
		}
		return nil
	})
}

// answer is a frame with an answer of A records to a client.
func (s *subject) answer(client net.HardwareAddr, name string, addrs []netip.Addr) ([]byte, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.Response, m.RecursionAvailable, m.Compress = true, true, true
	for _, a := range addrs {
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 86400}, A: a.AsSlice(),
		})
	}
	message, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("make an answer: %w", err)
	}
	return datagram{
		to: client, from: s.router, source: netip.MustParseAddrPort(lab.Resolver4 + ":53"),
		target: netip.AddrPortFrom(benchClient(), 40000), payload: message,
	}.frame(), nil
}
