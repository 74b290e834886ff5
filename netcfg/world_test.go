package netcfg

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// limit is how long a test waits for what must happen.
const limit = 5 * time.Second

// world is a LAN client, a router in whose namespace the test stands, the
// internet behind its WAN, and the far end of its tunnel, all joined by veth.
// The same addresses answer on the internet and at the tunnel's end.
type world struct {
	router, client, inet, exit netns.NsHandle
	// patience is how long a connection may take.
	patience time.Duration
}

// target is a server that inet and exit both are.
const (
	target4 = "203.0.113.5"
	target6 = "2001:db8:ffff::5"
)

// quickStart spares a namespace the second in which IPv6 looks for doubles.
const quickStart = `
sysctl -qw net.ipv6.conf.default.accept_dad=0
sysctl -qw net.ipv6.conf.default.dad_transmits=0
ip link set lo up`

func newWorld(t *testing.T) *world {
	t.Helper()
	enterNetns(t)
	w := &world{patience: limit}
	var err error
	if w.router, err = netns.Get(); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*netns.NsHandle{&w.client, &w.inet, &w.exit} {
		if *ns, err = netns.New(); err != nil {
			t.Fatal(err)
		}
		run(t, quickStart)
		handle := *ns
		t.Cleanup(func() { handle.Close() })
	}
	w.enter(t, w.router)
	run(t, quickStart)
	w.link(t, "br-lan", w.client, "192.168.1.1/24", "2001:db8:1::1/64", "192.168.1.40/24", "2001:db8:1::40/64")
	w.link(t, "wan", w.inet, "198.51.100.2/24", "2001:db8:2::2/64", "198.51.100.1/24", "2001:db8:2::1/64")
	w.link(t, "rd-home", w.exit, "10.9.0.2/24", "fd09::2/64", "10.9.0.1/24", "fd09::1/64")
	run(t, `
ip link set rd-home mtu 1420
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv6.conf.all.forwarding=1
sysctl -qw net.ipv4.conf.all.rp_filter=1
ip route add default via 198.51.100.1
ip -6 route add default via 2001:db8:2::1
nft add table inet wan
nft add chain inet wan post { type nat hook postrouting priority 100 ; }
nft add rule inet wan post oifname wan masquerade`)
	w.proxyNeighbours(t)
	w.in(t, w.client, func() {
		run(t, `
ip route add default via 192.168.1.1
ip -6 route add default via 2001:db8:1::1
ping -q -c 1 -W 3 192.168.1.1
ping -q -c 1 -W 3 2001:db8:1::1`)
	})
	for _, ns := range []netns.NsHandle{w.inet, w.exit} {
		w.in(t, ns, func() {
			input(t, `
table inet seen {
	chain pre {
		type filter hook prerouting priority 0;
		ip daddr `+target4+` counter
		ip6 daddr `+target6+` counter
	}
}`, "nft", "-f", "-")
			run(t, `
ip addr add `+target4+`/32 dev lo
ip addr add `+target6+`/128 dev lo nodad`)
		})
	}
	return w
}

// link makes one veth pair, its far end named uplink in the other namespace.
func (w *world) link(t *testing.T, name string, far netns.NsHandle, near4, near6, far4, far6 string) {
	t.Helper()
	w.in(t, far, func() {
		run(t, fmt.Sprintf("ip link add uplink type veth peer name %s netns /proc/%d/task/%d/fd/%d",
			name, unix.Getpid(), unix.Gettid(), int(w.router)))
		run(t, "ip addr add "+far4+" dev uplink\nip addr add "+far6+" dev uplink nodad\nip link set uplink up")
	})
	run(t, fmt.Sprintf("ip addr add %s dev %s\nip addr add %s dev %s nodad\nip link set %s up",
		near4, name, near6, name, name))
}

// proxyNeighbours lets packets leave by rd-home with no gateway, as they do on
// a device without Ethernet: the far end answers for every address.
func (w *world) proxyNeighbours(t *testing.T) {
	t.Helper()
	w.in(t, w.exit, func() {
		run(t, `
sysctl -qw net.ipv4.conf.uplink.proxy_arp=1
sysctl -qw net.ipv4.neigh.uplink.proxy_delay=0
sysctl -qw net.ipv6.neigh.uplink.proxy_delay=0
sysctl -qw net.ipv4.conf.all.arp_ignore=0
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv6.conf.all.forwarding=1
sysctl -qw net.ipv6.conf.all.proxy_ndp=1
ip -6 neigh add proxy `+target6+` dev uplink
ip route add default via 10.9.0.2`)
	})
}

func (w *world) enter(t *testing.T, ns netns.NsHandle) {
	t.Helper()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
}

// in runs f in a namespace; sockets that f opens stay there.
func (w *world) in(t *testing.T, ns netns.NsHandle, f func()) {
	t.Helper()
	w.enter(t, ns)
	defer w.enter(t, w.router)
	f()
}

