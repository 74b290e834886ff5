package control

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	for _, tc := range []struct{ in, want, wantErr string }{
		{in: "Api.Binance.COM.", want: "api.binance.com"},
		{in: "xn--e1afmkfd.xn--p1ai", want: "xn--e1afmkfd.xn--p1ai"},
		{in: "_dmarc.example.org", want: "_dmarc.example.org"},
		{in: "localhost", want: "localhost"},
		{in: "203.0.113.7", want: "203.0.113.7"},
		{in: "::ffff:203.0.113.7", want: "203.0.113.7"},
		{in: "2001:DB8::0001", want: "2001:db8::1"},
		{in: "fe80::1%br-lan", want: "fe80::1"},
		{in: strings.Repeat("a", 63) + ".com", want: strings.Repeat("a", 63) + ".com"},
		{in: "", wantErr: "is needed"},
		{in: ".", wantErr: "neither an address nor"},
		{in: "a..b", wantErr: "neither an address nor"},
		{in: "пример.рф", wantErr: "xn--"},
		{in: "a b", wantErr: "neither an address nor"},
		{in: "https://example.org/", wantErr: "neither an address nor"},
		{in: strings.Repeat("a", 64) + ".com", wantErr: "neither an address nor"},
		{in: strings.Repeat("a.", 200) + "com", wantErr: "at most 253"},
	} {
		got, err := ParseTarget(tc.in)
		if got != tc.want || !errorHas(err, tc.wantErr) {
			t.Errorf("ParseTarget(%.40q) = %q, %v; want %q, error with %q", tc.in, got, err, tc.want, tc.wantErr)
		}
	}
}

// errorHas says whether err is an ErrInvalid that holds the text, or nil for "".
func errorHas(err error, text string) bool {
	if text == "" {
		return err == nil
	}
	return errors.Is(err, ErrInvalid) && strings.Contains(err.Error(), text)
}

func TestParseWhyQuery(t *testing.T) {
	for _, tc := range []struct {
		in      string
		want    whyQuery
		wantErr string
	}{
		{"query=Example.org&client=192.168.1.40", whyQuery{"example.org", "192.168.1.40"}, ""},
		{"query=example.org", whyQuery{"example.org", ""}, ""},
		{"query=example.org&client=laptop", whyQuery{}, `client "laptop" is not`},
		{"query=example.org&client=" + strings.Repeat("1", 65), whyQuery{}, "65 characters"},
		{"", whyQuery{}, "is needed"},
		{"query=a&clinet=1.2.3.4", whyQuery{}, `parameter "clinet" is unknown, allowed: query, client`},
		{"query=%zz", whyQuery{}, "cannot be decoded"},
		{"query=" + strings.Repeat("a", 5000), whyQuery{}, "at most 4096"},
	} {
		got, err := parseWhy(tc.in)
		if got != tc.want || !errorHas(err, tc.wantErr) {
			t.Errorf("parseWhy(%.60q) = %+v, %v; want %+v, error with %q", tc.in, got, err, tc.want, tc.wantErr)
		}
	}
}

func TestParseStreamQuery(t *testing.T) {
	for _, tc := range []struct {
		in      string
		want    streamQuery
		wantErr string
	}{
		{"", streamQuery{interval: time.Second}, ""},
		{"follow=1&since=7&interval=5", streamQuery{7, true, 5 * time.Second}, ""},
		{"follow=true", streamQuery{0, true, time.Second}, ""},
		{"follow=0", streamQuery{interval: time.Second}, ""},
		{"follow=yes", streamQuery{}, "0 or 1"},
		{"since=-1", streamQuery{}, "since="},
		{"since=" + strings.Repeat("9", 21), streamQuery{}, "21 characters"},
		{"since=99999999999999999999", streamQuery{}, "since="},
		{"interval=0", streamQuery{}, "1 to 60 seconds"},
		{"interval=61", streamQuery{}, "1 to 60 seconds"},
		{"interval=1s", streamQuery{}, "1 to 60 seconds"},
		{"limit=3", streamQuery{}, "unknown"},
	} {
		got, err := parseStream(tc.in, "follow", "since", "interval")
		if !errorHas(err, tc.wantErr) || err == nil && got != tc.want {
			t.Errorf("parseStream(%q) = %+v, %v; want %+v, error with %q", tc.in, got, err, tc.want, tc.wantErr)
		}
	}
}

func TestParseWords(t *testing.T) {
	for _, tc := range []struct {
		in, wantErr string
		want        int
	}{
		{"", "", 0},
		{"word=pool&word=btc", "", 2},
		{"word=", "1 to 64", 0},
		{"word=" + strings.Repeat("x", 65), "1 to 64", 0},
		{strings.Repeat("word=a&", 9), "at most 8", 0},
		{"words=a", "unknown", 0},
	} {
		got, err := parseWords(tc.in)
		if len(got) != tc.want || !errorHas(err, tc.wantErr) {
			t.Errorf("parseWords(%.30q) = %v, %v; want %d words, error with %q", tc.in, got, err, tc.want, tc.wantErr)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "query=a.b&client=::1", "follow=1&since=9&interval=2", "word=a&word=b", "query=%00", "client=fe80::1%25eth0&query=fe80::1%25eth0", "a;b", "&&&="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if q, err := parseWhy(raw); err == nil {
			checkWhy(t, q)
		}
		if q, err := parseStream(raw, "follow", "since", "interval"); err == nil && (q.interval < minInterval || q.interval > maxInterval) {
			t.Errorf("interval %v is out of bounds", q.interval)
		}
		if words, err := parseWords(raw); err == nil && len(words) > maxWords {
			t.Errorf("%d words passed", len(words))
		}
	})
}

// checkWhy says that what was accepted is bounded and in its one form.
func checkWhy(t *testing.T, q whyQuery) {
	t.Helper()
	again, err := ParseTarget(q.query)
	if err != nil || again != q.query || len(q.query) > maxName {
		t.Errorf("query %q is not stable: %q, %v", q.query, again, err)
	}
	if q.client == "" {
		return
	}
	if a, err := netip.ParseAddr(q.client); err != nil || a.Zone() != "" || a.String() != q.client {
		t.Errorf("client %q is not an address in its one form", q.client)
	}
}
