package catalogue

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"https://api.example.org/ping?x=1&y=%20":   {SchemeHTTPS, "api.example.org", 443, "/ping?x=1&y=%20"},
		"https://API.Example.org.":                 {SchemeHTTPS, "api.example.org", 443, "/"},
		"https://example.org:8443?x":               {SchemeHTTPS, "example.org", 8443, "/?x"},
		"http://192.0.2.1/":                        {SchemeHTTP, "192.0.2.1", 80, "/"},
		"http://[2001:db8::1]:8080/a":              {SchemeHTTP, "2001:db8::1", 8080, "/a"},
		"tls://example.org":                        {SchemeTLS, "example.org", 443, ""},
		"tls://example.org:853/":                   {SchemeTLS, "example.org", 853, ""},
		"tcp://example.org:25":                     {SchemeTCP, "example.org", 25, ""},
		"stratum+tcp://pool.example.org:3333":      {SchemeStratumTCP, "pool.example.org", 3333, ""},
		"stratum+ssl://pool_1.example.org:443":     {SchemeStratumSSL, "pool_1.example.org", 443, ""},
		"https://example.org/a b":                  {SchemeHTTPS, "example.org", 443, "/a%20b"},
		"https://example.org/ж":                    {SchemeHTTPS, "example.org", 443, "/%D0%B6"},
		"https://example.org/%0d%0aX-Forged:%20it": {SchemeHTTPS, "example.org", 443, "/%0d%0aX-Forged:%20it"},
	} {
		got, err := ParseTarget(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseTarget(got.String()); err != nil || again != got {
			t.Errorf("%s, written as %s, is %+v, %v", text, got, again, err)
		}
	}
}

func TestTargetIsWrittenShort(t *testing.T) {
	for text, want := range map[string][3]string{
		"https://Example.org:443/x":  {"https://example.org/x", "example.org", "example.org:443"},
		"http://[2001:db8::1]":       {"http://[2001:db8::1]/", "[2001:db8::1]", "[2001:db8::1]:80"},
		"http://[2001:db8::1]:81":    {"http://[2001:db8::1]:81/", "[2001:db8::1]:81", "[2001:db8::1]:81"},
		"stratum+tcp://a.example:25": {"stratum+tcp://a.example:25", "a.example:25", "a.example:25"},
	} {
		x, err := ParseTarget(text)
		if got := [3]string{x.String(), x.HostHeader(), x.Address()}; err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestParseTargetSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "begins with none of https://",
		"ftp://example.org":                "begins with none of",
		"https://":                         "has no valid host",
		"https://-a.example/":              "has no valid host",
		"https://a..example/":              "has no valid host",
		"https://[fe80::1%25eth0]/":        "has no valid host",
		"https://u:p@example.org/":         "user name",
		"https://example.org:0/":           "has a port that is not",
		"https://example.org:/":            "has a port that is not",
		"https://example.org:65536":        "has a port that is not",
		"tcp://example.org":                "has no port: write tcp://HOST:PORT",
		"stratum+tcp://a.example:1/worker": "has something after the host",
		"https://example.org/#top":         "fragment",
		"https://example.org/\n":           "is not a URL",
		"https://example.org/?a b":         "has a character",
		"https:example.org":                "has no valid host",
		"https://example.org/" + strings.Repeat("x", maxTarget): "is longer",
	} {
		if got, err := ParseTarget(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %+v, %v, want %q", text, got, err, want)
		}
	}
}

// FuzzParseTarget: what is read can be sent in a request's first lines and is
// read back the same.
func FuzzParseTarget(f *testing.F) {
	for _, text := range []string{"https://example.org/a?b", "http://[::1]:80", "stratum+ssl://a.b:1", "tls://x", "https://é.example/\x7f"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := ParseTarget(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(x.Path+x.HostHeader(), " \r\n\x00\t") || x.Port == 0 || x.Host == "" {
			t.Fatalf("%q is %+v", text, x)
		}
		if again, err := ParseTarget(x.String()); err != nil || again != x {
			t.Fatalf("%q is %+v, then %+v, %v", text, x, again, err)
		}
	})
}

func TestBuiltinTargetsAreReadAndSomeAreLarge(t *testing.T) {
	large := 0
	for _, s := range builtin(t).Services() {
		if got := s.Targets(); len(got) != len(s.Checks) {
			t.Errorf("%s: %d targets of %d checks", s.ID, len(got), len(s.Checks))
		}
		if s.Large != "" {
			large++
		}
	}
	if large < 8 {
		t.Errorf("%d services have something large", large)
	}
}
