package steer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/config"
)

// history drives one destination's choice through time.
type history struct {
	*testing.T
	d       Destination
	tunnels map[string]Tunnel
	e       Evidence
	m       Memory
	now     time.Time
	moves   []time.Time
}

func newHistory(t *testing.T, policy config.Policy, fallback config.Fallback) *history {
	t.Helper()
	return &history{
		T: t, d: Destination{Policy: policy, Fallback: fallback, Tunnels: []string{"home", "other"}},
		tunnels: map[string]Tunnel{"home": {Up: true}, "other": {Up: true}},
		e:       Evidence{Checks: map[string]Finding{}, Traffic: map[string]Finding{}},
		now:     time.Unix(1_000_000, 0),
	}
}

// after lets time pass and chooses.
func (h *history) after(d time.Duration) Choice {
	h.Helper()
	h.now = h.now.Add(d)
	was := h.m.Path()
	c, m := Choose(&h.d, h.tunnels, h.e, h.m, h.now)
	if was != "" && was != c.Path {
		h.moves = append(h.moves, h.now)
	}
	if h.m = m; m.Path() != c.Path || m.Since().After(h.now) {
		h.Errorf("%s is chosen and %s remembered, since %s", c.Path, m.Path(), m.Since())
	}
	if !c.Again.IsZero() && !c.Again.After(h.now) {
		h.Errorf("the choice of %s says that it may change at %s, which is over", h.now, c.Again)
	}
	if h.d.Closed() && c.Path == PathDirect {
		h.Errorf("a closed destination goes direct: %s", c.Reason)
	}
	return c
}

func (h *history) is(d time.Duration, want string) Choice {
	h.Helper()
	c := h.after(d)
	if c.Path != want {
		h.Errorf("%s after: on %s (%s), want %s", d, c.Path, c.Reason, want)
	}
	return c
}

func (h *history) tunnel(name string, up bool) {
	h.tunnels[name] = Tunnel{Up: up, Reason: "the peer is silent"}
}

func (h *history) check(path string, s Sign) { h.e.Checks[path] = Finding{s, "reset after the hello"} }

func TestDeadTunnelIsLeftAtOnceAndGoneBackToLate(t *testing.T) {
	h := newHistory(t, config.PolicyTunnel, config.FallbackBlock)
	h.is(0, "home")
	h.tunnel("home", false)
	if c := h.is(time.Second, "other"); c.State != StateDegraded || c.Reason != "preferred before it: home: the peer is silent" {
		t.Errorf("%+v", c)
	}
	h.is(20*time.Second, "other")
	h.tunnel("home", true)
	c := h.is(time.Second, "other")
	if want := h.now.Add(tunnelHold); !c.Again.Equal(want) || !strings.Contains(c.Reason, "works again") {
		t.Errorf("%+v, want another look at %s", c, want)
	}
	h.is(tunnelHold-time.Second, "other")
	h.is(time.Second, "home")
	h.tunnel("home", false) // a second time within the hour
	h.is(time.Second, "other")
	h.tunnel("home", true)
	h.is(time.Second, "other")
	h.is(2*tunnelHold-time.Second, "other")
	h.is(time.Second, "home")
}

func TestTunnelThatNeverFailedIsPreferredAtOnce(t *testing.T) {
	h := newHistory(t, config.PolicyTunnel, config.FallbackBlock)
	h.tunnels["home"] = Tunnel{Maybe: true, Reason: "no handshake yet"}
	h.is(0, "other")
	h.tunnel("home", true)
	if c := h.is(time.Second, "home"); c.State != StateOK || c.Reason != "" {
		t.Errorf("%+v", c)
	}
}

func TestBothTunnelsDeadKeepsThePresentOne(t *testing.T) {
	h := newHistory(t, config.PolicyTunnel, config.FallbackBlock)
	h.is(0, "home")
	h.tunnel("home", false)
	h.is(time.Second, "other")
	h.tunnel("other", false)
	if c := h.is(time.Second, "other"); c.State != StateDown {
		t.Errorf("%+v", c)
	}
	h.tunnel("home", true)
	h.is(time.Second, "home") // the only one that works: nothing is waited for
}

