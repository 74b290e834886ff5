package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// verdicts are texts that a check takes (true) or refuses.
type verdicts map[string]bool

func (v verdicts) compare(t *testing.T, name string, check func(string) error) {
	t.Helper()
	for text, fine := range v {
		if err := check(text); (err == nil) != fine {
			t.Errorf("%s %q: %v", name, text, err)
		}
	}
}

func TestChecksTakeWhatIsAllowedOnly(t *testing.T) {
	verdicts{
		"lan": true, "br-lan.10": true, "eth0@if3": true, "wlan0_5:1": true, "LAN": true, strings.Repeat("x", 63): true,
		"":                      true, // never asked: an empty option is none, an empty entry is refused before
		strings.Repeat("x", 64): false, "a/b": false, "a b": false, "lán": false, ".": false, "..": false, "a\n": false,
	}.compare(t, "network", checkNetwork)
	verdicts{
		"/etc/routerd/home.conf": true, "/a": true, "/a b/ж": true,
		"": false, "a": false, "./a": false, "/": false, "//": false, "/a/..": false,
	}.compare(t, "path", checkAbsolute)
	verdicts{
		"Exchanges": true, "Биржи и пулы": true, strings.Repeat("ж", 64): true,
		strings.Repeat("ж", 65): false, "a\nb": false, "a\x7f": false, "\xc3": false,
	}.compare(t, "label", checkLabel)
	verdicts{
		"127.0.0.1:1": true, "[::1]:65535": true, "router.lan:9640": true, "a_b:1": true, "host.:1": true,
		"": false, ":1": false, "::1:1": false, "[::1]": false, "a:": false, "a:0": false, "a:65536": false, "a:http": false,
		"a:+1": false, "-a:1": false, "a-:1": false, "a..b:1": false, "a b:1": false, strings.Repeat("a", 64) + ":1": false,
		strings.Repeat("a.", 127) + ":1": true, strings.Repeat("a.", 128) + ":1": false,
	}.compare(t, "host and port", checkHostPort("x"))
	verdicts{
		"home": true, "a": true, "a_1": true, "abcdefghijkl": true, "0": true,
		"": false, "abcdefghijklm": false, "Home": false, "a-b": false, "a.b": false, "ж": false, "direct": false, "block": false,
	}.compare(t, "tunnel name", CheckTunnelName)
}

func TestURLChecksTakeWhatIsAllowedOnly(t *testing.T) {
	verdicts{
		"https://1.1.1.1/dns-query": true, "https://[2606:4700::1111]/dns-query": true, "https://dns.example:8443#192.0.2.1": true,
		"tls://1.1.1.1": true, "tls://1.1.1.1/": true, "tls://dns.example:853#192.0.2.1,2001:db8::1": true, "https://dns.google/dns-query": true, "udp://192.0.2.1:5353": true, "tcp://[::1]": true,
		"HTTPS://dns.google/": true,                                // RFC 3986: schemes have no case
		"tls://dns.example":   false, "tls://dns.example#x": false, // its addresses must be known
		"": false, "1.1.1.1": false, "https://": false, "https:///a": false, "http://1.1.1.1": false, "quic://1.1.1.1": false,
		"tls://1.1.1.1/a": false, "tls://1.1.1.1?a": false, "tls://1.1.1.1#a": false, "udp://1.1.1.1:65536": false, "tls://::1": false,
		"https://a b/": false, "https://u@dns.example/": false, "https://dns.example/\x01": false, "https:dns.example": false,
	}.compare(t, "resolver", checkUpstream)
	verdicts{
		"https://api.example.org/v1/ping?a=b": true, "http://example.org": true, "tls://example.org": true, "tls://example.org:8443": true,
		"tcp://192.0.2.1:443": true, "stratum+tcp://pool.example.org:3333": true, "stratum+ssl://pool.example.org:443/": true,
		"tcp://192.0.2.1": false, "stratum+tcp://pool.example.org": false, "stratum+tls://pool.example.org:1": false,
		"stratum://pool.example.org:1": false, "udp://192.0.2.1:53": false, "example.org": false, "https://example.org/#a": false,
	}.compare(t, "check", checkTarget)
	verdicts{
		"https://lists.example/a.txt?b#": true, "http://lists.example": true, "file:///etc/routerd/a": true,
		"file://a": false, "file://": false, "file:/a": false, "/a": false, "ftp://lists.example/a": false, "https://lists.example/#a": false,
	}.compare(t, "list", checkListURL)
}

