package catalogue

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"
)

func builtin(t testing.TB) *Catalogue {
	t.Helper()
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBuiltinHasEnoughServicesOfEveryCategory(t *testing.T) {
	c := builtin(t)
	want := map[Category]int{
		CategoryExchange: 40, CategoryPool: 30, CategoryAnalytics: 15, CategoryWallet: 10, CategoryManagement: 6,
	}
	sum := 0
	for _, category := range Categories() {
		n := len(c.InCategory(category))
		sum += n
		t.Logf("%s: %d services", category, n)
		if n < want[category] {
			t.Errorf("category %s has %d services, at least %d are wanted", category, n, want[category])
		}
	}
	if n := len(c.Services()); n != sum {
		t.Errorf("%d services, %d of them in a category", n, sum)
	}
}

func TestBuiltinListsNoRuleTwice(t *testing.T) {
	owner := map[Rule]string{}
	for _, s := range builtin(t).Services() {
		for _, r := range s.Rules {
			if other, ok := owner[r]; ok {
				t.Errorf("rule %s stands in %s and in %s", r, other, s.ID)
			}
			owner[r] = s.ID
		}
	}
}

func TestBuiltinRulesOfAServiceDoNotRepeatEachOther(t *testing.T) {
	for _, s := range builtin(t).Services() {
		for i, r := range s.Rules {
			for j, other := range s.Rules {
				if _, ok := other.covers(r.Name); ok && i != j {
					t.Errorf("%s: rule %s is already covered by %s", s.ID, r, other)
				}
			}
		}
	}
}

// sharedBelow lists hosts that many unrelated parties use and that the public
// suffix list does not name.
var sharedBelow = []string{
	"cloudfront.net", "amazonaws.com", "akamaized.net", "akamaiedge.net", "edgekey.net", "fastly.net", "cloudflare.net",
	"cloudflare.com", "zendesk.com", "freshchat.com", "appsflyersdk.com", "prismic.io", "github.io", "github.com",
	"googleapis.com", "azurewebsites.net", "ada.support", "intercom.io", "awswaf.com", "ctfassets.net", "alicdn.com",
	"aliyuncs.com", "myqcloud.com", "z.com", "elliot.ai", "we-api.com", "ledger.tools",
}

func TestBuiltinListsNothingShared(t *testing.T) {
	for _, s := range builtin(t).Services() {
		for _, r := range s.Rules {
			if r.Kind == RuleAddress {
				t.Errorf("%s: %s: addresses belong to no service for long", s.ID, r)
				continue
			}
			if suffix, _ := publicsuffix.PublicSuffix(r.Name); suffix == r.Name {
				t.Errorf("%s: rule %s is a public suffix", s.ID, r)
			}
			if r.Kind == RuleSuffix && slices.Contains(sharedBelow, r.Name) {
				t.Errorf("%s: rule %s is shared by others: list full: names below it", s.ID, r)
			}
		}
	}
}

func TestBuiltinChecksAndServersAreCoveredByTheServicesRules(t *testing.T) {
	for _, s := range builtin(t).Services() {
		m := NewMatcher[struct{}]()
		for _, r := range s.Rules {
			m.Add(r, struct{}{})
		}
		var hosts []string
		for _, check := range s.Checks {
			u, err := url.Parse(check)
			if err != nil {
				t.Errorf("%s: check: %v", s.ID, err)
				continue
			}
			hosts = append(hosts, u.Hostname())
		}
		for _, p := range s.Pools {
			hosts = append(hosts, p.Host)
		}
		for _, host := range hosts {
			if _, _, ok := m.Name(host); !ok {
				t.Errorf("%s: no rule of the service covers %s", s.ID, host)
			}
		}
	}
}

func TestBuiltinServicesHaveAHTTPSCheckAndPoolsServers(t *testing.T) {
	for _, s := range builtin(t).Services() {
		https := false
		for _, check := range s.Checks {
			https = https || strings.HasPrefix(check, "https://")
			isServer := slices.ContainsFunc(s.Pools, func(p PoolServer) bool { return p.String() == check })
			if strings.HasPrefix(check, "stratum+") && !isServer {
				t.Errorf("%s: check %s is not one of its pool servers", s.ID, check)
			}
		}
		if !https {
			t.Errorf("%s has no https:// check", s.ID)
		}
		if (len(s.Pools) > 0) != (s.Category == CategoryPool) {
			t.Errorf("%s of category %s has %d pool servers", s.ID, s.Category, len(s.Pools))
		}
	}
}

func TestBuiltinListsNoServerTwice(t *testing.T) {
	seen := map[PoolServer]bool{}
	tls := 0
	for _, s := range builtin(t).Services() {
		for _, p := range s.Pools {
			if seen[p] {
				t.Errorf("%s: %s stands twice", s.ID, p)
			}
			seen[p] = true
			if p.TLS {
				tls++
			}
		}
	}
	t.Logf("%d Stratum servers, %d with TLS", len(seen), tls)
	if tls < 20 {
		t.Errorf("%d Stratum servers with TLS, at least 20 are wanted", tls)
	}
}

func TestServiceIsFoundByID(t *testing.T) {
	c := builtin(t)
	s, ok := c.Service("binance")
	if !ok || s.Name != "Binance" || s.Category != CategoryExchange {
		t.Errorf("Service(binance) = %+v, %v", s, ok)
	}
	if _, ok := c.Service("no-such-service"); ok {
		t.Error("Service(no-such-service) is found")
	}
	if got := c.InCategory("no-such-category"); len(got) != 0 {
		t.Errorf("InCategory of an unknown category gives %d services", len(got))
	}
}

func TestServicesGivesASliceOfTheCaller(t *testing.T) {
	c := builtin(t)
	first := c.Services()[0].ID
	c.Services()[0] = Service{}
	if got := c.Services()[0].ID; got != first {
		t.Errorf("a write to the slice changed the catalogue: first service is %q", got)
	}
}

func TestSearchPutsTheServiceMeantFirst(t *testing.T) {
	c := builtin(t)
	tests := []struct{ query, first string }{
		{"binance", "binance"},
		{"Binance US", "binance-us"},
		{"FAPI.Binance.com", "binance"},
		{"fapi.binance.com.", "binance"},
		{"https://fapi.binance.com/fapi/v1/ping", "binance"},
		{"pool.binance.com", "binance-pool"}, // more specific than binance.com
		{"stratum+tcp://btc.f2pool.com:1314", "f2pool"},
		{"btc.f2pool.com:1314", "f2pool"},
		{"www.nicehash.com", "nicehash-management"}, // full: before suffix
		{"x.nicehash.com", "nicehash"},
		{"F2Pool", "f2pool"},
		{"exchange bybit", "bybit"},
		{"bnbstatic", "binance"},
		{"coingecko", "coingecko"},
		{"  kraken  ", "kraken"},
	}
	for _, tt := range tests {
		words := strings.Split(tt.query, " ")
		if strings.HasPrefix(tt.query, " ") || strings.HasPrefix(tt.query, "http") {
			words = []string{tt.query}
		}
		got := c.Search(words...)
		if len(got) == 0 || got[0].ID != tt.first {
			t.Errorf("Search(%q) gives %s; want %s first", words, ids(got), tt.first)
		}
	}
}

func TestSearchMatchesEveryWord(t *testing.T) {
	c := builtin(t)
	if got, want := len(c.Search()), len(c.Services()); got != want {
		t.Errorf("Search() gives %d services, want all %d", got, want)
	}
	if got, want := ids(c.Search("management")), ids(c.InCategory(CategoryManagement)); len(got) < len(want) {
		t.Errorf("Search(management) gives %s; want at least %s", got, want)
	}
	for _, words := range [][]string{{"binance", "kraken"}, {"no-such-name.example"}, {"notbinance.com"}, {"binance.com.evil.example"}} {
		if got := c.Search(words...); len(got) != 0 {
			t.Errorf("Search(%q) gives %s, want nothing", words, ids(got))
		}
	}
}

func ids(services []Service) []string {
	var out []string
	for _, s := range services {
		out = append(out, s.ID)
	}
	return out
}

func BenchmarkBuiltin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Builtin(); err != nil {
			b.Fatal(err)
		}
	}
}
