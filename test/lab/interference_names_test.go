package lab_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/quic"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
	"github.com/routerd/routerd/test/lab/labtest"
)

// lookup asks a server with kdig; "" is that of client's resolv.conf. An answer
// that does not come is "timeout".
func lookup(t *testing.T, l *lab.Lab, server, name, kind string, options ...string) string {
	t.Helper()
	args := append([]string{"+time=2", "+retry=0", name, kind}, options...)
	if server != "" {
		args = append([]string{"@" + server}, args...)
	}
	out, err := l.Run(t.Context(), lab.Client, "kdig", args...)
	if err != nil || strings.Contains(string(out), "timeout") {
		return "timeout"
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 5 && f[3] == kind {
			found = append(found, f[4])
		}
		if strings.Contains(line, "NXDOMAIN") {
			found = append(found, "NXDOMAIN")
		}
	}
	return strings.Join(found, " ")
}

// servers are the resolvers that a client may ask, one of which does not exist:
// only a provider that turns lookups to itself answers in its name.
func servers() []string {
	return []string{lab.Resolver4, lab.Resolver6, lab.ISPResolver4, lab.ISPResolver6}
}

const noServer4, noServer6 = "22.8.8.77", "2d00:8::77"

func TestProvidersResolverAnswersTruly(t *testing.T) {
	l, known := troubledLab(t), names(t)
	for _, server := range servers()[2:] {
		for _, transport := range []string{"+notcp", "+tcp"} {
			for _, name := range []string{"www.okx.com", "news.example"} {
				if got, want := lookup(t, l, server, name, "A", transport), known[name].A[0].String(); got != want {
					t.Errorf("%s %s says that %s is %s, want %s", server, transport, name, got, want)
				}
			}
		}
	}
}

func TestRouterAsksTheResolverThatItWasTold(t *testing.T) {
	l := labtest.Up(t, lab.Options{DNS: lab.ISPDNS})
	begin(t, l, lab.Interference{Kind: interfere.DNSForge, Names: []string{"okx.com"}, Servers: addresses(lab.ISPResolver4, lab.ISPResolver6)})
	if got := lookup(t, l, "", "www.okx.com", "A"); got != lab.BlockPage4 {
		t.Errorf("the router's lookup gives %s", got)
	}
	if got := lookup(t, l, lab.Resolver4, "www.okx.com", "A"); got != names(t)["www.okx.com"].A[0].String() {
		t.Errorf("the public resolver says %s", got)
	}
	if _, err := lab.Up(t.Context(), lab.Options{DNS: "nobody's"}); err == nil || !strings.Contains(err.Error(), "use public or isp") {
		t.Errorf("error is %v", err)
	}
}

func addresses(all ...string) []netip.Addr {
	out := make([]netip.Addr, len(all))
	for i, a := range all {
		out[i] = netip.MustParseAddr(a)
	}
	return out
}

func TestForgedLookupsAreForgedWhereverTheyGo(t *testing.T) {
	l, known := troubledLab(t), names(t)
	a, aaaa := known["www.okx.com"].A[0].String(), known["www.okx.com"].AAAA[0].String()
	for _, x := range []struct {
		x       lab.Interference
		a, aaaa string
	}{
		{lab.Interference{}, lab.BlockPage4, lab.BlockPage6},
		{lab.Interference{Family: 4}, lab.BlockPage4, aaaa},
		{lab.Interference{Family: 6}, a, lab.BlockPage6},
		{lab.Interference{Answer: interfere.AnswerNXDomain}, "NXDOMAIN", "NXDOMAIN"},
		{lab.Interference{Answer: interfere.AnswerEmpty}, "", ""},
		{lab.Interference{Answer: "127.0.0.1,192.168.7.7"}, "127.0.0.1 192.168.7.7", ""},
	} {
		x.x.Kind, x.x.Names = interfere.DNSForge, []string{"okx.com"}
		undo := begin(t, l, x.x)
		for _, server := range append(servers(), noServer4, noServer6) {
			for _, transport := range []string{"+notcp", "+tcp"} {
				for kind, want := range map[string]string{"A": x.a, "AAAA": x.aaaa} {
					if got := lookup(t, l, server, "www.okx.com", kind, transport); got != want {
						t.Errorf("%s: %s %s says %q, want %q", x.x, server, transport, got, want)
					}
				}
				if got := lookup(t, l, server, "news.example", "A", transport); got != known["news.example"].A[0].String() {
					t.Errorf("%s: %s %s says that news.example is %q", x.x, server, transport, got)
				}
			}
		}
		undo()
		if got := lookup(t, l, lab.Resolver4, "www.okx.com", "A"); got != a {
			t.Errorf("%s, undone: %s", x.x, got)
		}
	}
}