func TestParseClientReadsAddressesNetworksAndMACs(t *testing.T) {
	prefix := func(s string) Client { return Client{Prefix: netip.MustParsePrefix(s)} }
	mac := Client{MAC: [6]byte{2, 0, 0, 0xaa, 0xbb, 0xcc}}
	for text, want := range map[string]Client{
		"192.168.1.40": prefix("192.168.1.40/32"), "192.168.2.0/24": prefix("192.168.2.0/24"), "10.0.0.0/8": prefix("10.0.0.0/8"),
		"fd00::1": prefix("fd00::1/128"), "fd00::/64": prefix("fd00::/64"), "::ffff:192.168.1.40": prefix("192.168.1.40/32"),
		"02:00:00:aa:bb:cc": mac, "02-00-00-AA-BB-CC": mac, "0200.00aa.bbcc": mac,
	} {
		if got, err := parseClient(text); err != nil || got != want {
			t.Errorf("client %q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "phone", "192.168.1", "192.168.1.0/33", "192.168.1.1/24", "fe80::1%eth0", "02:00:00:aa:bb", "00:00:00:00:00:00",
		"01:00:5e:00:00:01", "::ffff:192.168.1.0/120", "192.168.1.1-9",
	} {
		if got, err := parseClient(text); err == nil {
			t.Errorf("client %q was taken as %+v", text, got)
		}
	}
}

func TestClientIsWithin(t *testing.T) {
	for _, tt := range []struct {
		client, wide string
		want         bool
	}{
		{"192.168.1.40", "192.168.1.40", true},
		{"192.168.1.40", "192.168.1.0/24", true},
		{"192.168.1.0/24", "192.168.1.40", false},
		{"192.168.1.0/24", "192.168.0.0/16", true},
		{"192.168.1.40", "192.168.2.0/24", false},
		{"192.168.1.40", "::/0", false},
		{"02:00:00:00:00:01", "02:00:00:00:00:01", true},
		{"02:00:00:00:00:01", "02:00:00:00:00:02", false},
		{"02:00:00:00:00:01", "0.0.0.0/0", false},
		{"192.168.1.40", "02:00:00:00:00:01", false},
	} {
		client, err1 := parseClient(tt.client)
		wide, err2 := parseClient(tt.wide)
		if err1 != nil || err2 != nil || client.within(wide) != tt.want {
			t.Errorf("%s within %s: want %v (%v, %v)", tt.client, tt.wide, tt.want, err1, err2)
		}
	}
}

func TestBooleansAreThoseOfOpenWrt(t *testing.T) {
	for text, want := range map[string]bool{
		"1": true, "yes": true, "on": true, "true": true, "enabled": true, "TRUE": true,
		"0": false, "no": false, "off": false, "false": false, "disabled": false, "Off": false,
	} {
		c, problems := told(t, head+"\toption enabled '"+text+"'\n\toption ipv6 '"+text+"'\n")
		if c == nil || len(problems) > 0 || c.Main.Enabled != want || c.Main.IPv6 != want {
			t.Errorf("%q: %+v, %q", text, c, problems)
		}
	}
}

func TestTunnelsAreSortedByPriorityThenPlace(t *testing.T) {
	var text string
	for name, priority := range map[string]string{"a": "20", "c": "5"} {
		text += "config tunnel " + name + "\n\toption config /a\n\toption priority " + priority + "\n"
	}
	text += "config tunnel x\n\toption config /a\n\toption priority 10\nconfig tunnel b\n\toption config /a\n"
	c, _ := told(t, head+text)
	var got []string
	for _, tunnel := range c.Tunnels {
		got = append(got, tunnel.Name)
	}
	if d := cmp.Diff([]string{"c", "x", "b", "a"}, got); d != "" {
		t.Error(d)
	}
}

func TestProblemReadsAsOneLine(t *testing.T) {
	for _, tt := range []struct {
		problem Problem
		want    string
	}{
		{Problem{Level: LevelNote, Text: "t"}, "note: t"},
		{Problem{Level: LevelError, Text: "t", Mend: "m"}, "error: t; m"},
		{Problem{Level: LevelError, Line: 3, Text: "t"}, "error: line 3: t"},
		{Problem{Level: LevelError, Section: "s", Text: "t"}, "error: section s: t"},
		{Problem{Level: LevelError, Section: "s", Option: "o", Value: "a\nb", Text: "t", Line: 1}, `error: line 1, section s, option o, value "a\nb": t`},
	} {
		if d := cmp.Diff(tt.want, tt.problem.String()); d != "" {
			t.Error(d)
		}
	}
}

func TestListsAreInTheOrderOfTheFile(t *testing.T) {
	c, _ := told(t, head+`
config destination d
	list address 203.0.113.9
	option policy direct
	list domain b.example
	list address 203.0.113.1
	list domain full:a.example
	list client 192.168.1.9
	list client 192.168.1.1
`)
	var got []string
	for _, r := range c.Destinations[0].Rules {
		got = append(got, r.String())
	}
	if d := cmp.Diff([]string{"203.0.113.9", "203.0.113.1", "b.example", "full:a.example"}, got); d != "" {
		t.Error(d)
	}
	want := []Client{{Prefix: netip.MustParsePrefix("192.168.1.9/32")}, {Prefix: netip.MustParsePrefix("192.168.1.1/32")}}
	if d := cmp.Diff(want, c.Destinations[0].Clients, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
}
