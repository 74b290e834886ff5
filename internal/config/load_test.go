package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/routerd/routerd/internal/catalogue"
)

// all is the interface that users rely on: every option of every section.
const all = `
config routerd 'main'
	option enabled '0'
	list lan 'lan'
	list lan 'br-guest'
	option wan 'pppoe-wan'
	option own_traffic 'no'
	option dns 'observe'
	list resolver 'https://1.1.1.1/dns-query'
	list resolver 'tls://dns.example:853#192.0.2.53'
	list resolver 'udp://[2001:db8::53]'
	list resolver 'tcp://9.9.9.9:53'
	option local_dns 'off'
	option ipv6 'false'
	option flow_offload '0'
	option mark_mask '0x00f00000'
	option max_addresses '4096'
	option log_level 'debug'
	option metrics_listen '[::1]:9640'

config tunnel 'inline'
	option private_key 'secret'
	list address '10.9.0.2/24'
	list address 'fd00::2'
	option mtu '1380'
	option public_key 'pub'
	option preshared_key 'psk'
	option endpoint 'vpn.example.net:51820'
	option persistent_keepalive '25'
	option backend 'userspace'
	option standby '1'

config tunnel 'home'
	option enabled 'disabled'
	option type 'wireguard'
	option config '/etc/routerd/home.conf'
	option backend 'kernel'
	option priority '5'

config tunnel 'other'
	option type 'interface'
	option device 'awg0'
	option priority '5'

config destination 'exchanges'
	option enabled '1'
	option label 'Биржи'
	list service 'binance'
	list category 'exchange'
	list domain 'Example.org'
	list domain 'full:api.example.net'
	list address '203.0.113.0/24'
	list address '2001:db8::1'
	list file '/etc/routerd/good.list'
	option policy 'auto'
	list tunnel 'other'
	list tunnel 'home'
	option fallback 'direct'
	list client '192.168.1.40'
	list client '192.168.2.0/24'
	list client '02:00:00:AA:bb:cc'
	list exclude_client '192.168.2.9'
	list check 'https://api.example.org/ping?x=1'
	list check 'http://example.org'
	list check 'tls://example.org'
	list check 'tcp://example.org:443'
	list check 'stratum+tcp://pool.example.org:3333'
	list check 'stratum+ssl://pool.example.org:443'
	option check_interval '120'

config destination 'rest'
	option enabled '0'
	option domain 'example.com'

config list 'community'
	option url 'https://lists.example/crypto.txt'
	option format 'hosts'
	option destination 'exchanges'
	option interval '3600'

config list 'local'
	option url 'file:///etc/routerd/x.list'
	option destination 'rest'
`

