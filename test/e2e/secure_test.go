package e2e_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// forged are suffixes of the catalogue that the tests' listed names are below.
func forged() []string {
	return []string{"binance.com", "okx.com", "bybit.com", "kraken.com", "braiins.com", "f2pool.com"}
}

// interfere has the provider or a service interfere until the test ends.
func (w *world) interfere(x lab.Interference) (undo func()) {
	w.Helper()
	end, err := w.lab.Interfere(context.Background(), x)
	if err != nil {
		w.Fatal(err)
	}
	undo = func() {
		if err := end(); err != nil {
			w.Error(err)
		}
	}
	w.Cleanup(undo)
	return undo
}

// packed is a query in wire form.
func packed(t *testing.T, id uint16, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		t.Fatal(err)
	}
	q := dnsmessage.Question{Name: dnsmessage.MustNewName(name + "."), Type: kind, Class: dnsmessage.ClassINET}
	if err := b.Question(q); err != nil {
		t.Fatal(err)
	}
	msg, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// exchange sends messages one after the other from one socket of a host, and
// gives the answer to each, octet by octet.
func (w *world) exchange(host, server string, messages ...[]byte) [][]byte {
	w.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "exec 3<>/dev/udp/%s/53\n", server)
	for _, m := range messages {
		var octets strings.Builder
		for _, b := range m {
			fmt.Fprintf(&octets, `\x%02x`, b)
		}
		fmt.Fprintf(&script, "printf '%s' >&3\ntimeout 4 dd bs=4096 count=1 status=none <&3 | od -An -v -tx1 | tr -d ' \\n'\necho\n", octets.String())
	}
	lines := strings.Split(strings.TrimSuffix(w.on(host, "bash", "-c", script.String()), "\n"), "\n")
	out := make([][]byte, len(messages))
	for i := range min(len(lines), len(out)) {
		var err error
		if out[i], err = hex.DecodeString(lines[i]); err != nil {
			w.Fatalf("answer %d: %v in %q", i, err, lines[i])
		}
	}
	return out
}

// answered reads the addresses and the response code of an answer.
func answered(t *testing.T, raw []byte) (id uint16, code dnsmessage.RCode, addrs []netip.Addr) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		t.Fatalf("%v in an answer of %d octets", err, len(raw))
	}
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			addrs = append(addrs, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addrs = append(addrs, netip.AddrFrom16(body.AAAA))
		}
	}
	return m.ID, m.RCode, addrs
}

// settled waits until all names with fixed hosts have been looked up.
func (w *world) settled() {
	w.Helper()
	within(w.T, time.Minute, "all known hosts have been looked up", func() bool {
		s, ok := w.tryStatus()
		return ok && s.DNS.Hosts > 0 && s.DNS.Pending == 0
	})
}

func TestListedNamesHaveTrueAddressesWhateverTheProviderSays(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{DNS: lab.ISPDNS}), usualSettings)
	plain := lab.PlainNames()[:100]
	before := w.plainAnswers(plain)
	w.interfere(lab.Interference{Kind: interfere.DNSForge, Names: forged()})
	names := append(lab.FreshNames()[200:300], "www.binance.com", "stratum.braiins.com", "btc.f2pool.com")
	// The router's dnsmasq, a public resolver, and one that does not exist.
	for _, server := range []string{"", lab.Resolver4 + ":53", "22.8.8.77:53", "[" + lab.Resolver6 + "]:53"} {
		for _, family := range families() {
			var options []string
			if server != "" {
				options = []string{"--dns", server}
			}
			for _, r := range w.burst(lab.Client, family, names[:100], options...) {
				if way(r) != overHome {
					t.Errorf("IPv%d, server %q: %s (%s) went %s: %s", family, server, r.Name, r.Address, way(r), r.Error)
				}
			}
		}
	}
	w.goes(lab.Client2, overHome, "www.binance.com")
	w.mine(lab.Client, "stratum.braiins.com:3333").unbroken()
	w.goes(lab.Router, overHome, "n00304.fresh.binance.com")
	w.goes(lab.Client, directly, plain[:10]...)
	w.noLeak(names...)
	after := w.plainAnswers(plain)
	for i, name := range plain {
		if string(before[i]) != string(after[i]) {
			t.Errorf("the answer for %s was\n%x, now\n%x", name, before[i], after[i])
		}
	}
	if n := w.packets(lab.ISP, address4(lab.BlockPage4)); n > 0 {
		t.Errorf("%d packets to the block page", n)
	}
	w.tellsOfForgery()
}

