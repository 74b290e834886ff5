package tunnel

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func addrPorts(texts ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range texts {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestCandidatesAlternateFamilies(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs []string
		want  []netip.AddrPort
	}{
		{"none", nil, nil},
		{"one family, order fixed", []string{"192.0.2.9", "192.0.2.1", "192.0.2.9"}, addrPorts("192.0.2.1:7", "192.0.2.9:7")},
		{"IPv6 first", []string{"2001:db8::2", "192.0.2.1", "2001:db8::1"}, addrPorts("[2001:db8::1]:7", "192.0.2.1:7", "[2001:db8::2]:7")},
		{"IPv4 first", []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}, addrPorts("192.0.2.1:7", "[2001:db8::1]:7", "192.0.2.2:7")},
		{"mapped is IPv4", []string{"::ffff:192.0.2.1", "192.0.2.1"}, addrPorts("192.0.2.1:7")},
	} {
		var addrs []netip.Addr
		for _, a := range c.addrs {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		if got := candidates(addrs, 7); len(got) != len(c.want) || len(got) > 0 && !cmp.Equal(got, c.want, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestEndpointMovesOnlyWhenItMust(t *testing.T) {
	a, b, c := "192.0.2.1:7", "[2001:db8::1]:7", "192.0.2.2:7"
	for _, tt := range []struct {
		name       string
		current    string
		candidates []string
		fresh      bool
		answers    bool
		tried      time.Duration
		want       string // "" is: stay
	}{
		{name: "nothing known", current: a},
		{name: "first", candidates: []string{a, b}, want: a},
		{name: "new settings", current: a, candidates: []string{c}, fresh: true, answers: true, want: c},
		{name: "new settings, same place", current: b, candidates: []string{a, b}, fresh: true, answers: true},
		{name: "roamed and answers", current: c, candidates: []string{a, b}, answers: true},
		{name: "name changed and silent", current: c, candidates: []string{a, b}, want: a},
		{name: "silent, not long", current: a, candidates: []string{a, b}, tried: 14 * time.Second},
		{name: "silent for long", current: a, candidates: []string{a, b}, tried: 15 * time.Second, want: b},
		{name: "last one silent for long", current: b, candidates: []string{a, b}, tried: 15 * time.Second, want: a},
		{name: "only one", current: a, candidates: []string{a}, tried: time.Hour},
		{name: "answers", current: a, candidates: []string{a, b}, answers: true, tried: time.Hour},
	} {
		v := endpointView{candidates: addrPorts(tt.candidates...), fresh: tt.fresh, answers: tt.answers, tried: tt.tried, patience: answerTime}
		if tt.current != "" {
			v.current = netip.MustParseAddrPort(tt.current)
		}
		got, moved := chooseEndpoint(v)
		if moved != (tt.want != "") || moved && got.String() != tt.want {
			t.Errorf("%s: moves to %v (%v), want %q", tt.name, got, moved, tt.want)
		}
	}
}
