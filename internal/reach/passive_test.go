package reach_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/reach"
)

// on is a connection of a destination over a path that was answered just now.
func on(destination, path, server string, change ...func(*reach.PassiveFlow)) reach.PassiveFlow {
	f := reach.PassiveFlow{
		Destination: destination, Path: path, Server: netip.MustParseAddrPort(server + ":443"), TCP: true,
		Age: 10 * time.Second, Heard: 100 * time.Millisecond, Established: true, Asked: true, Answered: true,
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func stalled(f *reach.PassiveFlow) {
	f.Heard, f.Waiting, f.Again = 3*time.Second, 1500*time.Millisecond, 3
}

func noAnswer(f *reach.PassiveFlow) {
	*f = reach.PassiveFlow{
		Destination: f.Destination, Path: f.Path, Server: f.Server, TCP: true,
		Age: 2 * time.Second, Heard: -1, Waiting: 2 * time.Second, Again: 1,
	}
}

func resetAfterHello(f *reach.PassiveFlow) { f.Answered, f.Reset, f.Age = false, true, 5*time.Second }
func idle(f *reach.PassiveFlow)            { f.Heard = time.Minute }
func datagrams(f *reach.PassiveFlow)       { f.TCP = false }
func oneWay(f *reach.PassiveFlow) {
	f.TCP, f.Answered, f.Heard, f.Again = false, false, -1, 1000
	f.Waiting = time.Hour
}
func again(n int) func(*reach.PassiveFlow) { return func(f *reach.PassiveFlow) { f.Again = n } }
func waiting(d time.Duration) func(*reach.PassiveFlow) {
	return func(f *reach.PassiveFlow) { f.Waiting = d }
}

func aged(d time.Duration) func(*reach.PassiveFlow) { return func(f *reach.PassiveFlow) { f.Age = d } }
func gaveUp(f *reach.PassiveFlow)                   { f.Said = 5 * time.Second }
func of(service string) func(*reach.PassiveFlow) {
	return func(f *reach.PassiveFlow) { f.Service = service }
}
func closed(f *reach.PassiveFlow) { f.Over = true }

func times(n int, f reach.PassiveFlow) []reach.PassiveFlow {
	return slices.Repeat([]reach.PassiveFlow{f}, n)
}

func TestJudgePassive(t *testing.T) {
	const a, b, c = "203.0.113.1", "203.0.113.2", "203.0.113.3"
	elsewhere := on("other", "direct", c)
	sure := func(dest, path string, k reach.PassiveKind, reason string) reach.PassiveFinding {
		return reach.PassiveFinding{dest, path, k, true, reason}
	}
	maybe := func(dest, path string, k reach.PassiveKind, reason string) reach.PassiveFinding {
		return reach.PassiveFinding{dest, path, k, false, reason}
	}
	tests := []struct {
		name  string
		flows []reach.PassiveFlow
		heard map[string]time.Duration
		want  []reach.PassiveFinding
	}{
		{name: "nothing"},
		{name: "all is well", flows: []reach.PassiveFlow{on("x", "home", a), on("x", "home", b), elsewhere}},
		{name: "idle connections say nothing", flows: []reach.PassiveFlow{on("x", "home", a, idle), on("x", "home", b, idle), elsewhere}},
		{name: "a lost packet", flows: []reach.PassiveFlow{on("x", "home", a, stalled, again(1)), elsewhere}},
		{name: "a long round trip", flows: []reach.PassiveFlow{on("x", "home", a, stalled, waiting(time.Second)), elsewhere}},
		{
			name: "one dead server", flows: append(times(5, on("x", "home", a, stalled)), on("x", "home", b), elsewhere),
			want: []reach.PassiveFinding{maybe("x", "home", reach.PassiveSilent, "5 connections to 1 service: no answer any more")},
		},
		{
			name: "the only server", flows: append(times(5, on("x", "home", a, stalled)), elsewhere),
			want: []reach.PassiveFinding{maybe("x", "home", reach.PassiveSilent, "5 connections to 1 service: no answer any more")},
		},
		{
			name: "two servers, and something answers elsewhere", flows: append(times(2, on("x", "home", a, stalled)), on("x", "home", b, stalled), elsewhere),
			want: []reach.PassiveFinding{sure("x", "home", reach.PassiveSilent, "3 connections to 2 services: no answer any more")},
		},
		{
			name: "one service at several addresses", flows: append(times(3, on("x", "home", a, stalled, of("okx.com"))), on("x", "home", b, stalled, of("okx.com")), elsewhere),
			want: []reach.PassiveFinding{maybe("x", "home", reach.PassiveSilent, "4 connections to 1 service: no answer any more")},
		},
		{name: "clients that have given up", flows: append(times(3, on("x", "home", a, stalled, gaveUp)), on("x", "home", b, stalled, gaveUp), elsewhere)},
		{
			name: "two servers, and nothing answers elsewhere", flows: append(times(2, on("x", "home", a, stalled)), on("x", "home", b, stalled)),
			want: []reach.PassiveFinding{maybe("x", "home", reach.PassiveSilent, "3 connections to 2 services: no answer any more")},
		},
		{
			name: "another tunnel's peer answers", flows: append(times(2, on("x", "home", a, stalled)), on("x", "home", b, stalled)),
			heard: map[string]time.Duration{"other": 300 * time.Millisecond, "home": 0},
			want:  []reach.PassiveFinding{sure("x", "home", reach.PassiveSilent, "3 connections to 2 services: no answer any more")},
		},
		{
			name: "two destinations over one path, each with one server", flows: []reach.PassiveFlow{on("x", "home", a, stalled), on("y", "home", b, stalled), elsewhere},
			want: []reach.PassiveFinding{
				sure("x", "home", reach.PassiveSilent, "1 connection to 1 service: no answer any more"),
				sure("y", "home", reach.PassiveSilent, "1 connection to 1 service: no answer any more"),
			},
		},
		{
			name:  "a third destination is answered over it",
			flows: []reach.PassiveFlow{on("x", "home", a, stalled), on("y", "home", b, stalled), on("z", "home", c), elsewhere},
			want: []reach.PassiveFinding{
				maybe("x", "home", reach.PassiveSilent, "1 connection to 1 service: no answer any more"),
				maybe("y", "home", reach.PassiveSilent, "1 connection to 1 service: no answer any more"),
			},
		},
		{
			name:  "SYNs to two servers",
			flows: append(times(2, on("x", "direct", a, noAnswer)), on("x", "direct", b, noAnswer), on("y", "home", c)),
			want:  []reach.PassiveFinding{sure("x", "direct", reach.PassiveUnreachable, "3 connections to 2 services: no answer to the attempt")},
		},
		{
			name: "a service that is down", flows: append(times(3, on("x", "direct", a, noAnswer)), on("y", "home", c)),
			want: []reach.PassiveFinding{maybe("x", "direct", reach.PassiveUnreachable, "3 connections to 1 service: no answer to the attempt")},
		},
		{
			name: "three resets after the hello", flows: times(3, on("x", "direct", a, resetAfterHello)),
			want: []reach.PassiveFinding{sure("x", "direct", reach.PassiveReset, "3 connections to 1 server: reset right after the client's first bytes")},
		},
		{name: "two resets after the hello", flows: times(2, on("x", "direct", a, resetAfterHello))},
		{name: "two resets each of two servers", flows: append(times(2, on("x", "direct", a, resetAfterHello)), times(2, on("x", "direct", b, resetAfterHello))...)},
		{name: "a server that resets some", flows: append(times(3, on("x", "direct", a, resetAfterHello)), on("x", "direct", a, aged(time.Second)))},
		{
			name: "a server that answered before", flows: append(times(3, on("x", "direct", a, resetAfterHello)), on("x", "direct", a, aged(20*time.Second))),
			want: []reach.PassiveFinding{sure("x", "direct", reach.PassiveReset, "3 connections to 1 server: reset right after the client's first bytes")},
		},
		{
			name: "other servers of the destination are not reset", flows: append(times(3, on("x", "direct", a, resetAfterHello)), on("x", "direct", b)),
			want: []reach.PassiveFinding{sure("x", "direct", reach.PassiveReset, "3 connections to 1 server: reset right after the client's first bytes")},
		},
		{name: "resets of long ago", flows: times(3, on("x", "direct", a, resetAfterHello, func(f *reach.PassiveFlow) { f.Age = 2 * time.Minute }))},
		{name: "resets of connections that worked", flows: times(3, on("x", "direct", a, func(f *reach.PassiveFlow) { f.Reset = true }))},
		{name: "closed connections wait for nothing", flows: append(times(3, on("x", "home", a, stalled, closed)), on("x", "home", b, stalled, closed), elsewhere)},
		{name: "datagrams that never have an answer", flows: append(times(3, on("x", "home", a, oneWay)), on("x", "home", b, oneWay), elsewhere)},
		{name: "a few datagrams", flows: append(times(3, on("x", "home", a, datagrams, stalled)), on("x", "home", b, datagrams, stalled), elsewhere)},
		{
			name:  "datagrams that: no answer any more",
			flows: append(times(2, on("x", "home", a, datagrams, stalled, again(9))), on("x", "home", b, datagrams, stalled, again(9)), elsewhere),
			want:  []reach.PassiveFinding{sure("x", "home", reach.PassiveSilent, "3 connections to 2 services: no answer any more")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, reach.JudgePassive(tt.flows, tt.heard)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
