package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// atOnce is how soon a client must learn that it may not.
const atOnce = time.Second

// refused fails unless names are refused at once, over both families, TCP and
// UDP, and no packet of theirs leaves the router.
func (w *world) refused(host string, names ...string) {
	w.Helper()
	for _, family := range families() {
		for _, name := range names {
			w.refusedTCP(host, family, name)
			w.refusedUDP(host, family, name)
		}
	}
	w.noLeak(names...)
}

// blocked fails unless clients are told that a name does not exist, and cannot
// reach it either at an address that they know from before.
func (w *world) blocked(host, name string) {
	w.Helper()
	for _, family := range families() {
		if r := w.open(host, family, name); r.OK || !strings.Contains(r.Error, "NameError") {
			w.Errorf("IPv%d: %s is told of %s: %s, want that there is no such name", family, host, name, r.Error)
		}
		within(w.T, usual, "the addresses of a blocked name are known", func() bool {
			return len(w.why(address(w.T, name, family).String()).Addresses) > 0
		})
		if got := w.openKnown(host, family, name); got != nowhere {
			w.Errorf("IPv%d: %s reaches %s %s", family, host, name, got)
		}
	}
	w.noLeak(name)
}

func (w *world) refusedTCP(host string, family int, name string) {
	w.Helper()
	r := w.open(host, family, name)
	took := time.Duration(r.ConnectUS) * time.Microsecond
	if r.OK || r.Address == "" || took > atOnce {
		w.Errorf("IPv%d: %s opens %s (%s) after %s, want a refusal at once: %s", family, host, name, way(r), took, r.Error)
	}
}

func (w *world) refusedUDP(host string, family int, name string) {
	w.Helper()
	begin := time.Now()
	r := w.runOn(host, "", w.lab.Program(), "client", "udp-echo", "--family", fmt.Sprint(family), name+":7")
	if r.status == 0 || !strings.Contains(r.stdout, `"error":"receive`) || time.Since(begin) > 2*atOnce {
		w.Errorf("IPv%d: a datagram of %s to %s was not refused at once (%s): %s", family, host, name, time.Since(begin), r)
	}
}

func TestPolicies(t *testing.T) {
	w := raise(t, sharedLab(t), mainSection+homeTunnel+otherTunnel+`
config destination 'exception'
	list domain 'direct.shopping.example'
	list domain 'full:n01400.fresh.binance.com'
	option policy 'direct'
config destination 'shut'
	list domain 'bank.example'
	option policy 'block'
config destination 'whole'
	option check_direct '0'
	list domain 'full:news.example'
config destination 'okx'
	option check_direct '0'
	list service 'okx'
	list tunnel 'other'
config destination 'nets'
	option check_direct '0'
	list address '`+network(t, "video.example", 4)+`'
	list address '`+network(t, "video.example", 6)+`'
`+exchanges)
	for name, test := range map[string]func(*testing.T){
		"blocked names do not exist":             func(*testing.T) { w.blocked(lab.Client, "bank.example") },
		"direct is an exception inside a suffix": func(*testing.T) { w.goes(lab.Client, directly, "n01400.fresh.binance.com") },
		"the rest of the suffix is steered":      func(*testing.T) { w.goes(lab.Client, overHome, "n01404.fresh.binance.com") },
		"full covers the name":                   func(*testing.T) { w.goes(lab.Client, overHome, "news.example") },
		"full covers nothing below":              func(*testing.T) { w.goes(lab.Client, directly, "www.news.example") },
		"the first of two equal rules wins":      func(*testing.T) { w.goes(lab.Client, overOther, "n01401.fresh.okx.com") },
		"networks need no lookup": func(t *testing.T) {
			for _, family := range families() {
				if got := w.openKnown(lab.Client2, family, "video.example"); got != overHome {
					t.Errorf("IPv%d went %s", family, got)
				}
			}
		},
	} {
		t.Run(name, test)
	}
	w.noLeak("bank.example", "n01404.fresh.binance.com", "news.example", "n01401.fresh.okx.com", "video.example")
	if d := destination(w.status(), "shut"); d.State != "blocked" || d.Path != "block" {
		t.Errorf("the blocked destination is shown as %+v", d)
	}
}