func TestFallbackDirectGoesBackToASteadyTunnel(t *testing.T) {
	h := newHistory(t, config.PolicyTunnel, config.FallbackDirect)
	h.is(0, "home")
	h.tunnel("home", false)
	h.is(time.Second, "other")
	h.tunnel("other", false)
	if c := h.is(time.Second, PathDirect); !strings.HasPrefix(c.Reason, "fallback direct: ") {
		t.Errorf("%+v", c)
	}
	h.tunnel("other", true)
	h.is(time.Second, PathDirect)
	h.is(tunnelHold, "other")
}

func TestBrokenExitCountsForItsDestinationAlone(t *testing.T) {
	h := newHistory(t, config.PolicyTunnel, config.FallbackBlock)
	h.is(0, "home")
	h.check("home", SignFails)
	if c := h.is(time.Second, "other"); c.Reason != "preferred before it: home: reset after the hello" {
		t.Errorf("%+v", c)
	}
	h.check("other", SignFails)
	if c := h.is(time.Second, "other"); c.State != StateDegraded || !strings.HasPrefix(c.Reason, "it works over no path: ") {
		t.Errorf("%+v", c)
	}
	h.check("home", SignWorks)
	h.is(time.Second, "home")
}

func TestRealTrafficCountsBeforeChecks(t *testing.T) {
	h := newHistory(t, config.PolicyAuto, config.FallbackBlock)
	h.check(PathDirect, SignWorks)
	h.is(0, PathDirect)
	h.e.Traffic[PathDirect] = Finding{SignFails, ""}
	if c := h.is(time.Second, "home"); c.Reason != "preferred before it: direct: connections fail over it" {
		t.Errorf("%+v", c)
	}
}

func TestAutoLeavesAnInterferedDirectPathAndReturns(t *testing.T) {
	h := newHistory(t, config.PolicyAuto, config.FallbackBlock)
	if c := h.is(0, PathDirect); c.State != StateOK {
		t.Errorf("%+v", c)
	}
	h.check(PathDirect, SignFails)
	h.is(time.Second, "home")
	h.check(PathDirect, SignWorks)
	h.is(time.Minute, "home")
	h.is(directHold, PathDirect)
}

func TestAutoPrefersWhatWorksToWhatMay(t *testing.T) {
	h := newHistory(t, config.PolicyAuto, config.FallbackBlock)
	h.check(PathDirect, SignFails)
	h.tunnels["home"] = Tunnel{Asleep: true, Reason: "standby"}
	h.is(0, "other")
	h.tunnel("other", false)
	h.is(time.Second, "home") // woken by being chosen
	h.tunnel("home", false)
	h.is(time.Second, PathDirect) // no tunnel is there at all: direct fails, but is there
}

func TestRefusalMovesNothing(t *testing.T) {
	for _, policy := range []config.Policy{config.PolicyAuto, config.PolicyTunnel} {
		h := newHistory(t, policy, config.FallbackDirect)
		first := h.after(0)
		for _, path := range []string{PathDirect, "home", "other"} {
			h.check(path, SignRefused)
			if c := h.after(time.Minute); c != first {
				t.Errorf("policy %s: %s refuses: %+v, want %+v", policy, path, c, first)
			}
		}
	}
}

func TestOfflineLineMovesNothing(t *testing.T) {
	h := newHistory(t, config.PolicyAuto, config.FallbackBlock)
	h.is(0, PathDirect)
	h.check(PathDirect, SignFails)
	h.e.Offline = true
	if c := h.is(time.Second, PathDirect); c.State != StateDegraded || !strings.HasPrefix(c.Reason, "the line is down") {
		t.Errorf("%+v", c)
	}
}

func TestInterferenceThatComesAndGoesDoesNotFlap(t *testing.T) {
	h := newHistory(t, config.PolicyAuto, config.FallbackBlock)
	h.is(0, PathDirect)
	for i := range 360 {
		h.check(PathDirect, []Sign{SignFails, SignWorks}[i%2])
		h.after(10 * time.Second)
	}
	if len(h.moves) != 1 {
		t.Errorf("%d moves in an hour, want the one away: %v", len(h.moves), h.moves)
	}
	h.check(PathDirect, SignWorks)
	h.is(holdMost+time.Minute, PathDirect)
}