// state is what a daemon with one tunnel asks for.
func (w *world) state() Desired {
	d := desired()
	d.Paths = d.Paths[:3]
	d.Own = nil
	return d
}

// mark does what the BPF programs do: the client's packets to the target get
// the mark of a path.
func (w *world) mark(t *testing.T, d Desired, path int) {
	t.Helper()
	input(t, fmt.Sprintf(`
table inet bpf
delete table inet bpf
table inet bpf {
	chain pre {
		type filter hook prerouting priority raw; policy accept;
		iifname "br-lan" ip daddr %s meta mark set meta mark & %#x | %#x
		iifname "br-lan" ip6 daddr %s meta mark set meta mark & %#x | %#x
	}
}`, target4, ^uint32(d.Mask), path<<d.Mask.Shift(), target6, ^uint32(d.Mask), path<<d.Mask.Shift()),
		"nft", "-f", "-")
}

// unmark stops it.
func (w *world) unmark(t *testing.T) { run(t, "nft delete table inet bpf") }

// accepted is one connection that a server took.
type accepted struct {
	from netip.Addr
	mss  int
	conn net.Conn
}

// serve accepts connections to the target in a namespace and echoes.
func (w *world) serve(t *testing.T, ns netns.NsHandle, target string) <-chan accepted {
	t.Helper()
	var l net.Listener
	w.in(t, ns, func() {
		var err error
		if l, err = net.Listen("tcp", net.JoinHostPort(target, "80")); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { l.Close() })
	got := make(chan accepted, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got <- accepted{c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(), maxSegment(c), c}
			go io.Copy(c, c)
			t.Cleanup(func() { c.Close() })
		}
	}()
	return got
}

// maxSegment is what the socket sends at the most, which is what the other
// side's SYN allowed.
func maxSegment(c net.Conn) int {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0
	}
	mss := 0
	raw.Control(func(fd uintptr) { mss, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
	return mss
}

// dial connects from a namespace.
func (w *world) dial(t *testing.T, ns netns.NsHandle, target string) (net.Conn, error) {
	t.Helper()
	var c net.Conn
	var err error
	w.in(t, ns, func() {
		// A dialer with a context would connect on another thread.
		c, err = dialHere("tcp", netip.MustParseAddr(target), 80, w.patience)
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(limit))
	}
	return c, err
}

// dialHere opens the socket on the calling thread, whose namespace it takes.
func dialHere(network string, a netip.Addr, port int, patience time.Duration) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := net.Dialer{Timeout: patience, FallbackDelay: -1}
	return d.DialContext(context.Background(), network, netip.AddrPortFrom(a, uint16(port)).String())
}

func mustDial(t *testing.T, w *world, ns netns.NsHandle, target string) net.Conn {
	t.Helper()
	c, err := w.dial(t, ns, target)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return c
}

// echo sends and expects the same back.
func echo(c net.Conn) error {
	c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

func receive(t *testing.T, from <-chan accepted, where string) accepted {
	t.Helper()
	select {
	case a := <-from:
		return a
	case <-time.After(limit):
		t.Fatalf("nothing arrived at the %s", where)
	}
	return accepted{}
}

// arrived counts the packets to the target that came to a namespace.
func (w *world) arrived(t *testing.T, ns netns.NsHandle) (n int) {
	t.Helper()
	w.in(t, ns, func() {
		for _, m := range regexp.MustCompile(`packets (\d+)`).FindAllStringSubmatch(run(t, "nft list table inet seen"), -1) {
			v, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			n += v
		}
	})
	return n
}

// nothing fails when a packet to the target came to a namespace during f.
func (w *world) nothing(t *testing.T, ns netns.NsHandle, where string, f func()) {
	t.Helper()
	before := w.arrived(t, ns)
	f()
	if n := w.arrived(t, ns) - before; n > 0 {
		t.Errorf("%d packets arrived at the %s", n, where)
	}
}

// flavours runs a test with each firewall.
func flavours(t *testing.T, f func(t *testing.T, opts []Option)) {
	t.Helper()
	for name, opts := range map[string][]Option{
		"nftables":        {WithFirewall(NFTables)},
		"iptables-nft":    {WithFirewall(IPTables), WithIPTablesCommands("iptables-nft", "ip6tables-nft")},
		"iptables-legacy": {WithFirewall(IPTables), WithIPTablesCommands("iptables-legacy", "ip6tables-legacy")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each world takes its second to come up
			f(t, opts)
		})
	}
}

// targets runs a part of a test for each family.
func targets(t *testing.T, f func(target, tunnelAddr string, headers int)) {
	t.Helper()
	f(target4, "10.9.0.2", headersIPv4)
	f(target6, "fd09::2", headersIPv6)
}
