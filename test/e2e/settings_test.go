package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/test/lab"
)

// badSettings are settings that cannot be used, and words that the message must
// hold: section, option and value, and what to do.
func badSettings(t *testing.T, w *world) map[string]struct {
	settings string
	want     []string
} {
	t.Helper()
	good, err := w.lab.WGQuick("home")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"syntax": strings.Replace(string(good), "Endpoint =", "Endpoint", 1),
		"hook":   strings.Replace(string(good), "[Peer]", "PostUp = iptables -A FORWARD -i %i -j ACCEPT\n\n[Peer]", 1),
		"key":    strings.Replace(string(good), "PrivateKey = ", "PrivateKey = x", 1),
	} {
		if err := w.lab.WriteFile(lab.Router, "/etc/routerd/"+name+".conf", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { w.onRouter("sh", "-c", "cd /etc/routerd && rm -f syntax.conf hook.conf key.conf") })
	tunnel := func(file string) string {
		return mainSection + "\nconfig tunnel 'home'\n\toption config '/etc/routerd/" + file + ".conf'\n" + exchanges
	}
	return map[string]struct {
		settings string
		want     []string
	}{
		"a wrong key in a wg-quick file":        {tunnel("key"), []string{"home", "PrivateKey"}},
		"a syntax error in a wg-quick file":     {tunnel("syntax"), []string{"home", "syntax.conf", "line 8"}},
		"a shell hook in a wg-quick file":       {tunnel("hook"), []string{"home", "hook.conf", "PostUp"}},
		"a wg-quick file that is not there":     {tunnel("none"), []string{"home", "/etc/routerd/none.conf"}},
		"a wrong inline key":                    {mainSection + "\nconfig tunnel 'home'\n\toption private_key 'abc'\n" + exchanges, []string{"home", "private_key"}},
		"an unknown policy":                     {usualSettings + "\tlist domain 'x.example'\n\toption policy 'tunel'\n", []string{"pools", "policy", "tunel", "tunnel"}},
		"a tunnel that is not there":            {usualSettings + "\tlist tunnel 'away'\n", []string{"pools", "tunnel", "away"}},
		"a name that is none":                   {usualSettings + "\tlist domain 'bad..name'\n", []string{"pools", "domain", "bad..name"}},
		"an unknown service":                    {usualSettings + "\tlist service 'binanse'\n", []string{"pools", "service", "binanse", "binance"}},
		"a client that is none":                 {usualSettings + "\tlist client '192.168.1.300'\n", []string{"pools", "client", "192.168.1.300"}},
		"a list file that cannot be read":       {usualSettings + "\tlist file '/etc/routerd/none.list'\n", []string{"pools", "/etc/routerd/none.list"}},
		"a mask that overlaps nothing possible": {strings.Replace(usualSettings, "list lan", "option mark_mask '0x05000000'\n\tlist lan", 1), []string{"main", "mark_mask", "0x05000000"}},
		"a file that is no UCI":                 {usualSettings + "\nconfig 'broken\n", []string{"line "}},
	}
}

func TestBadSettingsAreNamedAndLeaveTheLastGoodOnesInForce(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	for what, bad := range badSettings(t, w) {
		t.Run(what, func(t *testing.T) {
			w := *w
			w.T = t
			w.configure(bad.settings)
			for _, command := range []string{"validate", "reload"} {
				r := w.routerd(command)
				if r.status != 1 {
					t.Errorf("%s: %s", command, r)
				}
				for _, word := range bad.want {
					if !strings.Contains(r.stdout+r.stderr, word) {
						t.Errorf("%s does not name %q: %s", command, word, r)
					}
				}
			}
		})
	}
	w.goes(lab.Client, overHome, "n01840.fresh.binance.com")
	w.goes(lab.Client, directly, "bank.example")
	w.reload(usualSettings + "\tlist domain 'bank.example'\n")
	w.goes(lab.Client, overHome, "bank.example")
}

func TestDaemonThatFindsBadSettingsChangesNothingUntilTheyAreMended(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	before := w.kernel()
	w.configure(usualSettings + "\toption policy 'tunel'\n")
	w.start()
	within(t, usual, "status answers", func() bool { _, ok := w.tryStatus(); return ok })
	if s := w.status(); s.Running || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "tunel") {
		t.Errorf("status with bad settings: %+v", s)
	}
	if r := w.routerd("reload"); r.status != 1 || !strings.Contains(r.stdout+r.stderr, "tunel") {
		t.Errorf("reload of bad settings: %s", r)
	}
	after := w.kernel()
	for _, part := range []string{"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "nft -s list ruleset", "ip -d link", "tcx"} {
		if diff := cmp.Diff(before[part], after[part]); diff != "" {
			t.Errorf("bad settings changed %s:\n%s", part, diff)
		}
	}
	w.reload(usualSettings)
	w.ready()
	w.goes(lab.Client, overHome, "n01848.fresh.binance.com")
}