// tellsOfForgery fails unless doctor compares the provider's answers with the
// trusted ones.
func (w *world) tellsOfForgery() {
	w.Helper()
	if err := w.lab.WriteFile(lab.Router, "/etc/resolv.conf", []byte("nameserver 127.0.0.1\nnameserver "+lab.ISPResolver4+"\n"), 0o644); err != nil {
		w.Fatal(err)
	}
	r := w.routerd("doctor")
	if !strings.Contains(r.stdout, "dns_tampered") || !strings.Contains(r.stdout, lab.ISPResolver4) {
		w.Errorf("doctor says nothing of the provider's forged answers:\n%s", r)
	}
}

// plainAnswers asks dnsmasq for unlisted names with its cache empty. The one
// record's lifetime, which ages in the cache of the provider's resolver, is taken
// out of each answer.
func (w *world) plainAnswers(names []string) [][]byte {
	w.Helper()
	w.onRouter("sh", "-c", "kill -HUP $(cat /run/dnsmasq.pid)")
	var messages [][]byte
	for i, name := range names {
		// bash sends a datagram for each line: no octet may be a line's end.
		messages = append(messages, packed(w.T, uint16(i+100), name, dnsmessage.TypeA))
	}
	out := w.exchange(lab.Client2, "192.168.1.1", messages...)
	for i, raw := range out {
		if _, code, addrs := answered(w.T, raw); code != dnsmessage.RCodeSuccess || len(addrs) != 1 {
			w.Fatalf("%s: %v %v", names[i], code, addrs)
		}
		clear(raw[len(raw)-10:][:4])
	}
	return out
}

func TestOneSocketMayAskForListedAndUnlistedNamesInTurn(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	w.interfere(lab.Interference{Kind: interfere.DNSForge, Names: forged()})
	for _, server := range []string{"192.168.1.1", lab.Resolver4} {
		var messages [][]byte
		var want []netip.Addr
		for i := range 10 {
			for _, name := range []string{lab.FreshNames()[310+4*i], lab.PlainNames()[310+i]} {
				messages = append(messages, packed(t, uint16(len(messages)+100), name, dnsmessage.TypeA))
				want = append(want, address(t, name, 4))
			}
		}
		for i, raw := range w.exchange(lab.Client, server, messages...) {
			if id, code, addrs := answered(t, raw); id != uint16(i+100) || !slices.Equal(addrs, want[i:i+1]) {
				t.Errorf("%s, query %d: id %d, %v, %v; want %v", server, i, id, code, addrs, want[i])
			}
		}
	}
}

func TestAnswersTooLargeForADatagramAreLearnedOverTCP(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	const name = "many.binance.com"
	for _, server := range []string{"192.168.1.1", lab.Resolver4} {
		out := w.on(lab.Client, "kdig", "+tcp", "@"+server, name, "AAAA", "+short")
		if n := strings.Count(out, "2d00:"); n != 60 {
			t.Errorf("%s gives %d of 60 addresses:\n%s", server, n, out)
		}
		plain := w.on(lab.Client, "kdig", "+tcp", "@"+server, "news.example", "A", "+short")
		if want := address(t, "news.example", 4).String(); strings.TrimSpace(plain) != want {
			t.Errorf("%s says over TCP that news.example is %q, want %s", server, plain, want)
		}
	}
	for _, a := range addresses(t, name)[60:] {
		if y := w.why(a.String(), "--client", "192.168.1.20"); y.Path != "home" || !y.Addresses[0].Trusted {
			t.Fatalf("%s of %s is not known to everybody: %+v", a, name, y)
		}
	}
	w.noLeak(name)
}

func TestWithNoDaemonOnlyListedNamesFail(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	known, fresh, plain := lab.FreshNames()[400], lab.FreshNames()[401:410], lab.PlainNames()[400:500]
	w.goes(lab.Client, overHome, known)
	w.stop(syscall.SIGKILL)
	for _, server := range []string{"", lab.Resolver4 + ":53"} {
		var options []string
		if server != "" {
			options = []string{"--dns", server}
		}
		for _, r := range w.burst(lab.Client2, 4, plain, options...) {
			if way(r) != directly {
				t.Errorf("with no daemon, server %q: %s went %s: %s", server, r.Name, way(r), r.Error)
			}
		}
		for _, r := range w.burst(lab.Client, 4, fresh, options...) {
			if r.OK || !strings.Contains(r.Error, "ServerFailure") {
				t.Errorf("with no daemon, server %q: %s (%s) went %s: %s, want SERVFAIL at once", server, r.Name, r.Address, way(r), r.Error)
			}
		}
	}
	if got := w.openKnown(lab.Client, 4, known); got != overHome {
		t.Errorf("with no daemon a known address is reached %s", got)
	}
	w.start()
	within(t, usual, "listed names are answered again", func() bool {
		return way(w.open(lab.Client, 4, fresh[0])) == overHome
	})
	w.ready()
	w.goes(lab.Client, overHome, fresh...)
	w.noLeak(append(fresh, known)...)
}

