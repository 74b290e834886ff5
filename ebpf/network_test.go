package ebpf

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/routerd/routerd/internal/owned"
)

// network is a client, a router that translates addresses, and a provider with
// a resolver, in namespaces of their own, and a data plane on the router.
type network struct {
	*DataPlane
	client, router, provider netns.NsHandle
	tables                   *Tables
	resolver                 *answering // routerd's own, nil: there is none
	theirs                   *answering // the provider's
}

// What the resolvers of the network answer for every name.
const (
	ourAnswer   = "198.51.100.99"
	theirAnswer = "192.0.2.66"
)

// The network's addresses.
const (
	lanRouter, lanRouter6 = "192.168.1.1", "2001:db8:aaaa::1"
	wanRouter, wanRouter6 = "198.18.0.2", "2001:db8:53::2"
	providers, providers6 = "198.18.0.53", "2001:db8:53::53"
)

// answering is a DNS server that answers every name by one address, and notes
// who was meant.
type answering struct {
	addr  string
	asked atomic.Pointer[func(client netip.AddrPort, m *dns.Msg, network string)]
	stop  []func() error
}

func (a *answering) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	out := new(dns.Msg)
	out.SetReply(m)
	network := w.RemoteAddr().Network()
	if asked := a.asked.Load(); asked != nil {
		client := netip.MustParseAddrPort(w.RemoteAddr().String())
		(*asked)(netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), m, network)
	}
	if m.Question[0].Qtype == dns.TypeA {
		out.Answer = []dns.RR{record(m.Question[0].Name + " 300 IN A " + a.addr)}
	}
	_ = w.WriteMsg(out)
}

// answer starts a server on UDP and TCP, both families.
func answerAt(t testing.TB, ns netns.NsHandle, addr string, port int) *answering {
	t.Helper()
	a := &answering{addr: addr}
	inside(t, ns, func() {
		for _, family := range []string{"4", "6"} {
			c, err := net.ListenUDP("udp"+family, &net.UDPAddr{Port: port})
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.ListenTCP("tcp"+family, &net.TCPAddr{Port: port})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []*dns.Server{{PacketConn: c, Handler: a}, {Listener: l, Handler: a}} {
				started := make(chan struct{})
				s.NotifyStartedFunc = func() { close(started) }
				go func() { _ = s.ActivateAndServe() }() // ends by stop
				<-started
				a.stop = append(a.stop, s.Shutdown)
			}
		}
	})
	t.Cleanup(a.close)
	return a
}

func (a *answering) close() {
	for _, stop := range a.stop {
		_ = stop()
	}
	a.stop = nil
}

// newNetwork makes the network, its data plane attached, with a resolver for
// what asks for closed.example.
func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{router: enterNetns(t)}
	n.client, n.provider = otherNetns(t, n.router), otherNetns(t, n.router)
	cable(t, n.router, "lan0", lanRouter+"/24", lanRouter6+"/64", n.client, "eth0", "192.168.1.10/24", alice6.String()+"/64")
	cable(t, n.router, "wan0", wanRouter+"/24", wanRouter6+"/64", n.provider, "eth0", providers+"/24", providers6+"/64")
	route(t, n.client, lanRouter, lanRouter6)
	route(t, n.router, providers, providers6)
	for path, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/lo/accept_local": "1",
		"ipv4/conf/all/rp_filter": "1", "ipv4/conf/wan0/rp_filter": "1",
	} {
		if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	nft(t, `
table inet nat {
	chain post {
		type nat hook postrouting priority 100
		oifname "wan0" masquerade
	}
}
table inet filter {
	chain in {
		type filter hook input priority 0; policy drop
		ct state established,related accept
		iifname { "lo", "lan0" } accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
}`)
	n.theirs = answerAt(t, n.provider, theirAnswer, 53)
	n.resolver = answerAt(t, n.router, ourAnswer, resolverPort)
	n.open(t)
	return n
}

func (n *network) open(t testing.TB) {
	t.Helper()
	n.DataPlane = mustOpen(t, testOptions(t))
	dest, err := n.Destinations([]string{"closed"})
	if err != nil {
		t.Fatal(err)
	}
	lan, err := netlink.LinkByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	n.tables = &Tables{
		Slots: map[Destination]Slot{dest["closed"]: {Path: tunnelA, Closed: true, Resolve: true}},
		Names: []NameRule{{Name: "closed.example", Suffix: Chain{{Destination: dest["closed"]}}}},
		Own:   true,
		Resolver: []ResolverAddress{
			{Ifindex: lan.Attrs().Index, V4: netip.MustParseAddr(lanRouter), V6: netip.MustParseAddr(lanRouter6), Port: resolverPort},
			{Ifindex: loIndex, Port: resolverPort},
		},
	}
	mustSet(t, n.DataPlane, n.tables)
	if err := attachNow(n.DataPlane, []string{"lan0"}, []string{"wan0"}, true); err != nil {
		t.Fatal(err)
	}
}