func TestParseReadsEveryOption(t *testing.T) {
	got, _ := told(t, all)
	suffix := func(name string) catalogue.Rule { return catalogue.Rule{Kind: catalogue.RuleSuffix, Name: name} }
	client := func(s string) Client { return Client{Prefix: netip.MustParsePrefix(s)} }
	want := &Config{
		Main: Main{
			LAN: []string{"lan", "br-guest"}, WAN: "pppoe-wan", DNS: DNSObserve,
			Resolvers: []string{"https://1.1.1.1/dns-query", "tls://dns.example:853#192.0.2.53", "udp://[2001:db8::53]", "tcp://9.9.9.9:53"},
			MarkMask:  0x00f00000, MaxAddresses: 4096, LogLevel: slog.LevelDebug, MetricsListen: "[::1]:9640",
		},
		Tunnels: []Tunnel{
			{Name: "home", Type: TunnelWireGuard, File: "/etc/routerd/home.conf", Backend: BackendKernel, Priority: 5},
			{Name: "other", Enabled: true, Type: TunnelInterface, Device: "awg0", Backend: BackendAuto, Priority: 5},
			{
				Name: "inline", Enabled: true, Type: TunnelWireGuard, Backend: BackendUserspace, Priority: 10, Standby: true,
				WireGuard: WireGuard{
					PrivateKey: "secret", PublicKey: "pub", PresharedKey: "psk", Endpoint: "vpn.example.net:51820",
					Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24"), netip.MustParsePrefix("fd00::2/128")},
					MTU:       1380, PersistentKeepalive: 25 * time.Second,
				},
			},
		},
		Destinations: []Destination{
			{
				Name: "exchanges", Enabled: true, Label: "Биржи", Services: []string{"binance"},
				Categories: []catalogue.Category{catalogue.CategoryExchange},
				Rules: []catalogue.Rule{
					suffix("example.org"),
					{Kind: catalogue.RuleFull, Name: "api.example.net"},
					{Kind: catalogue.RuleAddress, Prefix: netip.MustParsePrefix("203.0.113.0/24")},
					{Kind: catalogue.RuleAddress, Prefix: netip.MustParsePrefix("2001:db8::1/128")},
				},
				Files: []string{"/etc/routerd/good.list"}, Policy: PolicyAuto, Tunnels: []string{"other", "home"},
				Fallback:       FallbackDirect,
				Clients:        []Client{client("192.168.1.40/32"), client("192.168.2.0/24"), {MAC: [6]byte{2, 0, 0, 0xaa, 0xbb, 0xcc}}},
				ExcludeClients: []Client{client("192.168.2.9/32")},
				Checks: []string{
					"https://api.example.org/ping?x=1", "http://example.org", "tls://example.org", "tcp://example.org:443",
					"stratum+tcp://pool.example.org:3333", "stratum+ssl://pool.example.org:443",
				},
				CheckInterval: 2 * time.Minute, CheckDirect: true,
			},
			{
				Name: "rest", Label: "rest", Rules: []catalogue.Rule{suffix("example.com")},
				Policy: PolicyTunnel, Fallback: FallbackBlock, CheckInterval: time.Minute, CheckDirect: true,
			},
		},
		Lists: []List{
			{Name: "community", URL: "https://lists.example/crypto.txt", Format: "hosts", Destination: "exchanges", Interval: time.Hour},
			{Name: "local", URL: "file:///etc/routerd/x.list", Format: "auto", Destination: "rest", Interval: 24 * time.Hour},
		},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
}

func TestAddressesAreFewerWhereMemoryIs(t *testing.T) {
	for memory, want := range map[uint64]int{0: 16384, 59 << 20: 8192, 123 << 20: 8192, 245 << 20: 16384, 8 << 30: 16384} {
		for text, want := range map[string]int{"config tunnel 'a'\n\toption config '/a'\n": want, "config routerd 'main'\n": want, "config routerd 'main'\n\toption max_addresses '777'\n": 777} {
			env := testEnv(t, nil)
			env.Memory = memory
			c, _, err := Parse("routerd", []byte(text), env)
			if err != nil || c.Main.MaxAddresses != want {
				t.Errorf("%d MiB, %q: got %d, %v, want %d", memory>>20, text, c.Main.MaxAddresses, err, want)
			}
		}
	}
}

func TestParseFillsInDefaults(t *testing.T) {
	want := Main{
		Enabled: true, LAN: []string{"lan"}, OwnTraffic: true, DNS: DNSSecure,
		Resolvers: []string{"https://1.1.1.1/dns-query"}, LocalDNS: true, IPv6: true, FlowOffload: true,
		MarkMask: 0x0f000000, MaxAddresses: 16384,
	}
	const noMain = "config tunnel 'a'\n\toption config '/a'\n"
	for _, text := range []string{noMain, "config routerd 'main'\n", "config routerd 'main'\n\toption wan ''\n\toption metrics_listen ''\n"} {
		c, notes := told(t, text)
		if d := cmp.Diff(want, c.Main); d != "" {
			t.Errorf("%q: %s", text, d)
		}
		if (text == noMain) != (len(notes) > 0) {
			t.Errorf("%q: %q", text, notes)
		}
	}
}

func TestParseNotesADisabledTunnelInUse(t *testing.T) {
	text := strings.NewReplacer("dns 'observe'", "dns 'secure'", "local_dns 'off'", "local_dns '1'").Replace(all)
	_, got := told(t, text)
	want := []string{
		`note: line 57, section exchanges, option tunnel, value "home": is a tunnel that is disabled`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLoadReadsTheFile(t *testing.T) {
	list := filepath.Join(t.TempDir(), "my.list")
	if err := os.WriteFile(list, []byte("example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := settings(t, "config routerd main\nconfig destination d\n\tlist file '"+list+"'\n\toption policy direct\n")
	c, problems, err := Load(path)
	if err != nil || len(problems) > 0 || len(c.Destinations) != 1 || c.Destinations[0].Files[0] != list {
		t.Errorf("load: %+v, %v, %v", c, problems, err)
	}
}

func TestLoadSaysWhatIsWrongWithTheFile(t *testing.T) {
	if c, problems, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInvalid) || c != nil || problems != nil {
		t.Errorf("load without a file: %v, %v, %v", c, problems, err)
	}
	path := settings(t, "config routerd main\n\toption wan 'x\n")
	c, problems, err := Load(path)
	if !errors.Is(err, ErrInvalid) || c != nil || len(problems) != 1 {
		t.Fatalf("load of a broken file: %v, %v, %v", c, problems, err)
	}
	if d := cmp.Diff("error: line 2: column 13: no ' closes the one that opens here", problems[0].String()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(path+": settings are not valid: line 2: column 13: no ' closes the one that opens here", err.Error()); d != "" {
		t.Error(d)
	}
}

func TestAFileOfRulesIsReadNoFurtherThanAListMayBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4*catalogue.MaxListSize); err != nil {
		t.Fatal(err)
	}
	env, err := DefaultEnv()
	if err != nil {
		t.Fatal(err)
	}
	text, err := env.ReadFile(path)
	if err != nil || len(text) > catalogue.MaxListSize+1 {
		t.Errorf("%d bytes are read: %v", len(text), err)
	}
	_, problems, _ := Parse("f", []byte("config routerd main\nconfig destination d\n\toption policy direct\n\tlist file '"+path+"'\n"), env)
	if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Option == "file" && strings.Contains(p.Text, "too large") }) {
		t.Errorf("nobody is told: %v", problems)
	}
}

func TestErrorCountsAndNamesTheFirst(t *testing.T) {
	_, _, err := Parse("f", []byte("config routerd main\n\toption ipv6 2\n\toption wan a/b\n"), testEnv(t, nil))
	const want = `f: settings are not valid: 2 errors, the first: line 2, section main, option ipv6, value "2": is neither 1 (yes) nor 0 (no)`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// firstSettings is the settings file of a new installation.
const firstSettings = "../../openwrt/routerd/files/etc/config/routerd"

func TestFirstSettingsAreValid(t *testing.T) {
	golden, err := os.ReadFile(firstSettings)
	if err != nil {
		t.Fatal(err)
	}
	c, notes := told(t, string(golden))
	destination := func(name, label string, p Policy, of ...catalogue.Category) Destination {
		return Destination{
			Name: name, Enabled: true, Label: label, Categories: of, Policy: p,
			Fallback: FallbackBlock, CheckInterval: time.Minute, CheckDirect: true,
		}
	}
	want := &Config{Main: defaultMain(0), Destinations: []Destination{
		destination("exchanges", "Exchanges", PolicyTunnel, catalogue.CategoryExchange),
		destination("pools", "Mining pools", PolicyAuto, catalogue.CategoryPool),
		destination("services", "Analytics, wallets, management", PolicyAuto,
			catalogue.CategoryAnalytics, catalogue.CategoryWallet, catalogue.CategoryManagement),
	}}
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
	if n := len(notes); n != 1 || !strings.Contains(notes[0], "policy is tunnel and no enabled tunnel is there to use: nothing is steered") {
		t.Errorf("%q", notes)
	}
}

func TestNearestSuggestsOnlyWhatIsNear(t *testing.T) {
	names := []string{"enabled", "exclude_client", "client", "check", "check_interval"}
	for wrong, want := range map[string]string{
		"enable": "enabled", "enbaled": "enabled", "Enabled": "enabled", "clients": "client",
		"excludeclient": "exclude_client", "chekc": "check", "x": "", "label": "", "": "",
		strings.Repeat("enabled", 20): "",
	} {
		if got := nearest(wrong, names); got != want {
			t.Errorf("nearest to %q is %q, want %q", wrong, got, want)
		}
	}
}