func TestHostsThatNobodyAskedForAreKnown(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	w.settled()
	// Clients that have these addresses from before need no lookup.
	for _, name := range []string{"api.binance.com", "stratum.braiins.com", "btc.f2pool.com", "okx.com"} {
		for _, family := range families() {
			if got := w.openKnown(lab.Client, family, name); got != overHome {
				t.Errorf("IPv%d: %s is reached %s", family, name, got)
			}
		}
		w.noLeak(name)
		if y := w.why(name); len(y.Addresses) == 0 || y.Addresses[0].LearnedFrom != "resolver" {
			t.Errorf("why %s: %+v", name, y)
		}
	}
}

func TestTLSNamesSteerClientsThatAskElsewhere(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	const listed, plain = "n00500.fresh.binance.com", "n00500.plain.example"
	for _, family := range families() {
		begin := time.Now()
		if got := w.openKnown(lab.Client, family, listed); got != nowhere || time.Since(begin) > 5*time.Second {
			t.Errorf("IPv%d: the first connection to %s went %s after %s, want a reset at once", family, listed, got, time.Since(begin))
		}
		if got := w.openKnown(lab.Client, family, listed); got != overHome {
			t.Errorf("IPv%d: the second connection to %s went %s", family, listed, got)
		}
		if got := w.openKnown(lab.Client, family, plain); got != directly {
			t.Errorf("IPv%d: an unlisted connection went %s", family, got)
		}
	}
	w.learnedByTLS(listed)
	if other := w.why(address(t, listed, 4).String(), "--client", "192.168.1.20"); other.Path != "direct" {
		t.Errorf("a client that named nothing is steered: %+v", other)
	}
}

// learnedByTLS fails unless why says that a client's own hello taught a name.
func (w *world) learnedByTLS(name string) {
	w.Helper()
	y := w.why(address(w.T, name, 4).String(), "--client", "192.168.1.10")
	if y.Path != "home" || len(y.Addresses) != 1 || y.Addresses[0].LearnedFrom != "tls" || y.Addresses[0].Trusted {
		w.Errorf("why: %+v", y)
	}
}

func TestClientsPastTheRoutersDNSAreTold(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	begin := time.Now()
	if r := w.runOn(lab.Client, "", "kdig", "+tls", "+time=5", "+retry=0", "@"+lab.Resolver4, "news.example"); strings.Contains(r.stdout, "NOERROR") || time.Since(begin) > 4*time.Second {
		t.Errorf("DNS over TLS is not refused at once (%s): %s", time.Since(begin), r)
	}
	if r := w.runOn(lab.Client2, "", "kdig", "+https", "+time=5", "@"+lab.Resolver4, "news.example"); !strings.Contains(r.stdout, "NOERROR") {
		t.Errorf("DNS over HTTPS does not pass: %s", r)
	}
	w.namesBypasses()
	w.answersCanaries()
	w.reload(strings.Replace(usualSettings, "'br-lan'", "'br-lan'\n\toption local_dns '0'", 1))
	if r := w.runOn(lab.Client, "", "kdig", "+tls", "+time=5", "@"+lab.Resolver4, "news.example"); !strings.Contains(r.stdout, "NOERROR") {
		t.Errorf("DNS over TLS does not pass with local_dns off: %s", r)
	}
}

// namesBypasses fails unless status and doctor name the two clients.
func (w *world) namesBypasses() {
	w.Helper()
	within(w.T, usual, "status names both clients", func() bool {
		found := map[string]bool{}
		for _, b := range w.status().DNS.Bypass {
			if b.Address == lab.Resolver4 {
				client, _, _ := strings.Cut(b.Client, " ")
				found[fmt.Sprint(client, b.Protocol, b.Refused)] = true
			}
		}
		return found["192.168.1.10dottrue"] && found["192.168.1.20dohfalse"]
	})
	if r := w.routerd("doctor"); !strings.Contains(r.stdout, "192.168.1.20") {
		w.Errorf("doctor does not name the client: %s", r)
	}
}

