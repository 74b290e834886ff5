package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Line 1 of every text is this, so that only the fault in question is told.
const head = "config routerd main\n"

func TestParseTellsWhatIsWrongInMain(t *testing.T) {
	const at = "error: line 2, section main, option "
	for option, want := range map[string]string{
		"option enabled ja":             `enabled, value "ja": is neither 1 (yes) nor 0 (no)`,
		"option wan 'a b'":              `wan, value "a b": is not the name of a network or device, such as lan or br-lan`,
		"option wan lan":                `wan, value "lan": is also in list lan: the clients' side and the provider's side must differ`,
		"list wan eth0":                 `wan, value "eth0": is a list, but takes one value; write one line: option wan 'VALUE'`,
		"option lan 'lan guest'":        `lan, value "lan guest": is several words in one value; write a line for each: list lan 'VALUE'`,
		"list lan ''":                   `lan: is an empty list entry; remove the line`,
		"list lan ../x":                 `lan, value "../x": is not the name of a network or device, such as lan or br-lan`,
		"list lan ..":                   `lan, value "..": is not the name of a network or device, such as lan or br-lan`,
		"option dns secured":            `dns, value "secured": is not allowed: it is one of secure, observe; did you mean "secure"?`,
		"option dns off":                `dns, value "off": is not allowed: it is one of secure, observe`,
		"list resolver 1.1.1.1":         `resolver, value "1.1.1.1": it has no scheme` + upstreamForms,
		"list resolver 'tls://a b'":     `resolver, value "tls://a b": invalid character " " in host name` + upstreamForms,
		"list resolver tls:///x":        `resolver, value "tls:///x": it names no host` + upstreamForms,
		"list resolver tls://1.1.1.1/x": `resolver, value "tls://1.1.1.1/x": a path is for https:// only, not "/x"` + upstreamForms,
		"list resolver udp://1.1.1.1:0": `resolver, value "udp://1.1.1.1:0": port "0" is not a number from 1 to 65535` + upstreamForms,
		"list resolver udp://1.1.1.1:":  `resolver, value "udp://1.1.1.1:": a port is missing after the colon` + upstreamForms,
		"list resolver https://u:p@h/":  `resolver, value "https://u:p@h/": a user name has no place in it` + upstreamForms,
		"list resolver tls://h":         `resolver, value "tls://h": the addresses of h are not known before anything can be resolved: write them at its end, h#192.0.2.1` + upstreamForms,
		"list resolver 'https://h/#x'":  `resolver, value "https://h/#x": "x" after # is not an address` + upstreamForms,
		"option mark_mask lots":         `mark_mask, value "lots": is not a number of 32 bits; write it like the default, 0x0f000000`,
		"option mark_mask 0x05000000":   `mark_mask, value "0x05000000": cannot be used: mask 0x5000000 is not one run of bits; the default is 0x0f000000`,
		"option mark_mask 0xff":         `mark_mask, value "0xff": cannot be used: mask 0xff has 8 bits, 3 or 4 are needed; the default is 0x0f000000`,
		"option max_addresses 15":       `max_addresses, value "15": is not a number from 16 to 1048576`,
		"option max_addresses 1e3":      `max_addresses, value "1e3": is not a number from 16 to 1048576`,
		"option log_level warning":      `log_level, value "warning": is not allowed: it is one of debug, info, warn, error`,
		"option log_level inof":         `log_level, value "inof": is not allowed: it is one of debug, info, warn, error; did you mean "info"?`,
		"option metrics_listen :9640":   `metrics_listen, value ":9640": is not host:port, such as 127.0.0.1:9640 or [::1]:9640`,
		"option metrics_listen ::1:x":   `metrics_listen, value "::1:x": is not host:port, such as 127.0.0.1:9640 or [::1]:9640`,
		"option enabeld 1":              `enabeld, value "1": is not an option of a section of type routerd; did you mean "enabled"?`,
		"option xyzzy 1":                `xyzzy, value "1": is not an option of a section of type routerd; allowed are enabled, lan, wan, own_traffic, dns, resolver, local_dns, ipv6, flow_offload, mark_mask, max_addresses, log_level, control, metrics_listen`,
	} {
		t.Run(option, func(t *testing.T) {
			_, got := told(t, head+"\t"+option+"\n")
			errors := onlyErrors(got)
			if d := cmp.Diff([]string{at + want}, errors); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseTellsWhatIsWrongInTunnels(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"name", "config tunnel Home\n\toption config /a\n", []string{`error: line 2, section Home: the name of a tunnel has 1 to 12 characters of a–z, 0–9 and _`}},
		{"long name", "config tunnel abcdefghijklm\n\toption config /a\n", []string{`error: line 2, section abcdefghijklm: the name of a tunnel has 1 to 12 characters of a–z, 0–9 and _`}},
		{"no name", "config tunnel\n\toption config /a\n", []string{`error: line 2, section @tunnel[0]: has no name; write: config tunnel 'NAME'`}},
		{"name of a path", "config tunnel direct\n\toption config /a\n", []string{`error: line 2, section direct: the name direct is that of a path that always exists`}},
		{"nothing", "config tunnel home\n", []string{`error: line 2, section home: has neither option config, a wg-quick file, nor the settings themselves; write: option config '/etc/routerd/home.conf', or private_key, address, public_key and endpoint`}},
		{"both", "config tunnel home\n\toption config /a\n\toption mtu 1400\n\toption private_key x\n", []string{`error: line 3, section home, option config, value "/a": stands beside private_key, mtu: it is either a wg-quick file or options, not both; remove one of them`}},
		{"relative file", "config tunnel home\n\toption config home.conf\n", []string{`error: line 3, section home, option config, value "home.conf": is not an absolute path of a file, such as /etc/routerd/home.conf`}},
		{"device of wireguard", "config tunnel home\n\toption config /a\n\toption device wg0\n", []string{
			`error: line 4, section home, option device, value "wg0": does not go with type wireguard: routerd makes the device rd-home itself; remove it, or write option type 'interface'`,
		}},
		{"interface without device", "config tunnel home\n\toption type interface\n", []string{`error: line 2, section home: a tunnel of type interface needs option device; write: option device 'NAME' with a device or network that exists, such as awg0`}},
		{"interface with settings", "config tunnel home\n\toption type interface\n\toption device awg0\n\toption config /a\n\toption private_key hush\n\toption backend kernel\n", []string{
			`error: line 5, section home, option config, value "/a": does not go with type interface: somebody else sets that device up; remove it, or write option type 'wireguard'`,
			`error: line 6, section home, option private_key, value "(hidden)": does not go with type interface: somebody else sets that device up; remove it, or write option type 'wireguard'`,
			`error: line 7, section home, option backend, value "kernel": does not go with type interface: somebody else sets that device up; remove it, or write option type 'wireguard'`,
		}},
		{"standby interface", "config tunnel home\n\toption type interface\n\toption device awg0\n\toption standby 1\n", []string{
			`error: line 5, section home, option standby, value "1": does not go with type interface: routerd cannot bring up a device that somebody else makes; remove it`,
		}},
		{"type", "config tunnel home\n\toption type wiregard\n\toption config /a\n", []string{`error: line 3, section home, option type, value "wiregard": is not allowed: it is one of wireguard, interface; did you mean "wireguard"?`}},
		{"backend", "config tunnel home\n\toption config /a\n\toption backend fast\n", []string{`error: line 4, section home, option backend, value "fast": is not allowed: it is one of auto, kernel, userspace`}},
		{"priority", "config tunnel home\n\toption config /a\n\toption priority -1\n", []string{`error: line 4, section home, option priority, value "-1": is not a number from 0 to 65535`}},
		{"inline values", "config tunnel home\n\tlist address 10.9.0.2/33\n\tlist address home\n\toption mtu 100\n\toption endpoint vpn.example.net\n\toption persistent_keepalive 70000\n", []string{
			`error: line 3, section home, option address, value "10.9.0.2/33": is not an address, such as 10.9.0.2/32 or fd00::2/128`,
			`error: line 4, section home, option address, value "home": is not an address, such as 10.9.0.2/32 or fd00::2/128`,
			`error: line 5, section home, option mtu, value "100": is not a number from 576 to 9000`,
			`error: line 6, section home, option endpoint, value "vpn.example.net": is not host:port, such as vpn.example.net:51820`,
			`error: line 7, section home, option persistent_keepalive, value "70000": is not a number of seconds from 1 to 65535`,
		}},
		{"inline keepalive off", "config tunnel home\n\toption persistent_keepalive 0\n", []string{
			`error: line 3, section home, option persistent_keepalive, value "0": is not a number of seconds from 1 to 65535`,
		}},
		{"a key is never shown, misspelt neither", "config tunnel home\n\toption config /a\n\toption privat_key hush\n\tlist preshared_key hush\n", []string{
			`error: line 3, section home, option config, value "/a": stands beside preshared_key: it is either a wg-quick file or options, not both; remove one of them`,
			`error: line 4, section home, option privat_key, value "(hidden)": is not an option of a section of type tunnel; did you mean "private_key"?`,
			`error: line 5, section home, option preshared_key, value "(hidden)": is a list, but takes one value; write one line: option preshared_key 'VALUE'`,
		}},
		{"two of a device", "config tunnel a\n\toption type interface\n\toption device awg0\nconfig tunnel b\n\toption type interface\n\toption device awg0\n", []string{`error: line 7, section b, option device, value "awg0": is the device of tunnel a too: each tunnel needs its own`}},
		{"device of another tunnel", "config tunnel a\n\toption config /a\nconfig tunnel b\n\toption type interface\n\toption device rd-a\n", []string{`error: line 6, section b, option device, value "rd-a": is the device of tunnel a too: each tunnel needs its own`}},
		{"device of ours", "config tunnel b\n\toption type interface\n\toption device rd-x\n", []string{`error: line 4, section b, option device, value "rd-x": begins with rd-, as only devices do that routerd makes; name the device that somebody else makes`}},
		{"device is lan", "config tunnel b\n\toption type interface\n\toption device lan\n", []string{`error: line 4, section b, option device, value "lan": is also in list lan of section main: a tunnel cannot be the clients' side`}},
		{"device is wan", "\toption wan awg0\nconfig tunnel b\n\toption type interface\n\toption device awg0\n", []string{`error: line 5, section b, option device, value "awg0": is also option wan of section main: a tunnel cannot be the direct path`}},
		{"device is no name", "config tunnel b\n\toption type interface\n\toption device 'a b'\n", []string{`error: line 4, section b, option device, value "a b": is not the name of a network or device, such as lan or br-lan`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := told(t, head+tt.text)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseTellsTunnelsThatTheMaskCannotHold(t *testing.T) {
	var b strings.Builder
	for i := range 14 {
		fmt.Fprintf(&b, "config tunnel t%d\n\toption config /a\n", i)
	}
	_, got := told(t, head+b.String())
	want := []string{`error: line 28, section t13: is tunnel 14, but mark_mask 0x0f000000 can tell 13 apart; remove one`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, got := told(t, head+"\toption mark_mask 0x7\n"+b.String()); len(got) != 1 || !strings.Contains(got[0], "section t5: is tunnel 6, but mark_mask 0x00000007 can tell 5 apart; remove one, or give mark_mask four bits") {
		t.Errorf("%q", got)
	}
}

func TestParseTellsWhatIsWrongInDestinations(t *testing.T) {
	const at = "error: line 6, section d, option "
	const syntax = "; allowed: example.org (the name and all below it), full:api.example.net (that name only), 203.0.113.7, 203.0.113.0/24, 2001:db8::/32"
	for option, want := range map[string]string{
		"option enabled 2":                        `enabled, value "2": is neither 1 (yes) nor 0 (no)`,
		"option label '\x01'":                     `label, value "\x01": is not a single line of text`,
		"option label '\xff'":                     `label, value "\xff": is not UTF-8 text`,
		"option label " + strings.Repeat("ж", 65): `label, value "` + strings.Repeat("ж", 65) + `": is longer than 64 characters`,
		"list service binanse":                    `service, value "binanse": is no service of the catalogue; did you mean "binance"?`,
		"list service my-own-thing-of-mine":       "service, value \"my-own-thing-of-mine\": is no service of the catalogue; `routerd catalogue WORD` finds services; list domain takes names that are in none",
		"list service exchange":                   `service, value "exchange": is no service of the catalogue; for the whole category write: list category 'exchange'`,
		"list category exchanges":                 `category, value "exchanges": is no category: allowed are exchange, pool, analytics, wallet, management; did you mean "exchange"?`,
		"list category binance":                   `category, value "binance": is no category: allowed are exchange, pool, analytics, wallet, management; for that service write: list service 'binance'`,
		"list domain example..org":                `domain, value "example..org": two dots with nothing between them, or a dot too many at an end`,
		"list domain 'keyword:coin'":              `domain, value "keyword:coin": keyword: is not supported, a rule needs whole names` + syntax,
		"list domain 203.0.113.7":                 `domain, value "203.0.113.7": belongs in list address; write: list address '203.0.113.7'`,
		"list address full:a.Example.org":         `address, value "full:a.Example.org": belongs in list domain; write: list domain 'full:a.example.org'`,
		"list address 203.0.113.7/24":             `address, value "203.0.113.7/24": 203.0.113.7/24 is an address inside a network; write 203.0.113.0/24 for the network or 203.0.113.7 for the address`,
		"list file my.list":                       `file, value "my.list": is not an absolute path of a file, such as /etc/routerd/home.conf`,
		"list file /etc/routerd/none":             `file, value "/etc/routerd/none": cannot be read: file does not exist; create the file, or remove the line`,
		"option policy tunel":                     `policy, value "tunel": is not allowed: it is one of tunnel, auto, direct, block; did you mean "tunnel"?`,
		"option fallback tunnel":                  `fallback, value "tunnel": is not allowed: it is one of block, direct`,
		"list tunnel hoem":                        `tunnel, value "hoem": is no tunnel of this file; did you mean "home"?`,
		"list tunnel amsterdam":                   `tunnel, value "amsterdam": is no tunnel of this file; there are home`,
		"list client 192.168.1.300":               `client, value "192.168.1.300": is not an address, a network or a MAC address, such as 192.168.1.40, 192.168.2.0/24 or 02:00:00:aa:bb:cc`,
		"list client fe80::1%br-lan":              `client, value "fe80::1%br-lan": is not an address, a network or a MAC address, such as 192.168.1.40, 192.168.2.0/24 or 02:00:00:aa:bb:cc`,
		"list client 192.168.1.40/24":             `client, value "192.168.1.40/24": is an address with a network's length: write 192.168.1.40 for that client or 192.168.1.0/24 for the network`,
		"list client ::ffff:192.168.2.0/120":      `client, value "::ffff:192.168.2.0/120": is an IPv4 network written as IPv6: write it like 192.168.2.0/24`,
		"list client ff:ff:ff:ff:ff:ff":           `client, value "ff:ff:ff:ff:ff:ff": is not the MAC address of one device`,
		"list exclude_client x":                   `exclude_client, value "x": is not an address, a network or a MAC address, such as 192.168.1.40, 192.168.2.0/24 or 02:00:00:aa:bb:cc`,
		"list check ftp://example.org":            `check, value "ftp://example.org": begins with none of https://, http://, tls://, tcp://, stratum+tcp://, stratum+ssl://`,
		"list check tcp://example.org":            `check, value "tcp://example.org": has no port: write tcp://HOST:PORT`,
		"list check https://-example.org/":        `check, value "https://-example.org/": has no valid host: write https://HOST`,
		"list check stratum+tcp://h:1/w":          `check, value "stratum+tcp://h:1/w": has something after the host: write stratum+tcp://HOST:PORT`,
		"option check_interval 5":                 `check_interval, value "5": is not a number of seconds from 10 to 86400`,
		"list domains example.org":                `domains, value "example.org": is not an option of a section of type destination; did you mean "domain"?`,
	} {
		t.Run(option, func(t *testing.T) {
			_, got := told(t, head+"config tunnel home\n\toption config /a\nconfig destination d\n\tlist domain example.com\n\t"+option+"\n")
			if d := cmp.Diff([]string{at + want}, onlyErrors(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseTellsTheSameMistakeOnce(t *testing.T) {
	text := head + "config tunnel Home\n\toption config /a\nconfig destination d\n\tlist domain example.org\n\tlist tunnel Home\n\toption policy tunell\nconfig list l\n\toption destination d\n\toption url http://h/\n"
	_, got := told(t, text)
	want := []string{
		`error: line 2, section Home: the name of a tunnel has 1 to 12 characters of a–z, 0–9 and _`,
		`error: line 7, section d, option policy, value "tunell": is not allowed: it is one of tunnel, auto, direct, block; did you mean "tunnel"?`,
	}
	if d := cmp.Diff(want, onlyErrors(got)); d != "" {
		t.Error(d)
	}
}

func TestParseTellsWhatIsWrongInListsAndSections(t *testing.T) {
	const fine = "\toption policy block\n\tlist domain example.org\n"
	long := strings.Repeat("d", 33)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"list without anything", head + "config list l\n", []string{`error: line 2, section l: a list needs option url`, `error: line 2, section l: a list needs option destination`}},
		{"list of no destination", head + "config destination d\n" + fine + "config list l\n\toption url file:///a\n\toption destination dd\n", []string{`error: line 7, section l, option destination, value "dd": is no destination of this file; did you mean "d"?`}},
		{"list from nowhere", head + "config destination d\n" + fine + "config list l\n\toption url lists.example/x\n\toption destination d\n", []string{`error: line 6, section l, option url, value "lists.example/x": begins with none of https://, http://, file://`}},
		{"list from a relative file", head + "config destination d\n" + fine + "config list l\n\toption url file://x\n\toption destination d\n", []string{`error: line 6, section l, option url, value "file://x": is not file:// and an absolute path, such as file:///etc/routerd/my.list`}},
		{"list by ftp", head + "config destination d\n" + fine + "config list l\n\toption url ftp://h/x\n\toption destination d\n", []string{`error: line 6, section l, option url, value "ftp://h/x": begins with none of https://, http://`}},
		{"list format and interval", head + "config destination d\n" + fine + "config list l\n\toption url file:///a\n\toption destination d\n\toption format host\n\toption interval 10\n", []string{
			`error: line 8, section l, option format, value "host": is not allowed: it is one of auto, plain, hosts, dnsmasq, v2fly, clash; did you mean "hosts"?`,
			`error: line 9, section l, option interval, value "10": is not a number of seconds from 300 to 2592000`,
		}},
		{"section type", head + "config destinations d\n", []string{`error: line 2, section d: type "destinations" is not known: routerd, tunnel, destination and list are; did you mean "destination"?`}},
		{"section type far from all", head + "config interface\n", []string{`error: line 2, section @interface[0]: type "interface" is not known: routerd, tunnel, destination and list are; remove the section`}},
		{"main without name", "config routerd\n", []string{`error: line 1, section @routerd[0]: the section of type routerd is called main, there is no other; write: config routerd 'main'`}},
		{"a second main", head + "config routerd second\n", []string{`error: line 2, section second: the section of type routerd is called main, there is no other; write: config routerd 'main'`}},
		{"destination without name", head + "config destination\n" + fine, []string{`error: line 2, section @destination[0]: has no name; write: config destination 'NAME'`}},
		{"destination with a long name", head + "config destination " + long + "\n" + fine, []string{`error: line 2, section ` + long + `: the name is longer than 32 characters`}},
		{"a name twice", head + "config destination d\n" + fine + "config destination d\n" + fine, []string{`error: line 5, section d: a section of this name begins in line 2 already, uci would make one of both; give one of them another name`}},
		{"a name for two types", head + "config destination d\n" + fine + "config tunnel d\n", []string{`error: line 5: column 8: section "d" of type tunnel stands already in line 2 with type destination; a name can be used once in a file`}},
		{"client in both lists", head + "config destination d\n" + fine + "\tlist client 192.168.1.40\n\tlist client 02:00:00:00:00:01\n\tlist client 192.168.2.0/24\n\tlist exclude_client 192.168.1.0/24\n\tlist exclude_client 02-00-00-00-00-01\n\tlist exclude_client 192.168.2.9\n", []string{
			`error: line 5, section d, option client, value "192.168.1.40": is included here and excluded by list exclude_client; remove one of them`,
			`error: line 6, section d, option client, value "02:00:00:00:00:01": is included here and excluded by list exclude_client; remove one of them`,
		}},
		{"no tunnel to name", head + "config destination d\n" + fine + "\tlist tunnel home\n", []string{`error: line 5, section d, option tunnel, value "home": is no tunnel of this file; there is no tunnel yet; add one with: routerd tunnel import NAME FILE`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := told(t, tt.text)
			if d := cmp.Diff(tt.want, onlyErrors(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

// An empty file is what a power cut leaves, not what somebody means.
func TestParseRefusesAFileWithoutASection(t *testing.T) {
	for _, text := range []string{"", "\n", "# settings\n\n"} {
		c, problems, err := Parse("f", []byte(text), testEnv(t, nil))
		if c != nil || !errors.Is(err, ErrInvalid) || len(problems) != 1 || !strings.Contains(problems[0].String(), "config routerd 'main'") {
			t.Errorf("%q: %v, %v, %v", text, c, problems, err)
		}
	}
	if _, problems, err := Parse("f", []byte(head), testEnv(t, nil)); err != nil {
		t.Errorf("section main alone: %v, %v", problems, err)
	}
}

func TestParseNotesWhatMayNotBeMeant(t *testing.T) {
	const tunnel = "config tunnel home\n\toption config /a\n"
	const dest = "config destination a\n\toption policy block\n"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"no main", tunnel, []string{`note: there is no section main: defaults count for all of it; add: config routerd 'main'`}},
		{"metrics on every address", "config routerd main\n\toption metrics_listen 0.0.0.0:9640\n", []string{
			`note: line 2, section main, option metrics_listen, value "0.0.0.0:9640": listens on every address, that of the WAN too as far as the firewall lets in; give an address of the LAN`,
		}},
		{"metrics on one address", "config routerd main\n\toption metrics_listen router.lan:9640\n", nil},
		{"nothing listed", head + dest, []string{`note: line 2, section a: matches nothing: it has no service, category, domain, address or file; add a rule, or disable the destination`}},
		{"nothing listed and disabled", head + dest + "\toption enabled 0\n", nil},
		{"nothing listed but a list", head + dest + "config list l\n\toption url file:///a\n\toption destination a\n", nil},
		{"no tunnel at all", head + "config destination a\n\tlist domain example.org\n", []string{`note: line 2, section a: policy is tunnel and no enabled tunnel is there to use: nothing is steered until the settings have a tunnel; add one with: routerd tunnel import NAME FILE`}},
		{"no tunnel at all, direct", head + "config destination a\n\tlist domain example.org\n\toption fallback direct\n", []string{`note: line 2, section a: policy is tunnel and no enabled tunnel is there to use: nothing is steered until the settings have a tunnel; add one with: routerd tunnel import NAME FILE`}},
		{"only disabled tunnels", head + tunnel + "\toption enabled 0\nconfig tunnel b\n\toption config /b\nconfig destination a\n\tlist domain example.org\n\tlist tunnel home\n", []string{
			`note: line 7, section a: policy is tunnel and no enabled tunnel is there to use: its connections are blocked until there is one; add one with: routerd tunnel import NAME FILE`,
			`note: line 9, section a, option tunnel, value "home": is a tunnel that is disabled`,
		}},
		{"only disabled tunnels, direct", head + tunnel + "\toption enabled 0\nconfig destination a\n\tlist domain example.org\n\toption fallback direct\n", []string{
			`note: line 5, section a: policy is tunnel and no enabled tunnel is there to use: its connections go direct until there is one; add one with: routerd tunnel import NAME FILE`,
		}},
		{"no effect", head + tunnel + dest + "\tlist domain example.org\n\tlist tunnel home\n\toption fallback direct\n", []string{
			`note: line 7, section a, option tunnel, value "home": has no effect with policy block`,
			`note: line 8, section a, option fallback, value "direct": has no effect with policy block`,
		}},
		{"lines of a file", head + dest + "\tlist file /etc/routerd/bad.list\n", []string{
			`note: line 4, section a, option file, value "/etc/routerd/bad.list": is used without a line that is wrong: line 2: rule "*": a wildcard is allowed only as *. at the start; a plain name already covers every name below it`,
			`note: line 4, section a, option file, value "/etc/routerd/bad.list": is used without a line that is wrong: line 3: rule "example..org": two dots with nothing between them, or a dot too many at an end`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := told(t, tt.text)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	_, got := told(t, head+dest+"\tlist file /etc/routerd/awful.list\n")
	if len(got) != 6 || !strings.HasSuffix(got[5], "has more lines that are wrong and skipped") {
		t.Errorf("many wrong lines: %q", got)
	}
}

func TestParseNotesOverlapsAndWhoWins(t *testing.T) {
	section := func(name string, lines ...string) string {
		return "config destination " + name + "\n\toption policy block\n\t" + strings.Join(lines, "\n\t") + "\n"
	}
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"the same rules", section("a", "list domain example.org", "list address 203.0.113.7") + section("b", "list domain domain:Example.org.", "list address 203.0.113.7/32"), []string{
			`note: line 8, section b, option domain, value "domain:Example.org.": is in destination a too, which stands before b: a wins; remove it from one of them, or put b first`,
			`note: line 9, section b, option address, value "203.0.113.7/32": is in destination a too, which stands before b: a wins; remove it from one of them, or put b first`,
		}},
		{"the same service and category", section("a", "list service binance", "list category pool") + section("b", "list category pool", "list service binance"), []string{
			`note: line 8, section b, option category, value "pool": is in destination a too, which stands before b: a wins; remove it from one of them, or put b first`,
			`note: line 9, section b, option service, value "binance": is in destination a too, which stands before b: a wins; remove it from one of them, or put b first`,
		}},
		{"a service of a category before", section("a", "list category exchange") + section("b", "list service binance"), []string{
			`note: line 7, section b, option service, value "binance": is in destination a too (by category exchange), which stands before b: a wins; remove it from one of them, or put b first`,
		}},
		{"a name of a service before", section("a", "list category exchange") + section("b", "list domain binance.com"), []string{
			`note: line 7, section b, option domain, value "binance.com": is in destination a too (by service binance), which stands before b: a wins; remove it from one of them, or put b first`,
		}},
		{"the first of three wins", section("a", "list domain example.org") + section("b", "list domain example.org") + section("c", "list domain example.org"), []string{
			`note: line 7, section b, option domain, value "example.org": is in destination a too, which stands before b: a wins; remove it from one of them, or put b first`,
			`note: line 10, section c, option domain, value "example.org": is in destination a too, which stands before c: a wins; remove it from one of them, or put c first`,
		}},
		{"a service taken out of a category behind", section("a", "list service binance") + section("b", "list category exchange"), nil},
		{"a name within another", section("a", "list domain example.org") + section("b", "list domain www.example.org", "list domain full:example.org"), nil},
		{"the first is for some clients", section("a", "list domain example.org", "list client 192.168.1.9") + section("b", "list domain example.org"), nil},
		{"the first is not for some clients", section("a", "list domain example.org", "list exclude_client 192.168.1.9") + section("b", "list domain example.org"), nil},
		{"the first is disabled", section("a", "list domain example.org", "option enabled 0") + section("b", "list domain example.org"), nil},
		{"the second is disabled", section("a", "list domain example.org") + section("b", "list domain example.org", "option enabled 0"), nil},
		{"in one destination", section("a", "list domain example.org", "list domain example.org"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := told(t, head+tt.text)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// onlyErrors leaves the notes out.
func onlyErrors(lines []string) []string {
	var errors []string
	for _, l := range lines {
		if strings.HasPrefix(l, "error: ") {
			errors = append(errors, l)
		}
	}
	return errors
}

// upstreamForms is how package upstream ends its errors.
const upstreamForms = "; allowed are https://HOST[:PORT][/PATH], tls://HOST[:PORT], tcp://HOST[:PORT] and udp://HOST[:PORT]; " +
	"HOST is an address, or a name with its addresses at the end: #ADDRESS[,ADDRESS…]"