func TestForgedNameLeadsToTheBlockPage(t *testing.T) {
	l := troubledLab(t)
	undo := begin(t, l, lab.Interference{Kind: interfere.DNSForge, Names: []string{"bybit.com"}, Family: 4})
	if status, page := visit(t, l, 4, "10", "http://api.bybit.com/"); status != curlOK || !strings.Contains(page, interfere.BlockPageText) {
		t.Errorf("HTTP ends %d: %s", status, page)
	}
	if status, page := visit(t, l, 4, "10", "https://api.bybit.com/"); status != curlUntrusted {
		t.Errorf("HTTPS ends %d: %s", status, page)
	}
	if got := labtest.Run(t, l, lab.Client, "sh", "-c", "openssl s_client -connect "+lab.BlockPage4+":443 -servername x </dev/null 2>/dev/null"); !strings.Contains(got, "subject=CN = "+lab.BlockPageName) {
		t.Errorf("openssl sees %s", got)
	}
	undo()
}

func TestLargeAnswersPassTheProviderWhole(t *testing.T) {
	l := troubledLab(t)
	begin(t, l, lab.Interference{Kind: interfere.DNSRedirect})
	for _, server := range []string{lab.Resolver4, lab.Resolver6} {
		for _, options := range [][]string{{"+bufsize=4096"}, {"+tcp"}} {
			if got := len(strings.Fields(lookup(t, l, server, lab.ManyAddresses, "AAAA", options...))); got != lab.ManyCount {
				t.Errorf("%s %v gives %d addresses", server, options, got)
			}
		}
	}
}

func TestRedirectedLookupsAreAnsweredInTheServersName(t *testing.T) {
	l := troubledLab(t)
	want := names(t)["www.okx.com"].A[0].String()
	undo := begin(t, l, lab.Interference{Kind: interfere.DNSRedirect, Family: 4})
	if four, six := lookup(t, l, noServer4, "www.okx.com", "A"), lookup(t, l, noServer6, "www.okx.com", "A"); four != want || six != "timeout" {
		t.Errorf("over IPv4 %s, IPv6 %s", four, six)
	}
	undo()
	if got := lookup(t, l, noServer4, "www.okx.com", "A"); got != "timeout" {
		t.Errorf("undone: %s", got)
	}
}

func TestDroppedLookupsAreNotAnswered(t *testing.T) {
	l, known := troubledLab(t), names(t)
	truth := known["www.okx.com"].A[0].String()
	for _, x := range []struct {
		x           lab.Interference
		listed      string // of A at the public resolver
		other, aaaa string // news.example; AAAA of the listed
	}{
		{lab.Interference{Names: []string{"okx.com"}}, "timeout", known["news.example"].A[0].String(), "timeout"},
		{lab.Interference{Names: []string{"okx.com"}, Family: 4}, "timeout", known["news.example"].A[0].String(), known["www.okx.com"].AAAA[0].String()},
		{lab.Interference{}, "timeout", "timeout", "timeout"},
		{lab.Interference{Servers: addresses(lab.ISPResolver4)}, truth, known["news.example"].A[0].String(), known["www.okx.com"].AAAA[0].String()},
	} {
		x.x.Kind = interfere.DNSDrop
		undo := begin(t, l, x.x)
		var all sync.WaitGroup
		expect := func(server, name, kind, transport, want string) {
			all.Go(func() {
				if got := lookup(t, l, server, name, kind, transport); got != want {
					t.Errorf("%s: %s %s says that %s %s is %s, want %s", x.x, server, transport, name, kind, got, want)
				}
			})
		}
		for _, transport := range []string{"+notcp", "+tcp"} {
			for _, server := range []string{lab.Resolver4, lab.Resolver6} {
				expect(server, "www.okx.com", "A", transport, x.listed)
				expect(server, "www.okx.com", "AAAA", transport, x.aaaa)
				expect(server, "news.example", "A", transport, x.other)
			}
			expect(lab.ISPResolver4, "www.okx.com", "A", transport, "timeout")
		}
		all.Wait()
		undo()
	}
}

func TestInjectedAnswerComesFirstAndTheTrueOneToo(t *testing.T) {
	l, known := troubledLab(t), names(t)
	begin(t, l, lab.Interference{Kind: interfere.DNSInject, Names: []string{"okx.com"}, Answer: "22.66.66.66,2d00:66::66"})
	for _, server := range servers() {
		for kind, want := range map[uint16][2]string{
			dns.TypeA:    {"22.66.66.66", known["www.okx.com"].A[0].String()},
			dns.TypeAAAA: {"2d00:66::66", known["www.okx.com"].AAAA[0].String()},
		} {
			if got := answers(t, l, server, "WwW.oKx.com.", kind, 2); !slices.Equal(got, want[:]) {
				t.Errorf("%s answers %v, want %v", server, got, want)
			}
		}
		if got := answers(t, l, server, "news.example.", dns.TypeA, 1); !slices.Equal(got, []string{known["news.example"].A[0].String()}) {
			t.Errorf("%s answers %v for another name", server, got)
		}
	}
}