// answersCanaries fails unless software that asks is told to use the router's DNS.
func (w *world) answersCanaries() {
	w.Helper()
	for _, name := range []string{"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"} {
		if out := w.on(lab.Client, "kdig", name); !strings.Contains(out, "NXDOMAIN") {
			w.Errorf("%s is answered\n%s", name, out)
		}
	}
	if y := w.why("mask.icloud.com"); !strings.Contains(y.Reason, "local_dns") {
		w.Errorf("why: %+v", y)
	}
}

func TestASharedAddressIsSteeredForThoseWhoAskedForTheListedName(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	const listed, plain = "cdn.okx.com", "cdn.shopping.example"
	for _, family := range families() {
		if r := w.open(lab.Client, family, listed); way(r) != overHome {
			t.Errorf("IPv%d: %s went %s: %s", family, listed, way(r), r.Error)
		}
		if r := w.open(lab.Client2, family, plain); way(r) != directly {
			t.Errorf("IPv%d: %s went %s: %s", family, plain, way(r), r.Error)
		}
		if got := w.openKnown(lab.Client, family, listed); got != overHome {
			t.Errorf("IPv%d: %s went %s once it was known to be shared", family, listed, got)
		}
	}
	within(t, usual, "why names who shares the address", func() bool {
		y := w.why(address(t, listed, 4).String(), "--client", "192.168.1.10")
		return y.Path == "home" && len(y.Addresses) == 1 && slices.Contains(y.Addresses[0].SharedWith, plain)
	})
}

func TestNamesHaveNoIPv6WhereTheTunnelHasNone(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{Exit2NoIPv6: true}), mainSection+otherTunnel+exchanges)
	w.settled()
	const name = "n00604.fresh.binance.com"
	for _, r := range []struct {
		what, out string
	}{
		{"AAAA", w.on(lab.Client, "kdig", "+short", name, "AAAA")},
		{"hints", w.on(lab.Client, "kdig", "+short", "hints.kraken.com", "HTTPS")},
	} {
		if strings.Contains(r.out, "2d00:") {
			t.Errorf("%s: %q", r.what, r.out)
		}
	}
	if r := w.open(lab.Client, 4, name); way(r) != overOther {
		t.Errorf("IPv4 went %s: %s", way(r), r.Error)
	}
	begin := time.Now()
	if got := w.openKnown(lab.Client, 6, "okx.com"); got != nowhere || time.Since(begin) > 3*time.Second {
		t.Errorf("IPv6 to a known address went %s after %s", got, time.Since(begin))
	}
	w.noLeak(name, "okx.com")
}

func TestResolversFailOverAndServeWhatTheyKnow(t *testing.T) {
	settings := strings.Replace(usualSettings, "list resolver 'https://22.8.8.8/dns-query'", "list resolver 'https://22.8.9.9/dns-query'", 1)
	w := raise(t, ownLab(t, lab.Options{}), settings)
	w.goes(lab.Client, overHome, lab.FreshNames()[700:720]...)
	s := w.status()
	i := slices.IndexFunc(s.DNS.Upstreams, func(u control.UpstreamStatus) bool { return u.URL == "https://22.8.9.9/dns-query" && u.Path == "home" })
	if i < 0 || s.DNS.Upstreams[i].State != "failing" || s.DNS.Upstreams[i].Reason == "" {
		t.Errorf("upstreams: %+v", s.DNS.Upstreams)
	}
	// A dnsmasq that does nothing keeps no listed name from being answered.
	w.onRouter("sh", "-c", "kill -STOP $(cat /run/dnsmasq.pid)")
	r := w.open(lab.Client, 4, lab.FreshNames()[724], "--dns", "192.168.1.1:53")
	w.onRouter("sh", "-c", "kill -CONT $(cat /run/dnsmasq.pid)")
	if way(r) != overHome {
		t.Errorf("with no dnsmasq a listed name went %s: %s", way(r), r.Error)
	}
	within(t, usual, "dnsmasq answers again", func() bool { return way(w.open(lab.Client, 4, lab.PlainNames()[724])) == directly })
	w.goes(lab.Client, overHome, lab.FreshNames()[725])
}
