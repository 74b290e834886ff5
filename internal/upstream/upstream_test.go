package upstream

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text      string
		endpoints string
		url       string // https only
		host      string
	}{
		{text: "https://1.1.1.1/dns-query", endpoints: "1.1.1.1:443", url: "https://1.1.1.1/dns-query", host: "1.1.1.1"},
		{text: "https://1.1.1.1", endpoints: "1.1.1.1:443", url: "https://1.1.1.1/dns-query", host: "1.1.1.1"},
		{text: "HTTPS://1.1.1.1/", endpoints: "1.1.1.1:443", url: "https://1.1.1.1/dns-query", host: "1.1.1.1"},
		{text: "https://1.1.1.1:8443/q/é", endpoints: "1.1.1.1:8443", url: "https://1.1.1.1:8443/q/%C3%A9", host: "1.1.1.1"},
		{text: "https://1.1.1.1/dns-query{?dns}", endpoints: "1.1.1.1:443", url: "https://1.1.1.1/dns-query", host: "1.1.1.1"},
		{text: "https://1.1.1.1/q?key=1", endpoints: "1.1.1.1:443", url: "https://1.1.1.1/q?key=1", host: "1.1.1.1"},
		{text: "https://[2606:4700::1111]/q", endpoints: "[2606:4700::1111]:443", url: "https://[2606:4700::1111]/q", host: "2606:4700::1111"},
		{text: "tls://9.9.9.9", endpoints: "9.9.9.9:853", host: "9.9.9.9"},
		{text: "tls://9.9.9.9:8853", endpoints: "9.9.9.9:8853", host: "9.9.9.9"},
		{text: "tcp://[2001:db8::1]:5353", endpoints: "[2001:db8::1]:5353", host: "2001:db8::1"},
		{text: "udp://192.0.2.1/", endpoints: "192.0.2.1:53", host: "192.0.2.1"},
		{
			text: "https://DNS.example/dns-query#192.0.2.1,2001:db8::1", endpoints: "192.0.2.1:443 [2001:db8::1]:443",
			url: "https://dns.example/dns-query", host: "dns.example",
		},
		{text: "tls://dns.example#192.0.2.2", endpoints: "192.0.2.2:853", host: "dns.example"},
		{
			text: "https://dns.google/dns-query", url: "https://dns.google/dns-query", host: "dns.google",
			endpoints: "8.8.8.8:443 8.8.4.4:443 [2001:4860:4860::8888]:443 [2001:4860:4860::8844]:443",
		},
	} {
		t.Run(c.text, func(t *testing.T) {
			u, err := Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(u.Endpoints(), " "); got != c.endpoints {
				t.Errorf("endpoints %q, want %q", got, c.endpoints)
			}
			if u.host != c.host || u.String() != c.text {
				t.Errorf("host %q of %q", u.host, u)
			}
			if u.Scheme() == SchemeHTTPS && u.URL() != c.url {
				t.Errorf("URL %q, want %q", u.URL(), c.url)
			}
			if len(u.Addrs()) != len(u.Endpoints()) {
				t.Errorf("addresses %v", u.Addrs())
			}
		})
	}
}

func TestParseSaysWhatIsWrongAndWhatIsAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "it has no scheme",
		"1.1.1.1":                        "it has no scheme",
		"https://":                       "it names no host",
		"quic://1.1.1.1":                 `scheme "quic" is not known`,
		"tls://1.1.1.1/dns-query":        `a path is for https:// only, not "/dns-query"`,
		"udp://1.1.1.1?x":                "a path is for https:// only",
		"tls://1.1.1.1:0":                `port "0" is not a number from 1 to 65535`,
		"tls://1.1.1.1:70000":            `port "70000" is not a number from 1 to 65535`,
		"tls://1.1.1.1:x":                "invalid port",
		"https://me@1.1.1.1/":            "a user name has no place",
		"https://dns.example/q":          "the addresses of dns.example are not known",
		"https://dns.example/q#":         "the addresses of dns.example are not known",
		"https://dns.example/q#a.b":      `"a.b" after # is not an address`,
		"https://dns.example#1.2.3.4,":   `"" after # is not an address`,
		"https://dns.example#0.0.0.0":    "is not an address",
		"https://dns.example#fe80::1%ab": "is not an address",
		"tls://1.1.1.1#dns.example":      "addresses after # are for a host that is a name, 1.1.1.1 is an address",
		"tls://[fe80::1%25eth0]":         "an address with a zone cannot be used",
		"tls://[1.1.1.1.1]":              "invalid host",
		"tls://a b":                      "invalid character",
		"tls://-a.example#192.0.2.1":     `"-a.example" is not a host name`,
		"tls://a..b#192.0.2.1":           "a label needs 1 to 63 octets",
		"tls://ä.example#192.0.2.1":      "is not a host name",
		"https://1.1.1.1/%zz":            "invalid URL escape",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", text, err, want)
			continue
		}
		if !strings.Contains(err.Error(), "allowed are https://HOST") {
			t.Errorf("%s: the error does not say what is allowed: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"https://1.1.1.1/dns-query", "tls://dns.example#192.0.2.1,2001:db8::1", "udp://[::1]:53", "tcp://a#",
		"https://x/{?dns}#1.1.1.1", "https://1.1.1.1/a?b{?dns}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil {
			if !strings.Contains(err.Error(), forms) {
				t.Errorf("%q: the error does not say what is allowed: %v", text, err)
			}
			return
		}
		if len(u.Endpoints()) == 0 || u.port == 0 || u.host == "" || u.String() != text {
			t.Errorf("%q became %+v", text, u)
		}
		if u.scheme == SchemeHTTPS && !strings.HasPrefix(u.path, "/") {
			t.Errorf("%q has path %q", text, u.path)
		}
	})
}

func TestPlainIsWhatItsTextSays(t *testing.T) {
	for _, at := range []string{"192.0.2.1:53", "[2001:db8::53]:5353"} {
		for _, scheme := range []Scheme{SchemeUDP, SchemeTCP} {
			u := Plain(netip.MustParseAddrPort(at), scheme == SchemeTCP)
			read, err := Parse(u.String())
			if err != nil || u.Scheme() != scheme || !u.Equal(read) || u.Host() != read.Host() || u.Endpoints()[0] != at {
				t.Errorf("%s over %s: %+v, read %+v, %v", at, scheme, u, read, err)
			}
		}
	}
}