// otherNetns makes a namespace and stays in the one that it is called in.
func otherNetns(t testing.TB, here netns.NsHandle) netns.NsHandle {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	up(t, "lo")
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	return ns
}

// cable joins two namespaces by devices with one address of each family.
func cable(t testing.TB, here netns.NsHandle, name, v4, v6 string, there netns.NsHandle, peer, peer4, peer6 string) {
	t.Helper()
	l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer, PeerNamespace: netlink.NsFd(there)}
	if err := netlink.LinkAdd(l); err != nil {
		t.Fatal(err)
	}
	inside(t, here, func() { address(t, name, v4, v6) })
	inside(t, there, func() { address(t, peer, peer4, peer6) })
}

func address(t testing.TB, device string, addrs ...string) {
	t.Helper()
	l := up(t, device)
	for _, a := range addrs {
		parsed, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		parsed.Flags = 0x02 // IFA_F_NODAD
		if err := netlink.AddrAdd(l, parsed); err != nil {
			t.Fatal(err)
		}
	}
}

func route(t testing.TB, ns netns.NsHandle, gateways ...string) {
	t.Helper()
	inside(t, ns, func() {
		for _, gw := range gateways {
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}); err != nil {
				t.Fatalf("route by %s: %v", gw, err)
			}
		}
	})
}

func nft(t testing.TB, rules string) {
	t.Helper()
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// kdig asks with a program that checks from whom answers come.
func kdig(t testing.TB, ns netns.NsHandle, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("kdig"); err != nil {
		t.Fatalf("%v: `./scripts/test` installs it", err)
	}
	var out []byte
	inside(t, ns, func() {
		out, _ = exec.Command("kdig", append([]string{"+short", "+retry=0", "+time=5"}, args...)...).CombinedOutput()
	})
	return strings.TrimSpace(string(out))
}

func TestClientsGetAnswersFromWhomTheyAsked(t *testing.T) {
	n := newNetwork(t)
	for _, server := range []string{providers, providers6} {
		for name, want := range map[string]string{"www.closed.example": ourAnswer, "www.example": theirAnswer} {
			for _, how := range []string{"+notcp", "+tcp"} {
				if how == "+tcp" {
					want = ourAnswer // a real resolver relays unlisted names
				}
				if got := kdig(t, n.client, how, "@"+server, name); got != want {
					t.Errorf("%s %s of %s: %q, want %s", how, name, server, got, want)
				}
			}
		}
	}
	if got := kdig(t, n.client, "+notcp", "@"+lanRouter, "closed.example"); got != ourAnswer {
		t.Errorf("of the router: %q, want %s", got, ourAnswer)
	}
	n.checkVerified(t, ourAnswer, n.only(t))
}

// only is the client that the grants are of.
func (n *network) only(t testing.TB) Client {
	t.Helper()
	grants, err := n.Grants()
	if err != nil || len(grants) == 0 {
		t.Fatalf("grants %v, %v", grants, err)
	}
	return grants[0].Client
}

// What NAT decided for one query of a socket says nothing of the next.
func TestOneSocketAsksForListedAndUnlistedNamesInTurn(t *testing.T) {
	n := newNetwork(t)
	for _, server := range []string{providers, providers6} {
		var conn net.Conn
		var err error
		inside(t, n.client, func() { conn, err = net.Dial("udp", net.JoinHostPort(server, "53")) })
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := &dns.Conn{Conn: conn}
		for i, name := range []string{"a.example", "closed.example", "b.example", "c.example", "www.closed.example", "d.example"} {
			want := theirAnswer
			if strings.HasSuffix(name, "closed.example") {
				want = ourAnswer
			}
			m := query(name, dns.TypeA)
			m.Id = uint16(i)
			if got := exchange(t, c, m); got != want {
				t.Fatalf("%s of %s: %s, want %s", name, server, got, want)
			}
		}
	}
}

// exchange asks on a connection and gives the address in the answer.
func exchange(t testing.TB, c *dns.Conn, m *dns.Msg) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReadMsg()
	if err != nil || got.Id != m.Id || len(got.Answer) != 1 {
		t.Fatalf("answer %v, %v", got, err)
	}
	return got.Answer[0].(*dns.A).A.String()
}

