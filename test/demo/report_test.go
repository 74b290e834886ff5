package demo

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/routerd/routerd/test/lab"
)

func TestVerdictNamesEverythingThatIsNotAsItMustBe(t *testing.T) {
	exit, wan := netip.MustParseAddr(lab.ExitSource4), netip.MustParseAddr(lab.RouterWAN4)
	good := outcome{address: netip.MustParseAddr("22.10.1.1"), answered: true, seenAs: exit}
	for _, tc := range []struct {
		name   string
		path   string
		o      observed
		source netip.Addr
		want   []string
	}{
		{"tunnel", pathTunnel, observed{good, pathTunnel, 0, 12}, exit, nil},
		{"server does not say whom it sees", pathTunnel, observed{outcome{answered: true}, pathTunnel, 0, 12}, exit, nil},
		{"leak", pathTunnel, observed{outcome{answered: true, seenAs: wan}, pathTunnel, 12, 0}, exit, []string{
			"packets out of the WAN: 12, expected none", "packets out of the tunnel: none",
			"the server saw the client as 22.100.0.2, expected 22.60.0.2",
		}},
		{"first packet leaks", pathTunnel, observed{good, pathTunnel, 1, 12}, exit, []string{"packets out of the WAN: 1, expected none"}},
		{"routerd says something else", pathTunnel, observed{good, pathDirect, 0, 12}, exit, []string{"routerd names path direct, expected home"}},
		{"no answer", pathTunnel, observed{outcome{detail: "curl: (28) timed out"}, pathTunnel, 0, 3}, exit, []string{"no answer: curl: (28) timed out"}},
		{"direct", pathDirect, observed{outcome{answered: true, seenAs: wan}, pathDirect, 9, 0}, wan, nil},
		{"direct in the tunnel", pathDirect, observed{good, pathTunnel, 0, 9}, wan, []string{
			"routerd names path home, expected direct", "packets out of the tunnel: 9, expected none", "packets out of the WAN: none",
			"the server saw the client as 22.60.0.2, expected 22.100.0.2",
		}},
		{"block", pathBlock, observed{outcome{took: time.Second}, pathBlock, 0, 0}, wan, nil},
		{"block that leaks both ways", pathBlock, observed{outcome{answered: true}, pathBlock, 1, 2}, wan, []string{
			"packets out of the WAN: 1, expected none", "packets out of the tunnel: 2, expected none", "was answered, expected a refusal",
		}},
		{"block without a word", pathBlock, observed{outcome{took: 5 * time.Second}, pathBlock, 0, 0}, wan, []string{
			"the client waited 5.0 s for its refusal",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := judge(Case{Path: tc.path}, tc.o, tc.source)
			if !slices.Equal(r.Wrong, tc.want) || r.OK != (len(tc.want) == 0) {
				t.Errorf("OK %t, wrong %q, want %q", r.OK, r.Wrong, tc.want)
			}
		})
	}
}

func TestReportIsOnlyWellWhenEveryRowAndCheckIs(t *testing.T) {
	good, bad := Row{OK: true}, Row{}
	for _, tc := range []struct {
		name string
		r    Report
		want bool
	}{
		{"nothing was done", Report{}, false},
		{"rows", Report{Rows: []Row{good, good}}, true},
		{"a bad row", Report{Rows: []Row{good, bad, good}}, false},
		{"a bad check", Report{Rows: []Row{good}, Checks: []Check{{OK: true}, {}}}, false},
		{"checks", Report{Rows: []Row{good}, Checks: []Check{{OK: true}}}, true},
	} {
		if tc.r.finish(); tc.r.OK != tc.want {
			t.Errorf("%s: OK is %t", tc.name, tc.r.OK)
		}
	}
}

func TestTotalsAddUpByWhatWasExpected(t *testing.T) {
	r := Report{Rows: []Row{
		{Expected: pathTunnel, ISP: 1, Exit: 2},
		{Expected: pathTunnel, ISP: 10, Exit: 20},
		{Expected: pathDirect, ISP: 3, Exit: 4},
		{Expected: pathBlock, ISP: 100, Exit: 100},
	}}
	r.finish()
	if want := (Totals{ListedISP: 11, ListedExit: 22, UnlistedISP: 3, UnlistedExit: 4}); r.Totals != want {
		t.Errorf("got %+v, want %+v", r.Totals, want)
	}
}
