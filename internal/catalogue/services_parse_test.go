package catalogue

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseServicesReadsTheDocumentedFormat(t *testing.T) {
	const text = "# head\n\n" +
		"[one-1] Service One  (1)\r\n" +
		"rule one.example  FULL:API.one.example.net\n" +
		"  # a comment inside\n" +
		"\trule two.example\n" +
		"pool stratum+tcp://Pool.one.example:3333 stratum+ssl://pool.one.example:443\n" +
		"check https://one.example/ping?a=b stratum+tcp://pool.one.example:3333\n" +
		"\n[b] B\nrule b.example\ncheck stratum+tcp://b.example:25"
	full := Rule{Kind: RuleFull, Name: "api.one.example.net"}
	want := []Service{{
		ID: "one-1", Name: "Service One  (1)", Category: CategoryPool,
		Rules:  []Rule{mustRule(t, "one.example"), full, mustRule(t, "two.example")},
		Pools:  []PoolServer{{"pool.one.example", 3333, false}, {"pool.one.example", 443, true}},
		Checks: []string{"https://one.example/ping?a=b", "stratum+tcp://pool.one.example:3333"},
	}, {
		ID: "b", Name: "B", Category: CategoryPool,
		Rules:  []Rule{mustRule(t, "b.example")},
		Checks: []string{"stratum+tcp://b.example:25"},
	}}
	got, err := parseServices(strings.NewReader(text), CategoryPool)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Rule) bool { return a == b })); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

func TestPoolServerIsWrittenAsMinersDo(t *testing.T) {
	for want, p := range map[string]PoolServer{
		"stratum+tcp://pool.example:3333": {"pool.example", 3333, false},
		"stratum+ssl://pool.example:443":  {"pool.example", 443, true},
	} {
		if got := p.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
		if got := p.Address(); !strings.HasSuffix(want, "://"+got) {
			t.Errorf("Address() = %q of %q", got, want)
		}
	}
}

func TestParseServicesNamesTheLineThatIsWrong(t *testing.T) {
	const good = "[a] A\nrule a.example\ncheck https://a.example/\n" // lines 1 to 3
	tests := []struct{ name, text, want string }{
		{"a value before any service", "rule a.example\n", `line 1: "rule a.example" stands before the first [id]`},
		{"no display name", good + "[b]\n", "line 4: a service begins with [id] Display name"},
		{"no closing bracket", good + "[b B\n", "line 4: a service begins with [id] Display name"},
		{"a capital in the id", good + "[Bb] B\n", `line 4: id "Bb"`},
		{"an empty id", good + "[] B\n", `line 4: id ""`},
		{"an unknown key", good + "domain b.example\n", `line 4: key "domain"`},
		{"a key with no value", good + "rule\n", `line 4: "rule" has no value`},
		{"a wrong rule", good + "rule b.example com\n", `line 4: rule "com"`},
		{"a service with no rule", "[a] A\ncheck https://a.example/\n[b] B\n", `line 3: service "a" has no rule`},
		{"a last service with no check", "[a] A\nrule a.example\n", `service "a" has no check`},
		{"a pool with another scheme", good + "pool tcp://a.example:3333\n", "line 4: pool server"},
		{"a pool with no port", good + "pool stratum+tcp://a.example\n", "no port"},
		{"a pool with port 0", good + "pool stratum+tcp://a.example:0\n", "port is not a number from 1 to 65535"},
		{"a pool with a port too large", good + "pool stratum+tcp://a.example:65536\n", "port is not a number from 1 to 65535"},
		{"a pool with a path", good + "pool stratum+tcp://a.example:3333/\n", "port is not a number"},
		{"a pool with a wrong host", good + "pool stratum+tcp://a..example:3333\n", "two dots"},
		{"a check over plain HTTP", good + "check http://a.example/\n", "line 4: check"},
		{"a check with no path", good + "check https://a.example\n", "line 4: check"},
		{"a check with a fragment", good + "check https://a.example/#x\n", "line 4: check"},
		{"a check with a password", good + "check https://u:p@a.example/\n", "line 4: check"},
		{"a check with a wrong host", good + "check https://localhost/\n", "line 4: check"},
		{"something large that is no path", good + "large https://a.example/big\n", "line 4: large"},
		{"something large with a fragment", good + "large /big#x\n", "line 4: large"},
		{"something large with no host", "[a] A\nrule a.example\ncheck stratum+tcp://a.example:25\nlarge /big\n", `service "a" has something large`},
		{"a check that is no URL", good + "check https://%zz/\n", "line 4: check"},
		{"a check of a pool with no port", good + "check stratum+ssl://a.example\n", "no port"},
		{"a line that does not end", good + strings.Repeat("x", 5000), "line 4: the line is longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseServices(strings.NewReader(tt.text), CategoryExchange)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v; want it to say %q", err, tt.want)
			}
		})
	}
}

func TestCatalogueRefusesAnIDThatStandsTwice(t *testing.T) {
	c := &Catalogue{byID: map[string]int{}}
	if err := c.add([]Service{{ID: "a"}, {ID: "b"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.add([]Service{{ID: "b"}}); err == nil || !strings.Contains(err.Error(), `"b" stands twice`) {
		t.Errorf("error %v", err)
	}
}