func TestOddSettingsAreToldAndDoNotStopTheRest(t *testing.T) {
	w := newWorld(t, sharedLab(t))
	w.configure(usualSettings + "\toption colour 'red'\n\nconfig destination 'again'\n\tlist domain 'www.binance.com'\n\tlist domain 'binance.com'\n\tlist tunnel 'other'\n")
	r := w.routerd("validate")
	if r.status == 0 != !strings.Contains(r.stdout+r.stderr, "error") || !strings.Contains(r.stdout+r.stderr, "colour") {
		t.Errorf("validate of an unknown option: %s", r)
	}
	w.configure(usualSettings + "\nconfig destination 'again'\n\tlist domain 'www.binance.com'\n\tlist domain 'binance.com'\n\tlist tunnel 'other'\n")
	if r := w.routerd("validate"); r.status != 0 {
		t.Errorf("validate of overlapping rules: %s", r)
	}
	w.start()
	w.ready()
	w.goes(lab.Client, overOther, "www.binance.com") // the longer suffix
	w.goes(lab.Client2, overHome, "api.binance.com") // of equals, the first destination
}

func TestLANDeviceThatAppearsLaterIsAttached(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{}), strings.Replace(usualSettings, "list lan 'br-lan'", "list lan 'br-lan'\n\tlist lan 'br-guest'", 1))
	if s := w.status(); len(s.Problems) == 0 || !strings.Contains(strings.Join(s.Problems, "\n"), "br-guest") {
		t.Errorf("no problem names the missing device: %q", s.Problems)
	}
	w.moveToGuests()
	within(t, usual, "the new device is steered", func() bool {
		return strings.Contains(strings.Join(w.status().DataPlane.Devices, " "), "br-guest")
	})
	const name = "n01844.fresh.binance.com"
	for _, r := range w.burst(lab.Client2, 4, []string{name}, "--dns", lab.Resolver4+":53") {
		if way(r) != overHome {
			t.Errorf("a guest's connection went %s: %s", way(r), r.Error)
		}
	}
	w.noLeak(name)
	if s := w.status(); strings.Contains(strings.Join(s.Problems, "\n"), "br-guest") {
		t.Errorf("the problem is still told: %q", s.Problems)
	}
}

// guests makes another LAN device, br-guest, and moves client2 behind it, over IPv4.
const guests = `
set -e
ip link add br-guest type bridge
ip link set lan2 master br-guest
ip link set br-guest up
ip addr add 192.168.1.1/32 dev br-guest
ip route add 192.168.1.20/32 dev br-guest
ip -6 route add 2d00:1:1::20/128 dev br-guest
ip -6 addr add fe80::1/64 dev br-guest
nft insert rule inet fw4 forward iifname br-guest accept
nft insert rule inet fw4 forward oifname br-guest ct state established,related accept
nft insert rule inet fw4 input iifname br-guest accept
`

// moveToGuests does so until the test ends.
func (w *world) moveToGuests() {
	w.Helper()
	w.Cleanup(func() {
		w.onRouter("sh", "-c", "ip link set lan2 master br-lan; ip link delete br-guest; nft -f /run/lab/nft.rules; ip -6 neigh flush all")
	})
	w.onRouter("sh", "-c", guests)
	// Both bridges have other MAC addresses than br-lan had.
	for _, host := range []string{lab.Client, lab.Client2} {
		w.on(host, "ip", "neigh", "flush", "all")
	}
}

func TestLANDeviceThatIsMadeAgainWithoutADaemonLeaksNothing(t *testing.T) {
	for mode, settings := range map[string]string{"secure": usualSettings, "observe": usualObserving} {
		t.Run(mode, func(t *testing.T) {
			l := ownLab(t, lab.Options{})
			(&world{T: t, lab: l}).remakeLAN(100)
			w := raise(t, l, settings)
			t.Cleanup(func() { w.remakeLAN(100) }) // so that it is as it was
			known, fresh, plain := lab.FreshNames()[1870], lab.FreshNames()[1871:1881], lab.PlainNames()[1870:1880]
			w.goes(lab.Client, overHome, known)
			w.stop(syscall.SIGKILL)
			w.remakeLAN(200)

			for _, family := range families() {
				for _, options := range [][]string{nil, {"--dns", lab.Resolver4 + ":53"}, {"--dns", "[" + lab.Resolver6 + "]:53"}} {
					for _, r := range w.burst(lab.Client, family, fresh, options...) {
						if r.OK {
							t.Errorf("IPv%d, %q: with no daemon behind a new device, %s (%s) went %s", family, options, r.Name, r.Address, way(r))
						}
					}
				}
			}
			w.goes(lab.Client2, directly, plain...)

			w.start()
			w.ready()
			w.goes(lab.Client, overHome, append(fresh, known)...)
			w.noLeak(append(fresh, known)...)
		})
	}
}