func TestTheResolverLearnsWhomTheClientAsked(t *testing.T) {
	n := newNetwork(t)
	var mu gosync.Mutex
	var meant []string
	asked := func(client netip.AddrPort, m *dns.Msg, network string) {
		at, ok := n.OriginalServer(client, netip.AddrPort{})
		if network == "udp" {
			at, ok = n.OriginalUDP(client, netip.AddrPort{}, m.Id)
		}
		mu.Lock()
		defer mu.Unlock()
		meant = append(meant, fmt.Sprint(network, " ", at, " ", ok))
	}
	n.resolver.asked.Store(&asked)
	for _, how := range []string{"+notcp", "+tcp"} {
		for _, server := range []string{providers, providers6, lanRouter} {
			kdig(t, n.client, how, "@"+server, "closed.example")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	diff(t, meant, []string{
		"udp 198.18.0.53:53 true", "udp [2001:db8:53::53]:53 true", "udp 192.168.1.1:53 true",
		"tcp 198.18.0.53:53 true", "tcp [2001:db8:53::53]:53 true", "tcp 192.168.1.1:53 true",
	})
	if s, err := n.Stats(); err != nil || s.Queries != 3 || s.Streams != 3 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}

// Killed, routerd takes no name with it but the listed ones.
func TestWithoutTheResolverOnlyListedNamesFail(t *testing.T) {
	n := newNetwork(t)
	n.resolver.close()
	for _, server := range []string{providers, providers6} {
		if got := kdig(t, n.client, "+notcp", "@"+server, "example"); got != theirAnswer {
			t.Errorf("unlisted: %q", got)
		}
		if got := kdig(t, n.client, "+tcp", "@"+server, "example"); got != theirAnswer {
			t.Errorf("unlisted, TCP: %q", got)
		}
		begin := time.Now()
		got := kdig(t, n.client, "+notcp", "+noshort", "+all", "@"+server, "closed.example")
		if !strings.Contains(got, "SERVFAIL") || time.Since(begin) > 4*time.Second {
			t.Errorf("listed, after %s: %q", time.Since(begin), got)
		}
	}
}

// The router's own: what its programs ask on lo, and what its own resolver asks
// the provider's.
func TestTheRoutersOwnQueries(t *testing.T) {
	n := newNetwork(t)
	n.dnsmasq(t)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"of a program, to lo", []string{"@127.0.0.1", "closed.example"}, ourAnswer},
		{"of a program, to lo, IPv6", []string{"@::1", "closed.example"}, ourAnswer},
		{"of a program, to an address of the router", []string{"@" + lanRouter, "closed.example"}, ourAnswer},
		{"of a program, to the provider", []string{"@" + providers, "closed.example"}, ourAnswer},
		{"of a program, to the provider, IPv6", []string{"@" + providers6, "closed.example"}, ourAnswer},
		{"of a program, to the provider, unlisted", []string{"@" + providers, "example"}, theirAnswer},
		{"of dnsmasq", []string{"@127.0.0.1", "-p", "5353", "one.closed.example"}, ourAnswer},
		{"of dnsmasq, unlisted", []string{"@127.0.0.1", "-p", "5353", "one.example"}, theirAnswer},
		{"of dnsmasq, on lo, unlisted", []string{"@127.0.0.1", "two.example"}, theirAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := kdig(t, n.router, append([]string{"+notcp"}, c.args...)...); got != c.want {
				t.Errorf("%q, want %s", got, c.want)
			}
		})
	}
	n.checkVerified(t, ourAnswer, ClientSelf)
	t.Run("without the resolver", func(t *testing.T) {
		n.resolver.close()
		for _, args := range [][]string{{"@127.0.0.1"}, {"@" + providers}, {"@" + providers6}, {"@127.0.0.1", "-p", "5353"}} {
			if got := kdig(t, n.router, append([]string{"+notcp", "+noshort", "+all", "three.closed.example"}, args...)...); !strings.Contains(got, "SERVFAIL") {
				t.Errorf("%v: %q", args, got)
			}
		}
	})
}

// dnsmasq answers on ports 53 and 5353, and asks the provider.
func (n *network) dnsmasq(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		t.Fatalf("%v: `./scripts/test` installs it", err)
	}
	for _, port := range []string{"53", "5353"} {
		inside(t, n.router, func() {
			c := exec.Command(path, "-k", "-C", "/dev/null", "-R", "-h", "-p", port, "-c", "0", "-S", providers, "-u", "root",
				"-x", filepath.Join(t.TempDir(), "pid"))
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = c.Process.Kill()
				_ = c.Wait()
			})
		})
		for deadline := time.Now().Add(answerTimeout); kdig(t, n.router, "@127.0.0.1", "-p", port, "up.example") != theirAnswer; {
			if time.Now().After(deadline) {
				t.Fatal("dnsmasq does not answer")
			}
		}
	}
}

// The resolver's own upstreams are asked by the path that its sockets name.
func TestQueriesWithAPathsMarkAreNotTurned(t *testing.T) {
	n := newNetwork(t)
	nft(t, fmt.Sprintf(`
table inet marks {
	chain out {
		type route hook output priority -150
		udp dport 53 meta mark set %#x
	}
}`, uint32(owned.DefaultMask.Mark(owned.PathDirect))))
	if got := kdig(t, n.router, "+notcp", "@"+providers, "closed.example"); got != theirAnswer {
		t.Errorf("%q, want %s", got, theirAnswer)
	}
}
