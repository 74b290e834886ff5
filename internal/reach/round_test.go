package reach

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/routerd/routerd/internal/dns"
)

func TestSilenceOnALineThatLosesPacketsIsConfirmed(t *testing.T) {
	answer := func(n *internet) { n.set(pathDirect, at, says(okPage), nil) }
	for _, c := range []struct {
		name   string
		resent int64 // by the controls
		late   bool  // this machine was
		later  func(*internet)
		want   Verdict
		says   string
		seen   int // observations of the direct path
	}{
		{"a clean line", 0, false, answer, Interfered, "no answer to the request", 1},
		{"this machine was busy", 0, true, answer, Reachable, "it works", 2},
		{"it works after all", 3, false, answer, Reachable, "it works", 2},
		{"it is silent in another way", 3, false, func(n *internet) { n.set(pathDirect, at, nil, nil) }, Interfered, "no answer to the request", 1 + confirmations},
		{"it is a deed after all", 3, false, func(n *internet) { n.set(pathDirect, at, says(""), nil) }, Interfered, "closed after the request", 2},
		{"it is the same each time", 3, false, func(*internet) {}, Interfered, "no answer to the request", 1 + confirmations},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet()
				r := newRunner(t, n)
				n.set(pathDirect, at, silent, nil)
				first := r.round(t.Context(), bothPaths, target(t, site), Depth{}, func(Result) {})
				if first.Finding.Verdict != Interfered {
					t.Fatalf("%+v", first)
				}
				before := n.count(at)
				lines := map[string]Line{"direct": {Asked: 3, Answered: 3, Working: 3, Resent: c.resent}}
				seen := 1
				first.Results[0].Late = c.late
				if i := doubtful(first, lines); i >= 0 {
					c.later(n)
					var told []Result
					first.Results[i] = r.confirm(t.Context(), first.Results[i], func() Observation {
						seen++
						return r.prober.Observe(t.Context(), bothPaths[i], target(t, site), Truth{}, Depth{})
					}, nil, func(x Result) { told = append(told, x) })
					first.Finding = Compare(target(t, site), first.Results, lines)
					if slices.ContainsFunc(told, func(x Result) bool { return x.Outcome == HTTPTimeout }) {
						t.Errorf("the same was told again: %+v", told)
					}
				}
				if f := first.Finding; f.Verdict != c.want || !strings.Contains(f.Sentence, c.says) {
					t.Errorf("%s: %s, want %s: …%s…", f.Verdict, f.Sentence, c.want, c.says)
				}
				if seen != c.seen || seen > 1 == (n.count(at) == before) {
					t.Errorf("%d observations, want %d", seen, c.seen)
				}
			})
		})
	}
}

func TestStepsThatOverrunTheirTimeAreNoted(t *testing.T) {
	for took, want := range map[time.Duration]bool{900 * time.Millisecond: false, 5 * time.Second: false, 7 * time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			x := &probe{late: new(atomic.Bool)}
			end := x.watch(5 * time.Second)
			time.Sleep(took)
			if end(); x.late.Load() != want {
				t.Errorf("%s of 5 s: late is %t", took, x.late.Load())
			}
		})
	}
}

func TestResolverThatFailsDoesNotDenyTheName(t *testing.T) {
	for rcode, want := range map[int]Outcome{0: DNSNXDomain, 2: DNSTimeout, 3: DNSNXDomain, 5: DNSTimeout} {
		a := []dns.Answer{{Rcode: rcode}}
		o := Observation{Target: target(t, site), Lookups: []Lookup{{Answers: a}, {IPv6: true, Answers: a}}}
		if r := Judge(o, nil); r.Outcome != want {
			t.Errorf("response code %d: %s %q, want %s", rcode, r.Outcome, r.Detail, want)
		}
	}
}

func TestControlsTellOfLostPackets(t *testing.T) {
	l := LineOf([]Result{{Outcome: OutcomeOK, Resent: 2}, {Outcome: TCPTimeout, Late: true}, {Outcome: OutcomeOK, Resent: 1}})
	if want := (Line{Asked: 3, Answered: 2, Working: 2, Resent: 3, Late: true}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
	for l, want := range map[Line]bool{{}: false, {Asked: 3, Answered: 3, Working: 3}: false, {Resent: 1}: true, {Late: true}: true} {
		if l.strained() != want {
			t.Errorf("%+v: strained is %t", l, !want)
		}
	}
}

func TestControlsThatTakeLongAreNoted(t *testing.T) {
	for wait, want := range map[time.Duration]bool{time.Second: false, 4 * time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			n := newInternet()
			r := newRunner(t, n)
			n.set(pathDirect, controlTargets(t)[1].Address(), func(c net.Conn) {
				time.Sleep(wait)
				says(okPage)(c)
			}, nil)
			if l := r.controls.line(t.Context(), bothPaths[0], bothPaths); l.Late != want || l.Working != 3 {
				t.Errorf("a control that takes %s: %+v", wait, l)
			}
		})
	}
}

func TestSessionWithoutBytesLeftSaysNothing(t *testing.T) {
	n, sessions := newInternet(), 0
	address := target(t, site).Address()
	n.set(pathDirect, address, func(c net.Conn) {
		if sessions++; sessions == 1 {
			says("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + strings.Repeat("x", 50_000))(c)
			silent(c)
			return
		}
		says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 9_000) + "\r\nContent-Length: 2\r\n\r\nok")(c)
	}, nil)
	x := &probe{
		Prober: n.prober(short()), path: bothPaths[0], target: target(t, site), deep: true,
		taken: new(atomic.Int64), resent: new(atomic.Int64), late: new(atomic.Bool), limit: 55_000,
	}
	o := Observation{Target: x.target, Walks: []Walk{x.walk(t.Context(), route{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})}}
	if r := Judge(o, nil); r.Outcome != Stalled || sessions != 2 {
		t.Errorf("%d sessions: %+v, want %s", sessions, r, Stalled)
	}
}