// network is a small network around a name's address.
func network(t *testing.T, name string, family int) string {
	t.Helper()
	p, err := address(t, name, family).Prefix(map[int]int{4: 30, 6: 126}[family])
	if err != nil {
		t.Fatal(err)
	}
	return p.String()
}

func TestDestinationsForSomeClients(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	mac := strings.TrimSpace(w.on(lab.Client2, "cat", "/sys/class/net/eth0/address"))
	names := lab.PlainNames()[1300:1306]
	settings := mainSection + homeTunnel + otherTunnel
	for i, option := range []string{
		"list client '192.168.1.10'\n\tlist client '2d00:1:1::10'",
		"list client '192.168.1.0/28'\n\tlist client '2d00:1:1::10/124'",
		"list client '" + mac + "'",
		"list exclude_client '192.168.1.10'\n\tlist exclude_client '2d00:1:1::10'",
		"list exclude_client '192.168.1.16/28'\n\tlist exclude_client '2d00:1:1::20/124'",
		"list exclude_client '" + mac + "'",
	} {
		settings += fmt.Sprintf("\nconfig destination 'd%d'\n\toption check_direct '0'\n\tlist domain '%s'\n\t%s\n", i, names[i], option)
	}
	w.configure(settings)
	w.start()
	w.ready()
	one, two := []string{names[0], names[1], names[4], names[5]}, []string{names[2], names[3]}
	w.goes(lab.Client, overHome, one...)
	w.goes(lab.Client2, overHome, two...)
	w.noLeak(names...)
	w.goes(lab.Client, directly, two...)
	w.goes(lab.Client2, directly, one...)
	w.goes(lab.Client, overHome, one...)
	if y := w.why(names[0], "--client", "192.168.1.10"); y.Path != "home" || y.Destination != "d0" {
		t.Errorf("why of the listed client: %+v", y)
	}
	if y := w.why(names[0], "--client", "192.168.1.20"); y.Path != "direct" || y.Destination != "" {
		t.Errorf("why of the other client: %+v", y)
	}
}

func TestAnotherClientsLookupSteersNobodyElse(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	w.goes(lab.Client, overHome, lab.SharedListed)
	w.goes(lab.Client2, directly, lab.SharedUnlisted)
	w.goes(lab.Client, overHome, lab.SharedListed)
}

func TestEveryKindOfAnswerIsLearned(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	names := []string{lab.ChainName(1), lab.ChainName(4), lab.HTTP3Listed}
	w.goes(lab.Client, overHome, names...)
	w.noLeak(names...)
	// Over IPv6 its answer does not fit into a datagram.
	if r := w.open(lab.Client, 4, lab.ManyAddresses); way(r) != overHome {
		t.Errorf("the name of %d addresses went %s: %s", lab.ManyCount, way(r), r.Error)
	}
	// From a resolver that the client chose itself, in any case of letters.
	for _, server := range []string{lab.Resolver4 + ":53", "[" + lab.Resolver6 + "]:53"} {
		for _, family := range families() {
			if r := w.open(lab.Client2, family, "N01500.Fresh.Binance.COM", "--dns", server, "--insecure"); way(r) != overHome {
				t.Errorf("IPv%d, asked %s: went %s: %s", family, server, way(r), r.Error)
			}
		}
	}
	w.noLeak("n01500.fresh.binance.com")
	w.goes(lab.Client, directly, lab.HTTP3Unlisted)
	if r := w.runOn(lab.Client, "", "kdig", "+short", "HTTPS", lab.HintedListed); r.status != 0 || !strings.Contains(r.stdout, "ipv4hint=") {
		t.Fatalf("lookup of an HTTPS record: %s", r)
	}
	for _, a := range w.why(lab.HintedListed).Addresses {
		if y := w.why(a.Address, "--client", "192.168.1.10"); y.Path != "home" {
			t.Errorf("the hint %s goes %s: %s", a.Address, y.Path, y.Reason)
		}
	}
}