// remakeLAN deletes br-lan and makes it again, as netifd does for changed settings;
// index is the new device's.
func (w *world) remakeLAN(index int) {
	w.Helper()
	w.onRouter("sh", "-c", fmt.Sprintf(`set -e
ip link delete br-lan
ip link add br-lan index %d type bridge
ip link set lan1 master br-lan
ip link set lan2 master br-lan
ip address add 192.168.1.1/24 dev br-lan
ip address add 2d00:1:1::1/64 dev br-lan nodad
ip link set br-lan up
`, index))
	for _, host := range []string{lab.Client, lab.Client2} {
		for _, family := range families() {
			within(w.T, usual, "clients reach the router again", func() bool {
				return way(w.open(host, family, lab.PlainNames()[1869])) == directly
			})
		}
	}
}

func TestLANDeviceThatAppearsWithoutADaemonLeaksNothing(t *testing.T) {
	w := raise(t, ownLab(t, lab.Options{}), usualSettings)
	const known, fresh, after = "n01852.fresh.binance.com", "n01856.fresh.binance.com", "n01860.fresh.binance.com"
	w.goes(lab.Client2, overHome, known)
	w.stop(syscall.SIGKILL)
	w.moveToGuests()

	at := fmt.Sprintf("%s:443:%s", known, address(t, known, 4))
	if r := w.runOn(lab.Client2, "", "curl", "--silent", "--max-time", "3", "--resolve", at, "https://"+known+"/"); r.status == 0 {
		t.Errorf("a listed name at its known address went %s", seenWay(r))
	}
	const public = lab.Resolver4 + ":53"
	if r := w.open(lab.Client2, 4, fresh, "--dns", public); r.OK || !strings.Contains(r.Error, "ServerFailure") {
		t.Errorf("a listed name went %s: %s", way(r), r.Error)
	}
	if r := w.open(lab.Client2, 4, lab.PlainNames()[1852], "--dns", public); way(r) != directly {
		t.Errorf("an unlisted name went %s: %s", way(r), r.Error)
	}
	w.noLeak(known, fresh)

	// It is not in the settings: the next daemon leaves its clients alone.
	w.start()
	w.ready()
	within(t, usual, "clients of a device that is not steered go by the WAN", func() bool {
		return way(w.open(lab.Client2, 4, after, "--dns", public)) == directly
	})
	// Over IPv4 br-guest has br-lan's address too.
	for _, r := range w.burst(lab.Client, 6, []string{known, fresh}) {
		if got := way(r); got != overHome {
			t.Errorf("a listed name went %s: %s", got, r.Error)
		}
	}
}

func TestFullAddressMapIsToldAndLeaksNothing(t *testing.T) {
	w := raise(t, sharedLab(t), strings.Replace(usualSettings, "list lan", "option max_addresses '16'\n\tlist lan", 1)+
		"\nconfig destination 'open'\n\tlist service 'coingecko'\n\toption fallback 'direct'\n")
	names := lab.FreshNames()[1850:1890]
	for _, r := range w.burst(lab.Client, 4, names) {
		if got := way(r); got != overHome && got != nowhere {
			t.Errorf("%s went %s", r.Name, got)
		}
	}
	w.noLeak(names...)
	w.fullIsTold()
	// What is known goes on, what may go direct is not withheld.
	w.goes(lab.Client2, directly, "news.example")
	w.reload(usualSettings)
	w.goes(lab.Client, overHome, names...)
	within(t, usual, "the problem is over", func() bool {
		return !strings.Contains(strings.Join(w.status().Problems, "\n"), "max_addresses")
	})
}

// fullIsTold fails unless status and events tell of a map of 16 that is full.
func (w *world) fullIsTold() {
	w.Helper()
	s := w.status()
	if s.DataPlane.MaxAddresses != 16 || s.DataPlane.Addresses < 12 || s.DataPlane.Addresses > 16 {
		w.Errorf("the data plane holds %+v", s.DataPlane)
	}
	if !strings.Contains(strings.Join(s.Problems, "\n"), "max_addresses") {
		w.Errorf("no problem tells of it: %q", s.Problems)
	}
	if !slices.ContainsFunc(w.events(), func(e control.Event) bool {
		return e.Kind == control.EventFault && strings.Contains(e.Reason, "max_addresses")
	}) {
		w.Errorf("no event tells of it: %+v", w.events())
	}
}

func TestSecondDaemonOnOneStateRefuses(t *testing.T) {
	w := raise(t, sharedLab(t), usualSettings)
	r := w.routerd("run")
	if r.status != 1 || !strings.Contains(r.stderr, "running") {
		t.Errorf("a second daemon: %s", r)
	}
	w.goes(lab.Client, overHome, "n01846.fresh.bybit.com")
}