func TestMemoryIsAValue(t *testing.T) {
	h := newHistory(t, config.PolicyTunnel, config.FallbackBlock)
	h.is(0, "home")
	h.tunnel("home", false)
	before := h.m
	text := fmt.Sprint(before)
	h.is(time.Second, "other")
	h.tunnel("other", false)
	h.after(time.Second)
	if now := fmt.Sprint(before); now != text {
		t.Errorf("an old memory changed:\n%s\n%s", text, now)
	}
}

// movesPerHour bounds what any destination may do, whatever happens to it.
const movesPerHour = freeMoves + 20

// Whatever happens, in whatever order: no destination moves too often, none that
// is closed uses the WAN, none stays on a path that is down while there is a
// better one for longer than the bound makes it, and no refusal changes a thing.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		policy := []config.Policy{config.PolicyTunnel, config.PolicyAuto}[rnd.IntN(2)]
		fallback := []config.Fallback{config.FallbackBlock, config.FallbackDirect}[rnd.IntN(2)]
		h := newHistory(t, policy, fallback)
		pace := []int{2, 10, 60, 600}[rnd.IntN(4)]
		for range 3000 {
			h.happen(rnd)
			c := h.after(time.Duration(1+rnd.IntN(pace)) * time.Second)
			h.sound(c)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// happen changes one thing at random.
func (h *history) happen(rnd *rand.Rand) {
	paths := []string{PathDirect, "home", "other"}
	path := paths[rnd.IntN(len(paths))]
	switch rnd.IntN(6) {
	case 0:
		h.e.Offline = rnd.IntN(10) == 0
	case 1:
		h.e.Traffic[path] = Finding{Sign: Sign(rnd.IntN(4))}
	case 2:
		h.e.Checks[path] = Finding{Sign: Sign(rnd.IntN(4))}
	default:
		state := rnd.IntN(4)
		h.tunnels[paths[1+rnd.IntN(2)]] = Tunnel{Up: state <= 1, Maybe: state == 2, Reason: "made up"}
	}
}

// sound checks a choice against what is so now.
func (h *history) sound(c Choice) {
	h.Helper()
	h.soundMoves()
	h.soundPath(c)
	refused := h.e
	refused.Checks = maps.Clone(h.e.Checks)
	for _, path := range slices.Collect(maps.Keys(refused.Checks)) {
		if refused.Checks[path].Sign != SignFails {
			refused.Checks[path] = Finding{Sign: SignRefused}
		}
	}
	if again, _ := Choose(&h.d, h.tunnels, refused, h.m, h.now); again.Path != c.Path {
		h.Fatalf("a refusal moves it from %s to %s", c.Path, again.Path)
	}
}

// soundMoves looks for an hour with too many moves.
func (h *history) soundMoves() {
	h.Helper()
	from := 0
	for i, at := range h.moves {
		for h.moves[from].Add(time.Hour).Before(at) {
			from++
		}
		if n := i - from + 1; n > movesPerHour {
			h.Fatalf("%d moves within the hour to %s", n, at)
		}
	}
}

// soundPath looks whether the path may be taken, and is told as what it is.
func (h *history) soundPath(c Choice) {
	h.Helper()
	if c.Path == PathDirect && !h.d.MayGoDirect() {
		h.Fatal("goes direct and must not")
	}
	best := candidates(&h.d, h.tunnels, &h.e)
	present := best[indexOf(best, c.Path)]
	h.soundTold(c, present.grade == works && c.Path == best[0].path && !h.e.Offline)
	stuck := present.grade < works && present.grade != instead && c.Again.IsZero()
	if better := best[bestOf(best)]; stuck && better.grade == works {
		h.Fatalf("stays on %s, though %s works, without an end", c.Path, better.path)
	}
}

// soundTold looks whether a choice is told as what it is.
func (h *history) soundTold(c Choice, fine bool) {
	h.Helper()
	if (c.State == StateOK) != fine || !fine && c.Reason == "" {
		h.Fatalf("is told as %+v", c)
	}
}
