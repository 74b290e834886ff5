package demo

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
)

func TestCurlsOutputIsRead(t *testing.T) {
	a := netip.MustParseAddr
	for _, tc := range []struct {
		name, out string
		want      outcome
	}{
		{
			"a page", "host www.okx.com\nserver 22.10.1.1\nclient 22.60.0.2\nremote 22.10.1.1\nstatus 200\n",
			outcome{address: a("22.10.1.1"), answered: true, seenAs: a("22.60.0.2"), detail: "the server answers with status 200"},
		},
		{"refused", "remote \nstatus 000\n", outcome{detail: "the server answers with status 000"}},
		{"nothing", "", outcome{}},
		{
			"another page", "remote 2d00:10::1\nstatus 502\n",
			outcome{address: a("2d00:10::1"), detail: "the server answers with status 502"},
		},
	} {
		if got := parseCurl(tc.out); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestKdigsOutputIsRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  netip.Addr
		want string
	}{
		{"behind an alias", parseShort("edge.example.\n22.10.1.1\n22.10.1.2\n", 4), "22.10.1.1"},
		{"of the other family", parseShort("22.10.1.1\n2d00:10::1\n", 6), "2d00:10::1"},
		{"none", parseShort("edge.example.\n", 4), "invalid IP"},
		{"hint", parseHint("1 . alpn=h2 ipv4hint=22.10.1.1,22.10.1.2 ipv6hint=2d00:10::1\n", 4), "22.10.1.1"},
		{"IPv6 hint", parseHint("1 . alpn=h2 ipv4hint=22.10.1.1 ipv6hint=2d00:10::1\n", 6), "2d00:10::1"},
		{"no hint", parseHint("0 svc.edge.example.\n", 4), "invalid IP"},
		{"a hint that is none", parseHint("1 . ipv4hint=x\n", 4), "invalid IP"},
	} {
		if tc.got.String() != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, tc.got, tc.want)
		}
	}
}

func TestMixedCaseIsTheSameName(t *testing.T) {
	got := mixedCase("www.bybit.com")
	if got == "www.bybit.com" || !strings.EqualFold(got, "www.bybit.com") {
		t.Errorf("got %s", got)
	}
}

func TestNewestFlowOfTheClientIsTaken(t *testing.T) {
	clients := []netip.Addr{netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("2d00:1:1::10")}
	flow := func(path, source, target string, age int64) control.Flow {
		return control.Flow{Path: path, Source: source, Target: target, AgeS: age}
	}
	flows := []control.Flow{
		flow("old", "192.168.1.10:1000", "22.10.1.1:443", 9),
		flow("new", "192.168.1.10:1001", "22.10.1.1:443", 1),
		flow("newer in the same second", "192.168.1.10:1002", "22.10.1.1:443", 1),
		flow("of another client", "192.168.1.20:1003", "22.10.1.1:443", 0),
		flow("to another address", "192.168.1.10:1004", "22.10.1.2:443", 0),
		flow("over IPv6", "[2d00:1:1::10]:1005", "[2d00:10::1]:443", 5),
		flow("unreadable", "?", "22.10.1.1:443", 0),
	}
	for to, want := range map[string]string{
		"22.10.1.1": "newer in the same second", "2d00:10::1": "over IPv6", "22.10.1.3": "",
	} {
		got, found := newestFlow(flows, clients, netip.MustParseAddr(to))
		if got.Path != want || found != (want != "") {
			t.Errorf("%s: got %q, %t, want %q", to, got.Path, found, want)
		}
	}
}

func TestDumpsAreCompared(t *testing.T) {
	before := dump{"rules": {"a", "b", "b"}, "nftables": {"one", "two"}, "routes": {"x"}}
	after := dump{"rules": {"a", "b", "c"}, "nftables": {"two", "one"}, "routes": {"x"}}
	got := map[string]Check{}
	for _, c := range compare(before, after) {
		got[strings.TrimPrefix(c.What, "cleanup, ")] = c
	}
	for part, want := range map[string]Check{
		"rules":    {Detail: "1 lines gone, such as: b; 1 lines left behind, such as: c"},
		"nftables": {Detail: "the order has changed"},
		"routes":   {OK: true, Detail: "as before (1 lines)"},
		"links":    {OK: true, Detail: "as before (0 lines)"},
	} {
		if got[part].OK != want.OK || got[part].Detail != want.Detail {
			t.Errorf("%s: got %+v, want %+v", part, got[part], want)
		}
	}
}

func TestTransferIsWholeOnlyWithEveryByte(t *testing.T) {
	for _, tc := range []struct {
		transfer
		want bool
	}{
		{transfer{bytes: "16777216"}, true},
		{transfer{bytes: "16777215"}, false},
		{transfer{bytes: "16777216", failed: "curl: (56) reset"}, false},
		{transfer{}, false},
	} {
		if tc.whole() != tc.want {
			t.Errorf("%s: whole is %t", tc.transfer, tc.whole())
		}
	}
}

func TestPollGivesUpWithWhatIsMissing(t *testing.T) {
	looks := 0
	err := poll(t.Context(), time.Millisecond, func() (bool, error) {
		looks++
		return false, errNever
	})
	if err == nil || !strings.Contains(err.Error(), "never") || looks < 2 {
		t.Errorf("%d looks, error %v", looks, err)
	}
}