// answers sends one query and waits for so many answers to it.
func answers(t *testing.T, l *lab.Lab, server, name string, kind uint16, count int) []string {
	t.Helper()
	var c net.Conn
	if err := l.InNetwork(lab.Client, func() (err error) {
		c, err = net.Dial("udp", net.JoinHostPort(server, "53"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	conn, query := &dns.Conn{Conn: c}, new(dns.Msg).SetQuestion(name, kind)
	if err := conn.WriteMsg(query); err != nil {
		t.Fatal(err)
	}
	var out []string
	for range count {
		m, err := conn.ReadMsg()
		if err != nil {
			t.Fatalf("%s about %s: %v after %v", server, name, err, out)
		}
		if m.Id != query.Id || m.Question[0] != query.Question[0] || len(m.Answer) != 1 {
			t.Fatalf("%s answers %v", server, m)
		}
		f := strings.Fields(m.Answer[0].String())
		out = append(out, f[len(f)-1])
	}
	return out
}

// pieces is a connection whose writes leave in segments of so many bytes.
type pieces struct {
	net.Conn
	size int
}

func (p *pieces) Write(b []byte) (int, error) {
	for part := range slices.Chunk(b, p.size) {
		if _, err := p.Conn.Write(part); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func TestHelloIsReadAcrossSegments(t *testing.T) {
	l, known := troubledLab(t), names(t)
	begin(t, l, lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com"}})
	n := known["www.okx.com"]
	for _, size := range []int{5, 50, 200, 1000} { // a hello of Go's is 1.5 KB, its name near the front
		for _, a := range []netip.Addr{n.A[0], n.AAAA[0]} {
			for name, want := range map[string]error{"www.okx.com": syscall.ECONNRESET, lab.SharedUnlisted: nil} {
				var c net.Conn
				if err := l.InNetwork(lab.Client, func() (err error) {
					c, err = net.Dial("tcp", netip.AddrPortFrom(a, 443).String())
					return err
				}); err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				err := tls.Client(&pieces{c, size}, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
				if !errors.Is(err, want) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("%s in segments of %d to %s: %v, want %v", name, size, a, err, want)
				}
				_ = c.Close()
			}
		}
	}
}

func TestResetsReachServersToo(t *testing.T) {
	l, n := troubledLab(t), names(t)["www.okx.com"]
	begin(t, l, lab.Interference{Kind: interfere.TLSReset, Names: []string{"okx.com"}})
	for _, a := range []netip.Addr{n.A[0], n.AAAA[0]} {
		at := netip.AddrPortFrom(a, 4433).String()
		var listener net.Listener
		if err := l.InNetwork(lab.Net, func() (err error) { listener, err = net.Listen("tcp", at); return err }); err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		got := make(chan error, 1)
		go func() {
			c, err := listener.Accept()
			if err == nil {
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = io.Copy(io.Discard, c)
				_ = c.Close()
			}
			got <- err
		}()
		if out, err := l.Run(t.Context(), lab.Client, "openssl", "s_client", "-connect", strings.Replace(at, "]", "]", 1), "-servername", "okx.com"); err == nil {
			t.Errorf("openssl ends well: %s", out)
		}
		if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server of %s sees %v", at, err)
		}
	}
}

// quicDial opens a QUIC connection from client.
func quicDial(t *testing.T, l *lab.Lab, to, name string, wait time.Duration) error {
	t.Helper()
	var e *quic.Endpoint
	family := "0.0.0.0:0"
	if strings.HasPrefix(to, "[") {
		family = "[::]:0"
	}
	if err := l.InNetwork(lab.Client, func() (err error) { e, err = quic.Listen("udp", family, nil); return err }); err != nil {
		t.Fatal(err)
	}
	gone, stop := context.WithCancel(context.Background())
	stop()
	defer e.Close(gone)
	ctx, end := context.WithTimeout(t.Context(), wait)
	defer end()
	c, err := e.Dial(ctx, "udp", to, &quic.Config{TLSConfig: &tls.Config{
		ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"lab"}, MinVersion: tls.VersionTLS13,
	}})
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	c.Abort(nil)
	return nil
}

func TestQUICIsDroppedByServerName(t *testing.T) {
	l, n := troubledLab(t), names(t)["www.okx.com"]
	certificate := selfSigned(t)
	for _, a := range []netip.Addr{n.A[0], n.AAAA[0]} {
		at := netip.AddrPortFrom(a, 443).String()
		var e *quic.Endpoint
		if err := l.InNetwork(lab.Net, func() (err error) {
			e, err = quic.Listen("udp", at, &quic.Config{TLSConfig: &tls.Config{
				Certificates: []tls.Certificate{certificate}, NextProtos: []string{"lab"}, MinVersion: tls.VersionTLS13,
			}})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		gone, stop := context.WithCancel(context.Background())
		stop()
		defer e.Close(gone)
		undo := begin(t, l, lab.Interference{Kind: interfere.QUICDrop, Names: []string{"okx.com"}})
		if err := quicDial(t, l, at, "www.okx.com", time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("QUIC to %s: %v", at, err)
		}
		if err := quicDial(t, l, at, lab.SharedUnlisted, 10*time.Second); err != nil {
			t.Errorf("QUIC of another name to %s: %v", at, err)
		}
		undo()
		if err := quicDial(t, l, at, "www.okx.com", 10*time.Second); err != nil {
			t.Errorf("undone, QUIC to %s: %v", at, err)
		}
	}
}
