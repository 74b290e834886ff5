package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Who is where. routerd never learns private or reserved addresses, so that the
// internet's look like real ones.
const (
	clientAddress = "192.168.1.10"
	tunnelAddress = "10.50.0.2" // the router's, in the tunnel
	resolver      = "22.8.8.8"
	exitAddress   = "22.50.0.1"
	exitPort      = 51820
)

// world is the network, and a routerd in it.
type world struct {
	*testing.T
	dir                       string // of settings, socket and state
	client, router, net, exit *host
	installed                 string // the routerd that runs
	slow                      bool   // its option flow_offload is off
	daemon                    *exec.Cmd
	began                     time.Time // of daemon
	log                       string
}

// host is one network namespace.
type host struct {
	ns netns.NsHandle
	*netlink.Handle
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	for _, h := range []**host{&w.client, &w.router, &w.net, &w.exit} {
		*h = newHost(t)
	}
	w.cable(w.client, "eth0", "192.168.1.10/24", w.router, "br-lan", "192.168.1.1/24")
	w.cable(w.router, "wan", "22.100.0.2/24", w.net, "cust", "22.100.0.1/24")
	w.cable(w.net, "exit", "22.50.0.2/24", w.exit, "wan", exitAddress+"/24")
	w.route(w.client, "0.0.0.0/0", "192.168.1.1")
	w.route(w.router, "0.0.0.0/0", "22.100.0.1")
	w.route(w.exit, "0.0.0.0/0", "22.50.0.2")
	w.route(w.net, "192.168.1.0/24", "22.100.0.2")
	w.route(w.net, tunnelAddress+"/32", exitAddress)
	w.local(w.net, "22.10.0.0/16")
	w.local(w.net, resolver+"/32")
	for _, h := range []*host{w.router, w.net, w.exit} {
		w.in(h, func() { w.must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)) })
	}
	w.serve()
	w.serveServices()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func newHost(t *testing.T) *host {
	t.Helper()
	made := make(chan error, 1)
	h := &host{}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with it
		var err error
		h.ns, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make network namespace (root is needed): %v", err)
	}
	var err error
	if h.Handle, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		h.ns.Close()
	})
	lo, err := h.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	return h
}

// in runs f on a thread of a host, and waits for it.
func (w *world) in(h *host, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if err := netns.Set(h.ns); err != nil {
			w.Error(err)
			return
		}
		f()
	}()
	<-done
}

func (w *world) cable(a *host, aName, aNet string, b *host, bName, bNet string) {
	w.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	w.must(a.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns)}))
	w.address(a, aName, aNet)
	w.address(b, bName, bNet)
}

func (w *world) address(h *host, name, cidr string) {
	w.Helper()
	link, err := h.LinkByName(name)
	w.must(err)
	addr, err := netlink.ParseAddr(cidr)
	w.must(err)
	w.must(h.AddrAdd(link, addr))
	w.must(h.LinkSetUp(link))
}

func (w *world) route(h *host, to, via string) {
	w.Helper()
	dst, err := netlink.ParseIPNet(to)
	w.must(err)
	w.must(h.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}))
}

// local lets a host answer on all addresses of a network.
func (w *world) local(h *host, cidr string) {
	w.Helper()
	dst, err := netlink.ParseIPNet(cidr)
	w.must(err)
	lo, err := h.LinkByName("lo")
	w.must(err)
	w.must(h.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: 2 /* RTN_LOCAL */, Table: 255, Scope: netlink.SCOPE_HOST}))
}

// serve starts the internet: servers that tell a client its address, and a
// resolver that gives each name an address of its own.
func (w *world) serve() {
	w.in(w.net, func() {
		listener, err := net.Listen("tcp4", ":80")
		w.must(err)
		w.Cleanup(func() { listener.Close() })
		go func() { // ends with the listener
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go answer(c)
			}
		}()
		pc, err := net.ListenPacket("udp4", resolver+":53")
		w.must(err)
		tcp, err := net.Listen("tcp4", resolver+":53")
		w.must(err)
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: dns.HandlerFunc(resolve)}, {Listener: tcp, Handler: dns.HandlerFunc(resolve)}} {
			go func() { _ = s.ActivateAndServe() }()
			w.Cleanup(func() { _ = s.Shutdown() })
		}
	})
}

// answer speaks with one client: "who" gives its address, "send" an endless
// stream, "echo" each line again.
func answer(c net.Conn) {
	defer c.Close()
	from := bufio.NewReader(c)
	word, err := from.ReadString('\n')
	if err != nil {
		return
	}
	switch strings.TrimSpace(word) {
	case "who":
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		fmt.Fprintln(c, host)
	case "send":
		block := make([]byte, 64<<10)
		for err == nil {
			_, err = c.Write(block)
		}
	case "echo":
		_, _ = io.Copy(c, from)
	}
}

// addressOf is what the resolver answers for a name: nN.ANYTHING.
func addressOf(name string) netip.Addr {
	var n int
	_, _ = fmt.Sscanf(name, "n%d.", &n)
	third := byte(n >> 8)
	if strings.HasSuffix(strings.TrimSuffix(name, "."), "plain.example") {
		third |= 0x80
	}
	return netip.AddrFrom4([4]byte{22, 10, third, byte(n)})
}

func resolve(rw dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	if q.IsEdns0() != nil { // an answer without it would be doubted, and asked for again
		m.SetEdns0(dns.DefaultMsgSize, false)
	}
	if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
			A:   addressOf(strings.ToLower(q.Question[0].Name)).AsSlice(),
		})
	}
	_ = rw.WriteMsg(m)
}

// raiseExit gives the exit its WireGuard device, the kernel's, and gives the
// router's settings of the tunnel.
func (w *world) raiseExit() string {
	w.Helper()
	exitKey, err := wgtypes.GeneratePrivateKey()
	w.must(err)
	routerKey, err := wgtypes.GeneratePrivateKey()
	w.must(err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wg0"
	if err := w.exit.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err != nil {
		w.Fatalf("this kernel has no WireGuard: %v", err)
	}
	w.in(w.exit, func() {
		c, err := wgctrl.New()
		w.must(err)
		defer c.Close()
		port := exitPort
		_, inner, _ := net.ParseCIDR(tunnelAddress + "/32")
		w.must(c.ConfigureDevice("wg0", wgtypes.Config{
			PrivateKey: &exitKey, ListenPort: &port,
			Peers: []wgtypes.PeerConfig{{PublicKey: routerKey.PublicKey(), AllowedIPs: []net.IPNet{*inner}}},
		}))
	})
	w.address(w.exit, "wg0", "10.50.0.1/24")
	return fmt.Sprintf(`
config tunnel 'home'
	option private_key '%s'
	list address '%s/32'
	option public_key '%s'
	option endpoint '%s:%d'
	option persistent_keepalive '25'
`, routerKey, tunnelAddress, exitKey.PublicKey(), exitAddress, exitPort)
}
